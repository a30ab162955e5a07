"""What the disk says, in our own words."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from .._core.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADVICE: Final = {
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
def disk(path: Path) -> Iterator[None]:
    """Raises `DownloadError` for what the disk says of this path, and what to do about it."""
    try:
        yield
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, "look at the folder")
        raise DownloadError(
            f"{path} cannot be written: {error.strerror or error}; {advice}, then download again", path=str(path)
        ) from error
