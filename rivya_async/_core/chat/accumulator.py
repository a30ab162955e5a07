"""A streamed answer as it grows: events in, text and at last the completion out.

No public page shows the events, so every shape of the contract's section 14, point 6, is taken: the text is in `delta`
(a string, or an object with `content` or `text`), `content` or `text`; what has `object: "chat.completion"` or a
`message` is the end, and so is `[DONE]`; what is of none of these kinds changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from .. import assumptions
from ..errors import ResponseDecodeError, StreamInterruptedError
from ..http import serialization, sse
from ..types.chat import ChatCompletion

COMPLETION_FIELDS: Final[Mapping[str, type]] = {
    "id": str,
    "session_id": str,
    "model": str,
    "created_at": str,
    "usage": dict,
    "credits": dict,
}
"""Members of an event that belong to the completion: the first of each counts, but for those that grow."""

CUMULATIVE_FIELDS: Final = frozenset({"usage", "credits"})
"""Members of which the last one told counts."""


@attrs.frozen
class ChatEvent:
    """One event of a stream [10]: its name, its JSON value (the text itself where it is no JSON), the text it adds."""

    name: str
    data: Any = attrs.field(hash=False)
    delta: str = ""


class ChatStreamAccumulator:
    """What a stream has told so far. `shown` makes of a message what an error may show of it."""

    def __init__(self) -> None:
        self.mask: Callable[[str], str] = str
        self.completion: ChatCompletion | None = None
        self._pieces: list[str] = []
        self._length = 0
        self._fields: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """The answer as far as it has come."""
        self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    @property
    def session_id(self) -> str | None:
        """The chat session, once the service has named it."""
        return self.completion.session_id if self.completion is not None else self._fields.get("session_id")

    def feed(self, event: sse.Event) -> ChatEvent:
        """Take in one event.

        Raises `StreamInterruptedError` for an error of the service, `ResponseDecodeError` for a bad end.
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

    def interruption(self, why: str) -> StreamInterruptedError:
        """The error that keeps what has come."""
        said = self.mask(why).removesuffix(".")
        where = f"chat.sessions.retrieve({self.session_id!r})" if self.session_id else "a session of chat.sessions"
        return StreamInterruptedError(
            f"the stream broke off after {len(self.text)} characters of the answer: {said}. `text` has what came; "
            f"what the turn was charged is not known, and {where} may have the whole answer: look there "
            "before you ask again",
            text=self.text,
            session_id=self.session_id,
        )

    def _feed_object(self, name: str, data: Mapping[str, Any]) -> str:
        """The text that this event adds."""
        if _is_completion(name, data):
            self.completion = self._build_completion(data)
            delta = "" if self._length else self.completion.text  # a service that sends all of it at once
        else:
            told = {key: data[key] for key, kind in COMPLETION_FIELDS.items() if isinstance(data.get(key), kind)}
            self._fields = told | {
                key: value for key, value in self._fields.items() if key not in CUMULATIVE_FIELDS & told.keys()
            }
            delta = _read_delta(data) if assumptions.TEXT_EVENT_PATTERN.fullmatch(name) else ""
        self._append_delta(delta)
        return delta

    def _build_completion(self, data: Mapping[str, Any]) -> ChatCompletion:
        """The completion that this event tells, with what earlier ones told where it is silent."""
        told = {key: value for key, value in data.items() if value is not None or key not in COMPLETION_FIELDS}
        message = told.get("message")
        if self._length and (message is None or (isinstance(message, dict) and not message.get("content"))):
            told["message"] = {**(message or {}), "content": self.text}
        return serialization.structure({"id": "", **self._fields, **told}, ChatCompletion)

    def _append_delta(self, delta: str) -> None:
        self._length += len(delta)
        if self._length > assumptions.MAX_RESPONSE_BYTES:
            raise ResponseDecodeError(
                f"the answer is longer than {assumptions.MAX_RESPONSE_BYTES} characters and was not read on",
                reason="too long",
            )
        self._pieces.append(delta)

    def _complete_from_fields(self) -> None:
        """The end without a completion: one is made of what the events told."""
        if self._fields or self._length:
            answer = {"id": "", **self._fields, "message": {"content": self.text}}
            self.completion = serialization.structure(answer, ChatCompletion)

    def _stream_error(self, data: Any) -> StreamInterruptedError:
        told = data.get("error", data) if isinstance(data, dict) else data
        told = told if isinstance(told, dict) else {"message": told}
        code = _read_text(told.get("code"))
        error = self.interruption(f"{_read_text(told.get('message')) or 'an error'} [{code or 'without a code'}]")
        error.code, error.request_id = code, _read_text(told.get("requestId"))
        return error


def _parse_event_data(data: str) -> Any:
    """The JSON value of an event's data; the data itself where it is no JSON."""
    try:
        return serialization.parse_json(data.encode())
    except ResponseDecodeError:
        return data


def _is_completion(name: str, data: Mapping[str, Any]) -> bool:
    """Whether this is the whole answer, not the message that some services begin with."""
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
