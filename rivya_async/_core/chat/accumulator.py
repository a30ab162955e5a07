"""Accumulation of a streamed answer: from events to its text and its completion.

No public page shows the events, so all shapes of the contract (section 14.6) are accepted: the text is in `delta` (a
string, or an object with `content` or `text`), `content` or `text`, at the top or in the first of `choices`; an event
with `object: "chat.completion"` or a `message` is the end, and so is `[DONE]`. An event that reports an error in any
shape ends the stream, and so does one that may be text but cannot be read. Other events are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from .. import assumptions
from ..errors import ResponseDecodeError, StreamInterruptedError
from ..http import serialization, sse
from ..public_module import set_public_module
from ..types.chat import ChatCompletion, Usage
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

ERROR_PATTERN: Final = re.compile("error|fail|exception|abort", re.IGNORECASE)
"""Words by which the name, the type or the status of an event reports an error."""

ERROR_HINT_PATTERN: Final = re.compile(
    rf'{ERROR_PATTERN.pattern}|"(?:code|detail|message|ok|status|statusCode|success)"', re.IGNORECASE
)
"""Words that the data of every event with an error contains. Other events need no closer check, which is slow."""

ERROR_MESSAGE_PATTERN: Final = re.compile(f"{ERROR_PATTERN.pattern}|time.?out|timed out|unavailable", re.IGNORECASE)
"""Words by which a message without a code reports an error."""

KEEP_ALIVE_PATTERN: Final = re.compile(r"\W*(?:ping|heartbeat|keep.?alive)?\W*", re.IGNORECASE)
"""Data of events by which some services keep a connection alive."""

MIN_ERROR_STATUS: Final = 400
"""Lowest HTTP status of an error."""

MAX_ERROR_TEXT: Final = 500
"""Maximum number of characters of an error of the service in an error message."""


@attrs.frozen
class ChatEvent(Record):
    """Event of a stream."""

    name: str
    """Name of the event."""
    data: Any = attrs.field(hash=False)
    """JSON value of the event, or its raw text if it is not JSON."""
    delta: str = ""
    """Text that the event adds to the answer; may be empty."""


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
        delta = ""
        if data == assumptions.STREAM_END_MARKER:
            self.completion = serialization.structure(self._build_fields({}), ChatCompletion)
        elif (ERROR_HINT_PATTERN.search(event.data) or ERROR_PATTERN.search(event.name)) and (
            error := find_error(event.name, data)
        ) is not None:
            raise self._stream_error(error, data)
        elif isinstance(data, dict):
            delta = self._feed_object(event.name, data)
        elif data and _may_have_text(event.name) and not KEEP_ALIVE_PATTERN.fullmatch(event.data):
            raise self.interruption(f"the service sent an event that cannot be read: {event.data[:MAX_ERROR_TEXT]!r}")
        if self.completion is not None and not self.completion.text and self.completion.usage in {None, Usage()}:
            self.completion = None
            raise self.interruption("it ended without any text")
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
            self.completion = serialization.structure(self._build_fields(data), ChatCompletion)
            delta = "" if self._length else self.completion.text  # a service that sends all of it at once
        else:
            fields = {key: data[key] for key, kind in COMPLETION_FIELDS.items() if isinstance(data.get(key), kind)}
            latest = {key: value for key, value in fields.items() if key in CUMULATIVE_FIELDS}
            self._fields = fields | self._fields | latest
            delta = _read_delta(data) if _may_have_text(name) else ""
        self._append_delta(delta)
        return delta

    def _build_fields(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the members of the completion of the last event; missing ones come from earlier events."""
        fields = {key: value for key, value in data.items() if value is not None or key not in COMPLETION_FIELDS}
        message = fields.get("message") or _first_choice(data).get("message")
        if self._length and (message is None or (isinstance(message, dict) and not message.get("content"))):
            message = {**(message or {}), "content": self.text}
        return {"id": "", **self._fields, **fields, "message": {} if message is None else message}

    def _append_delta(self, delta: str) -> None:
        self._length += len(delta)
        if self._length > assumptions.MAX_RESPONSE_BYTES:
            raise ResponseDecodeError(
                f"the answer is longer than {assumptions.MAX_RESPONSE_BYTES} characters; the rest was not read",
                reason="too long",
            )
        self._pieces.append(delta)

    def _stream_error(self, error: Any, data: Any) -> StreamInterruptedError:
        """Returns the error for an event with this error; members that the error lacks come from the event's data."""
        sources = [source for source in (error, data) if isinstance(source, dict)]
        message = _first_text(sources, "message", "detail", "title", "msg", "reason", "error_message", "error")
        if isinstance(error, str):
            message = error
        elif message is None and error not in ({}, True):
            message = str(error)
        code = _first_text(sources, "code", "error_code", "status") or _first_text(sources[:1], "type")
        interruption = self.interruption(f"{(message or 'an error')[:MAX_ERROR_TEXT]} [{code or 'without a code'}]")
        interruption.code = code
        interruption.request_id = _first_text(sources, "requestId", "request_id")
        return interruption


def find_error(name: str, data: Any) -> Any:
    """Returns the error that an event reports, as an object, a text or True; None if it reports none."""
    if ERROR_PATTERN.search(name):
        return (_own_error(data) if isinstance(data, dict) else data) or data or True
    if isinstance(data, list):
        data = data[0] if data else None
    if not isinstance(data, dict):
        return None
    if (error := _own_error(data)) is not None:
        return error
    choice = _first_choice(data)
    nested = (choice, choice.get("delta"), *(data.get(key) for key in ("delta", "response", "data", "result")))
    found = (_own_error(value) for value in nested if isinstance(value, dict))
    return next((error for error in found if error is not None), None)


def _own_error(data: Mapping[str, Any]) -> Any:
    """Returns the error that an object reports outside of nested objects; None if it reports none."""
    for key in ("error", "errors"):
        value = data.get(key)
        if value or isinstance(value, dict):
            return value[0] if isinstance(value, list) else value
    for key in ("type", "object", "event", "status", "finish_reason"):
        value = data.get(key)
        if isinstance(value, str) and ERROR_PATTERN.search(value):
            return data
    is_error = data.get("success") is False or data.get("ok") is False or _is_refusal(data)
    return data if is_error else None


def _is_refusal(data: Mapping[str, Any]) -> bool:
    """Returns True for an object in the place of an event: `detail`, or a message with a code or words of an error."""
    if _read_delta(data):
        return False
    message = data.get("message")
    if isinstance(message, str):
        return bool(data.get("code") or data.get("error_code") or ERROR_MESSAGE_PATTERN.search(message))
    status = data.get("status", data.get("statusCode"))
    is_error_status = isinstance(status, int) and status >= MIN_ERROR_STATUS
    return is_error_status or bool(data.get("detail") or data.get("error_code") or data.get("error_message"))


def _parse_event_data(data: str) -> Any:
    """Returns the JSON value of the data of an event, or the data itself if it is not JSON."""
    try:
        return serialization.parse_json(data.encode())
    except ResponseDecodeError:
        return data


def _is_completion(name: str, data: Mapping[str, Any]) -> bool:
    """Returns True for the whole answer, not for the message at the start of some streams."""
    return data.get("object") == "chat.completion" or (isinstance(data.get("message"), dict) and "start" not in name)


def _may_have_text(name: str) -> bool:
    return assumptions.TEXT_EVENT_PATTERN.fullmatch(name) is not None


def _first_choice(data: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = data.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _read_delta(data: Mapping[str, Any]) -> str:
    for name in ("delta", "content", "text"):
        if (text := _read_content(data.get(name))) is not None:
            return text
    choice = _first_choice(data)
    return _read_delta(choice) if choice else ""


def _read_content(value: Any) -> str | None:
    """Returns the text of a string, of an object with `content` or `text`, or of a list of such parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        value = value.get("content") or value.get("text")
    if isinstance(value, list):
        value = "".join(_read_content(part) or "" for part in value)
    return value if isinstance(value, str) else None


def _first_text(sources: list[dict[str, Any]], *names: str) -> str | None:
    """Returns the first text or whole number among these members of these objects."""
    for source in sources:
        for name in names:
            value = source.get(name)
            if value and isinstance(value, str | int) and not isinstance(value, bool):
                return str(value)
    return None


set_public_module("rivya_async", ChatEvent)
