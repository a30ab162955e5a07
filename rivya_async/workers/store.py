"""The state that workers and their clients share: records of jobs, dead letters, and the interface of a store."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol, Self

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

RECORD_TTL: Final = 7 * 86_400.0
"""Seconds for which the record of an ended job is kept. Records of open jobs do not expire."""

MAX_DEAD_LETTERS: Final = 10_000
"""Maximum number of dead letters that are kept: the latest."""

HEARTBEAT_TTL: Final = 15.0
"""Seconds after its last heartbeat for which a worker counts as alive."""

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


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A message that no worker processes any more, with a `reason` in words, and the job's key and task id if known.

    `error_type` is the name of an error's class, `error_code` the code that the service gave. `at` is the time in epoch
    seconds.
    """

    reason: str
    error_type: str
    at: float
    error_code: str | None = None
    key: str | None = None
    """Idempotency key of the job."""
    task_id: str | None = None
    """Task id of the job."""

    @classmethod
    def from_error(cls, error: Exception, at: float, *, key: str | None = None, task_id: str | None = None) -> Self:
        """Returns the letter for an error."""
        fields = error_fields(error)
        return cls(
            reason=fields["error"] or "",
            error_type=type(error).__name__,
            error_code=fields["error_code"],
            at=at,
            key=key,
            task_id=task_id,
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Returns a stored letter. One that cannot be read says so."""
        try:
            members = parse_json(text.encode())
            known = {name: members.get(name) for name in attrs.fields_dict(cls)}
            letter: Self = structure(known, cls)
        except Exception as error:  # noqa: BLE001 - it may hold anything
            return cls(reason=f"this letter cannot be read: {type(error).__name__}", error_type="", at=0.0)
        return letter


class WorkerStore(Protocol):
    """The shared state: job records, dead letters, heartbeats, and learned durations and prices.

    Calls wait until the store is reachable. A cancelled call may have taken effect.
    """

    @property
    def record_ttl(self) -> float:
        """Seconds for which the record of an ended job is kept."""
        ...

    async def open(self) -> None:
        """Prepares the store; may be called again."""

    async def aclose(self) -> None:
        """Closes connections; may be called again."""

    async def read(self, keys: Sequence[str]) -> list[JobRecord | None]:
        """Reads the records of these keys; None for a missing one."""
        ...

    async def advance(
        self, key: str, expected: Collection[JobState | None], state: JobState, **changes: Any
    ) -> JobRecord:
        """Atomically changes a record to `state` if it is in an expected one (None: no record), with other changes.

        Returns the record as it is afterwards: unchanged if another process was first.
        """
        ...

    async def increment_deliveries(self, key: str, by: int = 1) -> int:
        """Changes the delivery count of a job's message and returns it."""
        ...

    async def read_changes(self, since: float) -> tuple[float, Collection[str]]:
        """Returns the current time, by the store's clock, and the keys of records that changed since a time."""
        ...

    async def add_dead_letter(self, letter: DeadLetter) -> None:
        """Adds a dead letter."""

    async def list_dead_letters(self, limit: int) -> tuple[int, Sequence[DeadLetter]]:
        """Returns the number of dead letters, and the latest of them."""
        ...

    async def record_heartbeat(self, worker: str, facts: Mapping[str, Any]) -> int:
        """Records that a worker is alive, with facts about it, and returns the number of live workers."""
        ...

    async def list_workers(self) -> Mapping[str, Mapping[str, Any]]:
        """Returns the live workers, each with the facts of its last heartbeat."""
        ...

    async def remove_worker(self, worker: str) -> None:
        """Removes a worker that has stopped."""

    async def save_observations(self, dump: Mapping[str, Any]) -> None:
        """Saves the learned durations and prices of jobs."""

    async def load_observations(self) -> Mapping[str, Any] | None:
        """Loads the durations and prices that were saved last."""
        ...
