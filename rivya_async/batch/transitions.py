"""Changes of a row that is tried again or planned again. Pure: functions of values."""

from __future__ import annotations

from typing import Any, Final

from .._jobs.states import JobState
from .record import RowRecord

NOT_PURCHASED: Final = {"body": None, "expected_credits": None, "intent_at": None}
"""Changes of a row that can be purchased under the same key, since nothing was bought."""


def retry_changes(record: RowRecord) -> dict[str, Any]:
    """Returns the changes of a failed or dead row that is tried again.

    A failed job is purchased again, under a new key. A dead row continues where it was abandoned: it waits for its job
    if it has one, and is planned again if nothing was bought. A row in doubt is purchased again under a new key: its
    owner has seen the doubt.
    """
    state, changes = JobState.PLANNED, {}
    if record.state is JobState.DEAD and record.task_id is not None:
        state = JobState.SUBMITTED
    elif record.state is JobState.FAILED or record.body is not None:
        changes = new_purchase_changes(record)
    return {"state": state, "error": None, "error_code": None, **changes}


def new_purchase_changes(record: RowRecord) -> dict[str, Any]:
    """Returns the changes, besides the state, of a row that is purchased again under a new key."""
    forgotten = "body expected_credits task_id reserved_credits final_credits duration intent_at submitted_at ended_at"
    return {
        **dict.fromkeys(forgotten.split()),
        "purchase": record.purchase + 1,
        "earlier_credits": record.credits,
        "polls": 0,
    }
