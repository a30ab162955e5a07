"""Regressions: defects that reviews have found."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from rivya_async import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    GenerationRequest,
    Hooks,
    PermissionDeniedError,
    RivyaError,
    RivyaSession,
    SubmitTimeoutError,
    Timeouts,
)
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import SUBMIT, open_session


class Cancelling(Hooks):
    """A hook that raises `CancelledError`."""

    def on_attempt(self, details: object) -> None:
        raise asyncio.CancelledError

    def on_poll(self, details: object) -> None:
        raise asyncio.CancelledError


async def test_hook_raising_cancellation_is_ignored(sandbox: Sandbox) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    async with open_session(sandbox, hooks=[Cancelling()]) as session:
        job = await session.generate("z-image", "A red kite")
    assert job.succeeded


async def test_zero_timeout_buys_nothing(sandbox: Sandbox, session: RivyaSession) -> None:
    with pytest.raises(TimeoutError) as raised:
        await session.generate("z-image", "A red kite", timeout=0, idempotency_key="order-1")
    assert isinstance(raised.value, SubmitTimeoutError)
    assert raised.value.idempotency_key == "order-1"
    assert sandbox.request_log.count() == 0


async def test_masks_key_in_service_message(sandbox: Sandbox, session: RivyaSession) -> None:
    body = f'{{"error": {{"code": "api_key_invalid", "message": "no such key: {sandbox.api_key}"}}}}'
    sandbox.faults.add(route=SUBMIT, status=401, body=body)
    with pytest.raises(AuthenticationError) as raised:
        await session.submit("z-image", "A red kite")
    assert sandbox.api_key not in str(raised.value)
    assert "***" in str(raised.value)


async def test_unserializable_job_error_has_key(sandbox: Sandbox, session: RivyaSession) -> None:
    with pytest.raises(ConfigurationError) as raised:
        await session.submit("z-image", "A red kite", params={"seed": object()})
    assert raised.value.idempotency_key
    assert sandbox.request_log.count() == 0


async def test_map_rejects_string_jobs(sandbox: Sandbox, session: RivyaSession) -> None:
    requests = ["A red kite", GenerationRequest("z-image", "A red kite")]
    outcomes = [outcome async for outcome in session.map(requests, ordered=True)]  # type: ignore[arg-type]
    assert isinstance(outcomes[0].error, ConfigurationError)
    assert outcomes[1].ok
    assert sandbox.request_log.purchases == 1


async def test_user_connector_limits_session(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=SUBMIT, delay=0.05)
    limits = Timeouts(read=0.3, total=0.3)  # ten times two requests take longer than that in a queue
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2)) as http,
        open_session(sandbox, http=http, timeouts=limits) as session,
    ):
        await asyncio.gather(*(session.submit("z-image", f"Kite {n}") for n in range(20)))
    assert sandbox.request_log.count(SUBMIT) == 20


async def test_rejects_invalid_http(sandbox: Sandbox) -> None:
    with pytest.raises(ConfigurationError, match=r"aiohttp\.ClientSession"):
        async with open_session(sandbox, http=object()):
            pass


class FileHost:
    """A host with an endless file, a rejected file, and a redirect loop."""

    async def __aenter__(self) -> str:
        self._ending = asyncio.Event()
        app = web.Application()
        app.router.add_get("/endless.png", self._endless)
        app.router.add_get("/gone.png", self._gone)
        app.router.add_get("/circle.png", self._circle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        self._ending.set()
        await self._runner.cleanup()

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        await self._ending.wait()
        return response

    async def _gone(self, request: web.Request) -> web.Response:
        return web.Response(status=403)

    async def _circle(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": str(request.rel_url)})


async def test_closing_aborts_download(sandbox: Sandbox, tmp_path: Path) -> None:
    async with FileHost() as host:
        session = open_session(sandbox)
        download = asyncio.create_task(session.download(f"{host}/endless.png", tmp_path))
        await asyncio.sleep(0.1)
        await session.aclose()
        async with asyncio.timeout(1):
            with pytest.raises(RivyaError):
                await download
    assert list(tmp_path.iterdir()) == []


async def test_file_host_rejection_does_not_mention_keys(session: RivyaSession, tmp_path: Path) -> None:
    async with FileHost() as host:
        with pytest.raises(APIStatusError, match="may have expired") as raised:
            await session.download(f"{host}/gone.png", tmp_path)
    assert isinstance(raised.value, PermissionDeniedError)
    assert raised.value.status == 403


async def test_masks_signed_link(session: RivyaSession, tmp_path: Path) -> None:
    async with FileHost() as host:
        with pytest.raises(RivyaError) as raised:
            await session.download(f"{host}/circle.png?signature=secret", tmp_path)
    assert "secret" not in str(raised.value)
