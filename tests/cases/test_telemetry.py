"""Telemetry of a session beside the HTTP instrumentation of other libraries."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from opentelemetry import context

from rivya_async import RivyaError
from rivya_async.otel import Telemetry
from rivya_async.otel.suppression import SUPPRESSION_KEYS
from rivya_async.sandbox import Sandbox
from tests.media_kit import media
from tests.otel.otel_kit import Backend, attributes_of
from tests.session.session_kit import CREDITS, FAST, open_session


async def test_http_attributes_follow_the_conventions() -> None:
    """B25: `server.address` and `server.port` are required."""
    backend = Backend()
    async with Sandbox(speed=FAST) as sandbox, open_session(sandbox, hooks=[Telemetry(**backend.providers)]) as session:
        await session.credits.retrieve()
        sandbox.faults.add(route=CREDITS, status=404)
        with pytest.raises(RivyaError):
            await session.credits.retrieve()
        server = {"server.address": "127.0.0.1", "server.port": urlsplit(sandbox.base_url).port}
        url = f"{sandbox.base_url}/api/v1/credits"
    points = backend.points()["http.client.request.duration"]
    assert all(server.items() <= dict(point.attributes).items() for point in points)
    statuses = {point.attributes.get("http.response.status_code") for point in points}
    assert statuses == {200, 404}
    assert all({**server, "url.full": url}.items() <= attributes_of(span).items() for span in backend.spans())
    backend.close()


def test_default_port_and_status_of_successes() -> None:
    """B25: the port of the scheme, and the status of the response."""
    backend = Backend()
    details: Any = SimpleNamespace(
        method="GET", path="/api/v1/credits", number=1, elapsed=0.1, idempotency_key=None, error=None, status=200
    )
    details.base_url = "https://rivya.ai"
    Telemetry(**backend.providers).on_attempt(details)
    [point] = backend.points()["http.client.request.duration"]
    assert dict(point.attributes) == {
        "http.request.method": "GET",
        "url.template": "/api/v1/credits",
        "server.address": "rivya.ai",
        "server.port": 443,
        "http.response.status_code": 200,
    }
    backend.close()


class OtherInstrumentation:
    """The trace of a caller's aiohttp session that counts requests, as OpenTelemetry's instrumentation of aiohttp."""

    def __init__(self) -> None:
        self.reported: list[str] = []
        self.ignored: list[str] = []
        self.config = aiohttp.TraceConfig()
        self.config.on_request_start.append(self._on_request_start)

    async def _on_request_start(self, _: Any, __: Any, params: aiohttp.TraceRequestStartParams) -> None:
        is_suppressed = any(context.get_value(key) for key in filter(None, SUPPRESSION_KEYS))
        (self.ignored if is_suppressed else self.reported).append(params.url.path)


async def test_each_request_is_reported_once(tmp_path: Path) -> None:
    """B25: calls, polls, uploads and streams; downloads use a session without the trace."""
    backend, other = Backend(), OtherInstrumentation()
    async with (
        aiohttp.ClientSession(trace_configs=[other.config]) as http,
        Sandbox(speed=FAST) as sandbox,
        open_session(sandbox, http=http, hooks=[Telemetry(**backend.providers)]) as session,
    ):
        await session.files.upload(media("png"))
        job = await session.generate("z-image", "A red kite")
        await session.download(job, tmp_path)
        async with session.chat.completions.stream("gpt-5-2-chat", "Hello") as stream:
            assert not context.get_value(SUPPRESSION_KEYS[0] or "")
            assert [delta async for delta in stream]
    assert other.reported == []
    assert {"/api/v1/files", "/api/v1/generations", "/api/v1/chat/completions/stream"} <= set(other.ignored)
    backend.close()
