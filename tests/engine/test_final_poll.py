"""The final poll before a deadline, and repeated short waits for one job."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise

import pytest

from rivya_async._core.errors import WaitTimeoutError
from rivya_async._core.policies import PollPolicy
from rivya_async.resources.generations import Generations
from tests.engine.engine_kit import Service, cancel, create_engine, create_generations, error_from, sleep_until
from tests.engine.virtual_time import now

SLOW = PollPolicy(first=20.0, base=30.0, cap=30.0, floor=30.0)


@pytest.mark.parametrize("timeout", [5.0, 10.0, 45.0])
async def test_final_poll_returns_ended_job(timeout: float) -> None:
    service = Service(duration=timeout * 0.8)
    engine = create_engine(service.transport)
    job = await create_generations(engine).wait_for(service.sell(), timeout=timeout, poll=SLOW)
    assert job.status == "succeeded"
    assert now() < timeout
    await engine.aclose()


async def test_no_final_poll_if_one_is_due_anyway() -> None:
    service = Service(duration=100.0)
    engine = create_engine(service.transport)
    wait = create_generations(engine).wait_for(
        service.sell(), timeout=10.0, poll=PollPolicy(base=3.0, cap=3.0, floor=3.0)
    )
    assert isinstance(await error_from(wait), WaitTimeoutError)
    assert [round(at, 1) for at in service.transport.times] == [0, 3.1, 6.2, 9.3]
    await engine.aclose()


async def test_final_poll_respects_back_off() -> None:
    service = Service(duration=100.0)
    service.is_down = True
    engine = create_engine(service.transport, uniform=lambda: 0.9)
    await error_from(create_generations(engine).wait_for(service.sell(), timeout=9.0, poll=SLOW))
    assert service.transport.times == [0]
    await engine.aclose()


async def wait_repeatedly(generations: Generations, task_id: str, timeout: float, end: float) -> int:
    waits = 0
    while now() < end:
        assert isinstance(await error_from(generations.wait_for(task_id, timeout=timeout)), WaitTimeoutError)
        waits += 1
    return waits


async def polls_in(timeout: float | None, *, latency: float = 0.1, seconds: float = 300.0) -> int:
    service = Service(duration=1e6, latency=latency)
    engine = create_engine(service.transport)
    generations, task_id = create_generations(engine), service.sell()
    await wait_repeatedly(generations, task_id, timeout or seconds, seconds)
    await engine.aclose()
    return len(service.transport.polls)


@pytest.mark.parametrize("latency", [0.05, 0.4])
@pytest.mark.parametrize("timeout", [0.5, 1.0, 3.0, 7.0])
async def test_repeated_short_waits_keep_the_poll_interval(timeout: float, latency: float) -> None:
    """At most one additional poll per `policy.cap` seconds: here as many as regular polls."""
    usual = await polls_in(None, latency=latency)
    began = now()
    service = Service(duration=1e6, latency=latency)
    engine = create_engine(service.transport)
    await wait_repeatedly(create_generations(engine), service.sell(), timeout, began + 300.0)
    assert len(service.transport.polls) <= 2 * usual
    await engine.aclose()


@pytest.mark.parametrize("timeout", [0.3, 1.0, 3.0])
async def test_repeated_short_waits_notice_the_end_soon(timeout: float) -> None:
    service = Service(duration=100.0, latency=0.05)
    engine = create_engine(service.transport)
    generations, task_id = create_generations(engine), service.sell()
    job = None
    while job is None:
        try:
            job = await generations.wait_for(task_id, timeout=timeout)
        except WaitTimeoutError:
            assert now() < 120.0
    assert now() <= 100.0 + PollPolicy().cap + timeout + 1.0
    await engine.aclose()


@pytest.mark.parametrize("timeout", [0.3, 0.7])
async def test_poll_that_outlasts_its_wait_is_not_lost(timeout: float) -> None:
    """Waits that are shorter than a poll takes come to the end all the same, and one end is learned once."""
    service = Service(duration=20.0, latency=0.8)
    engine = create_engine(service.transport)
    generations, task_id = create_generations(engine), service.sell()
    job = None
    while job is None:
        try:
            job = await generations.wait_for(task_id, timeout=timeout)
        except WaitTimeoutError:
            assert now() < 40.0
    assert job.succeeded
    assert service.transport.cancelled == 0
    polls = len(service.transport.polls)
    assert (await generations.wait_for(task_id, timeout=5.0)).succeeded
    assert len(service.transport.polls) <= polls + 1
    await engine.aclose()


@pytest.mark.parametrize("how", ["wait", "watch", "as_completed"])
async def test_end_after_the_deadline_is_returned_to_the_next_wait(how: str) -> None:
    service = Service(duration=0.0, latency=1.0)
    engine = create_engine(service.transport)
    generations, task_id = create_generations(engine), service.sell()
    await error_from(generations.wait_for(task_id, timeout=0.5))
    await sleep_until(2.0)
    if how == "wait":
        seen = [await generations.wait_for(task_id)]
    else:
        seen = [
            job async for job in (generations.watch(task_id) if how == "watch" else generations.as_completed([task_id]))
        ]
    assert [job.status for job in seen] == ["succeeded"]
    assert now() == 2.0
    assert len(service.transport.polls) == 1
    assert not engine.wait_registry._idle
    await engine.aclose()


async def test_restarted_wait_does_not_poll_at_once() -> None:
    service = Service(duration=1e6, latency=0.4)
    engine = create_engine(service.transport)
    generations, task_id = create_generations(engine), service.sell()
    while now() < 10.0:
        with suppress(TimeoutError):
            await asyncio.wait_for(generations.wait_for(task_id), 0.3)
    times = service.transport.times
    assert all(later - earlier >= PollPolicy().floor for earlier, later in pairwise(times)), times
    await engine.aclose()


async def test_most_frequent_policy_applies_while_its_waiter_waits() -> None:
    service = Service(duration=1e6, latency=0.0)
    engine = create_engine(service.transport, uniform=lambda: 0.0)
    generations, task_id = create_generations(engine), service.sell()
    infrequent = asyncio.create_task(error_from(generations.wait_for(task_id, poll=SLOW)))
    await sleep_until(31.0)
    frequent = PollPolicy(first=2.0, base=2.0, cap=2.0, floor=2.0)
    await error_from(generations.wait_for(task_id, poll=frequent, timeout=9.0))
    await sleep_until(132.0)
    assert [round(at, 1) for at in service.transport.times] == [0, 30, 33, 35, 37, 39, 39.1, 41.1, 71.1, 101.1, 131.1]
    await cancel(infrequent)
    await engine.aclose()
