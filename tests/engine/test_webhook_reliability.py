"""Reliable webhooks replace polls. Polls return when webhooks stop or are lost."""

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
from tests.engine.engine_kit import DAY, JOB, cancel, create_engine, create_generations, sleep_until
from tests.engine.load_kit import BusyService
from tests.engine.test_webhook_results import ended
from tests.engine.virtual_time import now

EVERY_SECOND: Final = PollPolicy(first=1, base=1, cap=1, floor=1, factor=1, timeout=None, adaptive=False)


class WebhookSender:
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
                    asyncio.get_running_loop().call_later(at - now(), self._deliver, task_id)

    def _deliver(self, task_id: str) -> None:
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
class WebhookKit:
    """A session whose jobs' ends are delivered."""

    service: BusyService
    engine: Engine
    generations: Generations
    post: WebhookSender

    @classmethod
    def of(
        cls,
        *,
        duration: float = 30.0,
        poll: PollPolicy | None = None,
        lag: float = 0.02,
        loses: Callable[[int], bool] = lambda _: False,
        is_bare: bool = False,
    ) -> WebhookKit:
        service = BusyService(duration=duration)
        engine = create_engine(service.transport, uniform=random.Random(5).random, durations=DurationEstimator())
        generations = create_generations(engine, poll)
        return cls(
            service, engine, generations, WebhookSender(service, generations, lag=lag, loses=loses, is_bare=is_bare)
        )

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


async def test_webhooks_replace_polls() -> None:
    kit = WebhookKit.of()
    kit.generations.expect_deliveries()
    first = await kit.run(100)
    then = await kit.run(300)
    assert first.polls_per_job <= 1.2  # most of them before the first end
    assert then.polls_per_job <= 0.1
    assert max(then.latencies) <= 0.2
    await kit.aclose()


async def test_webhooks_reduce_polls_to_a_tenth() -> None:
    async def polls_of_a_long_job(*, are_lost: bool) -> int:
        kit = WebhookKit.of(duration=5.0, poll=EVERY_SECOND, loses=lambda _: are_lost)
        await kit.run(100)
        task_id = kit.service.sell(duration=1e6)
        wait = asyncio.create_task(kit.generations.wait_for(task_id))
        await asyncio.sleep(600.0)
        await cancel(wait)
        await kit.aclose()
        return sum(sent.path.endswith(task_id) for sent in kit.service.transport.polls)

    usual, spared = await polls_of_a_long_job(are_lost=True), await polls_of_a_long_job(are_lost=False)
    assert usual >= 60
    assert 0.08 * usual <= spared <= 0.13 * usual


async def test_polls_return_when_webhooks_stop() -> None:
    kit = WebhookKit.of(duration=20.0)
    await kit.run(200)
    kit.post.loses = lambda _: True
    stopped = await kit.run(50)
    assert max(stopped.latencies) <= 60.0  # all have ended, by the net
    after = await kit.run(200)
    await kit.aclose()
    usual = WebhookKit.of(duration=20.0, loses=lambda _: True)
    await usual.run(250)
    expected = await usual.run(200)
    await usual.aclose()
    assert after.cost <= 1.2 * expected.cost
    assert after.polls_per_job >= 0.7 * expected.polls_per_job


async def test_first_lost_webhook_is_counted() -> None:
    kit = WebhookKit.of(duration=20.0)
    await kit.run(200)
    kit.post.loses = lambda _: True
    await kit.run(50, pace=1000.0)
    assert mean(kit.service.latencies) <= 16.0  # of 20 s jobs; 18 where each is waited for first
    await kit.aclose()


async def test_burst_of_jobs_needs_few_polls() -> None:
    """The short jobs end first. The others must not count as late by comparison with them."""
    kit = WebhookKit.of(duration=14.0)
    kit.generations.expect_deliveries()
    assert (await kit.run(1000, pace=500.0)).polls_per_job <= 0.2
    await kit.aclose()


async def test_returning_webhooks_replace_polls_again() -> None:
    kit = WebhookKit.of(duration=20.0)
    await kit.run(100)
    kit.post.loses = lambda _: True
    await kit.run(100)
    kit.post.loses = lambda _: False
    await kit.run(100)
    assert (await kit.run(200)).polls_per_job <= 0.1
    await kit.aclose()


async def test_half_of_webhooks_lost_delays_no_end() -> None:
    kit = WebhookKit.of(loses=lambda n: n % 2 == 1)
    await kit.run(100)
    half = await kit.run(300)
    await kit.aclose()
    none = WebhookKit.of(loses=lambda _: True)
    await none.run(100)
    all_polled = await none.run(300)
    await none.aclose()
    assert len(half.latencies) == 300
    assert median(half.latencies) <= 0.5
    assert mean(half.latencies) <= 0.7 * mean(all_polled.latencies)
    assert max(half.latencies) <= 1.5 * max(all_polled.latencies)


async def test_late_webhooks_replace_no_polls() -> None:
    late = WebhookKit.of(lag=40.0)
    await late.run(100)
    assert mean((await late.run(200)).latencies) <= 5.0
    await late.aclose()


async def test_webhook_without_result_costs_one_poll() -> None:
    kit = WebhookKit.of(is_bare=True)
    await kit.run(100)
    then = await kit.run(200)
    assert then.polls_per_job <= 1.2
    assert median(then.latencies) <= 0.2
    await kit.aclose()


async def test_expected_webhooks_reduce_polls() -> None:
    usual, expecting = WebhookKit.of(duration=60.0, poll=EVERY_SECOND), WebhookKit.of(duration=60.0, poll=EVERY_SECOND)
    expecting.generations.expect_deliveries()
    waits = [asyncio.create_task(kit.generations.generate(JOB)) for kit in (usual, expecting)]
    await sleep_until(28.0)
    assert len(usual.service.transport.polls) == 3 * len(expecting.service.transport.polls) + 1
    await cancel(*waits)
    await usual.aclose()
    await expecting.aclose()


async def test_missing_webhooks_are_not_expected_for_long() -> None:
    kit = WebhookKit.of(duration=20.0, poll=EVERY_SECOND, loses=lambda _: True)
    kit.generations.expect_deliveries()
    first = await kit.run(30)
    assert max(first.latencies) <= 5.0
    then = await kit.run(30)
    assert max(then.latencies) <= 2.5
    await kit.aclose()


async def test_first_poll_of_a_foreign_job_is_not_skipped() -> None:
    """It may have ended long ago. That no webhook reported it means nothing."""
    kit = WebhookKit.of(duration=5.0)
    await kit.run(100)
    kit.post.loses = lambda _: True
    for _ in range(50):
        task_id = kit.service.sell(duration=0.0)
        at = now()
        await kit.generations.wait_for(task_id)
        assert now() - at <= 0.1
    await asyncio.sleep(10.0)
    kit.post.loses = lambda _: False
    assert (await kit.run(100)).polls_per_job <= 0.1
    await kit.aclose()


async def test_single_lost_webhook_is_noticed_soon() -> None:
    kit = WebhookKit.of(duration=30.0)
    await kit.run(300)
    kit.post.loses = lambda n: n % 60 == 5
    lost = [latency for latency in (await kit.run(600)).latencies if latency > 0.1]
    await kit.aclose()
    assert len(lost) == 10
    assert median(lost) <= 15.0


@pytest.mark.parametrize("is_waited_for", [True, False])
async def test_late_reports_skip_no_poll(is_waited_for: bool) -> None:
    every_20_s = PollPolicy(first=20, base=20, cap=20, floor=20, factor=1, timeout=None, adaptive=False)
    kit = WebhookKit.of(duration=60.0, poll=every_20_s, lag=9.0)
    if is_waited_for:
        await kit.run(60)
    else:
        for n in range(60):
            await kit.generations.create(JOB, idempotency_key=str(n))
        await asyncio.sleep(200.0)
    kit.post.loses = lambda _: True
    assert (await kit.run(60)).polls_per_job >= 2.5
    await kit.aclose()


async def test_final_poll_is_not_skipped() -> None:
    kit = WebhookKit.of(duration=5.0)
    await kit.run(100)
    kit.post.loses = lambda _: True
    job = await kit.generations.create(JOB)
    kit.service.ends_at[job.id] = now() + 20.0
    assert (await kit.generations.wait_for(job, timeout=22.0)).succeeded
    kit.service.ends_at[job.id] = now() + 60.0
    with pytest.raises(WaitTimeoutError):
        await kit.generations.wait_for(job.id, timeout=22.0)
    await kit.aclose()


async def test_failed_poll_is_retried_despite_webhooks() -> None:
    kit = WebhookKit.of(duration=5.0)
    await kit.run(100)
    task_id = kit.service.sell(duration=8.0)
    kit.post.loses = lambda _: True
    kit.service.is_down = True
    wait = asyncio.create_task(kit.generations.wait_for(task_id))
    await asyncio.sleep(10.0)
    kit.service.is_down = False
    assert (await wait).succeeded
    assert now() - kit.service.ends_at[task_id] <= 20.0
    await kit.aclose()


async def test_webhooks_of_foreign_jobs_do_not_count() -> None:
    kit = WebhookKit.of(duration=5.0, poll=EVERY_SECOND, loses=lambda _: True)
    for n in range(100):
        result = GenerationResult(f"http://files.test/{n}")
        kit.generations.settle(Generation(f"task_of_others_{n}", "succeeded", "z-image", result=result))
    assert max((await kit.run(20)).latencies) <= 1.2
    await kit.aclose()
