"""What is uploaded: a path, bytes, a binary file or an async iterator, read piece by piece and off the loop."""

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
"""What can be uploaded."""

CHUNK_BYTES: Final = 256 * 1024


class ChunkReader(Protocol):
    """One pass over a source."""

    async def read(self) -> bytes:
        """The next piece, empty at the end."""
        ...

    async def aclose(self) -> None:
        """Let a read that is on its way come to its end, and close what was opened for this pass."""


class UploadSource(Protocol):
    """Something to upload."""

    @property
    def name(self) -> str | None:
        """The file's name."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes; None where only reading it all would tell."""
        ...

    @property
    def head(self) -> bytes:
        """How it begins."""
        ...

    @property
    def can_rewind(self) -> bool:
        """Whether it can be read again from where it began."""
        ...

    def open_reader(self) -> ChunkReader:
        """A pass from the beginning; where it does not rewind, from where the last pass stopped."""
        ...


async def open_source(what: Uploadable, name: str | None = None) -> UploadSource:
    """The source behind what a user hands in, with its first bytes read. Raises `ConfigurationError` for what is none.

    `name` is the file's name for the service; left out, it is the path's, or that of the file.
    """
    if isinstance(what, str | FilePath):
        return await open_path_source(what, name)
    if isinstance(what, bytes | bytearray | memoryview):
        return await run_in_thread(_FileSource.from_file, io.BytesIO(what), name)
    if isinstance(what, AsyncIterable):
        return await _StreamSource.from_reader(_IteratorChunkReader(aiter(what)), name)
    if not hasattr(what, "read"):
        raise ConfigurationError(
            f"upload takes a path, bytes, a binary file or an async iterator of bytes, not {type(what).__name__}"
        )
    named = getattr(what, "name", None)
    name = name or (named if isinstance(named, str) else None)
    if await run_in_thread(_is_seekable, what):
        return await run_in_thread(_FileSource.from_file, what, name)
    return await _StreamSource.from_reader(_FileChunkReader(lambda: what, closes=False), name)


async def open_path_source(path: FilePath | str, name: str | None = None) -> PathSource:
    """The source at a path; see `source_of`."""
    return await run_in_thread(PathSource.from_path, Path(_validate_path(path)), name)


async def run_in_thread(call: Callable[..., T], *arguments: Any) -> T:
    """What a blocking call returns; where it cannot read a file, that is a `ConfigurationError`."""
    try:
        return await asyncio.to_thread(call, *arguments)
    except OSError as error:
        raise unreadable_file_error(error) from None


def unreadable_file_error(error: OSError) -> ConfigurationError:
    """What to say of a file that cannot be read."""
    return ConfigurationError(f"the file cannot be read: {error}")


@attrs.frozen
class FileStamp:
    """What tells one state of a file from another, but for its content."""

    path: Path
    size: int
    mtime_ns: int


@attrs.frozen
class PathSource:
    """A file of this machine."""

    name: str | None
    size: int
    head: bytes
    stamp: FileStamp
    can_rewind: bool = True

    @classmethod
    def from_path(cls, path: Path, name: str | None) -> PathSource:
        """As it is now. Blocks; raises `OSError`."""
        path = path.absolute()
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"{path} is not a file: name a file, or open it and pass what you opened")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            stamp = FileStamp(path, status.st_size, status.st_mtime_ns)
            return cls(name or path.name, status.st_size, file.read(SNIFF_BYTES), stamp)

    def open_reader(self) -> ChunkReader:
        """A pass over the file, opened anew."""
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
    """What can be read once: its first pieces are kept until they are sent."""

    name: str | None
    size: int | None
    head: bytes
    buffered: list[bytes]
    remaining: ChunkReader
    can_rewind: bool = False

    @classmethod
    async def from_reader(cls, rest: ChunkReader, name: str | None) -> _StreamSource:
        kept: list[bytes] = []
        try:
            while sum(map(len, kept)) < SNIFF_BYTES and (piece := await rest.read()):
                kept.append(piece)
        except OSError as error:
            raise unreadable_file_error(error) from None
        finally:
            await rest.aclose()
        size = sum(map(len, kept))
        return cls(name, size if size < SNIFF_BYTES else None, b"".join(kept)[:SNIFF_BYTES], kept, rest)

    def open_reader(self) -> ChunkReader:
        return self

    async def read(self) -> bytes:
        return self.buffered.pop(0) if self.buffered else await self.remaining.read()

    async def aclose(self) -> None:
        await self.remaining.aclose()


class _FileChunkReader:
    """Reads a file in a thread. Whoever is cancelled while the thread reads must `aclose` before the file is free."""

    def __init__(self, opened: Callable[[], BinaryIO], *, closes: bool) -> None:
        self._opened = opened
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
            self._file = self._opened()
        return _validate_bytes(self._file.read(CHUNK_BYTES))


class _IteratorChunkReader:
    def __init__(self, iterator: AsyncIterator[bytes]) -> None:
        self._iterator = iterator

    async def read(self) -> bytes:
        async for piece in self._iterator:
            if _validate_bytes(piece):
                return bytes(piece)
        return b""

    async def aclose(self) -> None:
        """The iterator belongs to whoever made it."""


def _is_seekable(file: Any) -> bool:
    seekable = getattr(file, "seekable", None)
    return seekable is not None and bool(seekable())


def _validate_path(path: FilePath | str) -> str:
    text = path if isinstance(path, str) else path.__fspath__()
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError(f"{path!r} is not the path of a file")
    if "://" in text:
        raise ConfigurationError("a URL is not uploaded: download it first, or refer to it with ReferenceMedia")
    return text


def _validate_bytes(piece: Any) -> bytes:
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise ConfigurationError(f"an upload is made of bytes, not {type(piece).__name__}: open files in binary mode")
    return piece  # type: ignore[return-value]
