"""Thousands of paid jobs from a file: a manifest in, files out, and a journal between them that outlives kill -9."""

from .._core.types.generations import SavedFile
from .bad_row import BadRow
from .batch import Batch
from .manifest import Manifest
from .planning import BadRows, Conflict, Planned
from .record import RowRecord, RunRecord
from .row import Row
from .states import State

__all__ = [
    "BadRow",
    "BadRows",
    "Batch",
    "Conflict",
    "Manifest",
    "Planned",
    "Row",
    "RowRecord",
    "RunRecord",
    "SavedFile",
    "State",
]
