"""The effect of faults on streamed chat responses."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rivya_async.sandbox import Fault
from rivya_async.sandbox.faults.fault import inject_fault
from rivya_async.sandbox.responses import ApiResponse
from rivya_async.sandbox.sse import SHAPES, SseComment, SseEvent, SseStream, encode_stream, truncate_stream
from tests.sandbox.sandbox_client import HttpReply, SandboxClient, running_sandbox, wait_until

ASK = "POST /api/v1/chat/completions"
STREAM = "POST /api/v1/chat/completions/stream"
FAST = 100_000.0


async def send_message(
    client: SandboxClient, *, stream: bool = False, idempotency_key: str | None = None, **body: Any
) -> HttpReply:
    path = f"/api/v1/chat/completions{'/stream' if stream else ''}"
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    key = body.pop("key", None)
    whole = {"model": "gpt-5-2-chat", "message": "Name a colour.", **body}
    return await client.request("POST", path, key=key, json=whole, headers=headers)


def parse_events(raw: bytes) -> list[tuple[str, Any]]:
    """Returns the names and payloads of a stream in the sandbox's format."""
    data = []
    for block in raw.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            data.append((fields.get("event", ""), json.loads(fields["data"])))
    return data


EVENTS: SseStream = (
    SseEvent("message.started", {"id": "c"}),
    SseComment(),
    SseEvent("message.delta", {"delta": "Hi"}, 1.0),
    SseEvent("message.delta", {"delta": " there"}, 1.0),
    SseEvent("message.completed", {"object": "chat.completion"}),
)
RESPONSE = ApiResponse(encode_stream(EVENTS), events=EVENTS)


def event_names(response: ApiResponse) -> list[str | None]:
    return [piece.name for piece in response.events if isinstance(piece, SseEvent)]


@pytest.mark.parametrize(
    ("fields", "remaining", "stream_end"),
    [
        ({"stream": "cut", "after_events": 2}, ["message.started", "message.delta"], "cut"),
        ({"stream": "cut", "after_events": 0}, [], "cut"),
        ({"stream": "stall", "after_events": 1}, ["message.started"], "stall"),
        ({"stream": "end"}, ["message.started", "message.delta", "message.delta"], "complete"),
        (
            {"stream": "end", "after_events": 99},
            [piece.name for piece in EVENTS if isinstance(piece, SseEvent)],
            "complete",
        ),
        ({"stream": "error", "after_events": 1}, ["message.started", "error"], "complete"),
        ({"shape": "unnamed"}, [None] * 4, "complete"),
        (
            {"shape": "done"},
            ["message.started", "message.delta", "message.delta", "message.completed", None],
            "complete",
        ),
        ({"shape": "done only"}, [None] * 4, "complete"),
        (
            {"shape": "done", "stream": "end"},
            [piece.name for piece in EVENTS if isinstance(piece, SseEvent)],
            "complete",
        ),
    ],
)
def test_fault_truncates_and_reshapes_stream(
    fields: dict[str, Any], remaining: list[str | None], stream_end: str
) -> None:
    result = inject_fault(RESPONSE, Fault(route=STREAM, **fields), "req_1")
    assert (event_names(result), result.stream_end) == (remaining, stream_end)
    assert result.body == encode_stream(result.events)


def test_error_event_has_error_body() -> None:
    for given_code, code in ((None, "internal_error"), ("rate_limited", "rate_limited")):
        last = inject_fault(RESPONSE, Fault(stream="error", code=given_code), "req_1").events[-1]
        assert isinstance(last, SseEvent)
        assert isinstance(last.payload, dict)
        assert (last.payload["error"]["code"], last.payload["error"]["requestId"]) == (code, "req_1")


def test_shapes_change_deltas_only() -> None:
    shapes: dict[str, dict[str, Any]] = {
        "delta.content": {"delta": {"content": "Hi"}},
        "delta.text": {"delta": {"type": "text", "text": "Hi"}},
        "content": {"content": "Hi"},
        "text": {"text": "Hi"},
    }
    for shape, data in shapes.items():
        pieces = SHAPES[shape](EVENTS)
        assert pieces[2] == SseEvent("message.delta", data, 1.0)
        assert (pieces[0], pieces[1], pieces[-1]) == (EVENTS[0], EVENTS[1], EVENTS[-1])


def test_stream_faults_do_not_change_other_responses() -> None:
    response = ApiResponse(b"{}")
    assert inject_fault(response, Fault(stream="cut", after_events=1, shape="done"), "req_1") == response
    assert truncate_stream((), None) == ()
    replaced = inject_fault(RESPONSE, Fault(status=503), "req_1")
    assert (replaced.status, replaced.events) == (503, ())


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": "vanish"},
        {"shape": "round"},
        {"after_events": 1, "drop": True},
        {"stream": "cut", "after_events": -1},
        {"stream": "cut", "drop": True},
        {"stream": "cut", "status": 503},
        {"shape": "done", "body": "x"},
        {"stream": "cut", "code": "rate_limited"},
    ],
)
def test_rejects_invalid_stream_fault(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Fault"):
        Fault(**fields)


async def test_close_ends_stalled_stream() -> None:
    async with running_sandbox(speed=FAST) as client:
        client.sandbox.faults.add(route=STREAM, stream="stall", after_events=1)
        reading = asyncio.create_task(send_message(client, stream=True))
        await wait_until(lambda: client.sandbox.request_log.purchases == 1)
        async with asyncio.timeout(5):
            await client.sandbox.aclose()
        await asyncio.gather(reading, return_exceptions=True)
        assert reading.exception() is not None
