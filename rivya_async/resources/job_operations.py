"""The work behind the methods that buy jobs and wait for them: one purchase, one wait, one saved result."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeAlias

import attrs

from .._core.errors import ConfigurationError, DownloadError, RivyaError, SessionClosedError, WaitError
from .._core.generation_request import GenerationRequest, Outcome, raise_if_failed
from .._core.http import operations
from .._core.idempotency import attach_idempotency_key
from .._core.open_jobs import OpenJob
from .._core.policies import NotGiven, PollPolicy, validate_policy
from .._core.polling.adaptive.duration_estimator import duration_group
from .._core.spend import Reservation
from .._core.types.generations import Generation
from .._core.types.purchase_cost import Charge
from .._core.types.record import Record
from .._engine.polling.waiters import OnUpdate, consume_updates
from .downloads import ResultDownloads, resolve_names
from .job_arguments import compute_deadline, identify_job, warn_unread

if TYPE_CHECKING:
    from .._core.types.progress import ProgressCounter
    from .._engine.engine import Engine
    from .._engine.purchase_preflight import PurchasePreflight
    from .._engine.transfers.partial_file import Exists

ReferenceResolver: TypeAlias = Callable[[GenerationRequest, float | None], Awaitable[GenerationRequest]]
"""Uploads the local references of a request, by a deadline on the loop's clock."""


@attrs.frozen
class SaveTarget:
    """Target of the files of succeeded jobs."""

    to: str | os.PathLike[str]
    exists: Exists | None


def validate_target(
    to: str | os.PathLike[str] | None, exists: Exists | None, *, must_be_folder: bool = False
) -> SaveTarget | None:
    """Returns the target of files, None without `to`. Raises `ConfigurationError` for an invalid one."""
    if to is None:
        if exists is not None:
            raise ConfigurationError("exists needs to: the folder or file to save to")
        return None
    if not isinstance(to, str | os.PathLike):
        raise ConfigurationError(f"to must be the path of a folder or of a file, not {to!r:.80}")
    if resolve_names(None, to, None, 1, exists).filename is not None and must_be_folder:
        raise ConfigurationError(
            f"to must be a folder, since map saves the files of many jobs: {os.fspath(to)!r:.80} is not one. End the "
            "path with a separator to create it"
        )
    return SaveTarget(to, exists)


@attrs.frozen
class JobOperations:
    """Buys jobs and waits for them, for a session or a view of it."""

    engine: Callable[[], Engine]
    poll: PollPolicy
    preflight: PurchasePreflight
    resolve_references: ReferenceResolver

    def policy(self, poll: PollPolicy | None) -> PollPolicy:
        """Returns the policy of a call."""
        return self.poll if poll is None else validate_policy("poll", poll, self.poll)

    async def purchase(
        self, engine: Engine, request: GenerationRequest, key: str, *, check: bool, deadline: float | None
    ) -> Generation:
        """Buys a job and returns its first record, which is remembered as an open job."""
        preflight = self.preflight
        if check:
            request = await preflight.validate(request, deadline)
        has_paths = bool(request.paths)
        operation = operations.create_generation(_without_paths(request) if has_paths else request, key)
        await preflight.reserve(request, key, operation.request.path, deadline)
        if has_paths:  # everything else is checked before an upload
            with preflight.release_on_error(key, operation.request.path):
                request = await self.resolve_references(request, deadline)
                operation = operations.create_generation(request, key)
        began = asyncio.get_running_loop().time()
        with preflight.suggestions(request), Reservation(preflight.ledger, key, operation.request.path) as reservation:
            admission = engine.purchase_queue.limiter_for(engine.executor.retry, self.poll, self._record_unseen)
            bought, headers = await engine.executor.execute(operation, deadline=deadline, admission=admission)
            admission.confirm()
            reservation.confirm(Charge.from_generation(bought))
        now, elapsed = engine.executor.environment.wall_time(), asyncio.get_running_loop().time() - began
        if request.idempotency_key is None:  # the key was created by this call, so no earlier purchase has it
            preflight.replays.learn(bought, headers, elapsed=elapsed)
        elif preflight.replays.is_replay(bought, headers, elapsed=elapsed, now=now):
            bought = attrs.evolve(bought, replayed=True)
        cost = preflight.ledger.costs.get(key)
        if cost is None or cost.final is None or cost.task_id != bought.id:  # a replay may be of an ended job
            preflight.open_jobs.add(OpenJob(bought.id, key, request.model, request.client_request_id, now))
        registry = engine.wait_registry
        registry.register_submitted(bought, duration_group(request.model, request.params))
        self.record(registry.known_terminal(bought.id, bought) or bought)
        return bought

    def wait(
        self,
        engine: Engine,
        job: Generation | str,
        policy: PollPolicy,
        deadline: float | None,
        on_update: OnUpdate | None,
    ) -> Awaitable[Generation]:
        """Returns the wait itself. A coroutine around it would cost one more frame per waiting job."""
        task_id, last = identify_job(job)
        if on_update is None:
            return engine.wait_registry.wait(task_id, last, policy, deadline)
        return consume_updates(self.record_all(engine.wait_registry.watch(task_id, last, policy, deadline)), on_update)

    def record(self, generation: Generation, job: OpenJob | None = None) -> None:
        """Reports a record to the spend ledger and to the open jobs.

        With the `job`, its end is remembered until `deliver`, since the caller of the session does not have it yet.
        """
        self.preflight.ledger.on_generation(generation)
        if generation.is_terminal:
            self.preflight.open_jobs.on_generation(generation)
            if job is not None:
                self.preflight.open_jobs.add_ended(job)

    def _record_unseen(self, generation: Generation) -> None:
        """Reports the end of a job that another purchase has waited for."""
        self.record(generation, self.open_job(generation))

    def open_job(self, generation: Generation) -> OpenJob | None:
        """Returns the open job of a record, for `record`."""
        return self.preflight.open_jobs.get(generation.id)

    def deliver(self, generation: Generation) -> None:
        """Records that the caller receives the end of a job."""
        self.preflight.open_jobs.deliver(generation.id)

    async def record_all(self, generations: AsyncGenerator[Generation]) -> AsyncGenerator[Generation]:
        """Yields the same records, and reports each."""
        async with aclosing(generations):
            async for generation in generations:
                self.record(generation)
                yield generation

    async def save(self, ended: Generation, target: SaveTarget) -> None:
        """Saves the files of a succeeded job. Raises `DownloadError` with the task id for every failure."""
        try:
            await ResultDownloads(self.engine, self.record).save(
                ended, target.to, name=None, exists=target.exists, max_bytes=None, on_progress=None
            )
        except (DownloadError, SessionClosedError) as error:
            error.task_id = ended.id
            raise
        except RivyaError as error:
            raise DownloadError(
                f"the files of {ended.id} were not saved: {error}. The job is paid: download it again",
                task_id=ended.id,
                request_id=error.request_id,
            ) from error


class RequestRunner:
    """Runs the requests of one `map`. It knows which of its jobs have ended and were not yielded yet."""

    def __init__(
        self,
        jobs: JobOperations,
        counter: ProgressCounter,
        *,
        check: bool,
        timeout: float | NotGiven | None,
        policy: PollPolicy,
        target: SaveTarget | None,
    ) -> None:
        self._jobs = jobs
        self._counter = counter
        self._check = check
        self._timeout = timeout
        self._policy = policy
        self._target = target
        self._numbers = itertools.count(1)
        self._interrupted: list[str] = []
        self._unread: dict[str, int] = {}

    async def run(self, request: GenerationRequest) -> Outcome:
        """Buys a job, waits for it and saves its files. Returns every failure."""
        self._counter.started += 1
        known, number = None, next(self._numbers)
        if not isinstance(request, GenerationRequest):
            error = ConfigurationError(f"map takes GenerationRequest values, not {request!r:.80}")
            return Outcome(request, None, error)
        jobs = self._jobs
        try:
            key = jobs.preflight.idempotency_key(request.idempotency_key)
            with attach_idempotency_key(key):
                engine, deadline = jobs.engine(), compute_deadline(self._timeout, self._policy)
                known = await jobs.purchase(engine, request, key, check=self._check, deadline=deadline)
                job = jobs.open_job(known)
                known = await jobs.wait(engine, known, self._policy, deadline, None)
                self._unread[known.id] = number
                jobs.record(known, job)
                raise_if_failed(known)
                if self._target is not None:
                    await jobs.save(known, self._target)
                return Outcome(request, known)
        except asyncio.CancelledError as error:
            self._interrupted.extend(f"request {number}: {note}" for note in getattr(error, "__notes__", ()))
            raise
        except Exception as failure:  # noqa: BLE001 - no failure, of any kind, may end the other requests
            return Outcome(request, (failure.last if isinstance(failure, WaitError) else None) or known, failure)

    def deliver(self, outcome: Outcome) -> None:
        """Records that the caller receives an outcome."""
        if outcome.generation is not None:
            self._unread.pop(outcome.generation.id, None)
            self._jobs.deliver(outcome.generation)

    def add_notes(self, error: BaseException) -> None:
        """Adds the keys of the purchases in flight, and the ids of ended jobs, to the cancellation of `map`."""
        for note in self._interrupted:
            error.add_note(note)
        for task_id, number in self._unread.items():
            error.add_note(f"request {number}: {task_id} is bought and has ended")

    def close(self) -> None:
        """Warns of the jobs that have ended and were not yielded."""
        warn_unread(self._unread)


def _without_paths(request: GenerationRequest) -> GenerationRequest:
    return attrs.evolve(request, references=[each for each in request.references if isinstance(each, Record)])
