"""While deliveries come, polls are a safety net; when they stop, or half of them are lost, polls do the work."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from statistics import mean, median
from typing import Final

import attrs
import pytest

from rivya_async._core.errors import WaitTimeoutError
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.policies import PollPolicy
from rivya_async._core.polling.adaptive.duration_estimator import DurationEstimator
from rivya_async._core.polling.intervals import POLL_COST
from rivya_async._core.types.generations import Generation, GenerationResult
from rivya_async._engine.engine import Engine
from rivya_async.resources.generations import Generations
from tests.engine.engine_kit import DAY, JOB, cancel, engine_over, generations_of, until
from tests.engine.load_kit import BusyService
from tests.engine.test_settle import ended
from tests.engine.virtual_time import now

EVERY_SECOND: Final = PollPolicy(first=1, base=1, cap=1, floor=1, factor=1, timeout=None, adaptive=False)


class Post:
    """Brings the ends of a service's jobs to the session, `lag` seconds after them; `loses` says which it does not."""

    def __init__(
        self,
        service: BusyService,
        generations: Generations,
        *,
        lag: float = 0.02,
        loses: Callable[[int], bool] = lambda _: False,
        is_bare: bool = False,
    ) -> None:
        self._service = service
        self._generations = generations
        self._lag = lag
        self.loses = loses
        self._is_bare = is_bare
        self._numbers = count()
        self._seen: set[str] = set()
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            for task_id in self._service.ends_at.keys() - self._seen:
                self._seen.add(task_id)
                at = self._service.ends_at[task_id] + self._lag
                if not self.loses(next(self._numbers)):
                    asyncio.get_running_loop().call_later(at - now(), self._bring, task_id)

    def _bring(self, task_id: str) -> None:
        created_at = DAY + timedelta(seconds=self._service.began[task_id])
        end = attrs.evolve(ended(task_id, at=self._service.ends_at[task_id]), created_at=created_at)
        self._generations.settle(attrs.evolve(end, result=None) if self._is_bare else end)

    async def aclose(self) -> None:
        await cancel(self._task)


@attrs.frozen
class Outcome:
    polls_per_job: float
    latencies: list[float]

    @property
    def cost(self) -> float:
        return mean(self.latencies) + POLL_COST * self.polls_per_job


@attrs.define
class Bench:
    """A session whose jobs' ends are delivered."""

    service: BusyService
    engine: Engine
    generations: Generations
    post: Post

    @classmethod
    def of(
        cls,
        *,
        duration: float = 30.0,
        poll: PollPolicy | None = None,
        lag: float = 0.02,
        loses: Callable[[int], bool] = lambda _: False,
        is_bare: bool = False,
    ) -> Bench:
        service = BusyService(duration=duration)
        engine = engine_over(service.transport, uniform=random.Random(5).random, durations=DurationEstimator())
        generations = generations_of(engine, poll)
        return cls(service, engine, generations, Post(service, generations, lag=lag, loses=loses, is_bare=is_bare))

    async def run(self, jobs: int, *, pace: float = 5.0) -> Outcome:
        """So many jobs, `pace` per second: polls per job, and how long after its end each was seen."""
        polls = len(self.service.transport.polls)
        self.service.ended.clear()

        async def generate(n: int) -> None:
            await asyncio.sleep(n / pace)
            self.service.saw_end((await self.generations.generate(GenerationRequest("z-image", f"Number {n}"))).id)

        await asyncio.gather(*(generate(n) for n in range(jobs)))
        return Outcome((len(self.service.transport.polls) - polls) / jobs, self.service.latencies)

    async def aclose(self) -> None:
        await self.post.aclose()
        await self.engine.aclose()


async def test_with_deliveries_hardly_a_poll_and_every_end_is_seen_at_once() -> None:
    bench = Bench.of()
    bench.generations.expect_deliveries()
    first = await bench.run(100)
    then = await bench.run(300)
    assert first.polls_per_job <= 1.2  # most of them before the first end
    assert then.polls_per_job <= 0.1
    assert max(then.latencies) <= 0.2
    await bench.aclose()


async def test_polls_of_a_job_fall_to_a_tenth_while_deliveries_come() -> None:
    async def polls_of_a_long_job(*, are_lost: bool) -> int:
        bench = Bench.of(duration=5.0, poll=EVERY_SECOND, loses=lambda _: are_lost)
        await bench.run(100)
        task_id = bench.service.sell(duration=1e6)
        wait = asyncio.create_task(bench.generations.wait_for(task_id))
        await asyncio.sleep(600.0)
        await cancel(wait)
        await bench.aclose()
        return sum(sent.path.endswith(task_id) for sent in bench.service.transport.polls)

    usual, spared = await polls_of_a_long_job(are_lost=True), await polls_of_a_long_job(are_lost=False)
    assert usual >= 60
    assert 0.08 * usual <= spared <= 0.13 * usual


async def test_when_deliveries_stop_the_polls_come_back_also_for_jobs_that_are_waited_for() -> None:
    bench = Bench.of(duration=20.0)
    await bench.run(200)
    bench.post.loses = lambda _: True
    stopped = await bench.run(50)
    assert max(stopped.latencies) <= 60.0  # all have ended, by the net
    after = await bench.run(200)
    await bench.aclose()
    usual = Bench.of(duration=20.0, loses=lambda _: True)
    await usual.run(250)
    expected = await usual.run(200)
    await usual.aclose()
    assert after.cost <= 1.2 * expected.cost
    assert after.polls_per_job >= 0.7 * expected.polls_per_job


async def test_when_deliveries_stop_one_lost_beyond_doubt_is_missed_as_soon_as_its_end_is_found() -> None:
    bench = Bench.of(duration=20.0)
    await bench.run(200)
    bench.post.loses = lambda _: True
    await bench.run(50, pace=1000.0)
    assert mean(bench.service.latencies) <= 16.0  # of 20 s jobs; 18 where each is waited for first
    await bench.aclose()


async def test_jobs_bought_at_once_by_a_session_that_knows_nothing_are_hardly_polled() -> None:
    """The quick ones end first: taken for all, they would make the others look late."""
    bench = Bench.of(duration=14.0)
    bench.generations.expect_deliveries()
    assert (await bench.run(1000, pace=500.0)).polls_per_job <= 0.2
    await bench.aclose()


async def test_deliveries_that_come_back_are_relied_on_again() -> None:
    bench = Bench.of(duration=20.0)
    await bench.run(100)
    bench.post.loses = lambda _: True
    await bench.run(100)
    bench.post.loses = lambda _: False
    await bench.run(100)
    assert (await bench.run(200)).polls_per_job <= 0.1
    await bench.aclose()


async def test_with_every_second_delivery_lost_all_end_as_soon_as_without_any() -> None:
    bench = Bench.of(loses=lambda n: n % 2 == 1)
    await bench.run(100)
    half = await bench.run(300)
    await bench.aclose()
    none = Bench.of(loses=lambda _: True)
    await none.run(100)
    all_polled = await none.run(300)
    await none.aclose()
    assert len(half.latencies) == 300
    assert median(half.latencies) <= 0.5
    assert mean(half.latencies) <= 0.7 * mean(all_polled.latencies)
    assert max(half.latencies) <= 1.5 * max(all_polled.latencies)


async def test_deliveries_that_come_long_after_the_end_do_not_keep_polls_away() -> None:
    late = Bench.of(lag=40.0)
    await late.run(100)
    assert mean((await late.run(200)).latencies) <= 5.0
    await late.aclose()


async def test_deliveries_without_a_result_cost_one_poll_per_job_and_no_time() -> None:
    bench = Bench.of(is_bare=True)
    await bench.run(100)
    then = await bench.run(200)
    assert then.polls_per_job <= 1.2
    assert median(then.latencies) <= 0.2
    await bench.aclose()


async def test_a_session_that_expects_deliveries_polls_less_before_the_first_has_come() -> None:
    usual, expecting = Bench.of(duration=60.0, poll=EVERY_SECOND), Bench.of(duration=60.0, poll=EVERY_SECOND)
    expecting.generations.expect_deliveries()
    waits = [asyncio.create_task(bench.generations.generate(JOB)) for bench in (usual, expecting)]
    await until(28.0)
    assert len(usual.service.transport.polls) == 3 * len(expecting.service.transport.polls) + 1
    await cancel(*waits)
    await usual.aclose()
    await expecting.aclose()


async def test_expecting_what_never_comes_is_soon_given_up() -> None:
    bench = Bench.of(duration=20.0, poll=EVERY_SECOND, loses=lambda _: True)
    bench.generations.expect_deliveries()
    first = await bench.run(30)
    assert max(first.latencies) <= 5.0
    then = await bench.run(30)
    assert max(then.latencies) <= 2.5
    await bench.aclose()


async def test_the_first_look_at_somebody_elses_job_is_not_spared() -> None:
    """It may have ended long ago; and that none has told of it says nothing."""
    bench = Bench.of(duration=5.0)
    await bench.run(100)
    bench.post.loses = lambda _: True
    for _ in range(50):
        task_id = bench.service.sell(duration=0.0)
        at = now()
        await bench.generations.wait_for(task_id)
        assert now() - at <= 0.1
    await asyncio.sleep(10.0)
    bench.post.loses = lambda _: False
    assert (await bench.run(100)).polls_per_job <= 0.1
    await bench.aclose()


async def test_a_delivery_that_is_lost_among_many_is_missed_soon_after_jobs_like_it_have_ended() -> None:
    bench = Bench.of(duration=30.0)
    await bench.run(300)
    bench.post.loses = lambda n: n % 60 == 5
    lost = [latency for latency in (await bench.run(600)).latencies if latency > 0.1]
    await bench.aclose()
    assert len(lost) == 10
    assert median(lost) <= 15.0


@pytest.mark.parametrize("is_waited_for", [True, False])
async def test_ends_that_are_told_late_spare_no_poll(is_waited_for: bool) -> None:
    every_20_s = PollPolicy(first=20, base=20, cap=20, floor=20, factor=1, timeout=None, adaptive=False)
    bench = Bench.of(duration=60.0, poll=every_20_s, lag=9.0)
    if is_waited_for:
        await bench.run(60)
    else:
        for n in range(60):
            await bench.generations.create(JOB, idempotency_key=str(n))
        await asyncio.sleep(200.0)
    bench.post.loses = lambda _: True
    assert (await bench.run(60)).polls_per_job >= 2.5
    await bench.aclose()


async def test_the_last_look_before_a_deadline_is_not_spared() -> None:
    bench = Bench.of(duration=5.0)
    await bench.run(100)
    bench.post.loses = lambda _: True
    job = await bench.generations.create(JOB)
    bench.service.ends_at[job.id] = now() + 20.0
    assert (await bench.generations.wait_for(job, timeout=22.0)).succeeded
    bench.service.ends_at[job.id] = now() + 60.0
    with pytest.raises(WaitTimeoutError):
        await bench.generations.wait_for(job.id, timeout=22.0)
    await bench.aclose()


async def test_a_poll_that_failed_is_repeated_though_deliveries_come() -> None:
    bench = Bench.of(duration=5.0)
    await bench.run(100)
    task_id = bench.service.sell(duration=8.0)
    bench.post.loses = lambda _: True
    bench.service.is_down = True
    wait = asyncio.create_task(bench.generations.wait_for(task_id))
    await asyncio.sleep(10.0)
    bench.service.is_down = False
    assert (await wait).succeeded
    assert now() - bench.service.ends_at[task_id] <= 20.0
    await bench.aclose()


async def test_what_is_told_of_the_jobs_of_others_says_nothing_of_ours() -> None:
    bench = Bench.of(duration=5.0, poll=EVERY_SECOND, loses=lambda _: True)
    for n in range(100):
        result = GenerationResult(f"http://files.test/{n}")
        bench.generations.settle(Generation(f"task_of_others_{n}", "succeeded", "z-image", result=result))
    assert max((await bench.run(20)).latencies) <= 1.2
    await bench.aclose()
