"""What the store knows of an order, and how it is written there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Self

import attrs

from .._core.http.serialization import structure, unstructure
from .._core.types.generations import Generation, SavedFile
from .states import ENDED, IN_DOUBT, NOT_SAVED, POISON, JobState

FRESH: Final[Mapping[str, None]] = {"error": None, "error_code": None, "status": None}
"""Members of a record of which nothing bad is known any more."""


@attrs.frozen(kw_only=True)
class JobRecord:
    """An order under its idempotency key, as it stands. Instants are seconds since the epoch.

    `deliveries` counts how often a worker got its message. `intent_at` is when its purchase was first about to be sent,
    `generation` what the service said of the job last. `error` tells why it failed, was given up or was not saved, in
    words, `error_code` in one. `status` is the HTTP status where the service refused it.
    """

    key: str
    state: JobState = JobState.QUEUED
    deliveries: int = 0
    intent_at: float | None = None
    task_id: str | None = None
    generation: Generation | None = None
    files: tuple[SavedFile, ...] = ()
    error_code: str | None = None
    error: str | None = None
    status: int | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is bought or waited for."""
        return self.state in ENDED

    @property
    def is_revivable(self) -> bool:
        """Whether it has an end that it need not keep, when it is ordered again."""
        if self.state is JobState.DEAD:
            return self.error_code != IN_DOUBT  # nothing is known of it that was not known then
        return self.state is JobState.WITHDRAWN or self.error_code == NOT_SAVED

    @property
    def revived_state(self) -> JobState:
        """Where it goes on then: never where it could be bought a second time."""
        if self.task_id is not None:
            return JobState.BOUGHT
        return JobState.INTENT if self.error_code == POISON and self.intent_at is not None else JobState.QUEUED

    def told(self) -> dict[str, Any]:
        """What a task returns: plain values for any serializer.

        >>> JobRecord(key="order-42", state=JobState.DEAD, error_code="in_doubt", error="...").told()["state"]
        'dead'
        """
        job = self.generation
        return {
            "state": self.state.value,
            "idempotency_key": self.key,
            "task_id": self.task_id,
            "model": None if job is None else job.model,
            "credits": None if job is None or not job.is_terminal else job.final_credits,
            "urls": [] if job is None else list(job.urls),
            "files": [attrs.asdict(file) for file in self.files],
            "error_code": self.error_code,
            "error": self.error,
        }

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """The record with these members changed."""
        return attrs.evolve(self, **changes)


def written(changes: Mapping[str, Any]) -> dict[str, str]:
    """Members of a record as text."""
    return {name: _text(value) for name, value in changes.items()}


def record_of(key: str, members: Mapping[str, str]) -> JobRecord:
    """The record of what `written` wrote. Members of a later version of this library are left out."""
    known = {field.name for field in attrs.fields(JobRecord)}
    found = {name: json.loads(text) for name, text in members.items() if name in known}
    if found.get("generation") is not None:
        found["generation"] = structure(found["generation"], Generation)
    found["state"] = JobState(found.get("state", JobState.QUEUED))
    found["files"] = tuple(SavedFile(**file) for file in found.get("files", ()))
    return JobRecord(**{**found, "key": key})


def _text(value: Any) -> str:
    if isinstance(value, Generation):
        value = unstructure(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=attrs.asdict)
