r"""Decoder of server-sent events (WHATWG HTML, section 9.2.6 "Interpreting an event stream").

Feed received bytes, then read events until more data is needed:

>>> decoder = Decoder()
>>> decoder.feed(b"event: greeting\n")
>>> decoder.feed(b"data: Hello\n\n: a comment\ndata: not yet wh")
>>> decoder.next_event()
Event(name='greeting', data='Hello', id='')
>>> decoder.next_event() is NEED_DATA
True
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, Literal, NamedTuple

from .. import assumptions
from ..errors import ResponseDecodeError

LINE_PATTERN: Final = re.compile(rb"([^\r\n]*+)(?:\r\n|\r|\n)")
COMPLETE_EVENT_PATTERN: Final = re.compile(
    rb"(?:event: ?([^\r\n]*+)\r?\n)?data: ?([^\r\n]*+)\r?\n((?:data: ?[^\r\n]*+\r?\n)*+)\r?\n"
)
"""Complete event in the usual shape, which is decoded in one step; other events are decoded line by line."""

DATA_LINE_PATTERN: Final = re.compile(rb"data: ?([^\r\n]*+)")

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

MAX_RETRY_DIGITS: Final = 12
"""Maximum number of digits of a reconnection time; a longer one is ignored."""


class Incomplete(Enum):
    """Result of `Decoder.next_event` without a complete event."""

    DATA = "more data is needed"


NEED_DATA: Final = Incomplete.DATA

_new_event: Final = tuple.__new__
"""Constructor of events that takes half the time of the class."""


class Event(NamedTuple):
    """Event of a stream. `id` is the last event id of the stream, on this event or an earlier one."""

    name: str
    data: str
    id: str = ""


class Decoder:
    """Decoder of one stream in linear time, for chunks of any size.

    Lines end in CR, LF or CRLF. Invalid UTF-8 becomes U+FFFD. Events without data and incomplete events at the end are
    dropped. `retry` is the last reconnection time in milliseconds.

    `next_event` raises `ResponseDecodeError`, also on later calls, once a line or the data of an event exceeds
    `max_bytes`.
    """

    def __init__(self, max_bytes: int = assumptions.MAX_EVENT_BYTES) -> None:
        self.retry: int | None = None
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._at = 0  # offset of the next line in the buffer
        self._may_have_line = False
        self._is_after_cr = False
        self._is_first_line = True
        self._is_between_events = False  # false at the beginning, which may have a byte order mark
        self._name = ""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._id = ""

    def feed(self, data: bytes) -> None:
        """Adds the next chunk of the stream."""
        if not data:
            return
        if self._is_after_cr and data.startswith(b"\n"):
            data = data[1:]  # part of the CRLF whose CR ended the line
        self._is_after_cr = data.endswith(b"\r")
        self._may_have_line = self._may_have_line or b"\n" in data or self._is_after_cr or b"\r" in data
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += data

    def next_event(self) -> Event | Literal[Incomplete.DATA]:
        """Returns the next event, or `NEED_DATA`."""
        while self._may_have_line:
            if self._is_between_events:
                whole = COMPLETE_EVENT_PATTERN.match(self._buffer, self._at)
                if whole is not None and (end := whole.end()) - self._at <= self._max_bytes:
                    self._at = end
                    return self._build_event(*whole.groups())
            line = self._read_line()
            if line is not None:
                event = self._process_line(line)
                if event is not None:
                    return event
        self._check_size(len(self._buffer) - self._at, "a line")
        self._check_size(self._data_bytes, "an event")
        return NEED_DATA

    def _read_line(self) -> bytes | None:
        """Returns the next line without its end; None if it is incomplete."""
        found = LINE_PATTERN.match(self._buffer, self._at)
        if found is None:
            self._may_have_line = False
            return None
        line: bytes = found[1]
        self._check_size(len(line), "a line")
        self._check_size(self._data_bytes, "an event")
        self._at = found.end()
        return line

    def _check_size(self, size: int, name: str) -> None:
        if size > self._max_bytes:
            raise ResponseDecodeError(
                f"the service sent {name} of more than {self._max_bytes} bytes in an event stream",
                reason="too long",
                is_json=False,
            )

    def _process_line(self, line: bytes) -> Event | None:
        """Returns the event that this line completes, if any."""
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        self._set_field(field, value.removeprefix(b" "))
        return None

    def _set_field(self, field: bytes, value: bytes) -> None:
        """Stores a field. A comment has no name. Names are compared as bytes, so that invalid UTF-8 never matches."""
        self._is_between_events = False
        match field:
            case b"data":
                self._data.append(value)
                self._data_bytes += len(value) + 1
            case b"event":
                self._name = _decode_text(value)
            case b"id" if b"\0" not in value:
                self._id = _decode_text(value)
            case b"retry" if value.isdigit() and len(value) <= MAX_RETRY_DIGITS:
                self.retry = int(value)

    def _dispatch(self) -> Event | None:
        name, data = self._name, self._data
        self._name, self._data, self._data_bytes, self._is_between_events = "", [], 0, True
        if not data:
            return None
        return Event(name or "message", _decode_text(b"\n".join(data)), self._id)

    def _build_event(self, name: bytes | None, data: bytes, more: bytes) -> Event:
        """Returns the event of a complete match; `more` are the lines of data after the first."""
        if more:
            data = b"\n".join([data, *DATA_LINE_PATTERN.findall(more)])
        try:
            return _new_event(Event, (name.decode() if name else "message", data.decode(), self._id))
        except UnicodeDecodeError:
            return Event(_decode_text(name) if name else "message", _decode_text(data), self._id)


def _decode_text(value: bytes) -> str:
    """Decodes one value: line ends are ASCII, so that no UTF-8 sequence crosses them."""
    return value.decode(errors="replace")
