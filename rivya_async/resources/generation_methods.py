"""The methods that buy jobs and wait for them. The session and its `generations` resource share them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence, Sized
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal

from .._core.errors import ConfigurationError, NotFoundError, RivyaError, WaitError
from .._core.generation_request import GenerationRequest, Outcome, Reference, build_request, raise_if_failed
from .._core.idempotency import add_idempotency_key, attach_idempotency_key
from .._core.policies import NOT_GIVEN, NotGiven, PollPolicy
from .._core.types.generations import Generation
from .._core.types.progress import ProgressCounter
from .._engine.bounded_map import bounded_map
from .._engine.polling.waiters import OnUpdate, notify_listener, validate_listener
from .job_arguments import OnJobProgress, compute_deadline, identify_job, loop_time, report_progress
from .job_operations import JobOperations, RequestRunner, validate_target

if TYPE_CHECKING:
    from ..catalogue import ModelId


class GenerationMethods:
    """Methods to buy jobs and to wait for them."""

    _jobs: JobOperations

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
            return await self._jobs.purchase(self._jobs.engine(), request, key, check=check, deadline=None)

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
        policy = self._jobs.policy(poll)
        validate_listener(on_update)
        deadline = compute_deadline(timeout, policy)
        ended = await self._jobs.wait(self._jobs.engine(), generation_or_task_id, policy, deadline, on_update)
        self._jobs.record(ended)
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
            policy = self._jobs.policy(poll)
            validate_listener(on_update)
            target = validate_target(to, exists)
            deadline = compute_deadline(timeout, policy)
            engine = self._jobs.engine()  # also used after the purchase: a closing session must not lose the job
            bought = await self._jobs.purchase(engine, request, key, check=check, deadline=deadline)
            del request
            job = None if target is None else self._jobs.open_job(bought)
            try:
                if on_update is not None and not bought.is_terminal:
                    await notify_listener(on_update, bought)
                ended = await self._jobs.wait(engine, bought, policy, deadline, on_update)
                self._jobs.record(ended, job if ended.succeeded else None)
                raise_if_failed(ended)
            except (WaitError, NotFoundError):
                raise
            except BaseException as error:
                name = type(error).__name__
                error.add_note(f"{name} while waiting for {bought.id}: it is bought and goes on; wait for it again")
                raise
            if target is not None:
                await self._jobs.save(ended, target)
                self._jobs.deliver(ended)
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
        policy = self._jobs.policy(poll)
        task_id, last = identify_job(generation_or_task_id)
        registry = self._jobs.engine().wait_registry
        watched = registry.watch(task_id, last, policy, compute_deadline(timeout, policy))
        async with aclosing(self._jobs.record_all(watched)) as records:
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
        policy = self._jobs.policy(poll)
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
        async with aclosing(self._jobs.record_all(completed)) as records:
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
        to: str | os.PathLike[str] | None = None,
        exists: Literal["keep", "error", "overwrite", "rename"] | None = None,
    ) -> AsyncGenerator[Outcome]:
        """Generates a stream of requests of any length, holding at most `max_in_flight` of them in memory.

        Yields an `Outcome` for each, as they end or, with `ordered`, in the order of the requests. No failure ends the
        others; the outcome of a purchased job has its record, also if the wait failed. An error of the source is raised
        after the outcomes of all requests taken from it. `check` is that of `submit`; `timeout` in seconds bounds each
        job, as in `generate`. With `to` the files of each succeeded job are saved to this folder before its outcome is
        yielded, as by `download` with `exists`.

        Leaving the loop early cancels the rest; purchased jobs go on at the service. `undelivered_jobs` has those that
        were not yielded, also the ended ones, which a warning names. A `CancelledError` has notes with their ids, and
        with the keys of purchases in flight.

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
        policy = self._jobs.policy(poll)
        compute_deadline(timeout, policy)  # validates it
        validate_listener(on_progress, "on_progress", "Progress")
        counter = ProgressCounter(len(requests) if isinstance(requests, Sized) else None, loop_time())
        target = validate_target(to, exists, must_be_folder=True)
        runner = RequestRunner(self._jobs, counter, check=check, timeout=timeout, policy=policy, target=target)
        try:
            async with aclosing(bounded_map(requests, runner.run, limit=max_in_flight, ordered=ordered)) as outcomes:
                async for outcome in report_progress(outcomes, counter, on_progress):
                    runner.deliver(outcome)
                    yield outcome
        except asyncio.CancelledError as error:
            runner.add_notes(error)
            raise
        finally:
            runner.close()
