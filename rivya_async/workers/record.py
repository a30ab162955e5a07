"""The record of a job in the store that workers share."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Self

import attrs

from .._core.errors import ResponseDecodeError
from .._core.http.serialization import parse_json, structure
from .._core.types.generations import Generation, SavedFile
from .._core.types.record import to_json_value
from .._jobs.transitions import (
    ENDED,
    FilesNotSavedError,
    InvalidRecordError,
    JobInDoubtError,
    JobState,
    PoisonMessageError,
    error_fields,
)

NO_ERROR: Final[Mapping[str, None]] = {"error": None, "error_code": None, "error_type": None, "status": None}
"""Members of a record without an error."""


@attrs.frozen(kw_only=True)
class JobRecord:
    """A job and its progress. Instants are seconds since the epoch.

    `deliveries` counts the deliveries of its message. `intent_at` is the time at which its purchase was about to be
    sent, `submitted_at` that of its response, `ended_at` and `downloaded_at` those of its end and its files.
    `generation` is the latest response of the service. `replayed` is true if the job had been bought under the same key
    before. `error` is why the job failed, was abandoned or was not saved,
    `error_type` the name of that error's class, `error_code` the code that the service gave, and `status` the HTTP
    status of a rejection.
    """

    key: str
    """Idempotency key of the job."""
    state: JobState = JobState.PLANNED
    """Progress of the job."""
    deliveries: int = 0
    intent_at: float | None = None
    submitted_at: float | None = None
    ended_at: float | None = None
    downloaded_at: float | None = None
    task_id: str | None = None
    """Task id, once the job is bought."""
    generation: Generation | None = None
    files: tuple[SavedFile, ...] = ()
    """Saved files."""
    replayed: bool = False
    """True if the key had bought the job before."""
    error_code: str | None = None
    error_type: str | None = None
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
            return self.error_type not in {JobInDoubtError.__name__, InvalidRecordError.__name__}  # the doubt remains
        return self.state is JobState.WITHDRAWN or self.error_type == FilesNotSavedError.__name__

    @property
    def revived_state(self) -> JobState:
        """The state in which it continues then. It never allows a second purchase."""
        if self.task_id is not None:
            return JobState.SUBMITTED
        is_poison = self.error_type == PoisonMessageError.__name__
        return JobState.INTENT if is_poison and self.intent_at is not None else JobState.PLANNED

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Returns the record with these members changed."""
        return attrs.evolve(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """Returns the result of a task: plain values for any serializer.

        >>> JobRecord(key="order-42", state=JobState.DEAD, error_type="JobInDoubtError", error="...").as_dict()["state"]
        'dead'
        """
        job = self.generation
        return {
            "state": self.state.value,
            "idempotency_key": self.key,
            "task_id": self.task_id,
            "model": None if job is None else job.model,
            "credits": None if job is None or not job.is_terminal else job.final_credits,
            "replayed": self.replayed,
            "urls": [] if job is None else list(job.urls),
            "files": [attrs.asdict(file) for file in self.files],
            "error_code": self.error_code,
            "error_type": self.error_type,
            "error": self.error,
        }


FIELDS: Final = tuple(field.name for field in attrs.fields(JobRecord) if field.name != "key")
"""The members of a record in a store."""


def encode_members(changes: Mapping[str, Any]) -> dict[str, str]:
    """Returns members of a record as JSON texts."""
    return {name: _encode(value) for name, value in changes.items()}


def decode_record(key: str, members: Mapping[str, str]) -> JobRecord:
    """Returns the record of these texts. Members that cannot be read make an invalid record, which has ended."""
    try:
        found = {name: parse_json(text.encode()) for name, text in members.items()}
        record = structure({**found, "key": key}, JobRecord)
        return attrs.evolve(record, state=JobState(record.state))  # cattrs takes it for a string
    except (ResponseDecodeError, ValueError) as error:
        task_id = members.get("task_id", "").strip('"')
        is_readable = re.fullmatch(r"[\w-]{1,200}", task_id) is not None
        return invalid_record(key, str(getattr(error, "reason", error)), task_id if is_readable else None)


def invalid_record(key: str, reason: str, task_id: str | None = None) -> JobRecord:
    """Returns the record of a job whose stored record cannot be read. It may have been purchased."""
    error = InvalidRecordError(
        f"the record of the job in Redis cannot be read ({reason:.200}), and the job may have been purchased. Find it "
        "in the account's list of jobs, or enqueue it under a new key"
    )
    return JobRecord(key=key, state=JobState.DEAD, task_id=task_id, **error_fields(error))


def _encode(value: Any) -> str:
    return json.dumps(to_json_value(value), ensure_ascii=False, separators=(",", ":"))
