"""The hidden, locked file that a download writes to until it is complete."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import shutil
import stat
import sys
import uuid
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final, Literal, TypeAlias

from ..._core.errors import ConfigurationError, DownloadError
from .file_io import move_exclusive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..._core.http.range_requests import ResourceVersion

Exists: TypeAlias = Literal["keep", "error", "overwrite", "rename"]
"""Rule for a file that exists: it is kept, an error, replaced, or the new file gets a number."""

MAX_STEM_LENGTH: Final = 40
"""Maximum characters of the file's name in the name of its partial file."""

MIN_RESUMABLE_BYTES: Final = 1024 * 1024
"""Minimum bytes of a partial file that is kept when its download fails."""


class PartialFile:
    """The received part of one version of one file. Created by `open`; ended by `commit` or `close`.

    Its name identifies the file and its version, so that parts of different versions are never joined. A lock, which
    the system releases when a process ends, prevents two downloads from writing one partial file. Without locks, or
    if another process holds the lock, or if the length of the file is unknown, the partial file is new and is not kept.
    """

    def __init__(self, partial_path: Path, file: IO[bytes], version: ResourceVersion, *, is_kept: bool) -> None:
        self._path = partial_path
        self._file = file
        self._is_kept = is_kept
        self.version = version
        self.received = self._size()

    @classmethod
    def open(cls, path: Path, file_id: str, version: ResourceVersion) -> PartialFile:
        """Opens the partial file of an earlier download of this version, or an empty one. Raises `OSError`.

        `file_id` identifies the file, because the version distinguishes only the versions of one file.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        name = f".{path.name[:MAX_STEM_LENGTH]}"
        if version.can_resume and version.total is not None:
            identity = repr((path.name, file_id, version.validator, version.total))
            digest = hashlib.sha256(identity.encode()).hexdigest()
            partial_path = path.with_name(f"{name}.{digest[:24]}.part")
            file = _open_locked(partial_path)
            if file is not None:
                return cls(partial_path, file, version, is_kept=True)
        partial_path = path.with_name(f"{name}.{uuid.uuid4().hex}.part")
        return cls(partial_path, partial_path.open("xb"), version, is_kept=False)

    @property
    def is_complete(self) -> bool:
        """Returns whether the whole file was received; False if its length is unknown."""
        return self.received == self.version.total

    def check_disk_space(self, path: Path) -> None:
        """Raises `DownloadError` if the rest of the file does not fit on the disk."""
        missing = (self.version.total or 0) - self.received
        free = shutil.disk_usage(self._path.parent).free
        if missing > free:
            raise DownloadError(
                f"{path} needs {missing:,} bytes more and the disk has {free:,}: free disk space, then download again",
                path=str(path),
            )

    def write(self, chunk: bytes) -> None:
        """Appends a chunk and flushes it, so that a later process can resume the download."""
        self._file.write(chunk)
        self._file.flush()
        self.received += len(chunk)

    def truncate(self) -> None:
        """Discards all bytes."""
        self._file.seek(0)
        self._file.truncate()
        self.received = 0

    def commit(self, path: Path, exists: Exists) -> Path:
        """Writes the bytes to the disk, then gives the file its name, which it returns.

        An incomplete file never has it. With `keep`, a file that another download has saved meanwhile stays.
        """
        os.fsync(self._file.fileno())
        if not self._is_kept:
            self._file.close()  # Windows does not rename an open file
        saved = self._move(path, exists)
        self._file.close()
        return saved

    def _move(self, path: Path, exists: Exists) -> Path:
        if exists == "overwrite":
            self._path.replace(path)
            return path
        for candidate in numbered_paths(path) if exists == "rename" else [path]:
            with suppress(FileExistsError):
                move_exclusive(self._path, candidate)
                return candidate
        if exists == "keep" and is_whole_file(path):
            self._path.unlink()
            return path
        raise file_exists_error(path)

    def close(self, *, is_stale: bool = False) -> None:
        """Closes the file; keeps it only if a later download can resume it. Does nothing after `commit`."""
        if self._is_kept and not self._file.closed and (is_stale or self._size() < MIN_RESUMABLE_BYTES):
            self._path.unlink(missing_ok=True)  # while it is locked: no other download resumes it
        with suppress(OSError):
            self._file.close()
        if not self._is_kept:
            self._path.unlink(missing_ok=True)

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size


def _open_locked(partial_path: Path) -> IO[bytes] | None:
    """Opens and locks a partial file; returns None if that is not possible."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        file = open(partial_path, "ab", opener=_open_unfollowed)  # noqa: SIM115 - the caller closes it
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:  # a symbolic link, or a pipe
            return None
        raise
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(file.fileno())
        is_own = stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid()
        if is_own and os.path.samestat(status, partial_path.lstat()):  # not moved or removed before the lock
            return file
    except OSError:  # locked by another download, or a file system without locks
        pass
    file.close()
    return None


def _open_unfollowed(path: str, flags: int) -> int:
    """Opens a file, but no symbolic link and no pipe: others may have put one into a shared folder."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def file_exists_error(path: Path) -> ConfigurationError:
    """Returns the error for a file that must not be replaced."""
    return ConfigurationError(
        f"{path} exists: pass exists='overwrite' to replace it, exists='rename' to save beside it, or another target"
    )


def is_whole_file(path: Path) -> bool:
    """Returns True for an existing file. Only whole files get their names; an empty one is not of a download."""
    return path.is_file() and path.stat().st_size > 0


def numbered_paths(path: Path) -> Iterator[Path]:
    """Yields the path, then `kite (1).png`, `kite (2).png` and so on."""
    yield path
    yield from (path.with_name(f"{path.stem} ({number}){path.suffix}") for number in itertools.count(1))
