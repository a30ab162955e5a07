"""Thousands of paid jobs from a file: a manifest, its results, and a journal that survives kill -9."""

from .._core.types.saved_file import SavedFile
from .batch import Batch
from .manifest import Manifest
from .planner import Conflict, InvalidRowsError, PlanResult
from .record import RowRecord, RunRecord
from .row import InvalidRow, Row
from .states import State

__all__ = [
    "Batch",
    "Conflict",
    "InvalidRow",
    "InvalidRowsError",
    "Manifest",
    "PlanResult",
    "Row",
    "RowRecord",
    "RunRecord",
    "SavedFile",
    "State",
]
