"""The noun `generations`: buying jobs and waiting for them. The session offers the same calls by shorter names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from .._core.errors import ConfigurationError, WaitError
from .._core.generation_request import GenerationRequest, Outcome, Reference, build_request, raise_if_failed
from .._core.http import operations
from .._core.idempotency import attach_idempotency_key
from .._core.policies import NOT_GIVEN, NotGiven, PollPolicy, validate_policy, validate_timeout
from .._core.polling.adaptive.duration_estimator import duration_group
from .._core.spend import Reservation
from .._core.types.generations import Generation
from .._core.types.purchase_cost import Charge
from .._engine.bounded_map import bounded_map
from .._engine.polling.update_listener import OnUpdate, consume_updates, notify_listener, validate_listener

if TYPE_CHECKING:
    from .._core.polling.webhook_updates import DeliveryRateEstimator
    from .._engine.engine import Engine
    from .._engine.purchase_preflight import PurchasePreflight

ReferenceResolver = Callable[[GenerationRequest, float | None], Awaitable[GenerationRequest]]
"""A job whose references are all uploaded, by a deadline on the loop's clock."""


class Generations:
    """Buying jobs and waiting for them."""

    def __init__(
        self,
        engine: Callable[[], Engine],
        poll: PollPolicy,
        counter: PurchasePreflight,
        resolved: ReferenceResolver,
        deliveries: DeliveryRateEstimator,
    ) -> None:
        self._engine = engine
        self._poll = poll
        self._preflight = counter
        self._resolve_references = resolved
        self._delivery_rate = deliveries

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
        job = build_request(
            model,
            prompt,
            params=params,
            references=references,
            client_request_id=client_request_id,
            idempotency_key=idempotency_key,
        )
        with attach_idempotency_key(job.idempotency_key):
            engine = self._engine()
        key = _idempotency_key(job, engine)
        with attach_idempotency_key(key):
            return await self._purchase(engine, job, key, check=check, deadline=None)

    async def retrieve(self, task_id: str) -> Generation:
        """Read a job once. A failed job is returned, not raised.

        Raises `NotFoundError` for a task of another account as for a missing one, and what any read can raise. Safe to
        cancel.
        """
        generation = await self._engine().executor.execute(operations.retrieve_generation(task_id))
        self._preflight.ledger.on_generation(generation)
        return generation

    async def wait_for(
        self,
        generation_or_task_id: Generation | str,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
        raise_on_failure: bool = True,
    ) -> Generation:
        """Wait for a job to end; see `RivyaSession.wait_for`."""
        policy = validate_policy("poll", poll, self._poll)
        validate_listener(on_update)
        deadline = self._resolve_deadline(timeout, policy)
        ended = await self._wait(self._engine(), generation_or_task_id, policy, deadline, on_update)
        self._preflight.ledger.on_generation(ended)
        return raise_if_failed(ended) if raise_on_failure else ended

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
        timeout: float | NotGiven | None = NOT_GIVEN,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
    ) -> Generation:
        """Buy a job and wait for it; see `RivyaSession.generate`."""
        job = build_request(
            model,
            prompt,
            params=params,
            references=references,
            client_request_id=client_request_id,
            idempotency_key=idempotency_key,
        )
        del model, prompt, params, references, idempotency_key  # ten thousand waits need not hold what was sent
        with attach_idempotency_key(job.idempotency_key):
            policy = validate_policy("poll", poll, self._poll)
            validate_listener(on_update)
            deadline = self._resolve_deadline(timeout, policy)
            engine = self._engine()  # also after the purchase: a session that closes meanwhile must not lose the job
        key = _idempotency_key(job, engine)
        with attach_idempotency_key(key):
            bought = await self._purchase(engine, job, key, check=check, deadline=deadline)
            del job
            try:
                if on_update is not None and not bought.is_terminal:
                    await notify_listener(on_update, bought)
                ended = await self._wait(engine, bought, policy, deadline, on_update)
                self._preflight.ledger.on_generation(ended)
                return raise_if_failed(ended)
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
        timeout: float | NotGiven | None = NOT_GIVEN,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[Generation]:
        """Every changed snapshot of a job; see `RivyaSession.watch`."""
        policy = validate_policy("poll", poll, self._poll)
        task_id, last = _identify(generation_or_task_id)
        return self._track_spend(
            self._engine().wait_registry.watch(task_id, last, policy, self._resolve_deadline(timeout, policy))
        )

    def as_completed(
        self,
        generations_or_task_ids: Iterable[Generation | str],
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[Generation]:
        """The records of many jobs as they end; see `RivyaSession.as_completed`."""
        policy = validate_policy("poll", poll, self._poll)
        named: dict[str, Generation | None] = {}
        for task_id, last in map(_identify, generations_or_task_ids):
            named[task_id] = last or named.get(task_id)
        return self._track_spend(
            self._engine().wait_registry.as_completed(named, policy, self._resolve_deadline(timeout, policy))
        )

    def expect_deliveries(self) -> None:
        """Take it that webhooks tell of most ends: poll a third as often until they do, or do not.

        `WebhookReceiver(secret, session=session)` calls this. As ends are told by `settle`, polls fall to a tenth; as
        ends are found of which none has told within five seconds, they come back. May be called before the loop runs.

        >>> RivyaSession("rvya_sk_mine").generations.expect_deliveries()
        """
        self._delivery_rate.expect_deliveries()

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
        is_new = self._engine().wait_registry.ingest_webhook(generation)
        if is_new:
            self._preflight.ledger.on_generation(generation)
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
            return await self._run_request(job, poll, check=check)

        return bounded_map(requests, outcome, limit=max_in_flight, ordered=ordered)

    async def _run_request(self, job: GenerationRequest, poll: PollPolicy | None, *, check: bool) -> Outcome:
        if not isinstance(job, GenerationRequest):
            return Outcome(job, error=ConfigurationError(f"map takes GenerationRequest values, not {job!r}"))
        try:
            return Outcome(job, await self.generate(job, check=check, poll=poll))
        except Exception as error:  # noqa: BLE001 - one failure, of whatever kind, must not end the others
            return Outcome(job, error.last if isinstance(error, WaitError) else None, error)

    async def _purchase(
        self, engine: Engine, job: GenerationRequest, key: str, *, check: bool, deadline: float | None
    ) -> Generation:
        if check:
            job = await self._preflight.validate(job, deadline)
        if job.paths:
            job = await self._resolve_references(job, deadline)
        endpoint = operations.create_generation(job, key)
        await self._preflight.reserve(job, key, endpoint.request.path, deadline)
        with Reservation(self._preflight.ledger, key, endpoint.request.path) as paying:
            bought = await engine.executor.execute(endpoint, deadline=deadline)
            paying.confirm(Charge.from_generation(bought))
        engine.wait_registry.register_submitted(bought, duration_group(job.model, job.params))
        self._preflight.ledger.on_generation(
            engine.wait_registry.known_terminal(bought.id, bought) or bought
        )  # a delivery may have been first
        return bought

    async def _track_spend(self, records: AsyncGenerator[Generation]) -> AsyncGenerator[Generation]:
        """The same records, each end entered in the book."""
        async with aclosing(records):
            async for record in records:
                self._preflight.ledger.on_generation(record)
                yield record

    def _wait(
        self,
        engine: Engine,
        job: Generation | str,
        policy: PollPolicy,
        deadline: float | None,
        on_update: OnUpdate | None,
    ) -> Awaitable[Generation]:
        """The wait itself, to be awaited: no coroutine around it, which would be a frame more per waiting job."""
        task_id, last = _identify(job)
        if on_update is None:
            return engine.wait_registry.wait(task_id, last, policy, deadline)
        return consume_updates(
            self._track_spend(engine.wait_registry.watch(task_id, last, policy, deadline)), on_update
        )

    def _resolve_deadline(self, timeout: float | NotGiven | None, policy: PollPolicy) -> float | None:
        seconds = validate_timeout(policy.timeout if isinstance(timeout, NotGiven) else timeout)
        return None if seconds is None else asyncio.get_running_loop().time() + seconds


def _idempotency_key(job: GenerationRequest, engine: Engine) -> str:
    """The caller's own, be it good or bad, or a new one."""
    return engine.executor.environment.new_idempotency_key() if job.idempotency_key is None else job.idempotency_key


def _identify(job: Generation | str) -> tuple[str, Generation | None]:
    if isinstance(job, Generation):
        return job.id, job
    if not isinstance(job, str) or not job.strip("."):
        raise ConfigurationError(f"wait for a Generation or a task id, not for {job!r}")
    return job, None
