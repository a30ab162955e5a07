"""The steps of one job: purchase, wait, save. The store records each step."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from .._core import assumed
from .._core.errors import GenerationFailed, IdempotencyConflict, JournalError, RivyaError
from .._core.idempotency import time_left
from .._core.spend import may_have_bought
from .._engine.stop import GRACE, Stopped
from .backoff import Backoff
from .errors import ACCOUNT_ERRORS, IN_DOUBT, JobAbandoned, JobAction, classify_error
from .states import JobState

if TYPE_CHECKING:
    from .._core.generation_request import GenerationRequest
    from .._core.records import Generation
    from .._engine.stop import Stop


class RecordedJob(Protocol):
    """The facts of a record that decide the next step. Instants are seconds since the epoch."""

    @property
    def key(self) -> str:
        """The idempotency key of the purchase."""
        ...

    @property
    def state(self) -> JobState:
        """The progress of the job."""
        ...

    @property
    def task_id(self) -> str | None:
        """The service's id of the job, once it is purchased."""
        ...

    @property
    def intent_at(self) -> float | None:
        """The time at which the purchase was about to be sent."""
        ...

    @property
    def submitted_at(self) -> float | None:
        """The time at which the purchase was answered."""
        ...


class JobStore(Protocol):
    """The request, the record and the files of one job, and the place where they are kept."""

    @property
    def record(self) -> RecordedJob:
        """The record as it was read or written last."""
        ...

    @property
    def generation(self) -> Generation | None:
        """The latest response of the service about the job, where it is known."""
        ...

    @property
    def may_repurchase(self) -> bool:
        """True where a failed job is purchased again, under a new key."""
        ...

    @property
    def wants_files(self) -> bool:
        """True where the files of the succeeded job are still to be saved."""
        ...

    async def load_request(self) -> GenerationRequest:
        """Returns the request of the recorded intent, else a new one that is valid and refers to no local file."""
        ...

    async def advance(
        self,
        state: JobState,
        *,
        at: float,
        generation: Generation | None = None,
        files: Sequence[Any] = (),
        error: Exception | None = None,
    ) -> None:
        """Moves the record to a state, and replaces its error. An intent is durable when this returns.

        Where another worker has moved the record already, `record` is the one that the store holds instead.
        """
        ...

    async def record_error(self, error: Exception, *, will_retry: bool) -> None:
        """Records an error that leaves the state as it is."""
        ...

    async def save_files(self, generation: Generation) -> Sequence[Any]:
        """Saves the files of the job. Returns what `advance` records of them."""
        ...


@attrs.frozen(kw_only=True)
class JobPolicy:
    """The differences between batches, workers and the command line.

    `retried` are the actions after which the step is tried again, for `retry_for` seconds; a download is tried
    `max_saves` times. `is_exclusive`: no other process works on the job. Otherwise `max_conflicts` clashes of the key
    are taken for a concurrent delivery of the same job. `repurchase_hint` completes the advice for a job in doubt.
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
    """Everything that the jobs of one run share.

    `session` is a `RivyaSession` or a client with the same calls. `halted` is the error after which nothing more is
    purchased.
    """

    session: Any
    stop: Stop
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
        """Processes the job to its end, or as far as this run can. Raises `Stopped` at a shutdown."""
        try:
            await self._process()
        except Stopped:
            if self._is_unsent and self._policy.is_exclusive:
                await self._advance(JobState.PLANNED)
            raise

    async def _process(self) -> None:
        context, backoff = self._context, None
        while (step := self._next_step()) is not None:
            if context.stop.is_set:
                raise Stopped
            try:
                await step()
                backoff = None
            except JournalError:
                raise
            except (RivyaError, JobAbandoned, OSError) as error:
                backoff = backoff or Backoff(context.stop, context.uniform, retry_for=self._policy.retry_for)
                if not await self._handle_error(error, backoff):
                    return

    def _next_step(self) -> Callable[[], Awaitable[None]] | None:
        match self._store.record.state:
            case JobState.PLANNED | JobState.INTENT:
                return self._purchase
            case JobState.SUBMITTED:
                return self._wait
            case JobState.SUCCEEDED if self._store.wants_files:
                return self._save
            case JobState.FAILED if self._store.may_repurchase:
                return self._purchase
        return None

    @property
    def _is_unsent(self) -> bool:
        """True for an intent of this run that certainly bought nothing."""
        return self._store.record.state is JobState.INTENT and not self._is_in_doubt

    async def _advance(self, state: JobState, **facts: Any) -> None:
        await self._store.advance(state, at=self._context.wall(), **facts)

    # --- steps --------------------------------------------------------------------------------------------------------

    async def _purchase(self) -> None:
        if self._store.record.state is not JobState.INTENT:
            await self._record_intent()
        if self._store.record.state is JobState.INTENT:
            await self._submit()

    async def _record_intent(self) -> None:
        context = self._context
        async with context.stop.cuts():
            await self._store.load_request()
        if context.stop.is_set or context.halted is not None:
            raise Stopped
        now = context.wall()
        await self._store.advance(JobState.INTENT, at=now)
        self._is_in_doubt = self._store.record.intent_at != now  # another worker was faster, and may have sent it
        if context.stop.is_set:
            raise Stopped

    async def _submit(self) -> None:
        was_in_doubt, key = self._is_in_doubt, self._store.record.key
        seconds = time_left(self._store.record.intent_at, self._context.wall())
        if was_in_doubt and not seconds:
            raise JobAbandoned(
                "the job may have been purchased, and the service has forgotten its key by now. Find it in the "
                f"account's list of jobs, or {self._policy.repurchase_hint}",
                IN_DOUBT,
            )
        request = await self._store.load_request()
        self._is_in_doubt = True  # until the response says otherwise
        try:
            async with self._context.stop.cuts(GRACE), asyncio.timeout(seconds):  # later the key may be forgotten
                generation = await self._context.session.submit(request, idempotency_key=key)
        except RivyaError as error:
            self._is_in_doubt = was_in_doubt or may_have_bought(error)
            raise
        await self._advance(JobState.SUBMITTED, generation=generation)

    async def _wait(self) -> None:
        purchased = self._store.generation or self._store.record.task_id
        state, failure = JobState.SUCCEEDED, None
        try:
            async with self._context.stop.cuts():
                generation = await self._context.session.wait_for(purchased, **self._policy.wait_options)
        except GenerationFailed as error:
            state, failure, generation = JobState.FAILED, error, error.generation
        await self._advance(state, generation=generation, error=failure)

    async def _save(self) -> None:
        store = self._store
        async with self._context.stop.cuts():
            generation = store.generation or await self._context.session.generations.retrieve(
                store.record.task_id or ""
            )
            files = await store.save_files(generation)
        await self._advance(JobState.DOWNLOADED, files=files)

    # --- errors -------------------------------------------------------------------------------------------------------

    async def _handle_error(self, error: Exception, backoff: Backoff) -> bool:
        """Records an error and pauses before the next try. Returns False where this run can do no more."""
        state, policy = self._store.record.state, self._policy
        action = self._classify(state, error)
        will_retry = action in policy.retried and backoff.has_time_left()
        if state is JobState.SUCCEEDED:
            will_retry = will_retry and backoff.count + 1 < policy.max_saves
        if action in {JobAction.RELEASE, JobAction.HALT} and not will_retry:
            self._context.halted = self._context.halted or error
        if state is JobState.FAILED:
            will_retry = action is JobAction.RETRY and will_retry  # the reason of the failure stays on record
        elif action is JobAction.ABANDON:
            await self._advance(JobState.DEAD, error=error)
            return True  # another worker may have recorded a purchase meanwhile
        elif action is JobAction.RELEASE or (self._is_unsent and not will_retry):
            await self._advance(JobState.PLANNED, error=error)
        else:
            await self._store.record_error(error, will_retry=will_retry)
        if will_retry:
            await backoff.pause()
        return will_retry

    def _classify(self, state: JobState, error: Exception) -> JobAction:
        submitted_at = self._store.record.submitted_at or 0.0
        return classify_error(
            state,
            error,
            is_in_doubt=self._is_in_doubt or self._is_concurrent_delivery(error),
            is_new=self._context.wall() - submitted_at < assumed.NOT_FOUND_GRACE,
            blocking_errors=self._policy.blocking_errors,
        )

    def _is_concurrent_delivery(self, error: Exception) -> bool:
        """Returns True where another delivery of this job may hold the key: its request is still running."""
        is_conflict = isinstance(error, IdempotencyConflict)
        self._conflicts += is_conflict
        return is_conflict and self._conflicts <= self._policy.max_conflicts
