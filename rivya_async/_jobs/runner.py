"""The steps of one job: purchase, wait, save. The store records each step."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from .._core import assumptions
from .._core.errors import GenerationFailedError, IdempotencyConflictError, JournalError, RivyaError
from .._core.idempotency import key_time_left
from .._core.spend import may_have_purchased
from .._engine.shutdown import GRACE_SECONDS, ShutdownRequested
from .._engine.transfers.file_io import move_into_place, run_in_thread_uncancellable, staging_dir
from .backoff import Backoff
from .transitions import ACCOUNT_ERRORS, JobAbandonedError, JobAction, JobInDoubtError, JobState, classify_error

if TYPE_CHECKING:
    from .._core.generation_request import GenerationRequest
    from .._core.types.generations import Generation, SavedFile
    from .._engine.shutdown import ShutdownSignal

MAX_LOOP_HASH_BYTES: Final = 1024 * 1024
"""Bytes of the largest file that is hashed on the event loop: it takes less time than a thread."""


class JobStore(Protocol):
    """The request, the record and the files of one job, and the place where they are kept."""

    @property
    def record(self) -> Any:
        """The latest record, with at least `key`, `state`, `task_id`, `intent_at` and `submitted_at`."""
        ...

    @property
    def generation(self) -> Generation | None:
        """The latest response of the service, if it is known."""
        ...

    def continues(self) -> bool:
        """Returns True where an ended job has another step: a download, or another purchase of a failed job."""
        ...

    async def load_request(self) -> GenerationRequest:
        """Returns the request of the recorded intent, else a new one that is valid and refers to no local file."""
        ...

    async def advance(self, state: JobState, error: Exception | None = None, **changes: Any) -> None:
        """Moves the record to a state, and replaces its error. An intent is durable when this returns.

        Where another worker has moved the record already, `record` becomes the one that is stored.
        """
        ...

    async def record_error(self, error: Exception, *, will_retry: bool) -> None:
        """Records an error that leaves the state as it is."""
        ...

    async def save_files(self, generation: Generation) -> Sequence[Any]:
        """Saves the files of the job."""
        ...


@attrs.frozen(kw_only=True)
class JobPolicy:
    """The differences between batches, workers and the command line.

    After the actions `retried` a step is tried again, for `retry_for` seconds; a download is tried `max_saves` times.
    `is_exclusive`: no other process works on the job. Otherwise `max_conflicts` clashes of the key are taken for a
    concurrent delivery of the job. `repurchase_hint` is the advice for a job in doubt.
    """

    retried: frozenset[JobAction] = frozenset()
    retry_for: float = math.inf
    max_saves: int = 1
    is_exclusive: bool = True
    max_conflicts: int = 0
    blocking_errors: tuple[type[Exception], ...] = ACCOUNT_ERRORS
    repurchase_hint: str = "purchase it under a new key"
    wait_options: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.define(kw_only=True)
class JobContext:
    """Everything that the jobs of one run share. `halted` is the error after which nothing more is purchased.

    `session` is a `RivyaSession` or a client with the same calls.
    """

    session: Any
    stop: ShutdownSignal
    wall: Callable[[], float]
    uniform: Callable[[], float]
    policy: JobPolicy
    halted: Exception | None = None


class JobRunner:
    """One job in one run. No purchase is sent unless the store holds its intent."""

    def __init__(self, context: JobContext, store: JobStore) -> None:
        self._context = context
        self._policy = context.policy
        self._store = store
        self._is_in_doubt = store.record.state is JobState.INTENT  # an earlier process may have sent it
        self._conflicts = 0

    async def run(self) -> None:
        """Processes the job to its end, or as far as this run can. Raises `ShutdownRequested` at a shutdown."""
        try:
            await self._process()
        except ShutdownRequested:
            if self._is_unsent and self._policy.is_exclusive:
                await self._store.advance(JobState.PLANNED)
            raise

    async def _process(self) -> None:
        context, backoff = self._context, None
        while (step := self._next_step()) is not None:
            if context.stop.is_set:
                raise ShutdownRequested
            try:
                await step()
                backoff = None
            except JournalError:
                raise
            except (RivyaError, JobAbandonedError, OSError) as error:
                backoff = backoff or Backoff(context.stop, context.uniform, retry_for=self._policy.retry_for)
                if not await self._handle_error(error, backoff):
                    return

    def _next_step(self) -> Callable[[], Awaitable[None]] | None:
        match self._store.record.state:
            case JobState.PLANNED | JobState.INTENT:
                return self._purchase
            case JobState.SUBMITTED:
                return self._wait
            case JobState.FAILED if self._store.continues():
                return self._purchase
            case JobState.SUCCEEDED if self._store.continues():
                return self._save
        return None

    @property
    def _is_unsent(self) -> bool:
        """True for an intent of this run that certainly bought nothing."""
        return self._store.record.state is JobState.INTENT and not self._is_in_doubt

    # --- steps --------------------------------------------------------------------------------------------------------

    async def _purchase(self) -> None:
        if self._store.record.state is not JobState.INTENT:
            await self._record_intent()
        if self._store.record.state is JobState.INTENT:
            await self._submit()

    async def _record_intent(self) -> None:
        context, store = self._context, self._store
        async with context.stop.scope():
            await store.load_request()
        if context.stop.is_set or context.halted is not None:
            raise ShutdownRequested
        now = context.wall()
        await store.advance(JobState.INTENT, intent_at=now)
        self._is_in_doubt = store.record.intent_at != now  # another worker was faster, and may have sent it
        if context.stop.is_set:
            raise ShutdownRequested

    async def _submit(self) -> None:
        context, store, was_in_doubt = self._context, self._store, self._is_in_doubt
        seconds = key_time_left(store.record.intent_at, context.wall())
        if was_in_doubt and not seconds:
            raise JobInDoubtError(
                "the job may have been purchased, and the service has forgotten its key by now. Find it in the "
                f"account's list of jobs, or {self._policy.repurchase_hint}"
            )
        request, key = await store.load_request(), store.record.key
        self._is_in_doubt = True  # until the response says otherwise
        try:
            async with context.stop.scope(GRACE_SECONDS), asyncio.timeout(seconds):  # later the key may be forgotten
                job = await context.session.submit(request, idempotency_key=key)
        except RivyaError as error:
            self._is_in_doubt = was_in_doubt or may_have_purchased(error)
            raise
        replayed = job.replayed and not was_in_doubt  # otherwise an earlier try of this job has bought it
        await store.advance(
            JobState.SUBMITTED, task_id=job.id, submitted_at=context.wall(), generation=job, replayed=replayed
        )

    async def _wait(self) -> None:
        context, store = self._context, self._store
        purchased, state, failure = store.generation or store.record.task_id, JobState.SUCCEEDED, None
        try:
            async with context.stop.scope():
                job = await context.session.wait_for(purchased, **self._policy.wait_options)
        except GenerationFailedError as error:
            state, failure, job = JobState.FAILED, error, error.generation
        await store.advance(state, failure, ended_at=context.wall(), generation=job)

    async def _save(self) -> None:
        context, store = self._context, self._store
        async with context.stop.scope():
            job = store.generation or await context.session.generations.retrieve(store.record.task_id)
            files = await store.save_files(job)
        await store.advance(JobState.DOWNLOADED, downloaded_at=context.wall(), files=tuple(files))

    # --- errors -------------------------------------------------------------------------------------------------------

    async def _handle_error(self, error: Exception, backoff: Backoff) -> bool:
        """Records an error and pauses before the next try. Returns False where this run can do no more."""
        context, policy, store = self._context, self._policy, self._store
        state = store.record.state
        action = classify_error(
            state,
            error,
            is_in_doubt=self._is_in_doubt or self._is_concurrent_delivery(error),
            is_new=context.wall() - (store.record.submitted_at or 0.0) < assumptions.NOT_FOUND_GRACE,
            blocking_errors=policy.blocking_errors,
        )
        will_retry = action in policy.retried and backoff.has_time_left()
        if state is JobState.SUCCEEDED:
            will_retry = will_retry and backoff.count + 1 < policy.max_saves
        if action in {JobAction.RELEASE, JobAction.HALT} and not will_retry:
            context.halted = context.halted or error
        if action is JobAction.ABANDON and state is not JobState.FAILED:
            await store.advance(JobState.DEAD, error)
            return True  # another worker may have recorded a purchase meanwhile
        if action is JobAction.RELEASE or (self._is_unsent and not will_retry):
            await store.advance(JobState.PLANNED, error)
        elif state is not JobState.FAILED:  # the reason of a failure stays on record
            await store.record_error(error, will_retry=will_retry)
        if will_retry:
            await backoff.pause()
        return will_retry

    def _is_concurrent_delivery(self, error: Exception) -> bool:
        """Returns True where another delivery of this job may hold the key: its request is still running."""
        is_conflict = isinstance(error, IdempotencyConflictError)
        self._conflicts += is_conflict
        return is_conflict and self._conflicts <= self._policy.max_conflicts


async def save_files(
    session: Any, generation: Generation, folder: Path, *, name: str | None, owner: str, relative_to: Path | None = None
) -> list[SavedFile]:
    """Downloads the files of a job into the staging folder of `owner`, and moves each into `folder`.

    `name` is a template. Paths are relative to `relative_to`, or absolute. Raises `ConfigurationError` where another
    file has the name.
    """
    paths = await session.download(generation, f"{staging_dir(folder, owner)}{os.sep}", name=name, exists="overwrite")
    files = []
    for path in paths:
        move = (path, folder, relative_to or folder)
        file = (
            move_into_place(*move)
            if path.stat().st_size <= MAX_LOOP_HASH_BYTES
            else await run_in_thread_uncancellable(move_into_place, *move)
        )
        files.append(file if relative_to else attrs.evolve(file, path=str(folder.absolute() / path.name)))
    return files
