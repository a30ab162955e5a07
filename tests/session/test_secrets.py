"""The API key is only in headers of requests to the service's own origin."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from rivya_async import RivyaError, RivyaSession, StreamInterruptedError, Timeouts
from rivya_async._core import assumptions
from rivya_async.sandbox import Sandbox
from tests.media_kit import media
from tests.session.session_kit import (
    CREDITS,
    FAST,
    POLL,
    QUICK_POLL,
    QUICK_RETRY,
    SLOW,
    STREAM,
    SUBMIT,
    UPLOAD,
    RecordingHooks,
    open_session,
    plain_server,
    run_script,
    wait_until,
)

pytestmark = pytest.mark.usefixtures("each_transport")

SECRET: Final = "c0ffee" * 8
KEY: Final = f"rvya_sk_{SECRET}"
LIMITS: Final = Timeouts(connect=0.2, read=0.1, total=2.0, chat=0.1)


@pytest.fixture
async def guarded(no_leaks: None) -> Any:
    async with Sandbox(speed=FAST, api_key=KEY) as running:
        yield running


def everything_of(error: BaseException) -> Iterator[str]:
    """Yields all that a log or a crash reporter could show of an error: its chain and the locals of its frames."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        left += [each.__cause__, each.__context__]
        left += list(each.exceptions) if isinstance(each, BaseExceptionGroup) else []
        yield from (str(each), repr(each), repr(each.args), repr(each.__dict__), repr(getattr(each, "__notes__", [])))
        yield "".join(traceback.TracebackException.from_exception(each, capture_locals=True).format())
        for frame, _ in traceback.walk_tb(each.__traceback__):
            yield from (repr(value) for value in frame.f_locals.values() if value is not frame.f_locals)


def reveals(error: BaseException) -> list[str]:
    return [text for text in everything_of(error) if SECRET in text]


async def streamed(session: RivyaSession) -> str:
    async with session.chat.completions.stream("gpt-5-2-chat", "Name a colour.") as stream:
        return "".join([delta async for delta in stream])


async def test_stream_error_masks_key(sandbox: Sandbox) -> None:
    event = f'event: error\ndata: {{"error": {{"message": "no such key: {KEY}"}}}}\n\n'

    def answer(_: object) -> web.Response:
        return web.Response(text=event, content_type="text/event-stream")

    async with plain_server(answer) as server, RivyaSession(KEY, base_url=server.url) as session:
        with pytest.raises(StreamInterruptedError, match=r"no such key: \*\*\*") as raised:
            await streamed(session)
    assert SECRET not in repr(raised.value) + str(raised.value.__dict__)
    assert SECRET.encode() not in pickle.dumps(raised.value)


FAULTS: Final[dict[str, dict[str, Any]]] = {
    "dropped": {"drop": True},
    "cut": {"truncate": 5},
    "time-out": {"delay": 0.3},
    "401": {"status": 401},
    "404": {"status": 404},
    "409": {"status": 409},
    "429": {"status": 429},
    "500": {"status": 500},
    "HTML": {"status": 200, "body": "<html>"},
    "a list": {"status": 200, "body": "[]"},
    "a redirect": {"status": 302, "headers": {"Location": "https://else.example/?a=b"}},
    "a long answer": {"status": 200, "body": "x" * 400_000},
    "bad chunk": {"truncate": 10_000, "headers": {"Transfer-Encoding": "chunked"}},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_errors_hide_key(guarded: Sandbox, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assumptions, "MAX_RESPONSE_BYTES", 300_000)
    hooks = RecordingHooks()
    guarded.faults.add(**fault)
    calls: list[Callable[[RivyaSession], Awaitable[Any]]] = [
        lambda session: session.submit("z-image", "A red kite"),
        lambda session: session.wait_for("task_1", timeout=0.15),
        lambda session: session.credits.retrieve(),
        lambda session: session.chat.completions.create("gpt-5-2-chat", "Name a colour."),
        streamed,
    ]
    for call in calls:  # each in a session of its own: after so many failures one takes its time
        async with open_session(guarded, timeouts=LIMITS, hooks=[hooks]) as session:
            with pytest.raises(RivyaError) as raised:
                await call(session)
            assert reveals(raised.value) == []
            assert SECRET.encode() not in pickle.dumps(raised.value)
            assert SECRET not in repr(copy.copy(raised.value).__dict__)
            assert type(pickle.loads(pickle.dumps(raised.value))) is type(raised.value)
    errors = [*(each.error for each in hooks.attempts), *(each.error for each in hooks.retries)]
    errors += [each.error for each in hooks.polls]
    raised_errors = [error for error in errors if error is not None]
    assert raised_errors
    assert [text for error in raised_errors for text in reveals(error)] == []
    assert SECRET not in repr([hooks.attempts, hooks.retries, hooks.polls])


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_upload_errors_hide_key(guarded: Sandbox, fault: dict[str, Any], tmp_path: Path) -> None:
    photo = tmp_path / "kite.png"
    photo.write_bytes(media("png"))
    hooks = RecordingHooks()
    guarded.faults.add(route=UPLOAD, **fault)
    async with open_session(guarded, timeouts=LIMITS, hooks=[hooks]) as session:
        for call in (
            session.files.upload(photo),
            session.submit("qwen-image", "At night", references=[photo]),
        ):
            with pytest.raises(RivyaError) as raised:
                await call
            assert reveals(raised.value) == []
            assert SECRET.encode() not in pickle.dumps(raised.value)
    assert [text for each in hooks.attempts if each.error for text in reveals(each.error)] == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://rivya.invalid", "https://127.0.0.1:1"])
async def test_connection_errors_hide_key(url: str) -> None:
    async with RivyaSession(KEY, base_url=url, retry=QUICK_RETRY, timeouts=LIMITS) as session:
        with pytest.raises(RivyaError) as raised:
            await session.submit("z-image", "A red kite")
        assert reveals(raised.value) == []


@pytest.mark.parametrize("moment", [SUBMIT, POLL])
async def test_cancelled_calls_hide_key(guarded: Sandbox, moment: str) -> None:
    guarded.faults.add(route=moment, delay=0.2)
    async with open_session(guarded) as session:
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(0.1):
                await session.generate("z-image", "A red kite")
        assert reveals(raised.value) == []
        call = asyncio.create_task(session.submit("z-image", "A red kite"))
        await wait_until(lambda: guarded.request_log.in_flight > 0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await call
        assert reveals(cancelled.value) == []


@pytest.mark.parametrize("fault", [{"delay": 0.2}, {"stream": "stall", "after_events": 2}], ids=["opening", "reading"])
async def test_cancelled_streams_hide_key(guarded: Sandbox, fault: dict[str, Any]) -> None:
    guarded.faults.add(route=STREAM, **fault)
    async with open_session(guarded) as session:
        reading = asyncio.create_task(streamed(session))
        await wait_until(lambda: guarded.request_log.in_flight > 0)
        await asyncio.sleep(0.02)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await reading
        assert reveals(cancelled.value) == []


async def test_failed_sources_hide_key(guarded: Sandbox) -> None:
    def stop(_sent: int, _total: int | None) -> None:
        raise ZeroDivisionError

    async with open_session(guarded) as session:
        with pytest.raises(ZeroDivisionError) as raised:
            await session.files.upload(media("png"), on_progress=stop)
        assert reveals(raised.value) == []
        guarded.faults.add(route=UPLOAD, delay=0.2)
        sending = asyncio.create_task(session.files.upload(media("png")))
        await wait_until(lambda: guarded.request_log.in_flight > 0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await sending
        assert reveals(cancelled.value) == []


async def test_downloads_hide_key(guarded: Sandbox, tmp_path: Any) -> None:
    async with plain_server() as server, open_session(guarded) as session:
        job = await session.generate("z-image", "A red kite")
        with pytest.raises(RivyaError) as raised:
            await session.download("http://127.0.0.1:1/a.png", tmp_path)
        assert reveals(raised.value) == []
        await session.download(f"{server.url}/a.png?signature=1", tmp_path)
        assert SECRET not in repr(server.requests)
        assert "Authorization" not in server.requests[0].headers
        assert job.succeeded


@pytest.mark.parametrize("key", [f"{KEY}\r\nX: 1", f"{KEY} {KEY}", f"{KEY}ä"], ids=["line break", "blank", "not ASCII"])
def test_rejected_key_is_hidden(key: str) -> None:
    with pytest.raises(RivyaError) as raised:
        RivyaSession(key)
    assert SECRET not in "".join(traceback.format_exception(raised.value))
    assert SECRET not in repr(raised.value)


async def test_reprs_hide_key(guarded: Sandbox) -> None:
    async with open_session(guarded) as session:
        job = await session.generate("z-image", "A red kite")
        shown = [session, session._config, session.__dict__, job, session._engine, session.generations]
        shown += [vars(session._engine), session.models, session.credits, await session.credits.retrieve()]
        assert [each for each in map(repr, shown) if SECRET in each] == []


async def test_pickles_contain_no_key(guarded: Sandbox) -> None:
    fresh = RivyaSession(KEY)
    async with open_session(guarded) as session:
        job = await session.generate("z-image", "A red kite")
        assert pickle.loads(pickle.dumps(job)) == job
        assert SECRET.encode() not in pickle.dumps(job)
        for each in (fresh, session, fresh.generations, session._config):
            with pytest.raises((TypeError, pickle.PicklingError, AttributeError)):
                pickle.dumps(each)


async def test_logs_hide_key(guarded: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    caplog.set_level(logging.DEBUG)
    try:
        guarded.faults.add(route=SUBMIT, drop=True, times=1)
        guarded.faults.add(route=POLL, status=502, times=1)
        async with open_session(guarded) as session:
            await session.generate("z-image", "A red kite")
            call = asyncio.create_task(session.generate("z-image", "A blue whale"))
            await asyncio.sleep(0.002)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
    finally:
        loop.set_debug(False)
    assert caplog.text
    assert SECRET not in caplog.text
    assert all(SECRET not in repr(record.__dict__) for record in caplog.records)


CRASH = """
import asyncio, sys
from rivya_async import RivyaSession, RetryPolicy

async def main():
    async with RivyaSession(base_url=sys.argv[1], retry=RetryPolicy(max_attempts=1)) as session:
        await session.submit("z-image", "A red kite")

asyncio.run(main(), debug=True)
"""


async def test_crashed_script_hides_key(guarded: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIVYA_API_KEY", KEY)
    guarded.faults.add(route=SUBMIT, drop=True)
    code, out, err = await run_script(CRASH, guarded.base_url)
    assert code == 1
    assert "OutcomeUnknownError" in err
    assert SECRET not in out + err


async def test_tasks_and_stacks_hide_key() -> None:
    async with Sandbox(speed=SLOW, api_key=KEY) as sandbox, open_session(sandbox, poll=QUICK_POLL) as session:
        sandbox.faults.add(route=CREDITS, delay=0.1)
        calls = [asyncio.create_task(session.generate("z-image", "A kite")), asyncio.create_task(read(session))]
        await wait_until(lambda: sandbox.request_log.count(CREDITS) > 0)
        assert SECRET not in repr(asyncio.all_tasks())
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def read(session: RivyaSession) -> None:
    await session.credits.retrieve()
