"""Throughput of decoding server-sent events, compared with splitting the stream into lines."""

from __future__ import annotations

import codecs
import re
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Final

from rivya_async._core.http.sse import NEED_DATA, Decoder

from .report import format_table, target

STREAM_BYTES: Final = 4_000_000
CHUNKS: Final = (1024, 16 * 1024, 64 * 1024)
LINE_END: Final = re.compile("\r\n|\r|\n")

TOKEN: Final = b'{"delta": " token", "index": 12}'
EVENTS: Final = {
    "a token, 53 bytes": b"event: message.delta\ndata: " + TOKEN[:24] + b"\n\n",
    "200 bytes": b"event: message.delta\ndata: " + b"x" * 171 + b"\n\n",
    "1 KiB": b"data: " + b"x" * 1016 + b"\n\n",
    "16 KiB": b"data: " + b"x" * 16_376 + b"\n\n",
    "three lines of data": b"data: " + TOKEN + b"\ndata: " + TOKEN + b"\ndata: " + TOKEN + b"\n\n",
}
MIN_MB_PER_SECOND: Final = 100.0
"""Target in MB/s; the alternative is `MOST_RATIO`."""
MOST_RATIO: Final = 2.0


def run_benchmark(options: Namespace) -> str:
    """Measures and formats the table and the target."""
    rounds = 1 if options.quick else 7
    rows, missed = [], []
    for name, event in EVENTS.items():
        for chunk in CHUNKS:
            pieces = _split_chunks(event * (STREAM_BYTES // len(event)), chunk)
            ours = plain = float("inf")
            for _ in range(rounds):  # alternately, so that other load affects both
                ours, plain = min(ours, _seconds(_decode, pieces)), min(plain, _seconds(_split_lines, pieces))
            speed, ratio = STREAM_BYTES / ours / 1e6, ours / plain
            rows.append(
                [name, f"{chunk // 1024} KiB", f"{STREAM_BYTES / plain / 1e6:.0f}", f"{speed:.0f}", f"{ratio:.2f}"]
            )
            if speed < MIN_MB_PER_SECOND and ratio > MOST_RATIO:
                missed.append(f"{name} in chunks of {chunk // 1024} KiB: {speed:.0f} MB/s, {ratio:.2f} times")
    claim = f"{MIN_MB_PER_SECOND:g} MB/s, or at most {MOST_RATIO:g} times the time of splitting lines"
    return "\n".join(
        [
            f"Server-sent events of {STREAM_BYTES // 1_000_000} MB in all, the best of {rounds} runs",
            "",
            format_table(["event", "chunks", "lines only, MB/s", "events, MB/s", "ratio"], rows),
            "",
            target(claim, "; ".join(missed) or "every row", met=not missed),
        ]
    )


def _split_chunks(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def _seconds(work: Callable[[list[bytes]], int], pieces: list[bytes]) -> float:
    started_at = time.perf_counter()
    work(pieces)
    return time.perf_counter() - started_at


def _decode(pieces: list[bytes]) -> int:
    """Counts the events of the stream."""
    decoder, count = Decoder(), 0
    for piece in pieces:
        decoder.feed(piece)
        while decoder.next_event() is not NEED_DATA:
            count += 1
    return count


def _split_lines(pieces: list[bytes]) -> int:
    """Counts the lines of the stream as text: the minimum work in pure Python."""
    decode, rest, count = codecs.getincrementaldecoder("utf-8")("replace").decode, "", 0
    for piece in pieces:
        *lines, rest = LINE_END.split(rest + decode(piece))
        for _ in lines:
            count += 1
    return count
