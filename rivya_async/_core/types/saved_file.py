"""What is known of a result on a disk."""

from __future__ import annotations

import attrs


@attrs.frozen
class SavedFile:
    """A result on this machine: its path as it was written, its size in bytes and the hash of its content."""

    path: str
    size: int
    sha256: str
