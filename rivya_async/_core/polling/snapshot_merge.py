"""What a record says that is not known yet: by its status, and by the server's clock."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..types.generations import Generation


class SnapshotChange(Enum):
    """What to make of a record that somebody else has read."""

    NONE = auto()
    """It is older or less final than what is known, or says the same."""
    UPDATE = auto()
    """The job is open, and has changed."""
    END = auto()
    """The job has ended, and this is its record."""
    INCONSISTENT = auto()
    """It says that the job has ended, and does not fit: ask the service."""


def compare_snapshots(told: Generation, last: Generation | None) -> SnapshotChange:
    """What `told` adds to the record that was seen last."""
    if last is not None and last.is_terminal:
        return SnapshotChange.NONE
    if not told.is_terminal:
        return SnapshotChange.UPDATE if last is None or is_newer(told, last) else SnapshotChange.NONE
    is_stale = last is not None and is_newer(last, told)
    is_bare = told.succeeded and not told.urls
    return SnapshotChange.INCONSISTENT if is_stale or is_bare else SnapshotChange.END


def is_newer(generation: Generation, other: Generation) -> bool:
    """By the server's clock; where it is silent, nothing is newer."""
    if generation.updated_at is None or other.updated_at is None:
        return False
    return generation.updated_at > other.updated_at
