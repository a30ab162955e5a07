"""What the disk says, in our own words."""

from __future__ import annotations

import asyncio
import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from ..._core.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

P = ParamSpec("P")
T = TypeVar("T")

ADVICE_BY_ERRNO: Final = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.EFBIG: "choose a disk that takes long files",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "choose a folder, not a file",
    errno.EEXIST: "choose a folder, not a file",
}


@contextmanager
def convert_os_errors(path: Path) -> Iterator[None]:
    """Raises `DownloadError` for what the disk says of this path, and what to do about it."""
    try:
        yield
    except OSError as error:
        advice = ADVICE_BY_ERRNO.get(error.errno or 0, "look at the folder")
        raise DownloadError(
            f"{path} cannot be written: {error.strerror or error}; {advice}, then download again", path=str(path)
        ) from error


async def run_in_thread_uncancellable(call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it in a thread. Who cancels waits for its end, so that nothing is done to the disk behind their back."""
    return await await_uncancellable(asyncio.create_task(asyncio.to_thread(call, *args, **kwargs)))


async def await_uncancellable(working: asyncio.Future[T], on_cancel: Callable[[], None] | None = None) -> T:
    """What comes of it. Who cancels waits for its end; `on_cancel` may hasten it."""
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        if on_cancel is not None:
            on_cancel()
        await asyncio.wait([working])
        working.exception()  # it is cancelled: what the disk said is of no interest
        raise
