"""One generation: drawn at its creation, read as a function of time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs


@attrs.frozen
class Task:
    """A generation whose times and outcome are fixed at its creation. Times are epoch seconds."""

    id: str
    account_id: str
    model: str
    category: str
    prompt: str
    params: Mapping[str, Any]
    seed: int
    reserved_credits: int
    created_at: float
    starts_at: float
    ends_at: float
    failure: str | None

    def status(self, now: float) -> str:
        """Returns `queued`, `processing`, `succeeded` or `failed`."""
        if now < self.starts_at:
            return "queued"
        if now < self.ends_at:
            return "processing"
        return "succeeded" if self.failure is None else "failed"

    @property
    def file_count(self) -> int:
        """The number of files of a success: `params.max_images` if the model has it, else 1."""
        return int(self.params.get("max_images", 1))


def encode_generation(task: Task, status: str, urls: Sequence[str] = ()) -> bytes:
    """Returns the API's generation object for a task in this status; `urls` are the files of a success."""
    succeeded = status == "succeeded"
    changed_at = {"queued": task.created_at, "processing": task.starts_at}.get(status, task.ends_at)
    generation = {
        "id": task.id,
        "status": status,
        "model": task.model,
        "reserved_credits": task.reserved_credits,
        "final_credits": task.reserved_credits if succeeded else 0,
        "created_at": format_timestamp(task.created_at),
        "updated_at": format_timestamp(changed_at),
        "result": {"primary_url": urls[0], "urls": list(urls)} if succeeded else None,
        "error": {"code": "generation_failed", "message": task.failure} if status == "failed" else None,
    }
    return json.dumps(generation).encode()


def encode_record(record: attrs.AttrsInstance, object_type: str, *hidden: str) -> dict[str, Any]:
    """Returns a record as an API object without its `hidden` fields; the fields that end with `_at` are timestamps."""
    fields = attrs.asdict(record, recurse=False, filter=attrs.filters.exclude(*hidden))
    times = {
        name: format_timestamp(value) for name, value in fields.items() if name.endswith("_at") and value is not None
    }
    return {"object": object_type, **fields, **times}


def format_timestamp(instant: float) -> str:
    """Returns epoch seconds in the API's format: ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
