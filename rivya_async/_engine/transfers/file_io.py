"""File operations in threads, with the errors of the operating system converted, and moves that replace no file."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from ..._core.errors import ConfigurationError, DownloadError
from ..._core.types.generations import SavedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
T = TypeVar("T")

MAX_SHOWN_PATH: Final = 1000
"""Maximum characters of a path in an error message."""

ADVICE_BY_ERRNO: Final = {
    errno.ENOSPC: "free disk space",
    errno.EDQUOT: "free disk space",
    errno.EFBIG: "choose a disk that supports long files",
    errno.EACCES: "choose a folder with write permission",
    errno.EPERM: "choose a folder with write permission",
    errno.EROFS: "choose a folder with write permission",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "choose a folder, not a file",
    errno.EEXIST: "choose a folder, not a file",
}


@contextmanager
def convert_os_errors(path: Path) -> Iterator[None]:
    """Raises `DownloadError` with advice for an `OSError` in the block."""
    try:
        yield
    except OSError as error:
        advice = ADVICE_BY_ERRNO.get(error.errno or 0, "check the folder")
        shown_path = str(path)[-MAX_SHOWN_PATH:]
        raise DownloadError(
            f"{shown_path} cannot be written: {error.strerror or error}; {advice}, then download again", path=str(path)
        ) from error


async def run_in_thread_uncancellable(call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls a function in a thread. A cancellation waits for its end, so that no write happens after it."""
    return await await_uncancellable(start_in_thread(call, *args, **kwargs))


def start_in_thread(call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
    """Starts a function in a thread, as `asyncio.to_thread` does, but without a task."""
    bound = partial(copy_context().run, call, *args, **kwargs)
    return asyncio.get_running_loop().run_in_executor(None, bound)


async def await_uncancellable(future: asyncio.Future[T], on_cancel: Callable[[], None] | None = None) -> T:
    """Returns the result. A cancellation calls `on_cancel`, which may shorten the work, and waits for its end.

    Further cancellations do not end that wait: a scope and its parent may both cancel the caller.
    """
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        if on_cancel is not None:
            on_cancel()
        while not future.done():
            with suppress(asyncio.CancelledError):  # the first one is raised below
                await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # marks an error as retrieved: the caller is cancelled
        raise
    return future.result()


# --- moves ------------------------------------------------------------------------------------------------------------


def staging_dir(folder: Path, owner: str) -> Path:
    """Returns the hidden folder for incomplete files of an owner, such as a batch. It is on the disk of `folder`."""
    return folder / f".rivya-{hashlib.sha256(owner.encode()).hexdigest()[:16]}"


def move_into_place(path: Path, folder: Path, relative_to: Path) -> SavedFile:
    """Moves a complete file into the folder; returns its record.

    An identical file that exists already is kept: an earlier process moved it and ended before it recorded that.
    Raises `ConfigurationError` if a different file exists, and `OSError`. The recorded path is relative to the folder
    of the journal, so that both can be moved together.
    """
    target = folder / path.name
    sha256, size = _file_sha256(path), path.stat().st_size
    try:
        move_exclusive(path, target)
    except FileExistsError:
        if _file_sha256(target) != sha256:
            raise ConfigurationError(
                f"{target} is there already and is another file: move it away, or save in another folder; "
                "the next run fetches this one again"
            ) from None
        path.unlink()
    return SavedFile(_relative_path(target, relative_to), size, sha256)


def move_exclusive(source: Path, target: Path) -> None:
    """Moves a file. Raises `FileExistsError` if the target exists.

    Of two concurrent moves to one target only one succeeds, if the file system has links.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise FileExistsError from None
        source.replace(target)
    else:
        source.unlink()


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _relative_path(path: Path, start: Path) -> str:
    try:
        return Path(os.path.relpath(path, start)).as_posix()
    except ValueError:  # another drive
        return path.absolute().as_posix()
