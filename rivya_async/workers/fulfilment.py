"""Carries one order: claims it, buys it, waits for it, saves what comes of it. The store knows of each step first."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from .._core import assumptions
from .._core.errors import (
    AuthenticationError,
    ConfigurationError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    NotFoundError,
    PermissionDeniedError,
    RivyaError,
    SessionClosedError,
)
from .._core.http.retry import is_transient
from .._core.idempotency import KEY_EXPIRY_MARGIN, key_time_left
from .._core.spend import may_have_purchased, proves_not_purchased
from .._engine.shutdown import GRACE_SECONDS, ShutdownRequested
from .._engine.transfers.file_io import move_into_place, run_in_thread_uncancellable, staging_dir
from .record import FRESH, JobRecord
from .states import IN_DOUBT, NOT_SAVED, POISON, JobState
from .store import DeadLetter

if TYPE_CHECKING:
    from .._core.types.generations import Generation
    from .._core.types.saved_file import SavedFile
    from .context import WorkerContext
    from .job_message import JobMessage

LOG: Final = logging.getLogger("rivya_async.workers")

MOST_DELIVERIES: Final = 25
"""So often a message may come without its order getting to an end: who carries it dies of it, it seems."""

FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 60.0
"""Seconds between whole calls that came to nothing, each with attempts of its own."""

TRIES_TO_SAVE: Final = 3

MOST_CONFLICTS: Final = 5
"""So often a clash of the key is taken for another delivery of the same order, before it is taken for a mistake."""

OF_THE_ACCOUNT: Final = (InsufficientCreditsError, AuthenticationError, PermissionDeniedError)
"""What every other order would meet too."""


class Fulfilment:
    """One delivery of one order. Another worker may carry the same order at the same time: both get to one end."""

    def __init__(self, worker_context: WorkerContext, order: JobMessage, enqueued_at: float | None = None) -> None:
        self._context = worker_context
        self._order = order
        self._enqueued_at = enqueued_at
        self._pause = FIRST_PAUSE
        self._conflicts = 0
        self.record = JobRecord(key=order.key)

    async def carry(self) -> JobRecord:
        """The record of the order at its end. Raises `ShutdownRequested` where somebody else has to carry it on."""
        with self._context.track_job():
            try:
                await self._look_up()
                if not self._is_done:
                    await self._count()
                while not self._is_done:
                    await self._step()
                return self.record
            except ShutdownRequested:
                self._context.counters["returned"] += 1
                await self._context.store.increment_deliveries(self._order.key, -1)  # nobody has died of it
                raise

    @property
    def _is_done(self) -> bool:
        record = self.record
        return record.has_ended and not (
            record.state is JobState.SUCCEEDED
            and self._order.download_to is not None
            and not record.files
            and record.error is None
        )

    async def _look_up(self) -> None:
        """The record, a new one if there is none; where the message is so old that there may have been one, an end."""
        store, key = self._context.store, self._order.key
        (known,) = await store.read([key])
        self.record = known or await store.advance(key, {None}, JobState.QUEUED)
        age = 0.0 if self._enqueued_at is None else self._context.wall() - self._enqueued_at
        if known is None and age > store.record_ttl - KEY_EXPIRY_MARGIN:
            await self._give_up(IN_DOUBT, "its message is older than what is remembered of orders that have ended")

    async def _count(self) -> None:
        deliveries = await self._context.store.increment_deliveries(self._order.key)
        if deliveries > MOST_DELIVERIES:
            told = f"its message came {deliveries} times, and nobody who got it has come to an end: look at the workers"
            await self._give_up(POISON, told)

    async def _step(self) -> None:
        if self._context.shutdown.is_set:
            raise ShutdownRequested
        if self.record.state is JobState.BOUGHT:
            await self._wait()
        elif self.record.state is JobState.SUCCEEDED:
            await self._save(Path(self._order.download_to or "."))
        elif self._order.request is None:
            await self._advance({JobState.QUEUED}, JobState.BOUGHT, task_id=self._order.task_id)
        else:
            await self._purchase()

    # --- buying -------------------------------------------------------------------------------------------------------

    async def _purchase(self) -> None:
        """Buy it under its key. An intent of another delivery may have been sent, or not: the key tells the service."""
        is_in_doubt = self.record.state is JobState.INTENT
        if not is_in_doubt:
            now = self._context.wall()
            await self._advance({JobState.QUEUED}, JobState.INTENT, intent_at=now, **FRESH)
            is_in_doubt = self.record.intent_at != now  # another delivery was faster
            if self._context.shutdown.is_set:  # it was asked for meanwhile, and nothing was sent
                raise ShutdownRequested
        while self.record.state is JobState.INTENT:
            if is_in_doubt and not self._time_left:
                told = "it may have been bought, but the service has forgotten its key by now: look for it in the "
                return await self._give_up(IN_DOUBT, f"{told}account's list of jobs, or order it under a new key")
            try:
                async with self._context.shutdown.scope(GRACE_SECONDS), asyncio.timeout(self._time_left):
                    job = await self._submit()
            except TimeoutError:  # nothing is sent under a key that may be forgotten by then
                is_in_doubt = True
            except RivyaError as error:
                is_in_doubt = is_in_doubt or may_have_purchased(error)
                if not is_in_doubt and isinstance(error, OF_THE_ACCOUNT):
                    return await self._held(error)
                if not may_go_well_later(error, in_doubt=is_in_doubt or self._may_be_our_twin(error)):
                    return await self._refused(error)
                await self._rest(error)
            else:
                return await self._bought(job)
        return None

    async def _submit(self) -> Generation:
        if self._order.request is None:
            raise ConfigurationError("this order is one to wait: there is nothing to buy")
        return await self._context.session.submit(self._order.request, idempotency_key=self._order.key)

    @property
    def _time_left(self) -> float:
        """Seconds until the service may have forgotten the key."""
        return key_time_left(self.record.intent_at, self._context.wall())

    def _may_be_our_twin(self, error: RivyaError) -> bool:
        """Whether the key clashes with another delivery of this very order, whose request is still running."""
        self._conflicts += isinstance(error, IdempotencyConflictError)
        return isinstance(error, IdempotencyConflictError) and self._conflicts <= MOST_CONFLICTS

    async def _held(self, error: RivyaError) -> None:
        """The account is at fault, not the order: it waits until that is mended, or until it is withdrawn."""
        told = {"error_code": _code_of(error), "error": str(error), "status": getattr(error, "status", None)}
        await self._advance({JobState.INTENT}, JobState.QUEUED, **told)
        await self._rest(error)

    async def _bought(self, job: Generation) -> None:
        self._context.counters["bought"] += 1
        self._log(logging.INFO, "bought", task_id=job.id)
        unbought = {JobState.QUEUED, JobState.INTENT, JobState.DEAD, JobState.WITHDRAWN}
        await self._advance(unbought, JobState.BOUGHT, task_id=job.id, generation=job, **FRESH)

    async def _refused(self, error: RivyaError) -> None:
        status = getattr(error, "status", None)
        await self._give_up(_code_of(error), str(error), status=status, request_id=error.request_id)

    # --- waiting and saving -------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        bought = self.record.generation or self.record.task_id or ""
        try:
            async with self._context.shutdown.scope():
                job = await self._context.session.wait_for(bought, timeout=None, raise_on_failure=False)
        except SessionClosedError:
            raise ShutdownRequested from None
        except NotFoundError as error:
            if not self._is_just_bought:
                return await self._refused(error)
            return await self._rest(error)
        except RivyaError as error:  # such as a key that was revoked: the job is paid for, and goes on
            return await self._rest(error)
        state = JobState.SUCCEEDED if job.succeeded else JobState.FAILED
        if self._order.request is not None:
            self._context.counters[state.value] += 1
        self._log(logging.INFO, state.value)
        why = job.error
        await self._advance(
            {JobState.BOUGHT, JobState.DEAD},
            state,
            generation=job,
            error_code=None if job.succeeded else "unknown" if why is None else why.code,
            error=None if job.succeeded else "no reason given" if why is None else why.message,
        )
        return None

    @property
    def _is_just_bought(self) -> bool:
        """A replica of the service may lag behind, and not know of it yet."""
        return self._context.wall() - (self.record.intent_at or 0.0) < assumptions.NOT_FOUND_GRACE

    async def _save(self, folder: Path) -> None:
        for tries_left in reversed(range(TRIES_TO_SAVE)):
            try:
                async with self._context.shutdown.scope():
                    files = await self._saved(folder)
                await self._advance({JobState.SUCCEEDED}, JobState.SUCCEEDED, files=tuple(files))
                return
            except (RivyaError, OSError) as error:
                if tries_left:
                    await self._rest(error)
                    continue
                self._log(logging.ERROR, "not saved", error=str(error))
                told = {"error_code": NOT_SAVED, "error": f"it has succeeded, but was not saved: {error}"}
                await self._advance({JobState.SUCCEEDED}, JobState.SUCCEEDED, **told)

    async def _saved(self, folder: Path) -> list[SavedFile]:
        session, order = self._context.session, self._order
        job = self.record.generation or await session.generations.retrieve(self.record.task_id or "")
        room = staging_dir(folder, order.key)
        files = []
        for path in await session.download(job, room, name=order.name, overwrite=True):
            file = await run_in_thread_uncancellable(move_into_place, path, folder, folder)
            files.append(attrs.evolve(file, path=str(folder.absolute() / path.name)))
        with suppress(OSError):
            room.rmdir()
        return files

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    async def _give_up(
        self, code: str, reason: str, *, status: int | None = None, request_id: str | None = None
    ) -> None:
        task_id = self.record.task_id
        known = {self.record.state}  # who carries it too may have come further
        await self._advance(known, JobState.DEAD, error_code=code, error=reason, status=status)
        if self.record.state is JobState.DEAD:
            self._context.counters["dead"] += 1
            self._log(logging.ERROR, "dead", error_code=code, error=reason, request_id=request_id)
            key = self._order.key
            await self._context.store.add_dead_letter(
                DeadLetter(reason=reason, code=code, key=key, task_id=task_id, at=self._context.wall())
            )

    async def _rest(self, error: Exception) -> None:
        """A pause, longer each time, before the same step is tried again."""
        request_id = getattr(error, "request_id", None)
        self._log(logging.WARNING, "trying again", error=str(error), request_id=request_id)
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        async with self._context.shutdown.scope():
            await asyncio.sleep(pause * (0.5 + self._context.uniform() / 2))

    async def _advance(self, expected: set[JobState], state: JobState, **changes: Any) -> None:
        """Bring the record on, and make it anew if the store has lost it: what is known of a paid job must not go."""
        known = {name: getattr(self.record, name) for name in ("intent_at", "task_id", "generation")}
        kept = {name: value for name, value in known.items() if value is not None}
        self.record = await self._context.store.advance(
            self._order.key, {*expected, None}, state, **{**kept, **changes}
        )

    def _log(self, level: int, event: str, **facts: Any) -> None:
        """One line, whose members a structured formatter can tell apart. No prompt, no link, no API key."""
        if LOG.isEnabledFor(level):
            told = {"idempotency_key": self._order.key, "task_id": self.record.task_id, **facts}
            members = {name: value for name, value in told.items() if value is not None}
            shown = " ".join(f"{name}={value}" for name, value in members.items())
            LOG.log(level, "%s %s", event, shown, extra=members)


def _code_of(error: RivyaError) -> str:
    return getattr(error, "code", None) or type(error).__name__


def may_go_well_later(error: RivyaError, *, in_doubt: bool) -> bool:
    """Whether a purchase is to be tried again: the fault passes, or leaves open whether it has been made already."""
    return is_transient(error, may_have_acted=in_doubt) or (in_doubt and not proves_not_purchased(error))
