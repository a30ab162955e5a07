"""A file that is written whole or not at all."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Where to write; it takes the place of `target` at the end, and is gone if anything goes wrong.

    A link stays a link; a device or a pipe is written to as it is. Raises `OSError` where no file can be.
    """
    at = Path(os.path.realpath(target))
    if not at.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(target.parent))
    if at.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder: name a file", str(target))
    if at.exists() and not at.is_file():
        yield at
        return
    part = at.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield part
        part.replace(at)
    finally:
        part.unlink(missing_ok=True)
