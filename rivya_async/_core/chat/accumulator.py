"""Accumulation of a streamed answer: from events to its text and its completion.

No public page shows the events, so all shapes of the contract (section 14.6) are accepted: the text is in `delta` (a
string, or an object with `content` or `text`), `content` or `text`; an event with `object: "chat.completion"` or a
`message` is the end, and so is `[DONE]`; other events are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from .. import assumptions
from ..errors import ResponseDecodeError, StreamInterruptedError
from ..http import serialization, sse
from ..types.chat import ChatCompletion
from ..types.record import Record

COMPLETION_FIELDS: Final[Mapping[str, type]] = {
    "id": str,
    "session_id": str,
    "model": str,
    "created_at": str,
    "usage": dict,
    "credits": dict,
}
"""Types of the members of the completion in events. The first value counts, but see `CUMULATIVE_FIELDS`."""

CUMULATIVE_FIELDS: Final = frozenset({"usage", "credits"})
"""Members of the completion whose last value counts."""


@attrs.frozen
class ChatEvent(Record):
    """Event of a stream [10]: its name, its JSON value (or raw text if it is not JSON), and the text that it adds."""

    name: str
    data: Any = attrs.field(hash=False)
    delta: str = ""


class ChatStreamAccumulator:
    """Accumulated state of a stream. `mask` removes secrets from messages of errors."""

    def __init__(self) -> None:
        self.mask: Callable[[str], str] = str
        self.completion: ChatCompletion | None = None
        self._pieces: list[str] = []
        self._length = 0
        self._fields: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """The text received so far."""
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    @property
    def session_id(self) -> str | None:
        """The id of the chat session, once an event contains it."""
        return self.completion.session_id if self.completion is not None else self._fields.get("session_id")

    def feed(self, event: sse.Event) -> ChatEvent:
        """Adds one event.

        Raises `StreamInterruptedError` for an error event, `ResponseDecodeError` for an invalid completion.
        """
        data = _parse_event_data(event.data)
        if event.name == "error" or (isinstance(data, dict) and isinstance(data.get("error"), dict)):
            raise self._stream_error(data)
        delta = ""
        if data == assumptions.STREAM_END_MARKER:
            self._complete_from_fields()
        elif isinstance(data, dict):
            delta = self._feed_object(event.name, data)
        return ChatEvent(event.name, data, delta)

    def interruption(self, reason: str) -> StreamInterruptedError:
        """Returns the error for an interrupted stream, with the text received so far."""
        cause = self.mask(reason).removesuffix(".")
        source = f"chat.sessions.retrieve({self.session_id!r})" if self.session_id else "a session of chat.sessions"
        return StreamInterruptedError(
            f"the stream broke off after {len(self.text)} characters of the answer: {cause}. `text` has the part "
            f"received; the charge for the turn is unknown, and {source} may have the whole answer: check it "
            "before you ask again",
            text=self.text,
            session_id=self.session_id,
        )

    def _feed_object(self, name: str, data: Mapping[str, Any]) -> str:
        """Returns the text that an event with an object as data adds."""
        if _is_completion(name, data):
            self.completion = self._build_completion(data)
            delta = "" if self._length else self.completion.text  # a service that sends all of it at once
        else:
            fields = {key: data[key] for key, kind in COMPLETION_FIELDS.items() if isinstance(data.get(key), kind)}
            latest = {key: value for key, value in fields.items() if key in CUMULATIVE_FIELDS}
            self._fields = fields | self._fields | latest
            delta = _read_delta(data) if assumptions.TEXT_EVENT_PATTERN.fullmatch(name) else ""
        self._append_delta(delta)
        return delta

    def _build_completion(self, data: Mapping[str, Any]) -> ChatCompletion:
        """Returns the completion of the last event; members missing from it come from earlier events."""
        fields = {key: value for key, value in data.items() if value is not None or key not in COMPLETION_FIELDS}
        message = fields.get("message")
        if self._length and (message is None or (isinstance(message, dict) and not message.get("content"))):
            fields["message"] = {**(message or {}), "content": self.text}
        return serialization.structure({"id": "", **self._fields, **fields}, ChatCompletion)

    def _append_delta(self, delta: str) -> None:
        self._length += len(delta)
        if self._length > assumptions.MAX_RESPONSE_BYTES:
            raise ResponseDecodeError(
                f"the answer is longer than {assumptions.MAX_RESPONSE_BYTES} characters; the rest was not read",
                reason="too long",
            )
        self._pieces.append(delta)

    def _complete_from_fields(self) -> None:
        """Builds the completion of a stream that ends without one."""
        if self._fields or self._length:
            answer = {"id": "", **self._fields, "message": {"content": self.text}}
            self.completion = serialization.structure(answer, ChatCompletion)

    def _stream_error(self, data: Any) -> StreamInterruptedError:
        value = data.get("error", data) if isinstance(data, dict) else data
        members = value if isinstance(value, dict) else {"message": value}
        code = _read_text(members.get("code"))
        error = self.interruption(f"{_read_text(members.get('message')) or 'an error'} [{code or 'without a code'}]")
        error.code, error.request_id = code, _read_text(members.get("requestId"))
        return error


def _parse_event_data(data: str) -> Any:
    """Returns the JSON value of the data of an event, or the data itself if it is not JSON."""
    try:
        return serialization.parse_json(data.encode())
    except ResponseDecodeError:
        return data


def _is_completion(name: str, data: Mapping[str, Any]) -> bool:
    """Returns True for the whole answer, not for the message at the start of some streams."""
    return data.get("object") == "chat.completion" or (isinstance(data.get("message"), dict) and "start" not in name)


def _read_delta(data: Mapping[str, Any]) -> str:
    values = (data.get(name) for name in ("delta", "content", "text"))
    return next((text for value in values if (text := _read_content(value)) is not None), "")


def _read_content(value: Any) -> str | None:
    if isinstance(value, dict):
        value = next((value[name] for name in ("content", "text") if isinstance(value.get(name), str)), None)
    return value if isinstance(value, str) else None


def _read_text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
