"""Files to their places: never over one that is another's, whatever an earlier process has left."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..._core.errors import ConfigurationError
from ..._core.types.generations import SavedFile


def staging_dir(folder: Path, owner: str) -> Path:
    """Where files of this owner, such as a batch, are until they are whole and known: hidden, and on the same disk."""
    return folder / f".rivya-{hashlib.sha256(owner.encode()).hexdigest()[:16]}"


def move_into_place(path: Path, folder: Path, beside: Path) -> SavedFile:
    """Move a whole file into the folder, and tell what is to be known of it.

    A file that is there already is kept if it is the same: an earlier process has put it there, and could not say so.
    Raises `ConfigurationError` if it is another, and `OSError`. The path is told from `beside`, the journal's folder,
    so that both can move together.
    """
    target = folder / path.name
    sha256, size = _file_sha256(path), path.stat().st_size
    try:
        _move_exclusive(path, target)
    except FileExistsError:
        if _file_sha256(target) != sha256:
            raise ConfigurationError(
                f"{target} is there already and is another file: move it away, or save in another folder; "
                "the next run fetches this one again"
            ) from None
        path.unlink()
    return SavedFile(_relative_path(target, beside), size, sha256)


def _move_exclusive(path: Path, target: Path) -> None:
    """A move that replaces nothing; a name that is made twice at once has one winner where the disk knows links."""
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:  # a disk without links
        if target.exists():
            raise FileExistsError from None
        path.rename(target)
        return
    path.unlink()


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _relative_path(path: Path, beside: Path) -> str:
    try:
        return Path(os.path.relpath(path, beside)).as_posix()
    except ValueError:  # another drive
        return path.absolute().as_posix()
