"""The record that is read most, read by hand: an open job in its documented shape. All else is for the converter."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Final

from ..types.generations import Generation
from . import serialization

DOCUMENTED_FIELDS: Final = (
    "id", "status", "model", "reserved_credits", "final_credits", "created_at", "updated_at", "result", "error",
)  # fmt: skip

_get_fields = itemgetter(*DOCUMENTED_FIELDS)


def parse_open_generation(value: Any) -> Generation | None:
    """The job that this JSON value tells of; None where anything is unusual. Saves half of the converter's 17 us."""
    try:
        task_id, status, model, reserved, final, created, updated, result, error = _get_fields(value)
        is_usual = (
            type(task_id) is type(status) is type(model) is type(created) is type(updated) is str
            and type(reserved) is type(final) is int
            and result is error is None
            and len(value) == len(DOCUMENTED_FIELDS)
        )
        if not is_usual:
            return None
        return Generation(
            task_id,
            status,
            model,
            reserved,
            final,
            serialization.parse_datetime(created),
            serialization.parse_datetime(updated),
        )
    except (LookupError, TypeError, ValueError):
        return None
