"""A file that is still coming: hidden beside its place, under a lock, and kept if it is worth taking up again."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import uuid
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final

from ..._core.errors import ConfigurationError, DownloadError

if TYPE_CHECKING:
    from pathlib import Path

    from ..._core.http.range_requests import ResourceVersion

MAX_STEM_LENGTH: Final = 40
"""Characters of a file's name that its part bears."""

MIN_RESUMABLE_BYTES: Final = 1024 * 1024
"""Bytes: what came of a smaller file is not kept when its download is given up."""


class PartialFile:
    """What has come of one version of one file. Made by `open`; ended by `place` or `leave`.

    Its name tells the file and its version, so that nothing is ever put behind the beginning of another. A lock, which
    the system lets go of when a process dies, keeps two downloads from writing one part. Where there are no locks,
    another holds it, or nobody tells how long the file is, the part is new and is not kept.
    """

    def __init__(self, at: Path, file: IO[bytes], version: ResourceVersion, *, is_kept: bool) -> None:
        self._path = at
        self._file = file
        self._is_kept = is_kept
        self.version = version
        self.received = self._size()

    @classmethod
    def open(cls, path: Path, of: str, version: ResourceVersion) -> PartialFile:
        """What an earlier download has left of this version of this file, or an empty part. Raises `OSError`.

        `of` tells the file from every other: hosts tell only the versions of one file apart.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        name = f".{path.name[:MAX_STEM_LENGTH]}"
        if version.can_resume and version.total is not None:
            told = hashlib.sha256(repr((path.name, of, version.validator, version.total)).encode()).hexdigest()
            at = path.with_name(f"{name}.{told[:24]}.part")
            file = _open_locked(at)
            if file is not None:
                return cls(at, file, version, is_kept=True)
        at = path.with_name(f"{name}.{uuid.uuid4().hex}.part")
        return cls(at, at.open("xb"), version, is_kept=False)

    @property
    def is_complete(self) -> bool:
        """Whether all of it has come, as far as anybody told how much that is."""
        return self.received == self.version.total

    def check_disk_space(self, path: Path) -> None:
        """Raises `DownloadError` where the disk has no room for the rest."""
        missing = (self.version.total or 0) - self.received
        free = shutil.disk_usage(self._path.parent).free
        if missing > free:
            raise DownloadError(
                f"{path} needs {missing:,} bytes more and the disk has {free:,}: make room, then download again",
                path=str(path),
            )

    def write(self, chunk: bytes) -> None:
        """Put a chunk at the end, for whoever takes it up after this process."""
        self._file.write(chunk)
        self._file.flush()
        self.received += len(chunk)

    def truncate(self) -> None:
        """Begin again from nothing."""
        self._file.seek(0)
        self._file.truncate()
        self.received = 0

    def commit(self, path: Path, overwrite: bool) -> None:  # noqa: FBT001  it is passed to a thread
        """Bring it safely to the disk, and only then give it its name: nobody ever sees half a file."""
        os.fsync(self._file.fileno())
        if not self._is_kept:
            self._file.close()  # Windows does not rename an open file
        if overwrite:
            self._path.replace(path)
        else:
            _rename_exclusive(self._path, path)
        self._file.close()

    def close(self, *, is_stale: bool = False) -> None:
        """Keep what has come if a later download may go on with it, else leave nothing; after `place`, do nothing."""
        if self._is_kept and not self._file.closed and (is_stale or self._size() < MIN_RESUMABLE_BYTES):
            self._path.unlink(missing_ok=True)  # under the lock: nobody takes it up in between
        with suppress(OSError):
            self._file.close()
        if not self._is_kept:
            self._path.unlink(missing_ok=True)

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size


def _open_locked(at: Path) -> IO[bytes] | None:
    """The part opened at its end and locked; None where that cannot be."""
    if sys.platform == "win32":
        return None
    import fcntl

    file = at.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), at.stat()):  # nobody has placed or removed it meanwhile
            return file
    except OSError:  # another's, or a file system without locks
        pass
    file.close()
    return None


def _rename_exclusive(part: Path, path: Path) -> None:
    """Give the file its name, but never the name of a file that has appeared meanwhile."""
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise file_exists_error(path) from None
    except OSError:  # a file system without links
        if path.exists():
            raise file_exists_error(path) from None
        part.replace(path)
    else:
        part.unlink()


def file_exists_error(path: Path) -> ConfigurationError:
    """The refusal to replace a file."""
    return ConfigurationError(f"{path} exists: pass overwrite=True, or another target")
