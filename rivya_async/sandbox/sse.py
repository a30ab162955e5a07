"""A streamed answer as data: its events and when they come, and what a fault makes of them. Pure.

The service documents that it streams, not what: names, shapes and comments are assumptions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import attrs

EVENT_STREAM_TYPE: Final = "text/event-stream; charset=utf-8"

STARTED: Final = "message.started"
THOUGHT: Final = "message.thought"
DELTA: Final = "message.delta"
COMPLETED: Final = "message.completed"


@attrs.frozen
class SseEvent:
    """One event, `after` seconds after the one before it. Without a name and with a string it is a bare `data` line."""

    name: str | None
    payload: Mapping[str, Any] | str
    after: float = 0.0

    def encode(self) -> bytes:
        """As it travels."""
        name = "" if self.name is None else f"event: {self.name}\n"
        data = self.payload if isinstance(self.payload, str) else json.dumps(self.payload, ensure_ascii=False)
        return f"{name}data: {data}\n\n".encode()


@attrs.frozen
class SseComment:
    """A sign of life."""

    after: float = 0.0

    def encode(self) -> bytes:
        """As it travels."""
        return b": keep-alive\n\n"


SseStream = tuple[SseEvent | SseComment, ...]

Ending = Literal["whole", "cut", "stall"]
"""How a stream ends: as HTTP wants it, with a dropped connection, or not at all."""


def encode(pieces: SseStream) -> bytes:
    """The whole stream."""
    return b"".join(piece.encode() for piece in pieces)


def at_once(pieces: SseStream) -> SseStream:
    """The same stream without its pauses."""
    return tuple(attrs.evolve(piece, after=0.0) for piece in pieces)


def first_events(pieces: SseStream, count: int | None) -> SseStream:
    """The stream up to its `count`-th event; None is all but the last."""
    events = [index for index, piece in enumerate(pieces) if isinstance(piece, SseEvent)]
    if count is None:
        return pieces[: events[-1]] if events else ()
    return pieces[: events[count]] if count < len(events) else pieces


def _deltas_as(make: Callable[[str], Mapping[str, Any]]) -> Callable[[SseStream], SseStream]:
    def reshape(pieces: SseStream) -> SseStream:
        return tuple(_with_delta(piece, make) for piece in pieces)

    return reshape


def _with_delta(piece: SseEvent | SseComment, make: Callable[[str], Mapping[str, Any]]) -> SseEvent | SseComment:
    if isinstance(piece, SseComment) or isinstance(piece.payload, str) or piece.name != DELTA:
        return piece
    return attrs.evolve(piece, payload=make(piece.payload["delta"]))


def _unnamed(pieces: SseStream) -> SseStream:
    return tuple(attrs.evolve(piece, name=None) if isinstance(piece, SseEvent) else piece for piece in pieces)


def _done(pieces: SseStream) -> SseStream:
    return (*pieces, SseEvent(None, "[DONE]"))


def _done_only(pieces: SseStream) -> SseStream:
    return _done(_unnamed(first_events(pieces, None)))


SHAPES: Final[Mapping[str, Callable[[SseStream], SseStream]]] = {
    "delta.content": _deltas_as(lambda text: {"delta": {"content": text}}),
    "delta.text": _deltas_as(lambda text: {"delta": {"type": "text", "text": text}}),
    "content": _deltas_as(lambda text: {"content": text}),
    "text": _deltas_as(lambda text: {"text": text}),
    "unnamed": _unnamed,
    "done": _done,
    "done only": _done_only,
}
"""Other shapes that the service may turn out to have. "done": `[DONE]` after the end; "done only": in its place."""
