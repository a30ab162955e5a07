"""Streamed responses as data: server-sent events with their delays, and the variants of them that faults ask for.

The service documents that it streams, not the events: their names, payloads and comments are assumptions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Literal

import attrs

EVENT_STREAM_TYPE: Final = "text/event-stream; charset=utf-8"

STARTED: Final = "message.started"
THOUGHT: Final = "message.thought"
DELTA: Final = "message.delta"
COMPLETED: Final = "message.completed"


@attrs.frozen
class SseEvent:
    """One event, sent `delay` seconds after the previous one. A string payload is sent as it is, others as JSON."""

    name: str | None
    payload: Mapping[str, Any] | str
    delay: float = 0.0

    def encode(self) -> bytes:
        """Returns the bytes of the event."""
        name = "" if self.name is None else f"event: {self.name}\n"
        data = self.payload if isinstance(self.payload, str) else json.dumps(self.payload, ensure_ascii=False)
        return f"{name}data: {data}\n\n".encode()


@attrs.frozen
class SseComment:
    """A keep-alive comment."""

    delay: float = 0.0

    def encode(self) -> bytes:
        """Returns the bytes of the comment."""
        return b": keep-alive\n\n"


SseStream = tuple[SseEvent | SseComment, ...]

StreamEnd = Literal["complete", "cut", "stall"]
"""End of a stream: regular, a dropped connection, or an open connection without further data."""

STREAM_ENDS: Final[Mapping[str, StreamEnd]] = {"cut": "cut", "end": "complete", "error": "complete", "stall": "stall"}
"""Ends of a stream by the field `stream` of a fault."""


def encode_stream(stream: SseStream) -> bytes:
    """Returns the bytes of the whole stream."""
    return b"".join(item.encode() for item in stream)


def without_delays(stream: SseStream) -> SseStream:
    """Returns the same stream without delays."""
    return tuple(attrs.evolve(item, delay=0.0) for item in stream)


def truncate_stream(stream: SseStream, event_count: int | None) -> SseStream:
    """Returns the stream before its event number `event_count`, counted from 0; None drops the last event."""
    positions = [index for index, item in enumerate(stream) if isinstance(item, SseEvent)]
    if event_count is None:
        return stream[: positions[-1]] if positions else ()
    return stream[: positions[event_count]] if event_count < len(positions) else stream


def _reshape_deltas(make_payload: Callable[[str], Mapping[str, Any]], stream: SseStream) -> SseStream:
    return tuple(
        attrs.evolve(item, payload=make_payload(item.payload["delta"]))
        if isinstance(item, SseEvent) and item.name == DELTA and not isinstance(item.payload, str)
        else item
        for item in stream
    )


def _without_names(stream: SseStream) -> SseStream:
    return tuple(attrs.evolve(item, name=None) if isinstance(item, SseEvent) else item for item in stream)


def _with_done(stream: SseStream) -> SseStream:
    return (*stream, SseEvent(None, "[DONE]"))


SHAPES: Final[Mapping[str, Callable[[SseStream], SseStream]]] = {
    "delta.content": partial(_reshape_deltas, lambda text: {"delta": {"content": text}}),
    "delta.text": partial(_reshape_deltas, lambda text: {"delta": {"type": "text", "text": text}}),
    "content": partial(_reshape_deltas, lambda text: {"content": text}),
    "text": partial(_reshape_deltas, lambda text: {"text": text}),
    "unnamed": _without_names,
    "done": _with_done,
    "done only": lambda stream: _with_done(_without_names(truncate_stream(stream, None))),
}
"""Shapes that the service may have. "done": `[DONE]` after the last event; "done only": in its place, no names."""
