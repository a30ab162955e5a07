"""Sources of uploads: paths, bytes, binary files and async iterators, read in chunks. Files are read in threads."""

from __future__ import annotations

import asyncio
import inspect
import io
import os
from collections.abc import AsyncIterable, Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, TypeAlias, TypeVar

import attrs

from ..._core.errors import ConfigurationError
from ..._core.files.media_type import SNIFF_BYTES
from ..._core.generation_request import FilePath
from .chunk_reader import (
    CHUNK_BYTES,
    AsyncChunkReader,
    AsyncReadable,
    ChunkReader,
    FileChunkReader,
    FileState,
    IteratorChunkReader,
    closed_file_error,
    file_state,
    validate_bytes,
)

T = TypeVar("T")


Uploadable: TypeAlias = (
    FilePath | str | bytes | bytearray | memoryview | BinaryIO | AsyncIterable[bytes] | AsyncReadable
)
"""Types of objects that can be uploaded."""

MAX_SHOWN_LENGTH: Final = 200
"""Maximum characters of an argument in an error message."""


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
    return await _open_file_source(_underlying_file(content), name or _file_name(content))


async def _open_file_source(content: Any, name: str | None) -> UploadSource:
    if _is_async_readable(content):
        return await _StreamSource.from_reader(AsyncChunkReader(content), name)
    if isinstance(content, AsyncIterable):
        return await _StreamSource.from_reader(IteratorChunkReader(aiter(content)), name)
    if not hasattr(content, "read") or inspect.iscoroutinefunction(content.read):
        raise ConfigurationError(
            "upload takes a path, bytes, a binary file or stream, or an async iterator of bytes, not "
            f"{type(content).__name__}; of a response pass its content"
        )
    if getattr(content, "closed", False) is True:
        raise closed_file_error()
    if isinstance(content, io.TextIOBase) or hasattr(content, "encoding"):
        raise ConfigurationError("the file is open in text mode: open it in binary mode, as in open(path, 'rb')")
    if await run_in_thread(_is_seekable, content):
        return await run_in_thread(_FileSource.from_file, content, name)
    return await _StreamSource.from_reader(FileChunkReader(lambda: content, closes=False), name)


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
    return ConfigurationError(f"the file cannot be read: {str(error)[:MAX_SHOWN_LENGTH]}")


def _file_name(content: Any) -> str | None:
    names = (getattr(content, "filename", None), getattr(content, "name", None))
    return next((name for name in names if isinstance(name, str) and name), None)


def _underlying_file(content: Any) -> Any:
    """Returns the plain file inside a file that a web framework received: unlike the latter, it can be rewound."""
    file = getattr(content, "file", None)
    read = getattr(file, "read", None)
    if inspect.iscoroutinefunction(getattr(content, "read", None)) and callable(read):
        return content if inspect.iscoroutinefunction(read) else file
    return content


def _is_async_readable(content: Any) -> bool:
    """Returns True for a coroutine function `read` that accepts a size."""
    read = getattr(content, "read", None)
    if not inspect.iscoroutinefunction(read):
        return False
    try:
        inspect.signature(read).bind(CHUNK_BYTES)
    except TypeError:
        return False
    return True


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
        state = (self.stamp.size, self.stamp.mtime_ns)
        return FileChunkReader(lambda: self.stamp.path.open("rb"), closes=True, state=state)


@attrs.frozen
class _FileSource:
    name: str | None
    size: int
    head: bytes
    file: BinaryIO
    start: int
    state: FileState | None
    can_rewind: bool = True

    @classmethod
    def from_file(cls, file: BinaryIO, name: str | None) -> _FileSource:
        start = file.tell()
        size = file.seek(0, os.SEEK_END) - start
        if size <= 0 < start:
            raise ConfigurationError("the file is at its end, so there is nothing to upload: call seek(0) first")
        file.seek(start)
        head = validate_bytes(file.read(SNIFF_BYTES))
        is_on_disk = isinstance(file, io.BufferedReader | io.BufferedRandom | io.FileIO)
        return cls(name, size, head, file, start, file_state(file) if is_on_disk else None)

    def open_reader(self) -> ChunkReader:
        return FileChunkReader(self._rewind, closes=False, state=self.state)

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


def _is_seekable(file: Any) -> bool:
    seekable = getattr(file, "seekable", None)
    return seekable is not None and bool(seekable())


def _validate_path(path: FilePath | str) -> str:
    text = path if isinstance(path, str) else path.__fspath__()
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError(f"{path!r:.{MAX_SHOWN_LENGTH}} is not the path of a file")
    if text[:5].lower() == "data:":
        raise ConfigurationError("a data: URL cannot be uploaded: decode its content, and pass the bytes")
    if "://" in text:
        raise ConfigurationError("a URL cannot be uploaded: download it first, or use it in a ReferenceMedia")
    return os.path.expanduser(text)  # noqa: PTH111 - it leaves the home folder of an unknown user as it is
