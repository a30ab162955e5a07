"""Readers of the chunks of an upload: from files, in threads, and from asynchronous streams and iterators."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, BinaryIO, Final, Protocol, TypeAlias

from ..._core.errors import ConfigurationError

CHUNK_BYTES: Final = 256 * 1024
"""Bytes that are read from a file at once."""


class AsyncReadable(Protocol):
    """A stream with an asynchronous `read`: an `asyncio.StreamReader`, or a file that a web framework received."""

    async def read(self, size: int = -1, /) -> bytes:
        """Returns at most `size` bytes, empty at the end."""
        ...


class ChunkReader(Protocol):
    """One pass over a source."""

    async def read(self) -> bytes:
        """Returns the next chunk, empty at the end."""
        ...

    async def aclose(self) -> None:
        """Waits for a read in progress, and closes the file if this pass opened it."""


FileState: TypeAlias = tuple[int, int]
"""Size and modification time of a file, by which a change is noticed."""


def file_state(file: BinaryIO) -> FileState | None:
    """Returns the state of an open file; None if it is not on a disk."""
    try:
        status = os.fstat(file.fileno())
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


class FileChunkReader:
    """A reader of a file in a thread. After a cancelled `read`, the file is in use until `aclose` returns.

    Raises `ConfigurationError` at the end of a file that no longer has its `state`: its bytes may be a mixture.
    """

    def __init__(self, open_file: Callable[[], BinaryIO], *, closes: bool, state: FileState | None = None) -> None:
        self._open_file = open_file
        self._closes = closes
        self._state = state
        self._file: BinaryIO | None = None
        self._reading: asyncio.Future[bytes] | None = None

    async def read(self) -> bytes:
        """Returns the next chunk, empty at the end."""
        self._reading = asyncio.get_running_loop().run_in_executor(None, self._read)
        await asyncio.wait([self._reading])  # not `shield`, which reports an error after a cancellation to the loop
        return self._reading.result()

    async def aclose(self) -> None:
        """Waits for a read in progress, and closes the file if this pass opened it."""
        try:
            if self._reading is not None and not self._reading.done():
                await asyncio.wait([self._reading])
                if not self._reading.cancelled():
                    self._reading.exception()  # marks an error as retrieved: the read was cancelled
        finally:
            if self._closes and self._file is not None:
                self._file.close()

    def _read(self) -> bytes:
        try:
            if self._file is None:
                self._file = self._open_file()
            chunk = validate_bytes(self._file.read(CHUNK_BYTES))
        except ValueError as error:
            if self._file is None or self._file.closed:
                raise closed_file_error() from error
            raise
        if not chunk and self._state is not None and self._state != file_state(self._file):
            raise ConfigurationError(
                "the file changed while it was uploaded: nothing was kept of it, upload it when no other program "
                "writes to it"
            )
        return chunk


class AsyncChunkReader:
    """A reader of a stream with an asynchronous `read`."""

    def __init__(self, stream: AsyncReadable) -> None:
        self._stream = stream

    async def read(self) -> bytes:
        """Returns the next chunk, empty at the end."""
        return bytes(validate_bytes(await self._stream.read(CHUNK_BYTES)))

    async def aclose(self) -> None:
        """Does nothing: the caller owns the stream."""


class IteratorChunkReader:
    """A reader of an asynchronous iterator, which chooses the length of the chunks."""

    def __init__(self, iterator: AsyncIterator[bytes]) -> None:
        self._iterator = iterator

    async def read(self) -> bytes:
        """Returns the next chunk, empty at the end."""
        async for chunk in self._iterator:
            if validate_bytes(chunk):
                return bytes(chunk)
        return b""

    async def aclose(self) -> None:
        """Does nothing: the caller owns the iterator."""


def closed_file_error() -> ConfigurationError:
    """Returns the error for a file that is closed."""
    return ConfigurationError("the file is closed: upload it while it is open, or pass its path")


def validate_bytes(chunk: Any) -> bytes:
    """Returns the chunk. Raises `ConfigurationError` if it is not made of bytes."""
    if not isinstance(chunk, bytes | bytearray | memoryview):
        raise ConfigurationError(f"an upload is made of bytes, not {type(chunk).__name__}: open files in binary mode")
    return chunk  # type: ignore[return-value]
