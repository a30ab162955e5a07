"""Opening streams: bounded error bodies, and no connection stays open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rivya_async._core.errors import (
    AuthenticationError,
    InternalServerError,
    OutcomeUnknownError,
    ResponseDecodeError,
)
from rivya_async._core.http.messages import Request, Response
from rivya_async._core.http.operations import Operation
from rivya_async._core.policies import RetryPolicy
from rivya_async._engine.engine import Engine
from rivya_async._engine.http.stream_client import ERROR_BODY_TIMEOUT, MAX_ERROR_BODY_BYTES
from tests.engine.engine_kit import ScriptedTransport, cancel, create_engine, no_response
from tests.engine.virtual_time import now, settle

ASKED = Request("POST", "/api/v1/chat/completions/stream", body=b"{}", idempotency_key="order-1")
REFUSAL = json.dumps({"error": {"code": "api_key_invalid", "message": "no", "requestId": "req_1"}}).encode()
SSE = {"Content-Type": "text/event-stream; charset=utf-8"}


class Body:
    """A body of these pieces: an exception breaks off, None is a piece that never comes, a number a pause."""

    def __init__(self, head: Response, *pieces: bytes | Exception | float | None) -> None:
        self.head = head
        self.read_bytes = 0
        self._pieces = list(pieces)

    async def read(self) -> bytes:
        piece = self._pieces.pop(0) if self._pieces else b""
        if isinstance(piece, Exception):
            raise piece
        if piece is None:
            await asyncio.get_running_loop().create_future()
        if isinstance(piece, float):
            await asyncio.sleep(piece)
            self._pieces.append(piece)
            return b" "
        assert isinstance(piece, bytes)
        self.read_bytes += len(piece)
        return piece

    def chunks(self) -> AsyncIterator[bytes]:
        raise NotImplementedError


class Streaming(ScriptedTransport):
    """Streams these bodies in turn, the last one for ever, and counts those that are open."""

    def __init__(self, *bodies: Body) -> None:
        super().__init__(no_response)
        self.bodies = list(bodies)
        self.open = 0

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Body]:
        self.open += 1
        try:
            await asyncio.sleep(0.1)
            yield self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        finally:
            self.open -= 1


def answered(status: int, *pieces: Any, **headers: str) -> Body:
    return Body(Response(status, headers or SSE, b""), *pieces)


async def opened(engine: Engine) -> bytes:
    async with engine.stream_client.open(ASKED) as stream:
        return await stream.response.read()


async def test_stream_is_read_and_closed() -> None:
    transport = Streaming(answered(200, b"data"))
    engine = create_engine(transport)
    async with engine.stream_client.open(ASKED) as stream:
        assert transport.open == 1
        assert await stream.response.read() == b"data"
    assert transport.open == 0
    await engine.aclose()


@pytest.mark.parametrize(
    ("pieces", "seconds"),
    [
        ([REFUSAL], 0.1),
        ([REFUSAL[:9], REFUSAL[9:]], 0.1),
        ([REFUSAL, OutcomeUnknownError("dropped")], 0.1),
        ([REFUSAL, None], 0.1 + ERROR_BODY_TIMEOUT),
        ([REFUSAL, 1.0], 0.1 + ERROR_BODY_TIMEOUT),
    ],
    ids=["whole", "in pieces", "cut", "stalled", "dripping"],
)
async def test_reading_an_error_body_is_bounded_in_time(pieces: list[Any], seconds: float) -> None:
    transport = Streaming(answered(401, *pieces))
    engine = create_engine(transport)
    began = now()
    with pytest.raises(AuthenticationError) as raised:
        await opened(engine)
    assert now() - began == pytest.approx(seconds)
    assert (raised.value.idempotency_key, raised.value.attempts) == ("order-1", 1)
    assert raised.value.request_id == "req_1"
    assert transport.open == 0
    await engine.aclose()


async def test_reading_an_error_body_is_bounded_in_size() -> None:
    body = answered(400, *[b"x" * 1024] * 1000)
    engine = create_engine(Streaming(body))
    with pytest.raises(Exception, match="400"):
        await opened(engine)
    assert body.read_bytes == MAX_ERROR_BODY_BYTES
    await engine.aclose()


async def test_stream_is_retried_until_its_response_begins() -> None:
    transport = Streaming(answered(503), answered(503), answered(200, b"data"))
    engine = create_engine(transport, retry=RetryPolicy(base=1.0))
    assert await opened(engine) == b"data"
    assert transport.open == 0
    await engine.aclose()


async def test_other_content_type_is_an_unknown_outcome() -> None:
    transport = Streaming(*(answered(200, b"<b>Welcome</b>", **{"Content-Type": "text/html"}) for _ in range(2)))
    engine = create_engine(transport, retry=RetryPolicy(max_attempts=2, base=0.1))
    with pytest.raises(OutcomeUnknownError, match="text/html") as raised:
        await opened(engine)
    assert isinstance(raised.value.__cause__, ResponseDecodeError)
    assert raised.value.attempts == 2
    assert transport.open == 0
    await engine.aclose()


async def test_missing_content_type_is_accepted() -> None:
    engine = create_engine(Streaming(Body(Response(200, {"X": "y"}, b""), b"data")))
    assert await opened(engine) == b"data"
    await engine.aclose()


@pytest.mark.parametrize("after", [0.05, 0.2, 3.0])
async def test_cancellation_closes_the_stream(after: float) -> None:
    transport = Streaming(answered(200, None))
    engine = create_engine(transport, max_connections=1)
    reading = [asyncio.create_task(opened(engine)) for _ in range(2)]
    await asyncio.sleep(after)
    assert transport.open == 1  # the other one waits for a slot
    await cancel(*reading)
    assert transport.open == 0
    assert [task.cancelled() for task in reading] == [True, True]
    transport.bodies = [answered(200, b"data")]
    assert await opened(engine) == b"data"
    await engine.aclose()


async def test_open_stream_holds_no_slot_of_the_limiter() -> None:
    transport = Streaming(answered(200, None), answered(503))
    engine = create_engine(transport, max_connections=1, retry=RetryPolicy(max_attempts=1))
    reading = asyncio.create_task(opened(engine))
    await asyncio.sleep(0.2)
    transport.answer = lambda _: Response(500, {}, b"")
    with pytest.raises(InternalServerError):
        await engine.executor.execute(Operation(Request("GET", "/x"), lambda _: None))
    await cancel(reading)
    await settle()
    await engine.aclose()
