"""One delivery of a job message: the store that workers share is the store of its job."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from .._core.errors import ConfigurationError, DownloadError, NotFoundError
from .._core.idempotency import KEY_EXPIRY_MARGIN
from .._engine.shutdown import ShutdownRequested
from .._engine.transfers.file_io import staging_dir
from .._jobs.runner import JobContext, JobPolicy, JobRunner, save_files
from .._jobs.transitions import (
    FilesNotSavedError,
    InvalidJobError,
    InvalidRecordError,
    JobAction,
    JobInDoubtError,
    JobState,
    PoisonMessageError,
    error_fields,
    sources_of,
)
from .context import LOG
from .store import DeadLetter, JobRecord

if TYPE_CHECKING:
    from .._core.generation_request import GenerationRequest
    from .._core.types.generations import Generation, SavedFile
    from .context import WorkerContext
    from .job_message import JobMessage

MAX_DELIVERIES: Final = 25
"""Deliveries of a message without an end, after which it is assumed that its job ends the process."""

POLICY: Final = JobPolicy(
    retried=frozenset({JobAction.RETRY, JobAction.RELEASE, JobAction.HALT, JobAction.KEEP}),
    max_saves=3,
    is_exclusive=False,
    max_conflicts=5,
    repurchase_hint="enqueue it under a new key",
    wait_options={"timeout": None},
)


async def run_job(worker_context: WorkerContext, message: JobMessage, enqueued_at: float | None = None) -> JobRecord:
    """Processes a delivery and returns the record at its end.

    Raises `ShutdownRequested` where another worker has to continue.

    Another worker may process the same message at the same time: both arrive at the same end.
    """
    job = SharedJobStore(worker_context, message)
    context = JobContext(
        session=worker_context.session,
        stop=worker_context.shutdown,
        wall=worker_context.wall,
        uniform=worker_context.uniform,
        policy=POLICY,
    )
    with worker_context.track_job():
        try:
            await job.load(enqueued_at)
            await JobRunner(context, job).run()
        except ShutdownRequested:
            worker_context.counters["returned"] += 1
            await worker_context.store.increment_deliveries(message.key, -1)  # the message has not ended this process
            raise
    return job.record


class SharedJobStore:
    """The store that workers share as the store of one job."""

    def __init__(self, worker_context: WorkerContext, message: JobMessage) -> None:
        self._context = worker_context
        self._message = message
        self.record = JobRecord(key=message.key)
        self.generation: Generation | None = None
        """The latest response that this process has. Links of the stored one are never followed: others write there."""

    def continues(self) -> bool:
        """Returns True where files are wanted, and no worker has saved them or failed to."""
        record = self.record
        is_saved = self._message.download_to is None or record.files or record.error is not None
        return record.state is JobState.SUCCEEDED and not is_saved

    async def load(self, enqueued_at: float | None) -> None:
        """Reads or creates the record, and counts the delivery.

        Abandons a message that is older than the records of ended jobs, or that no worker has finished in many tries.
        """
        store, key, message = self._context.store, self._message.key, self._message
        (known,) = await store.read([key])
        self.record = known or self.record
        if self.record.error_type == InvalidRecordError.__name__:
            return await self._add_dead_letter(InvalidRecordError(self.record.error))
        if message.download_to is not None and self.record.state is JobState.PLANNED:
            try:
                self._context.download_folder(message.download_to)
            except ConfigurationError as error:
                return await self.advance(JobState.DEAD, InvalidJobError(str(error)))
        if known is None or (message.request is None and known.state is JobState.PLANNED):
            await self._move(JobState.PLANNED, {JobState.PLANNED})
        age = 0.0 if enqueued_at is None else self._context.wall() - enqueued_at
        if known is None and age > store.record_ttl - KEY_EXPIRY_MARGIN:
            reason = "the message is older than the records of ended jobs: it may have ended"
            await self.advance(JobState.DEAD, JobInDoubtError(reason))
        if self.record.has_ended and not self.continues():
            return None
        deliveries = await store.increment_deliveries(key)
        if deliveries > MAX_DELIVERIES:
            reason = f"the message was delivered {deliveries} times, and no worker finished it. Check the workers"
            await self.advance(JobState.DEAD, PoisonMessageError(reason))
        return None

    async def load_request(self) -> GenerationRequest:
        """Returns the request of the message."""
        if self._message.request is None:
            raise ConfigurationError("this message is one to wait: there is nothing to buy")
        return self._message.request

    async def advance(self, state: JobState, error: Exception | None = None, **changes: Any) -> None:
        """Moves the record, unless another worker has. The result of a purchase replaces what another has recorded."""
        is_result = "generation" in changes
        self.generation = changes.get("generation", self.generation)
        expected = sources_of(state) if is_result else {self.record.state}
        stored = JobState.SUCCEEDED if state is JobState.DOWNLOADED else state  # with or without files it has succeeded
        changes |= {**error_fields(error), "status": getattr(error, "status", None)}
        await self._move(stored, expected, **changes)
        await self._report(state, error, is_result=is_result)

    async def _move(self, state: JobState, expected: Set[JobState], **changes: Any) -> None:
        """Moves the record, and creates it again where the store has lost it: a paid job must not be forgotten."""
        store, key, message = self._context.store, self._message.key, self._message
        names = ("intent_at", "submitted_at", "task_id", "generation", "replayed")
        kept = {name: value for name in names if (value := getattr(self.record, name)) is not None}
        self.record = await store.advance(key, {*expected, None}, state, **{**kept, **changes})
        if self.record.state is JobState.PLANNED and message.request is None:  # it was purchased elsewhere
            planned = {JobState.PLANNED}
            self.record = await store.advance(key, planned, JobState.SUBMITTED, task_id=message.task_id)

    async def record_error(self, error: Exception, *, will_retry: bool) -> None:
        """Logs an error that is followed by another try. The last error of a download is recorded."""
        if will_retry:
            return self._log(logging.WARNING, "trying again", error)
        self._log(logging.ERROR, "not saved", error)
        reason = FilesNotSavedError(f"the job has succeeded, but its files are not saved: {error}")
        return await self._move(self.record.state, {self.record.state}, **error_fields(reason))

    async def save_files(self, generation: Generation) -> Sequence[SavedFile]:
        """Saves the files in the folder of the message."""
        message, folder = self._message, self._context.download_folder(self._message.download_to or ".")
        try:
            files = await save_files(self._context.session, generation, folder, name=message.name, owner=message.key)
        except NotFoundError as error:  # of the file: the job is still a success
            raise DownloadError(str(error)) from error
        with suppress(OSError):
            staging_dir(folder, message.key).rmdir()
        return files

    # --- reports ------------------------------------------------------------------------------------------------------

    async def _report(self, state: JobState, error: Exception | None, *, is_result: bool) -> None:
        """Counts and logs a step, and adds a dead letter for an abandoned job."""
        worker_context, record = self._context, self.record
        if is_result:
            event = state.value if state is not JobState.SUBMITTED else "replayed" if record.replayed else "bought"
            worker_context.counters[event] += self._message.request is not None
            self._log(logging.INFO, event)
        elif state is JobState.PLANNED and error is not None:
            self._log(logging.WARNING, "trying again", error)
        elif state is record.state is JobState.DEAD and error is not None:
            await self._add_dead_letter(error)

    async def _add_dead_letter(self, error: Exception) -> None:
        self._context.counters["dead"] += 1
        self._log(logging.ERROR, "dead", error)
        letter = DeadLetter.from_error(error, self._context.wall(), key=self.record.key, task_id=self.record.task_id)
        await self._context.store.add_dead_letter(letter)

    def _log(self, level: int, event: str, error: Exception | None = None) -> None:
        """Writes one line, with members for a structured formatter. It has no prompt, link or API key."""
        if LOG.isEnabledFor(level):
            found: dict[str, Any] = {"idempotency_key": self._message.key, "task_id": self.record.task_id}
            if error is not None:
                found |= {**error_fields(error), "request_id": getattr(error, "request_id", None)}
            members = {name: value for name, value in found.items() if value is not None}
            text = " ".join(f"{name}={value}" for name, value in members.items())
            LOG.log(level, "%s %s", event, text, extra=members)
