"""How a row that came to nothing is begun again. A function of values."""

from __future__ import annotations

from typing import Any

from .record import RowRecord
from .states import State


def again(record: RowRecord) -> dict[str, Any]:
    """What changes in a failed or dead row that is to be tried again.

    A failed job is bought anew, under another key. A dead row goes on where it was given up: it waits for the job that
    it has; where nothing was bought it is planned as it was; where that is in doubt it is bought anew, since whoever
    asks has been told of the doubt.
    """
    fresh = {"error": None, "error_code": None}
    if record.state is State.DEAD and record.task_id is not None:
        return {"state": State.SUBMITTED, **fresh}
    if record.state is State.DEAD and record.body is None:
        return {"state": State.PLANNED, **fresh}
    return {"state": State.PLANNED, **anew(record)}


def anew(record: RowRecord) -> dict[str, Any]:
    """What changes in a row that is bought anew, but for its state: its next purchase, of which nothing is known."""
    return {
        "purchase": record.purchase + 1,
        "earlier_credits": record.credits,
        "body": None,
        "expected_credits": None,
        "task_id": None,
        "reserved_credits": None,
        "final_credits": None,
        "duration": None,
        "polls": 0,
        "intent_at": None,
        "submitted_at": None,
        "ended_at": None,
        "error": None,
        "error_code": None,
    }
