"""Standard streams whose failures never end a command: a failed write is recorded, and later output is dropped."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager
from io import RawIOBase, TextIOWrapper
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDARD_DESCRIPTORS: Final = 3
"""Number of the standard streams: stdin, stdout and stderr."""


class ResilientWriter(RawIOBase):
    """Raw stream that writes everything, or records the error and drops the rest.

    Waits for the reader of a non-blocking stream. `raw` is None where the process was started without the stream.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.error = OSError(errno.EBADF, "it was closed before the start") if raw is None else None
        self.has_dropped = False

    def writable(self) -> bool:
        """Returns True."""
        return True

    def isatty(self) -> bool:
        """Returns True for a terminal that can be written to."""
        return self.error is None and bool(self._raw.isatty())

    def fileno(self) -> int:
        """Returns the file descriptor. Raises `OSError` if there is none."""
        return int(super().fileno() if self._raw is None else self._raw.fileno())

    def write(self, data: Any, /) -> int:
        """Writes the data and returns its length, also where it is dropped."""
        remaining = memoryview(data).cast("B")
        length = len(remaining)
        while remaining and self.error is None:
            try:
                count = self._raw.write(remaining)
                if count is None:
                    _wait_until_writable(self._raw)
                else:
                    remaining = remaining[count:]
            except OSError as error:
                self.error = error
        self.has_dropped = self.has_dropped or len(remaining) > 0
        return length


def _wait_until_writable(raw: Any) -> None:
    import select  # loaded here, for almost no command needs it

    select.select([], [raw.fileno()], [])


@contextmanager
def resilient_streams() -> Iterator[None]:
    """Replaces `sys.stdout` and `sys.stderr` while the context is open."""
    for descriptor in range(STANDARD_DESCRIPTORS):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file or socket would get this number
            os.open(os.devnull, os.O_RDWR)
    originals = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_wrap, originals)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = originals


def _wrap(stream: TextIO | None) -> TextIO:
    buffer = getattr(stream, "buffer", None)
    raw = buffer if isinstance(buffer, RawIOBase) else getattr(buffer, "raw", None)  # with PYTHONUNBUFFERED raw itself
    if stream is None or raw is None:
        return stream or TextIOWrapper(ResilientWriter(None), "utf-8", "replace")  # type: ignore[type-var] # raw is enough
    stream.flush()
    return TextIOWrapper(ResilientWriter(raw), stream.encoding, "replace", line_buffering=True)  # type: ignore[type-var]


def write_failure(stream: TextIO) -> OSError | None:
    """Returns the error because of which the stream has dropped output, or None if it has dropped none."""
    writer = getattr(stream, "buffer", None)
    return writer.error if isinstance(writer, ResilientWriter) and writer.has_dropped else None
