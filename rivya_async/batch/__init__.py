"""Thousands of paid jobs from a file: a manifest, its results, and a journal that survives kill -9."""

from .._core.public_module import set_public_module
from .._core.types.generations import SavedFile
from .._jobs.transitions import JobState
from .batch import Batch
from .manifest import Manifest
from .planner import Conflict, InvalidRowsError, PlanResult
from .row import InvalidRow, Row, RowRecord, RunRecord

__all__ = [
    "Batch",
    "Conflict",
    "InvalidRow",
    "InvalidRowsError",
    "JobState",
    "Manifest",
    "PlanResult",
    "Row",
    "RowRecord",
    "RunRecord",
    "SavedFile",
]

set_public_module(
    __name__, Batch, Conflict, InvalidRow, InvalidRowsError, Manifest, PlanResult, Row, RowRecord, RunRecord
)
