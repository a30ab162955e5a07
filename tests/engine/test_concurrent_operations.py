"""Any sequence of calls, errors and cancellations leaves no slot, task, timer or wait."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rivya_async._core.errors import (
    OutcomeUnknownError,
    RequestNotSentError,
    RivyaError,
    SessionClosedError,
    WaitTimeoutError,
)
from rivya_async._core.http.messages import Request
from rivya_async._core.policies import PollPolicy, RateLimit, RetryPolicy
from tests.engine.engine_kit import (
    Reply,
    ResponseFunction,
    ScriptedTransport,
    Service,
    create_engine,
    create_generations,
    error_response,
)
from tests.engine.virtual_time import now, run, running_loop, settle

JOBS = 12
POLL = PollPolicy(first=0.5, base=1.0, cap=2.0, floor=0.25, timeout=None)
"""More of these jobs than places in the lane, so that the polls' clock stands still now and then."""

FAULTS: dict[str, ResponseFunction] = {
    "down": lambda _: error_response(503),
    "refused": lambda _: RequestNotSentError("refused"),
    "overrun": lambda _: error_response(429, "rate_limited", Retry_After="3"),
    "overrun for long": lambda _: error_response(429, "rate_limited", Retry_After="3600"),
    "hanging": lambda _: _hanging(),
}


async def _hanging() -> Reply:
    await asyncio.sleep(5.0)
    return OutcomeUnknownError("no answer")


class EngineHarness:
    """An engine with a faulty service and concurrent users."""

    def __init__(self, rate_limit: RateLimit | None, max_connections: int) -> None:
        self.service = Service(duration=15.0)
        self.well = self.service.transport.answer
        self.transport = ScriptedTransport(self._answer)
        self.mood = "well"
        self.under_way: Counter[str] = Counter()
        self.engine = create_engine(
            self.transport,
            uniform=random.Random(7).random,
            max_connections=max_connections,
            rate_limit=rate_limit,
            retry=RetryPolicy(max_attempts=3, cap=4.0, max_elapsed=20.0),
        )
        self.generations = create_generations(self.engine, POLL)
        self.task_ids = [self.service.sell() for _ in range(JOBS)]
        self.users: list[asyncio.Task[Any]] = []

    async def _answer(self, request: Request) -> Reply:
        self.under_way[request.path] += 1
        try:
            assert request.method == "POST" or self.under_way[request.path] == 1, "polled twice at a time"
            await asyncio.sleep(0.3)
            reply = FAULTS.get(self.mood, self.well)(request)
            return await reply if isinstance(reply, Awaitable) else reply
        finally:
            self.under_way[request.path] -= 1

    def start(self, use: Coroutine[Any, Any, object]) -> None:
        self.users.append(asyncio.create_task(use))

    async def wait(self, task_id: str, timeout: float | None) -> None:
        """A wait that ends as it may: by an end, at its deadline, or with the session."""
        with suppress(WaitTimeoutError, SessionClosedError):
            assert (await self.generations.wait_for(task_id, timeout=timeout)).succeeded

    async def wait_for_all(self) -> None:
        with suppress(SessionClosedError):
            ended = {job.id async for job in self.generations.as_completed(self.task_ids)}
            assert ended == set(self.task_ids)

    async def buy(self) -> None:
        with suppress(RivyaError):
            await self.generations.create("z-image", "A red kite")

    async def step(self, what: str, pick: int) -> None:
        if what == "wait":
            self.start(self.wait(self.task_ids[pick % JOBS], None if pick % 3 else 0.1 + pick / 20))
        elif what == "wait for all":
            self.start(self.wait_for_all())
        elif what == "buy":
            self.start(self.buy())
        elif what == "cancel" and self.users:
            self.users[pick % len(self.users)].cancel()
        elif what == "turn":
            await settle(pick % 5)
        elif what == "sleep":
            await asyncio.sleep(pick / 10)
        elif what == "mood":
            self.mood = ["well", *FAULTS][pick % (len(FAULTS) + 1)]

    async def assert_no_leftovers(self) -> None:
        for user in self.users:
            assert user.cancelled() or user.exception() is None, user
        await self.engine.aclose()
        await settle()
        assert not self.engine.wait_registry._active
        assert not self.engine.wait_registry._poller.workers
        assert self.transport.in_flight == 0
        assert self.transport.closed
        assert running_loop().timers == 0


PICKS = st.integers(0, 60)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["wait", "wait", "wait for all", "buy", "cancel", "cancel", "turn", "sleep", "sleep", "mood"]),
        PICKS,
    ),
    max_size=60,
)
LIMITS = st.sampled_from([None, RateLimit(2), RateLimit(20, 1)])


@settings(max_examples=150)
@given(limit=LIMITS, places=st.sampled_from([1, 2, 50]), steps=STEPS)
def test_remaining_waiters_get_the_end(limit: RateLimit | None, places: int, steps: list[tuple[str, int]]) -> None:
    async def main() -> None:
        harness = EngineHarness(limit, places)
        for what, pick in steps:
            await harness.step(what, pick)
        harness.mood = "well"
        well_at = now()
        harness.start(harness.wait_for_all())
        await asyncio.gather(*harness.users, return_exceptions=True)
        assert now() - well_at <= 200.0, "polling had stopped, or nearly"
        limiter = harness.engine.executor._limiter
        assert limiter._free == places
        assert not limiter._poll_queue
        await harness.assert_no_leftovers()

    run(main())


@settings(max_examples=150)
@given(limit=LIMITS, places=st.sampled_from([1, 2, 50]), steps=STEPS, turns=st.integers(0, 6))
def test_close_at_any_time_releases_all_waiters(
    limit: RateLimit | None, places: int, steps: list[tuple[str, int]], turns: int
) -> None:
    async def main() -> None:
        harness = EngineHarness(limit, places)
        for what, pick in steps:
            await harness.step(what, pick)
        await settle(turns)
        began = now()
        await harness.engine.aclose()
        assert now() - began <= 6.0, "only what is in flight is waited for"
        await asyncio.wait_for(asyncio.gather(*harness.users, return_exceptions=True), 0.1)
        await harness.assert_no_leftovers()

    run(main())
