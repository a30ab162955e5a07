"""One generation in the world: decided at creation, read as a function of time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs


@attrs.frozen
class Task:
    """A generation whose whole life is already known. Instants are epoch seconds."""

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
        """`queued`, `processing`, `succeeded` or `failed`, as it stands at `now`."""
        if now < self.starts_at:
            return "queued"
        if now < self.ends_at:
            return "processing"
        return "succeeded" if self.failure is None else "failed"

    def changed_at(self, status: str) -> float:
        """When the task came into this status."""
        return {"queued": self.created_at, "processing": self.starts_at}.get(status, self.ends_at)

    @property
    def file_count(self) -> int:
        """How many files a success gives: `params.max_images` where the model has it, else 1."""
        return int(self.params.get("max_images", 1))


def encode(task: Task, status: str, urls: Sequence[str] = ()) -> bytes:
    """The generation object of the API for this task in this status. `urls`: its files, once it has succeeded."""
    succeeded = status == "succeeded"
    generation = {
        "id": task.id,
        "status": status,
        "model": task.model,
        "reserved_credits": task.reserved_credits,
        "final_credits": task.reserved_credits if succeeded else 0,
        "created_at": timestamp(task.created_at),
        "updated_at": timestamp(task.changed_at(status)),
        "result": {"primary_url": urls[0], "urls": list(urls)} if succeeded else None,
        "error": {"code": "generation_failed", "message": task.failure} if status == "failed" else None,
    }
    return json.dumps(generation).encode()


def timestamp(instant: float) -> str:
    """An instant as the API writes it: ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
