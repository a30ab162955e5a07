"""Cancelled, expired and finished waits leave no objects."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from rivya_async._core.http.messages import Request, Response
from rivya_async._core.policies import PollPolicy, RetryPolicy
from rivya_async._engine.engine import Engine
from rivya_async._engine.polling.tracked_job import TrackedJob
from rivya_async._engine.polling.waiters import Waiter
from rivya_async._engine.timer_queue import TimerHandle, Wakeup
from rivya_async.resources.generations import Generations
from tests.engine.engine_kit import (
    JOB,
    ScriptedTransport,
    cancel,
    create_engine,
    create_generations,
    error_from,
    error_response,
    job_response,
    no_response,
    record,
    scripted_transport,
)
from tests.engine.virtual_time import settle

EVERY_SECOND = PollPolicy(first=1, base=1, cap=1, floor=1, factor=1, timeout=1800)
ROUNDS = 300


def count_live_objects() -> dict[str, int]:
    """Returns the number of live objects by type."""
    gc.collect()
    types = (Waiter, TrackedJob, Wakeup, TimerHandle, asyncio.Task, BaseException)
    alive: dict[str, int] = {}
    for thing in gc.get_objects():
        if isinstance(thing, types):
            alive[type(thing).__name__] = alive.get(type(thing).__name__, 0) + 1
    return alive


async def cancel_during_poll(generations: Generations, _: Engine) -> None:
    wait = asyncio.create_task(generations.wait_for("task_1"))
    await settle()
    await cancel(wait)


async def cancel_between_polls(generations: Generations, _: Engine) -> None:
    wait = asyncio.create_task(generations.wait_for(record("task_2")))
    await asyncio.sleep(0.5)
    await cancel(wait)


async def late(generations: Generations, _: Engine) -> None:
    await error_from(generations.wait_for("task_2", timeout=0.5))


async def leave_as_completed_early(generations: Generations, _: Engine) -> None:
    async with aclosing(generations.as_completed(["task_1", "task_2"], timeout=5)) as records:
        wait = asyncio.create_task(anext(records))
        await asyncio.sleep(1)
        await cancel(wait)


async def failed(generations: Generations, _: Engine) -> None:
    await error_from(generations.wait_for("task_3"))


async def cancel_purchase_in_back_off(generations: Generations, _: Engine) -> None:
    buying = asyncio.create_task(generations.generate(JOB))
    await asyncio.sleep(0.1)
    await cancel(buying)


async def leave_map_early(generations: Generations, _: Engine) -> None:
    async with aclosing(generations.map([JOB] * 10, max_in_flight=5, ordered=False)) as outcomes:
        wait = asyncio.create_task(anext(outcomes))
        await asyncio.sleep(0.1)
        await cancel(wait)


@pytest.mark.parametrize(
    "use",
    [
        cancel_during_poll,
        cancel_between_polls,
        late,
        leave_as_completed_early,
        failed,
        cancel_purchase_in_back_off,
        leave_map_early,
    ],
)
async def test_no_objects_are_retained(use: Callable[[Generations, Engine], Awaitable[None]]) -> None:
    async def answer(request: object) -> object:
        path = getattr(request, "path", "")
        if path.endswith("task_1"):
            return await no_response(request)  # type: ignore[arg-type]
        if path.endswith("task_3"):
            return error_response(404, "not_found")
        return error_response(503) if path.endswith("generations") else job_response("task_2")

    engine = create_engine(ScriptedTransport(answer))  # type: ignore[arg-type]
    generations = create_generations(engine, EVERY_SECOND)
    for _ in range(3):
        await use(generations, engine)
    before = count_live_objects()
    for _ in range(ROUNDS):
        await use(generations, engine)
    await settle()
    after = count_live_objects()
    grown = {name: n - before.get(name, 0) for name, n in after.items() if n - before.get(name, 0) > ROUNDS // 3}
    assert not grown, grown
    await engine.aclose()


async def test_memory_per_waited_id_is_bounded() -> None:
    task_ids = [f"task_{n}" for n in range(5000)]
    engine = create_engine(scripted_transport(job_response("task_1"), latency=10_000), max_connections=1)
    records = create_generations(engine, EVERY_SECOND).as_completed(task_ids, timeout=None)
    gc.collect()
    before = sys.getallocatedblocks()
    wait = asyncio.create_task(anext(records))
    await settle()
    gc.collect()
    blocks = (sys.getallocatedblocks() - before) / len(task_ids)
    await cancel(wait)
    await engine.aclose()
    assert blocks < 20, f"{blocks:.1f} blocks of memory per job"


@pytest.mark.parametrize("has_limit", [False, True])
async def test_memory_per_queued_purchase_is_bounded(has_limit: bool) -> None:
    """Purchases wait for a slot, or for the end of a running job."""
    answers = [job_response("task_1"), *([error_response(429)] if has_limit else [])]

    async def answer(request: Request) -> Response:
        return answers.pop(0) if request.method == "POST" and answers else await no_response(request)  # type: ignore[return-value]

    engine = create_engine(ScriptedTransport(answer), max_connections=1, retry=RetryPolicy(base=1000, cap=1000))
    generations = create_generations(engine, PollPolicy(first=1e6, base=1e6, cap=1e6))
    await generations.submit(JOB)
    first = asyncio.create_task(generations.submit(JOB))
    await settle()
    gc.collect()
    before = sys.getallocatedblocks()
    waiting = [asyncio.create_task(generations.generate("z-image", f"Kite {n}")) for n in range(2000)]
    await settle()
    gc.collect()
    blocks = (sys.getallocatedblocks() - before) / len(waiting)
    await cancel(first, *waiting)
    await engine.aclose()
    assert blocks < 46, f"{blocks:.1f} blocks of memory per purchase"
