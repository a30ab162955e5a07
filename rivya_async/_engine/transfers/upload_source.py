"""Sources of uploads: paths, bytes, binary files and async iterators, read in chunks. Files are read in threads."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, TypeAlias, TypeVar

import attrs

from ..._core.errors import ConfigurationError
from ..._core.files.media_type import SNIFF_BYTES
from ..._core.generation_request import FilePath

T = TypeVar("T")

Uploadable: TypeAlias = FilePath | str | bytes | bytearray | memoryview | BinaryIO | AsyncIterable[bytes]
"""Types of objects that can be uploaded."""

CHUNK_BYTES: Final = 256 * 1024
"""Bytes that are read from a file at once."""


class ChunkReader(Protocol):
    """One pass over a source."""

    async def read(self) -> bytes:
        """Returns the next chunk, empty at the end."""
        ...

    async def aclose(self) -> None:
        """Waits for a read in progress, and closes the file if this pass opened it."""


class UploadSource(Protocol):
    """Content to upload, with its name, size and first bytes."""

    @property
    def name(self) -> str | None:
        """Returns the name of the file, if it has one."""
        ...

    @property
    def size(self) -> int | None:
        """Returns the size in bytes; None if it is unknown before the end."""
        ...

    @property
    def head(self) -> bytes:
        """Returns the first bytes, from which the media type is recognised."""
        ...

    @property
    def can_rewind(self) -> bool:
        """Returns whether the source can be read again from the beginning."""
        ...

    def open_reader(self) -> ChunkReader:
        """Starts a pass from the beginning. If the source cannot rewind, the pass continues after the previous one."""
        ...


async def open_source(content: Uploadable, name: str | None = None) -> UploadSource:
    """Creates the source of an upload and reads its first bytes. Raises `ConfigurationError` for other types.

    `name` is sent to the service; the default is the name of the path or of the file.
    """
    if isinstance(content, str | FilePath):
        return await open_path_source(content, name)
    if isinstance(content, bytes | bytearray | memoryview):
        return await run_in_thread(_FileSource.from_file, io.BytesIO(content), name)
    if isinstance(content, AsyncIterable):
        return await _StreamSource.from_reader(_IteratorChunkReader(aiter(content)), name)
    if not hasattr(content, "read"):
        raise ConfigurationError(
            f"upload takes a path, bytes, a binary file or an async iterator of bytes, not {type(content).__name__}"
        )
    file_name = getattr(content, "name", None)
    name = name or (file_name if isinstance(file_name, str) else None)
    if await run_in_thread(_is_seekable, content):
        return await run_in_thread(_FileSource.from_file, content, name)
    return await _StreamSource.from_reader(_FileChunkReader(lambda: content, closes=False), name)


async def open_path_source(path: FilePath | str, name: str | None = None) -> PathSource:
    """Creates the source for a path; see `open_source`."""
    return await run_in_thread(PathSource.from_path, Path(_validate_path(path)), name)


async def run_in_thread(call: Callable[..., T], *args: Any) -> T:
    """Calls a blocking function in a thread. Raises `ConfigurationError` for an `OSError`."""
    try:
        return await asyncio.to_thread(call, *args)
    except OSError as error:
        raise unreadable_file_error(error) from None


def unreadable_file_error(error: OSError) -> ConfigurationError:
    """Returns the error for a file that cannot be read."""
    return ConfigurationError(f"the file cannot be read: {error}")


@attrs.frozen
class FileStamp:
    """An identification of a state of a file without reading it."""

    path: Path
    size: int
    mtime_ns: int


@attrs.frozen
class PathSource:
    """A local file, opened for each pass."""

    name: str | None
    size: int
    head: bytes
    stamp: FileStamp
    can_rewind: bool = True

    @classmethod
    def from_path(cls, path: Path, name: str | None) -> PathSource:
        """Reads size and first bytes. Blocks; raises `OSError`."""
        path = path.absolute()
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"{path} is not a file: pass the path of a file, or an open binary file")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            stamp = FileStamp(path, status.st_size, status.st_mtime_ns)
            return cls(name or path.name, status.st_size, file.read(SNIFF_BYTES), stamp)

    def open_reader(self) -> ChunkReader:
        return _FileChunkReader(lambda: self.stamp.path.open("rb"), closes=True)


@attrs.frozen
class _FileSource:
    name: str | None
    size: int
    head: bytes
    file: BinaryIO
    start: int
    can_rewind: bool = True

    @classmethod
    def from_file(cls, file: BinaryIO, name: str | None) -> _FileSource:
        start = file.tell()
        size = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        head = _validate_bytes(file.read(SNIFF_BYTES))
        return cls(name, size, head, file, start)

    def open_reader(self) -> ChunkReader:
        return _FileChunkReader(self._rewind, closes=False)

    def _rewind(self) -> BinaryIO:
        self.file.seek(self.start)
        return self.file


@attrs.define
class _StreamSource:
    """Content that can be read once. Its first chunks are buffered until they are sent."""

    name: str | None
    size: int | None
    head: bytes
    buffered: list[bytes]
    reader: ChunkReader
    can_rewind: bool = False

    @classmethod
    async def from_reader(cls, reader: ChunkReader, name: str | None) -> _StreamSource:
        buffered: list[bytes] = []
        try:
            while sum(map(len, buffered)) < SNIFF_BYTES and (chunk := await reader.read()):
                buffered.append(chunk)
        except OSError as error:
            raise unreadable_file_error(error) from None
        finally:
            await reader.aclose()
        size = sum(map(len, buffered))
        return cls(name, size if size < SNIFF_BYTES else None, b"".join(buffered)[:SNIFF_BYTES], buffered, reader)

    def open_reader(self) -> ChunkReader:
        return self

    async def read(self) -> bytes:
        return self.buffered.pop(0) if self.buffered else await self.reader.read()

    async def aclose(self) -> None:
        await self.reader.aclose()


class _FileChunkReader:
    """A reader of a file in a thread. After a cancelled `read`, the file is in use until `aclose` returns."""

    def __init__(self, open_file: Callable[[], BinaryIO], *, closes: bool) -> None:
        self._open_file = open_file
        self._closes = closes
        self._file: BinaryIO | None = None
        self._reading: asyncio.Future[bytes] | None = None

    async def read(self) -> bytes:
        self._reading = asyncio.get_running_loop().run_in_executor(None, self._read)
        return await asyncio.shield(self._reading)

    async def aclose(self) -> None:
        try:
            if self._reading is not None and not self._reading.done():
                await asyncio.wait([self._reading])
        finally:
            if self._closes and self._file is not None:
                self._file.close()

    def _read(self) -> bytes:
        if self._file is None:
            self._file = self._open_file()
        return _validate_bytes(self._file.read(CHUNK_BYTES))


class _IteratorChunkReader:
    def __init__(self, iterator: AsyncIterator[bytes]) -> None:
        self._iterator = iterator

    async def read(self) -> bytes:
        async for chunk in self._iterator:
            if _validate_bytes(chunk):
                return bytes(chunk)
        return b""

    async def aclose(self) -> None:
        """Does nothing: the caller owns the iterator."""


def _is_seekable(file: Any) -> bool:
    seekable = getattr(file, "seekable", None)
    return seekable is not None and bool(seekable())


def _validate_path(path: FilePath | str) -> str:
    text = path if isinstance(path, str) else path.__fspath__()
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError(f"{path!r} is not the path of a file")
    if "://" in text:
        raise ConfigurationError("a URL cannot be uploaded: download it first, or use it in a ReferenceMedia")
    return text


def _validate_bytes(chunk: Any) -> bytes:
    if not isinstance(chunk, bytes | bytearray | memoryview):
        raise ConfigurationError(f"an upload is made of bytes, not {type(chunk).__name__}: open files in binary mode")
    return chunk  # type: ignore[return-value]
