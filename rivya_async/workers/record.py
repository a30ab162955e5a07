"""The record of a job in the store that workers share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Self

import attrs

from .._core.http.serialization import structure
from .._core.types.generations import Generation, SavedFile
from .._core.types.record import to_json_value
from .._jobs.transitions import ENDED, IN_DOUBT, JobState

POISON: Final = "poison"
"""Error code of a job whose message was delivered too often."""

NOT_SAVED: Final = "not_saved"
"""Error code of a job that has succeeded, but whose files could not be saved."""

NO_ERROR: Final[Mapping[str, None]] = {"error": None, "error_code": None, "status": None}
"""Members of a record without an error."""


@attrs.frozen(kw_only=True)
class JobRecord:
    """A job and its progress. Instants are seconds since the epoch.

    `deliveries` counts the deliveries of its message. `intent_at` is the time at which its purchase was about to be
    sent, `submitted_at` that of its response, `ended_at` and `downloaded_at` those of its end and its files.
    `generation` is the latest response of the service. `error` and `error_code` are why the job failed, was abandoned
    or was not saved; `status` is the HTTP status of a rejection.
    """

    key: str
    state: JobState = JobState.PLANNED
    deliveries: int = 0
    intent_at: float | None = None
    submitted_at: float | None = None
    ended_at: float | None = None
    downloaded_at: float | None = None
    task_id: str | None = None
    generation: Generation | None = None
    files: tuple[SavedFile, ...] = ()
    error_code: str | None = None
    error: str | None = None
    status: int | None = None

    @property
    def has_ended(self) -> bool:
        """True where nothing more is purchased or waited for."""
        return self.state in ENDED

    @property
    def is_revivable(self) -> bool:
        """True where the job continues when it is enqueued again, although it has ended."""
        if self.state is JobState.DEAD:
            return self.error_code != IN_DOUBT  # the doubt remains
        return self.state is JobState.WITHDRAWN or self.error_code == NOT_SAVED

    @property
    def revived_state(self) -> JobState:
        """The state in which it continues then. It never allows a second purchase."""
        if self.task_id is not None:
            return JobState.SUBMITTED
        return JobState.INTENT if self.error_code == POISON and self.intent_at is not None else JobState.PLANNED

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Returns the record with these members changed."""
        return attrs.evolve(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Returns the result of a task: plain values for any serializer.

        >>> JobRecord(key="order-42", state=JobState.DEAD, error_code="in_doubt", error="...").as_dict()["state"]
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


def encode_members(changes: Mapping[str, Any]) -> dict[str, str]:
    """Returns members of a record as JSON texts."""
    return {name: _encode(value) for name, value in changes.items()}


def decode_record(key: str, members: Mapping[str, str]) -> JobRecord:
    """Returns the record of these texts. Ignores the members of a later version of this library."""
    known = attrs.fields_dict(JobRecord)
    found = {name: json.loads(text) for name, text in members.items() if name in known}
    if found.get("generation") is not None:
        found["generation"] = structure(found["generation"], Generation)
    found["state"] = JobState(found.get("state", JobState.PLANNED))
    found["files"] = tuple(SavedFile(**file) for file in found.get("files", ()))
    return JobRecord(**{**found, "key": key})


def _encode(value: Any) -> str:
    return json.dumps(to_json_value(value), ensure_ascii=False, separators=(",", ":"))
