r"""Server-sent events: bytes in, events out, by the rules of the WHATWG ("9.2.6 Interpreting an event stream").

Feed what came, then take events until there are none:

>>> decoder = Decoder()
>>> decoder.feed(b"event: greeting\n")
>>> decoder.feed(b"data: Hello\n\n: a comment\ndata: not yet wh")
>>> decoder.next()
Event(name='greeting', data='Hello', id='')
>>> decoder.next() is NEED_DATA
True
"""

from __future__ import annotations

import re
from collections import deque
from enum import Enum
from typing import Final, Literal

import attrs

from . import assumed
from .errors import DecodeError

LINE_END: Final = re.compile(rb"\r\n|\r|\n")
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

MAX_RETRY_DIGITS: Final = 12
"""A longer reconnection time is ignored: it is beyond all patience."""


class Need(Enum):
    """What `Decoder.next` says when it has no event."""

    DATA = "feed me more"


NEED_DATA: Final = Need.DATA


@attrs.frozen
class Event:
    """One event. `id` is the last event id that the stream has given, on this event or before it."""

    name: str
    data: str
    id: str = ""


class Decoder:
    """Decodes one stream, however its bytes are cut, in linear time.

    Lines end in CR, LF or CRLF and in nothing else. Bytes that are no UTF-8 become U+FFFD. An event without data, or
    one that the stream ends in the middle of, is dropped. `retry` is the last reconnection time, in milliseconds.

    `next` raises `DecodeError`, and goes on raising it, once a line or the data of an event exceeds `max_bytes`. What
    was fed is kept until it is taken.
    """

    def __init__(self, max_bytes: int = assumed.MAX_EVENT_BYTES) -> None:
        self.retry: int | None = None
        self._max_bytes = max_bytes
        self._lines: deque[bytes] = deque()
        self._rest = bytearray()
        self._is_after_cr = False
        self._is_first_line = True
        self._name = ""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._id = ""

    def feed(self, data: bytes) -> None:
        """Take in the next piece of the stream."""
        if not data:
            return
        if self._is_after_cr and data.startswith(b"\n"):
            data = data[1:]  # the CR before it has ended the line
        self._is_after_cr = data.endswith(b"\r")
        first, *others = LINE_END.split(data)
        self._rest += first
        if others:
            self._lines.append(bytes(self._rest))
            self._lines.extend(others[:-1])
            self._rest = bytearray(others[-1])

    def next(self) -> Event | Literal[Need.DATA]:
        """The next event, or `NEED_DATA`."""
        while self._lines:
            self._check(len(self._lines[0]), "a line")
            self._check(self._data_bytes, "an event")
            event = self._take(self._lines.popleft())
            if event is not None:
                return event
        self._check(len(self._rest), "a line")
        self._check(self._data_bytes, "an event")
        return NEED_DATA

    def _check(self, size: int, what: str) -> None:
        if size > self._max_bytes:
            raise DecodeError(
                f"the service sent {what} of more than {self._max_bytes} bytes in an event stream",
                reason="too long",
                is_json=False,
            )

    def _take(self, line: bytes) -> Event | None:
        """The event that this line completes."""
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        self._set(field, value.removeprefix(b" "))
        return None

    def _set(self, field: bytes, value: bytes) -> None:
        """One field; a comment is one without a name. The match looks at bytes: no invalid ones become a known name."""
        match field:
            case b"data":
                self._data.append(value)
                self._data_bytes += len(value) + 1
            case b"event":
                self._name = _text(value)
            case b"id" if b"\0" not in value:
                self._id = _text(value)
            case b"retry" if value.isdigit() and len(value) <= MAX_RETRY_DIGITS:
                self.retry = int(value)

    def _dispatch(self) -> Event | None:
        name, data = self._name, self._data
        self._name, self._data, self._data_bytes = "", [], 0
        if not data:
            return None
        return Event(name or "message", _text(b"\n".join(data)), self._id)


def _text(value: bytes) -> str:
    """Decoded per value: line ends are ASCII, which no UTF-8 sequence, whole or broken, reaches over."""
    return value.decode(errors="replace")
