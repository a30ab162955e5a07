"""Server-sent events: equal for chunks of any size, and equal to the WHATWG specification."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.errors import ResponseDecodeError
from rivya_async._core.http.sse import NEED_DATA, Decoder, Event

# --- the oracle: sections 9.2.5 and 9.2.6 of the HTML standard, implemented literally over the whole stream -----------


def oracle(stream: bytes) -> tuple[list[Event], int | None]:  # noqa: C901 - follows the steps of the specification
    """Returns all events of a complete stream, and its last reconnection time."""
    text = stream.decode("utf-8", errors="replace")
    text = text.removeprefix("\ufeff")  # "UTF-8 decode" takes one byte order mark away
    events: list[Event] = []
    data = event_type = last_id = ""
    retry: int | None = None
    while text:
        ends = [(text.index(end), end) for end in ("\r\n", "\n", "\r") if end in text]
        if not ends:
            break  # "Once the end of the file is reached, any pending data must be discarded."
        at, end = min(ends, key=lambda found: (found[0], -len(found[1])))
        line, text = text[:at], text[at + len(end) :]
        if not line:
            if data:
                events.append(Event(event_type or "message", data.removesuffix("\n"), last_id))
            data = event_type = ""
            continue
        if line[0] == ":":
            continue
        field, colon, value = line.partition(":")
        if colon and value[:1] == " ":
            value = value[1:]
        if field == "event":
            event_type = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            last_id = value
        elif field == "retry" and value and all(letter in "0123456789" for letter in value):
            retry = int(value)
    return events, retry


def decoded(*pieces: bytes) -> tuple[list[Event], int | None]:
    """Decodes a stream in these chunks."""
    decoder = Decoder()
    events: list[Event] = []
    for piece in pieces:
        decoder.feed(piece)
        while isinstance(event := decoder.next_event(), Event):
            events.append(event)
    return events, decoder.retry


def byte_by_byte(stream: bytes) -> tuple[list[Event], int | None]:
    return decoded(*(stream[at : at + 1] for at in range(len(stream))))


# --- cases of the specification ---------------------------------------------------------------------------------------

WORDS = {
    "one event": (b"data: a\n\n", [("message", "a", "")]),
    "CR": (b"data: a\rdata: b\r\r", [("message", "a\nb", "")]),
    "CRLF": (b"data: a\r\ndata: b\r\n\r\n", [("message", "a\nb", "")]),
    "all three": (b"data: a\ndata: b\rdata: c\r\n\n", [("message", "a\nb\nc", "")]),
    "LF and CR are two ends": (b"data: a\n\rdata: b\n\n", [("message", "a", ""), ("message", "b", "")]),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [("message", "a", "")]),
    "a byte order mark later": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("message", "a", "")]),
    "two byte order marks": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    "a byte order mark in data": (b"data: \xef\xbb\xbf\n\n", [("message", "\ufeff", "")]),
    "no blank line at the end": (b"data: a\n\ndata: b\n", [("message", "a", "")]),
    "no line end at the end": (b"data: a\n\ndata: b", [("message", "a", "")]),
    "comments": (b": hello\n:\ndata: a\n: data: no\n\n:\n\n", [("message", "a", "")]),
    "a name": (b"event: greeting\ndata: a\n\n", [("greeting", "a", "")]),
    "a name that is empty": (b"event: greeting\nevent:\ndata: a\n\n", [("message", "a", "")]),
    "a name without data": (b"event: greeting\n\ndata: a\n\n", [("message", "a", "")]),
    "one blank is taken": (b"data:  a \ndata:b\n\n", [("message", " a \nb", "")]),
    "no tab is taken": (b"data:\ta\n\n", [("message", "\ta", "")]),
    "no colon": (b"data\n\n", [("message", "", "")]),
    "no colon, twice": (b"data\ndata\n\n", [("message", "\n", "")]),
    "data that is empty": (b"data:\n\n", [("message", "", "")]),
    "no data": (b"\n\n\n", []),
    "an id": (b"id: 1\ndata: a\n\ndata: b\n\n", [("message", "a", "1"), ("message", "b", "1")]),
    "an id without data": (b"id: 1\n\ndata: a\n\n", [("message", "a", "1")]),
    "an id that is taken back": (b"id: 1\ndata: a\n\nid\ndata: b\n\n", [("message", "a", "1"), ("message", "b", "")]),
    "an id with a NUL": (b"id: 1\nid: 2\0\ndata: a\n\n", [("message", "a", "1")]),
    "an unknown field": (b"data: a\nmood: calm\n\n", [("message", "a", "")]),
    "a field in capitals": (b"Data: a\n\n", []),
    "a blank before the field": (b" data: a\n\n", []),
    "a colon in the value": (b"data: a: b:\n\n", [("message", "a: b:", "")]),
    "other line ends": ("data: a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\n\n".encode(), [("message", None, "")]),
    "letters beyond ASCII": ("data: “é” 🪁\n\n".encode(), [("message", "“é” 🪁", "")]),
    "no UTF-8": (b"data: \xff\xc3\n\n", [("message", "\ufffd\ufffd", "")]),
    "half a letter before the end": (b"data: \xf0\x9f\xaa\n\n", [("message", "\ufffd", "")]),
    "an overlong letter": (b"data: \xe0\x80\x80\n\n", [("message", "\ufffd\ufffd\ufffd", "")]),
    "a field that is no UTF-8": (b"dat\xff: a\n\n", []),
}


@pytest.mark.parametrize(("stream", "expected"), WORDS.values(), ids=WORDS.keys())
def test_specification_cases(stream: bytes, expected: list[tuple[str, str | None, str]]) -> None:
    events = [
        Event(name, "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg" if data is None else data, id)
        for name, data, id in expected  # noqa: A001 - the standard's word
    ]
    assert decoded(stream)[0] == events
    assert byte_by_byte(stream)[0] == events
    assert oracle(stream)[0] == events


@pytest.mark.parametrize("stream", [stream for stream, _ in WORDS.values()], ids=WORDS.keys())
@pytest.mark.parametrize(
    "before", [b"data: 0\n\n", b"event: x\r\ndata: 0\r\n\r\n", b"data: 0\n\nevent: \xff\n"], ids=repr
)
def test_specification_cases_after_another_event(before: bytes, stream: bytes) -> None:
    assert decoded(before + stream) == byte_by_byte(before + stream) == oracle(before + stream)


@pytest.mark.parametrize(
    ("stream", "retry"),
    [
        (b"retry: 1500\n", 1500),
        (b"retry:0\n", 0),
        (b"retry: 1\nretry: 2\n", 2),
        (b"retry: 1\nretry: 2s\n", 1),
        (b"retry: -1\n", None),
        (b"retry\n", None),
        (b"retry: 1.5\n", None),
        ("retry: \u0661\n".encode(), None),
        (b"retry: 1500", None),
    ],
)
def test_reconnection_time(stream: bytes, retry: int | None) -> None:
    assert decoded(stream) == byte_by_byte(stream) == oracle(stream) == ([], retry)


def test_ignores_long_reconnection_time() -> None:
    assert decoded(b"retry: 999999999999\nretry: " + b"9" * 100_000 + b"\n")[1] == 999_999_999_999


# --- chunks of any size -----------------------------------------------------------------------------------------------

FRAGMENTS = st.sampled_from(
    [
        *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b":", b" ", b"\0", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xff"),
        *(
            b"data",
            b"data:",
            b"data: a",
            b"event: b",
            b"id: 1",
            b"id",
            b"retry: 30",
            b": comment",
            b"\xf0\x9f",
            b"\xaa",
            b"data: a\n\n",
            b"event: b\r\ndata:  c\r\ndata:d\r\n\r\n",
            b"event:\ndata: \xff\ndata\ndata: :\n\n",
        ),
    ]
)
STREAMS = st.one_of(st.lists(FRAGMENTS, max_size=40).map(b"".join), st.binary(max_size=60))


@given(STREAMS, st.lists(st.integers(0, 400), max_size=8))
def test_chunks_of_any_size_decode_equally(stream: bytes, cuts: list[int]) -> None:
    ends = sorted(min(cut, len(stream)) for cut in cuts)
    pieces = [stream[start:stop] for start, stop in zip([0, *ends], [*ends, len(stream)], strict=True)]
    assert decoded(*pieces) == decoded(stream) == byte_by_byte(stream) == oracle(stream)


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 20,
        b": " + b"x" * 20 + b"\n",
        b"data: 12345\n" * 4,
        b"data\n" * 18,
        b"event: " + b"x" * 20 + b"\n\n",
    ],
    ids=["a line without an end", "a comment", "much data", "many empty lines", "a name"],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_rejects_long_input_after_earlier_events(stream: bytes, size: int) -> None:
    decoder = Decoder(max_bytes=16)
    stream = b"data: good\n\n" + stream
    events: list[Event] = []

    def decode() -> None:
        for at in range(0, len(stream), size):
            decoder.feed(stream[at : at + size])
            while isinstance(event := decoder.next_event(), Event):
                events.append(event)

    with pytest.raises(ResponseDecodeError, match="16 bytes") as raised:
        decode()
    assert [event.data for event in events] == ["good"]
    assert raised.value.reason == "too long"
    with pytest.raises(ResponseDecodeError):
        decoder.next_event()


def test_accepts_input_of_maximum_size() -> None:
    decoder = Decoder(max_bytes=16)
    decoder.feed(b"data: 0123456789\n\n" * 2 + b": 34567890123456\n")
    assert [decoder.next_event(), decoder.next_event(), decoder.next_event()] == [
        Event("message", "0123456789")
    ] * 2 + [NEED_DATA]


def test_empty_chunk_changes_nothing() -> None:
    decoder = Decoder()
    for piece in (b"data: a\r", b"", b"\n\r", b"", b"\n"):
        decoder.feed(piece)
    assert decoder.next_event() == Event("message", "a")
    assert decoder.next_event() is NEED_DATA
