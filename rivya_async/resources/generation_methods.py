"""The methods that buy jobs and wait for them. The session and its `generations` resource share them."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence, Sized
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from .._core.errors import (
    ConfigurationError,
    DownloadError,
    NotFoundError,
    RivyaError,
    SessionClosedError,
    WaitError,
)
from .._core.generation_request import GenerationRequest, Outcome, Reference, build_request, raise_if_failed
from .._core.http import operations
from .._core.idempotency import add_idempotency_key, attach_idempotency_key
from .._core.open_jobs import OpenJob
from .._core.policies import NOT_GIVEN, NotGiven, PollPolicy, validate_policy
from .._core.polling.adaptive.duration_estimator import duration_group
from .._core.spend import Reservation
from .._core.types.generations import Generation
from .._core.types.progress import ProgressCounter
from .._core.types.purchase_cost import Charge
from .._core.types.record import Record
from .._engine.bounded_map import bounded_map
from .._engine.polling.waiters import OnUpdate, consume_updates, notify_listener, validate_listener
from .downloads import ResultDownloads, resolve_names
from .job_arguments import (
    OnJobProgress,
    compute_deadline,
    identify_job,
    loop_time,
    report_progress,
    warn_unread,
)

if TYPE_CHECKING:
    from .._engine.engine import Engine
    from .._engine.purchase_preflight import PurchasePreflight
    from .._engine.transfers.partial_file import Exists
    from ..catalogue import ModelId

ReferenceResolver: TypeAlias = Callable[[GenerationRequest, float | None], Awaitable[GenerationRequest]]
"""Uploads the local references of a request, by a deadline on the loop's clock."""


@attrs.frozen
class JobContext:
    """The parts of a session that buying and waiting need."""

    engine: Callable[[], Engine]
    poll: PollPolicy
    preflight: PurchasePreflight
    resolve_references: ReferenceResolver


class GenerationMethods:
    """Methods to buy jobs and to wait for them."""

    _jobs: JobContext

    async def submit(
        self,
        model: ModelId | str | GenerationRequest,
        prompt: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        references: Sequence[Reference] = (),
        client_request_id: str | None = None,
        idempotency_key: str | None = None,
        check: bool = False,
    ) -> Generation:
        """Buys a job and returns its first record. A `GenerationRequest` may replace the separate arguments.

        Every submit sends an `Idempotency-Key`: yours, or one that is created for this call and kept over all
        attempts. Every error has it as `idempotency_key`; repeating the call with it repeats the same purchase.
        Keys of `params` are never renamed. `references` become `params.referenceMediaItems`; local paths among them are
        uploaded first, once per content and model, before anything is bought.

        With `check` the job is first validated against the catalogue, which the session reads at most once in five
        minutes: values are converted (`Model.coerce`), and `InvalidRequestError` lists every problem (`Model.check`),
        or the closest ids of an unknown model. Nothing is sent then.

        Raises `ConfigurationError` and `SpendLimitError` before anything is sent; `APIStatusError` and its subclasses,
        `RequestNotSentError`, `OutcomeUnknownError` and `ResponseDecodeError`. Cancelling drops the request, which the
        service may have processed: the `CancelledError` has a note with the key.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         job = await session.submit("z-image", "A red kite", params={"aspect_ratio": "16:9"})
        ...         return job.status
        >>> asyncio.run(main())
        'queued'
        """
        request = build_request(
            model,
            prompt,
            params=params,
            references=references,
            client_request_id=client_request_id,
            idempotency_key=idempotency_key,
        )
        key = self._jobs.preflight.idempotency_key(request.idempotency_key)
        with attach_idempotency_key(key):
            return await self._purchase(self._jobs.engine(), request, key, check=check, deadline=None)

    async def wait_for(
        self,
        generation_or_task_id: Generation | str,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
        raise_on_failure: bool = True,
    ) -> Generation:
        """Waits until a job has ended and returns its terminal record.

        The job may come from this process or another. `timeout` is in seconds; None waits without limit; left out, the
        policy's timeout applies. `on_update` is called, or awaited, with each changed snapshot, the terminal one last.

        Transient errors of a poll never end a wait before its deadline, nor do answers that are not the API's, such as
        the page of a gateway: they end a wait after 60 s if this session never had an answer of the API. A 401 or 403
        of the API ends a wait, and so does a 404, except shortly after this session's own submit. An unknown status
        counts as open. All waits for one job share its polls.

        Raises `GenerationFailedError` if the job failed (unless `raise_on_failure=False`), `WaitTimeoutError` at the
        timeout (wait again; its cause is the error of the last poll if none succeeded), `SessionClosedError` if the
        session closes. Every error has the `task_id`. Cancelling ends this wait only.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         task_id = (await session.submit("z-image", "A red kite")).id
        ...         job = await session.wait_for(task_id, timeout=600)
        ...         return job.status
        >>> asyncio.run(main())
        'succeeded'
        """
        policy = self._policy(poll)
        validate_listener(on_update)
        deadline = compute_deadline(timeout, policy)
        ended = await self._wait(self._jobs.engine(), generation_or_task_id, policy, deadline, on_update)
        self._record(ended)
        return raise_if_failed(ended) if raise_on_failure and ended.failed else ended

    async def generate(
        self,
        model: ModelId | str | GenerationRequest,
        prompt: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        references: Sequence[Reference] = (),
        client_request_id: str | None = None,
        idempotency_key: str | None = None,
        check: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
        to: str | os.PathLike[str] | None = None,
        exists: Literal["keep", "error", "overwrite", "rename"] | None = None,
    ) -> Generation:
        """Buys a job and waits for it: `submit`, then `wait_for`, with the arguments and errors of both.

        `timeout` in seconds bounds both; it does not cancel a purchase in flight. Its end is a `TimeoutError` either
        way: `SubmitTimeoutError` if nothing was bought, `WaitTimeoutError` with the task id if the job goes on. Errors
        of the purchase before the timeout are raised as they are. `on_update` is called with the first record too.
        Cancelling after the purchase leaves the job running: the `CancelledError` has a note with the task id.

        With `to` the files of a succeeded job are saved there, as by `download` with `exists`. Raises `DownloadError`
        with the task id if they cannot be saved.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         prompts = ["A red kite", "A blue whale"]
        ...         jobs = await asyncio.gather(*(session.generate("z-image", prompt) for prompt in prompts))
        ...         return [job.status for job in jobs]
        >>> asyncio.run(main())
        ['succeeded', 'succeeded']
        """
        request = build_request(
            model,
            prompt,
            params=params,
            references=references,
            client_request_id=client_request_id,
            idempotency_key=idempotency_key,
        )
        del model, prompt, params, references, idempotency_key  # a waiting frame must not keep the request alive
        key = self._jobs.preflight.idempotency_key(request.idempotency_key)
        try:  # a context manager would need a tenth of a KiB per waiting job
            policy = self._policy(poll)
            validate_listener(on_update)
            _validate_target(to, exists)
            deadline = compute_deadline(timeout, policy)
            engine = self._jobs.engine()  # also used after the purchase: a closing session must not lose the job
            bought = await self._purchase(engine, request, key, check=check, deadline=deadline)
            del request
            try:
                if on_update is not None and not bought.is_terminal:
                    await notify_listener(on_update, bought)
                ended = await self._wait(engine, bought, policy, deadline, on_update)
                self._record(ended)
                raise_if_failed(ended)
            except (WaitError, NotFoundError):
                raise
            except BaseException as error:
                name = type(error).__name__
                error.add_note(f"{name} while waiting for {bought.id}: it is bought and goes on; wait for it again")
                raise
            if to is not None:
                await self._download(ended, to, exists)
            return ended
        except RivyaError as error:
            add_idempotency_key(error, key)
            raise

    async def watch(
        self,
        generation_or_task_id: Generation | str,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[Generation]:
        """Yields every changed snapshot of a job, the terminal one last. A failed job is yielded, not raised.

        Raises as `wait_for` does otherwise. Leaving the loop ends this wait only; close the generator
        (`contextlib.aclosing`) to end it at once.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         job = await session.submit("z-image", "A red kite")
        ...         return [snapshot.status async for snapshot in session.watch(job)][-1]
        >>> asyncio.run(main())
        'succeeded'
        """
        policy = self._policy(poll)
        task_id, last = identify_job(generation_or_task_id)
        registry = self._jobs.engine().wait_registry
        watched = registry.watch(task_id, last, policy, compute_deadline(timeout, policy))
        async with aclosing(self._record_all(watched)) as records:
            async for record in records:
                yield record

    async def as_completed(
        self,
        generations_or_task_ids: Iterable[Generation | str],
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
        poll: PollPolicy | None = None,
        on_progress: OnJobProgress | None = None,
    ) -> AsyncGenerator[Generation]:
        """Yields the terminal records of many jobs as they end, each job once, failed jobs included.

        `timeout` in seconds bounds the whole loop: then `WaitTimeoutError` lists the jobs that are still open. A job
        whose wait fails (a 404, a 401) does not end the others: its error is raised when all have ended. Two or more
        errors, of jobs or of the timeout, are raised as an `ExceptionGroup`. Leaving the loop ends these waits only.

        `on_progress` is called, or awaited, with a `Progress` at the start and before each record is yielded. Its
        exceptions end the loop.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         jobs = [await session.submit("z-image", prompt) for prompt in ("A red kite", "A blue whale")]
        ...         return {ended.id async for ended in session.as_completed(jobs)} == {job.id for job in jobs}
        >>> asyncio.run(main())
        True
        """
        policy = self._policy(poll)
        validate_listener(on_progress, "on_progress", "Progress")
        if not isinstance(generations_or_task_ids, Iterable) or isinstance(generations_or_task_ids, str):
            raise ConfigurationError(
                f"as_completed takes an iterable of jobs or task ids, not {generations_or_task_ids!r:.80}"
            )
        jobs: dict[str, Generation | None] = {}
        for task_id, last in map(identify_job, generations_or_task_ids):
            jobs[task_id] = last or jobs.get(task_id)
        registry = self._jobs.engine().wait_registry
        counter = ProgressCounter(len(jobs), loop_time())
        completed = registry.as_completed(jobs, policy, compute_deadline(timeout, policy))
        async with aclosing(self._record_all(completed)) as records:
            async for record in report_progress(records, counter, on_progress):
                yield record

    async def map(
        self,
        requests: Iterable[GenerationRequest] | AsyncIterable[GenerationRequest],
        *,
        max_in_flight: int = 100,
        ordered: bool = False,
        check: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
        poll: PollPolicy | None = None,
        on_progress: OnJobProgress | None = None,
    ) -> AsyncGenerator[Outcome]:
        """Generates a stream of requests of any length, holding at most `max_in_flight` of them in memory.

        Yields an `Outcome` for each, as they end or, with `ordered`, in the order of the requests. No failure ends the
        others; the outcome of a purchased job has its record, also if the wait failed. An error of the source is raised
        after the outcomes of all requests taken from it. Leaving the loop early cancels the rest; purchased jobs go on
        at the service, and a warning names the ended ones that were not yielded. A `CancelledError` has notes with
        their ids, and with the keys of purchases in flight. `check` is that of `submit`; `timeout` in seconds bounds
        each job, as in `generate`.

        `on_progress` is called, or awaited, with a `Progress` at the start and before each outcome is yielded. If
        `requests` has a length, the requests that were not started count as open. Its exceptions end the loop.
        `rivya_async.progress.ProgressBar` shows it as a bar.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         requests = (GenerationRequest("z-image", f"Poster number {n}") for n in range(5))
        ...         return [outcome.ok async for outcome in session.map(requests, max_in_flight=2)]
        >>> asyncio.run(main())
        [True, True, True, True, True]
        """
        if isinstance(max_in_flight, bool) or not isinstance(max_in_flight, int) or max_in_flight < 1:
            raise ConfigurationError(f"max_in_flight must be a whole number from 1 on, not {max_in_flight!r}")
        if not isinstance(requests, Iterable | AsyncIterable) or isinstance(requests, str | GenerationRequest):
            raise ConfigurationError(f"map takes an iterable of GenerationRequest values, not {requests!r:.80}")
        policy = self._policy(poll)
        compute_deadline(timeout, policy)  # validates it
        validate_listener(on_progress, "on_progress", "Progress")
        counter = ProgressCounter(len(requests) if isinstance(requests, Sized) else None, loop_time())
        unread: dict[str, int] = {}
        numbers, interrupted = itertools.count(1), list[str]()

        async def run(request: GenerationRequest) -> Outcome:
            counter.started += 1
            bought, number = None, next(numbers)
            if not isinstance(request, GenerationRequest):
                error = ConfigurationError(f"map takes GenerationRequest values, not {request!r:.80}")
                return Outcome(request, None, error)
            try:
                key = self._jobs.preflight.idempotency_key(request.idempotency_key)
                with attach_idempotency_key(key):
                    engine, deadline = self._jobs.engine(), compute_deadline(timeout, policy)
                    bought = await self._purchase(engine, request, key, check=check, deadline=deadline)
                    ended = await self._wait(engine, bought, policy, deadline, None)
                    self._record(ended)
                    unread[ended.id] = number
                    return Outcome(request, raise_if_failed(ended))
            except asyncio.CancelledError as error:
                interrupted.extend(f"request {number}: {note}" for note in getattr(error, "__notes__", ()))
                raise
            except Exception as failure:  # noqa: BLE001 - no failure, of any kind, may end the other requests
                return Outcome(request, (failure.last if isinstance(failure, WaitError) else None) or bought, failure)

        try:
            async with aclosing(bounded_map(requests, run, limit=max_in_flight, ordered=ordered)) as outcomes:
                async for outcome in report_progress(outcomes, counter, on_progress):
                    if outcome.generation is not None:
                        unread.pop(outcome.generation.id, None)
                    yield outcome
        except asyncio.CancelledError as error:
            _add_notes(error, interrupted, unread)
            raise
        finally:
            warn_unread(unread)

    async def _purchase(
        self, engine: Engine, request: GenerationRequest, key: str, *, check: bool, deadline: float | None
    ) -> Generation:
        preflight = self._jobs.preflight
        if check:
            request = await preflight.validate(request, deadline)
        has_paths = bool(request.paths)
        operation = operations.create_generation(_without_paths(request) if has_paths else request, key)
        await preflight.reserve(request, key, operation.request.path, deadline)
        if has_paths:  # everything else is checked before an upload
            with preflight.release_on_error(key, operation.request.path):
                request = await self._jobs.resolve_references(request, deadline)
                operation = operations.create_generation(request, key)
        began = asyncio.get_running_loop().time()
        with preflight.suggestions(request), Reservation(preflight.ledger, key, operation.request.path) as reservation:
            admission = engine.jobs_limit.limiter_for(engine.executor.retry, self._jobs.poll, self._record)
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
        self._record(registry.known_terminal(bought.id, bought) or bought)
        return bought

    def _wait(
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
        return consume_updates(self._record_all(engine.wait_registry.watch(task_id, last, policy, deadline)), on_update)

    def _record(self, generation: Generation) -> None:
        """Reports a record to the spend ledger and to the open jobs."""
        self._jobs.preflight.ledger.on_generation(generation)
        if generation.is_terminal:
            self._jobs.preflight.open_jobs.on_generation(generation)

    async def _record_all(self, generations: AsyncGenerator[Generation]) -> AsyncGenerator[Generation]:
        """Yields the same records, and reports each."""
        async with aclosing(generations):
            async for generation in generations:
                self._record(generation)
                yield generation

    async def _download(self, ended: Generation, to: str | os.PathLike[str], exists: Exists | None) -> None:
        """Saves the files of a succeeded job. Raises `DownloadError` with the task id for every failure."""
        try:
            await ResultDownloads(self._jobs.engine).save(
                ended, to, name=None, exists=exists, max_bytes=None, on_progress=None
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

    def _policy(self, poll: PollPolicy | None) -> PollPolicy:
        return self._jobs.poll if poll is None else validate_policy("poll", poll, self._jobs.poll)


def _without_paths(request: GenerationRequest) -> GenerationRequest:
    return attrs.evolve(request, references=[each for each in request.references if isinstance(each, Record)])


def _add_notes(error: BaseException, interrupted: Iterable[str], unread: Mapping[str, int]) -> None:
    """Adds the keys of the purchases in flight, and the ids of ended jobs, to the cancellation of `map`."""
    for note in interrupted:
        error.add_note(note)
    for task_id, number in unread.items():
        error.add_note(f"request {number}: {task_id} is bought and has ended")


def _validate_target(to: str | os.PathLike[str] | None, exists: Exists | None) -> None:
    """Raises `ConfigurationError` for an invalid target of files."""
    if to is not None and not isinstance(to, str | os.PathLike):
        raise ConfigurationError(f"to must be the path of a folder or of a file, not {to!r:.80}")
    if to is not None:
        resolve_names(None, to, None, 1, exists)
    elif exists is not None:
        raise ConfigurationError("exists needs to: the folder or file to save to")
