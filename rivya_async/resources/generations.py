"""The noun `generations`: buying jobs and waiting for them. The session offers the same calls by shorter names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from .._core import endpoints
from .._core.carrying import Carrying
from .._core.cost import Receipt
from .._core.durations import group_of
from .._core.errors import ConfigurationError, WaitError
from .._core.generation_request import GenerationRequest, Reference, as_request
from .._core.outcome import Outcome, unwrapped
from .._core.policies import FROM_POLICY, FromPolicy, PollPolicy, checked_policy, checked_timeout
from .._core.records import Generation
from .._core.spend import Paying
from .._engine.fan_out import fan_out
from .._engine.updates import OnUpdate, check_listener, last_of, tell_update

if TYPE_CHECKING:
    from .._core.deliveries import Deliveries
    from .._engine.counter import Counter
    from .._engine.engine import Engine

Resolved = Callable[[GenerationRequest, float | None], Awaitable[GenerationRequest]]
"""A job whose references are all uploaded, by a deadline on the loop's clock."""


class Generations:
    """Buying jobs and waiting for them."""

    def __init__(
        self,
        engine: Callable[[], Engine],
        poll: PollPolicy,
        counter: Counter,
        resolved: Resolved,
        deliveries: Deliveries,
    ) -> None:
        self._engine = engine
        self._poll = poll
        self._counter = counter
        self._resolved = resolved
        self._deliveries = deliveries

    async def create(
        self,
        model: str | GenerationRequest,
        prompt: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        references: Sequence[Reference] = (),
        client_request_id: str | None = None,
        idempotency_key: str | None = None,
        check: bool = False,
    ) -> Generation:
        """Buy a job; see `RivyaSession.submit`."""
        job = as_request(
            model,
            prompt,
            params=params,
            references=references,
            client_request_id=client_request_id,
            idempotency_key=idempotency_key,
        )
        with Carrying(job.idempotency_key):
            engine = self._engine()
        key = _key_of(job, engine)
        with Carrying(key):
            return await self._buy(engine, job, key, check=check, deadline=None)

    async def retrieve(self, task_id: str) -> Generation:
        """Read a job once. A failed job is returned, not raised.

        Raises `NotFound` for a task of another account as for a missing one, and what any read can raise. Safe to
        cancel.
        """
        generation = await self._engine().caller.call(endpoints.retrieve_generation(task_id))
        self._counter.purse.ended(generation)
        return generation

    async def wait_for(
        self,
        generation_or_task_id: Generation | str,
        *,
        timeout: float | FromPolicy | None = FROM_POLICY,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
        raise_on_failure: bool = True,
    ) -> Generation:
        """Wait for a job to end; see `RivyaSession.wait_for`."""
        policy = checked_policy("poll", poll, self._poll)
        check_listener(on_update)
        deadline = self._deadline(timeout, policy)
        ended = await self._end_of(self._engine(), generation_or_task_id, policy, deadline, on_update)
        self._counter.purse.ended(ended)
        return unwrapped(ended) if raise_on_failure else ended

    async def generate(
        self,
        model: str | GenerationRequest,
        prompt: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        references: Sequence[Reference] = (),
        client_request_id: str | None = None,
        idempotency_key: str | None = None,
        check: bool = False,
        timeout: float | FromPolicy | None = FROM_POLICY,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
    ) -> Generation:
        """Buy a job and wait for it; see `RivyaSession.generate`."""
        job = as_request(
            model,
            prompt,
            params=params,
            references=references,
            client_request_id=client_request_id,
            idempotency_key=idempotency_key,
        )
        del model, prompt, params, references, idempotency_key  # ten thousand waits need not hold what was sent
        with Carrying(job.idempotency_key):
            policy = checked_policy("poll", poll, self._poll)
            check_listener(on_update)
            deadline = self._deadline(timeout, policy)
            engine = self._engine()  # also after the purchase: a session that closes meanwhile must not lose the job
        key = _key_of(job, engine)
        with Carrying(key):
            bought = await self._buy(engine, job, key, check=check, deadline=deadline)
            del job
            try:
                if on_update is not None and not bought.is_terminal:
                    await tell_update(on_update, bought)
                ended = await self._end_of(engine, bought, policy, deadline, on_update)
                self._counter.purse.ended(ended)
                return unwrapped(ended)
            except WaitError:
                raise
            except BaseException as stopped:
                what = type(stopped).__name__
                stopped.add_note(f"{what} while waiting for {bought.id}: it is bought and goes on; wait for it again")
                raise

    def watch(
        self,
        generation_or_task_id: Generation | str,
        *,
        timeout: float | FromPolicy | None = FROM_POLICY,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[Generation]:
        """Every changed snapshot of a job; see `RivyaSession.watch`."""
        policy = checked_policy("poll", poll, self._poll)
        task_id, last = _named(generation_or_task_id)
        return self._noting(self._engine().waits.updates_of(task_id, last, policy, self._deadline(timeout, policy)))

    def as_completed(
        self,
        generations_or_task_ids: Iterable[Generation | str],
        *,
        timeout: float | FromPolicy | None = FROM_POLICY,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[Generation]:
        """The records of many jobs as they end; see `RivyaSession.as_completed`."""
        policy = checked_policy("poll", poll, self._poll)
        named: dict[str, Generation | None] = {}
        for task_id, last in map(_named, generations_or_task_ids):
            named[task_id] = last or named.get(task_id)
        return self._noting(self._engine().waits.ends_of(named, policy, self._deadline(timeout, policy)))

    def expect_deliveries(self) -> None:
        """Take it that webhooks tell of most ends: poll a third as often until they do, or do not.

        `WebhookReceiver(secret, session=session)` calls this. As ends are told by `settle`, polls fall to a tenth; as
        ends are found of which none has told within five seconds, they come back. May be called before the loop runs.

        >>> RivyaSession("rvya_sk_mine").generations.expect_deliveries()
        """
        self._deliveries.expect()

    def settle(self, generation: Generation) -> bool:
        """Take in a record that a webhook brought, once its signature was verified; `WebhookReceiver` calls this.

        The end of a job ends every `wait_for`, `generate`, `watch`, `as_completed` and `map` that waits for it, in the
        same turn of the loop and without a poll, and frees what it held under `max_reserved`. It is remembered (the
        latest 5,000 of them), so that who waits later, or has not yet read the answer to the submit, ends at once. A
        record of an open job is an update. True where it said anything new: what came before, is older by its
        `updated_at`, or less final than what is known changes nothing. An end that does not fit (a success without
        files, or older than what was seen) settles nothing and is looked into by a poll.

        It waits for nothing and sends nothing itself. Raises `ConfigurationError` for what is no `Generation`, for a
        session that is closed, and outside of the session's event loop; from another thread hand the record over by
        `loop.call_soon_threadsafe(session.generations.settle, generation)` (contract section 11).

        >>> async def settle_by_hand(session):
        ...     job = await session.submit("z-image", "A red kite")
        ...     wait = asyncio.create_task(session.wait_for(job, timeout=600))
        ...     ended = await session.generations.retrieve(job.id)     # here it would come from event.generation
        ...     session.generations.settle(ended)
        ...     return (await wait).status
        >>> in_sandbox(settle_by_hand)
        'succeeded'
        """
        if not isinstance(generation, Generation):
            raise ConfigurationError(f"settle takes the Generation of a webhook event, not {generation!r:.80}")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "settle is for the session's event loop: from another thread, call "
                "loop.call_soon_threadsafe(session.generations.settle, generation)"
            ) from None
        is_new = self._engine().waits.settle(generation)
        if is_new:
            self._counter.purse.ended(generation)
        return is_new

    def map(
        self,
        requests: Iterable[GenerationRequest] | AsyncIterable[GenerationRequest],
        *,
        max_in_flight: int,
        ordered: bool,
        check: bool = False,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[Outcome]:
        """Generate a stream of requests with back-pressure; see `RivyaSession.map`."""
        if isinstance(max_in_flight, bool) or not isinstance(max_in_flight, int) or max_in_flight < 1:
            raise ConfigurationError(f"max_in_flight must be a whole number from 1 on, not {max_in_flight!r}")

        async def outcome(job: GenerationRequest) -> Outcome:
            return await self._outcome(job, poll, check=check)

        return fan_out(requests, outcome, limit=max_in_flight, ordered=ordered)

    async def _outcome(self, job: GenerationRequest, poll: PollPolicy | None, *, check: bool) -> Outcome:
        if not isinstance(job, GenerationRequest):
            return Outcome(job, error=ConfigurationError(f"map takes GenerationRequest values, not {job!r}"))
        try:
            return Outcome(job, await self.generate(job, check=check, poll=poll))
        except Exception as error:  # noqa: BLE001 - one failure, of whatever kind, must not end the others
            return Outcome(job, error.last if isinstance(error, WaitError) else None, error)

    async def _buy(
        self, engine: Engine, job: GenerationRequest, key: str, *, check: bool, deadline: float | None
    ) -> Generation:
        if check:
            job = await self._counter.checked(job, deadline)
        if job.paths:
            job = await self._resolved(job, deadline)
        endpoint = endpoints.create_generation(job, key)
        await self._counter.hold(job, key, endpoint.request.path, deadline)
        with Paying(self._counter.purse, key, endpoint.request.path) as paying:
            bought = await engine.caller.call(endpoint, deadline=deadline)
            paying.received(Receipt.of_job(bought))
        engine.waits.note_submitted(bought, group_of(job.model, job.params))
        self._counter.purse.ended(engine.waits.known_end(bought.id, bought) or bought)  # a delivery may have been first
        return bought

    async def _noting(self, records: AsyncGenerator[Generation]) -> AsyncGenerator[Generation]:
        """The same records, each end entered in the book."""
        async with aclosing(records):
            async for record in records:
                self._counter.purse.ended(record)
                yield record

    def _end_of(
        self,
        engine: Engine,
        job: Generation | str,
        policy: PollPolicy,
        deadline: float | None,
        on_update: OnUpdate | None,
    ) -> Awaitable[Generation]:
        """The wait itself, to be awaited: no coroutine around it, which would be a frame more per waiting job."""
        task_id, last = _named(job)
        if on_update is None:
            return engine.waits.end_of(task_id, last, policy, deadline)
        return last_of(self._noting(engine.waits.updates_of(task_id, last, policy, deadline)), on_update)

    def _deadline(self, timeout: float | FromPolicy | None, policy: PollPolicy) -> float | None:
        seconds = checked_timeout(policy.timeout if isinstance(timeout, FromPolicy) else timeout)
        return None if seconds is None else asyncio.get_running_loop().time() + seconds


def _key_of(job: GenerationRequest, engine: Engine) -> str:
    """The caller's own, be it good or bad, or a new one."""
    return engine.caller.ambient.mint_key() if job.idempotency_key is None else job.idempotency_key


def _named(job: Generation | str) -> tuple[str, Generation | None]:
    if isinstance(job, Generation):
        return job.id, job
    if not isinstance(job, str) or not job.strip("."):
        raise ConfigurationError(f"wait for a Generation or a task id, not for {job!r}")
    return job, None
