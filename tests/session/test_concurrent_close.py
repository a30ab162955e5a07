"""Concurrent and cancelled calls of `aclose`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from rivya_async import (
    ConfigurationError,
    InternalServerError,
    OutcomeUnknownError,
    RetryPolicy,
    RivyaSession,
    SessionClosedError,
    Timeouts,
)
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import FILE, SUBMIT, open_session, raw_server, wait_until

pytestmark = pytest.mark.usefixtures("each_transport")

KEY: Final = "rvya_sk_0123456789abcdef0123456789abcdef"

STOPS: Final = {
    "before its headers": b"",
    "within its headers": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "within its body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Type: text/event-stream\r\n\r\n{",
}


@asynccontextmanager
async def a_service_that_stops(after: bytes) -> AsyncIterator[tuple[str, list[str]]]:
    """Yields the URL and the received requests. Each answer stalls after the given bytes."""
    heard: list[str] = []
    ending = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode())
        writer.write(after)
        await writer.drain()
        await ending.wait()

    async with raw_server(talk) as url:
        yield url, heard
        ending.set()
        await asyncio.sleep(0)


async def streamed(session: RivyaSession) -> None:
    async with session.chat.completions.stream("gpt-5", "Hello") as stream:
        async for _ in stream:
            pass


@pytest.mark.parametrize("whose", ["own", "handed in"])
@pytest.mark.parametrize("answer", STOPS.values(), ids=STOPS.keys())
async def test_cancelled_close_aborts_everything(answer: bytes, whose: str, tmp_path: Path) -> None:
    async with a_service_that_stops(answer) as (url, heard):
        http = aiohttp.ClientSession() if whose == "handed in" else None
        session = RivyaSession(KEY, base_url=url, http=http, timeouts=Timeouts(read=60.0, total=60.0, chat=60.0))
        calls: list[asyncio.Task[Any]] = [
            asyncio.create_task(call)
            for call in (
                session.submit("z-image", "A red kite", idempotency_key="order-1"),
                session.generate("z-image", "A red kite", idempotency_key="order-2"),
                session.chat.completions.create("gpt-5", "Hello", idempotency_key="order-3"),
                session.credits.retrieve(),
                session.models.list(),
                session.files.upload(b"\x89PNG\r\n\x1a\n" + bytes(300)),
                session.download(f"{url}/a.png", f"{tmp_path}/out/"),
                streamed(session),
                session.wait_for("task_1"),
            )
        ]
        *sent, wait = calls
        await wait_until(lambda: len(heard) == len(calls))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await session.aclose()
        async with asyncio.timeout(1.0):
            ends = await asyncio.gather(*sent, return_exceptions=True)
            assert isinstance((await asyncio.gather(wait, return_exceptions=True))[0], SessionClosedError)
        assert [type(end) for end in ends[:-1]] == [OutcomeUnknownError] * 7
        assert isinstance(ends[-1], OutcomeUnknownError)
        assert [end.idempotency_key for end in ends[:3] if isinstance(end, OutcomeUnknownError)] == [
            "order-1",
            "order-2",
            "order-3",
        ]
        assert len(heard) == len(calls)  # nothing was sent again
        assert list(tmp_path.rglob("*")) in ([], [tmp_path / "out"])
        await session.aclose()
        if http is not None:
            assert not http.closed
            await http.close()


async def test_concurrent_close_waits(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=SUBMIT, delay=0.1, act=True)
    session = open_session(sandbox)
    call = asyncio.create_task(session.submit("z-image", "A red kite"))
    await wait_until(lambda: sandbox.request_log.in_flight == 1)
    first = asyncio.create_task(session.aclose())
    await asyncio.sleep(0)
    await session.aclose()
    assert call.done()
    assert first.done()
    assert sandbox.request_log.purchases == 1
    await session.aclose()


async def test_cancelled_second_close_aborts_nothing(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=SUBMIT, delay=0.1, times=1)
    session = open_session(sandbox)
    call = asyncio.create_task(session.submit("z-image", "A red kite"))
    await wait_until(lambda: sandbox.request_log.in_flight == 1)
    first = asyncio.create_task(session.aclose())
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await session.aclose()
    await first
    assert (await call).status == "queued"


@pytest.mark.parametrize("verb", ["submit", "wait_for", "download"])
def test_rejects_http_of_another_loop(verb: str, tmp_path: Path) -> None:
    async def made() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def used(http: aiohttp.ClientSession) -> None:
        async with Sandbox() as sandbox:
            session = open_session(sandbox, http=http)
            call: Any = {
                "submit": lambda: session.submit("z-image", "A red kite"),
                "wait_for": lambda: session.wait_for("task_1"),
                "download": lambda: session.download(f"{sandbox.base_url}/a.png", tmp_path),
            }[verb]
            with pytest.raises(ConfigurationError, match="another event loop"):
                await call()
            assert sandbox.request_log.count() == 0
            await session.aclose()

    loop = asyncio.new_event_loop()
    http = loop.run_until_complete(made())
    try:
        asyncio.run(used(http))
    finally:
        loop.run_until_complete(http.close())
        loop.close()


async def test_closing_ends_backoff_of_download(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_session(sandbox, retry=RetryPolicy(base=60.0, cap=60.0)) as session:
        job = await session.generate("z-image", "A red kite")
        sandbox.faults.add(route=FILE, status=503)
        download = asyncio.create_task(session.download(job, tmp_path))
        await wait_until(lambda: sandbox.request_log.count(FILE) == 1 and not sandbox.request_log.in_flight)
        await asyncio.sleep(0.02)
    async with asyncio.timeout(1.0):
        with pytest.raises(InternalServerError) as raised:
            await download
    assert raised.value.attempts == sandbox.request_log.count(FILE) == 1
    assert list(tmp_path.iterdir()) == []
