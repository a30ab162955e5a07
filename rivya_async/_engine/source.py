"""What is uploaded: a path, bytes, a binary file or an async iterator, read piece by piece and off the loop."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, TypeAlias, TypeVar

import attrs

from .._core.errors import ConfigurationError
from .._core.generation_request import FilePath
from .._core.media_type import HEAD_BYTES

T = TypeVar("T")

Uploadable: TypeAlias = FilePath | str | bytes | bytearray | memoryview | BinaryIO | AsyncIterable[bytes]
"""What can be uploaded."""

PIECE_BYTES: Final = 256 * 1024


class Pieces(Protocol):
    """One pass over a source."""

    async def next(self) -> bytes:
        """The next piece, empty at the end."""
        ...

    async def aclose(self) -> None:
        """Let a read that is on its way come to its end, and close what was opened for this pass."""


class Source(Protocol):
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
    def rewinds(self) -> bool:
        """Whether it can be read again from where it began."""
        ...

    def pieces(self) -> Pieces:
        """A pass from the beginning; where it does not rewind, from where the last pass stopped."""
        ...


async def source_of(what: Uploadable, name: str | None = None) -> Source:
    """The source behind what a user hands in, with its first bytes read. Raises `ConfigurationError` for what is none.

    `name` is the file's name for the service; left out, it is the path's, or that of the file.
    """
    if isinstance(what, str | FilePath):
        return await path_source(what, name)
    if isinstance(what, bytes | bytearray | memoryview):
        return await off_loop(_FileSource.over, io.BytesIO(what), name)
    if isinstance(what, AsyncIterable):
        return await _StreamSource.begun(_IteratorPieces(aiter(what)), name)
    if not hasattr(what, "read"):
        raise ConfigurationError(
            f"upload takes a path, bytes, a binary file or an async iterator of bytes, not {type(what).__name__}"
        )
    named = getattr(what, "name", None)
    name = name or (named if isinstance(named, str) else None)
    if await off_loop(_is_seekable, what):
        return await off_loop(_FileSource.over, what, name)
    return await _StreamSource.begun(_FilePieces(lambda: what, closes=False), name)


async def path_source(path: FilePath | str, name: str | None = None) -> PathSource:
    """The source at a path; see `source_of`."""
    return await off_loop(PathSource.at, Path(_checked_path(path)), name)


async def off_loop(call: Callable[..., T], *arguments: Any) -> T:
    """What a blocking call returns; where it cannot read a file, that is a `ConfigurationError`."""
    try:
        return await asyncio.to_thread(call, *arguments)
    except OSError as error:
        raise unreadable(error) from None


def unreadable(error: OSError) -> ConfigurationError:
    """What to say of a file that cannot be read."""
    return ConfigurationError(f"the file cannot be read: {error}")


@attrs.frozen
class PathStamp:
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
    stamp: PathStamp
    rewinds: bool = True

    @classmethod
    def at(cls, path: Path, name: str | None) -> PathSource:
        """As it is now. Blocks; raises `OSError`."""
        path = path.absolute()
        if path.exists() and not path.is_file():
            raise ConfigurationError(f"{path} is not a file: name a file, or open it and pass what you opened")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            stamp = PathStamp(path, status.st_size, status.st_mtime_ns)
            return cls(name or path.name, status.st_size, file.read(HEAD_BYTES), stamp)

    def pieces(self) -> Pieces:
        """A pass over the file, opened anew."""
        return _FilePieces(lambda: self.stamp.path.open("rb"), closes=True)


@attrs.frozen
class _FileSource:
    name: str | None
    size: int
    head: bytes
    file: BinaryIO
    start: int
    rewinds: bool = True

    @classmethod
    def over(cls, file: BinaryIO, name: str | None) -> _FileSource:
        start = file.tell()
        size = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        head = _checked_bytes(file.read(HEAD_BYTES))
        return cls(name, size, head, file, start)

    def pieces(self) -> Pieces:
        return _FilePieces(self._rewound, closes=False)

    def _rewound(self) -> BinaryIO:
        self.file.seek(self.start)
        return self.file


@attrs.define
class _StreamSource:
    """What can be read once: its first pieces are kept until they are sent."""

    name: str | None
    size: int | None
    head: bytes
    kept: list[bytes]
    rest: Pieces
    rewinds: bool = False

    @classmethod
    async def begun(cls, rest: Pieces, name: str | None) -> _StreamSource:
        kept: list[bytes] = []
        try:
            while sum(map(len, kept)) < HEAD_BYTES and (piece := await rest.next()):
                kept.append(piece)
        except OSError as error:
            raise unreadable(error) from None
        finally:
            await rest.aclose()
        size = sum(map(len, kept))
        return cls(name, size if size < HEAD_BYTES else None, b"".join(kept)[:HEAD_BYTES], kept, rest)

    def pieces(self) -> Pieces:
        return self

    async def next(self) -> bytes:
        return self.kept.pop(0) if self.kept else await self.rest.next()

    async def aclose(self) -> None:
        await self.rest.aclose()


class _FilePieces:
    """Reads a file in a thread. Whoever is cancelled while the thread reads must `aclose` before the file is free."""

    def __init__(self, opened: Callable[[], BinaryIO], *, closes: bool) -> None:
        self._opened = opened
        self._closes = closes
        self._file: BinaryIO | None = None
        self._reading: asyncio.Future[bytes] | None = None

    async def next(self) -> bytes:
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
        return _checked_bytes(self._file.read(PIECE_BYTES))


class _IteratorPieces:
    def __init__(self, iterator: AsyncIterator[bytes]) -> None:
        self._iterator = iterator

    async def next(self) -> bytes:
        async for piece in self._iterator:
            if _checked_bytes(piece):
                return bytes(piece)
        return b""

    async def aclose(self) -> None:
        """The iterator belongs to whoever made it."""


def _is_seekable(file: Any) -> bool:
    seekable = getattr(file, "seekable", None)
    return seekable is not None and bool(seekable())


def _checked_path(path: FilePath | str) -> str:
    text = path if isinstance(path, str) else path.__fspath__()
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError(f"{path!r} is not the path of a file")
    if "://" in text:
        raise ConfigurationError("a URL is not uploaded: download it first, or refer to it with ReferenceMedia")
    return text


def _checked_bytes(piece: Any) -> bytes:
    if not isinstance(piece, bytes | bytearray | memoryview):
        raise ConfigurationError(f"an upload is made of bytes, not {type(piece).__name__}: open files in binary mode")
    return piece  # type: ignore[return-value]
