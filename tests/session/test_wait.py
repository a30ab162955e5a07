"""Waiting: deadlines, other processes, listeners, groups of jobs, failures that the service tells."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import pytest

from rivya_async import (
    AuthenticationError,
    Generation,
    GenerationFailedError,
    NotFoundError,
    PermissionDeniedError,
    PollPolicy,
    RivyaSession,
    WaitTimeoutError,
)
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import POLL, SLOW, Ears, ids, opened, script, settled

STEADY: Final = 60.0
"""A sandbox speed at which an image takes about a fifth of a second."""


@pytest.fixture
async def slow() -> Any:
    async with Sandbox(speed=SLOW) as running:
        yield running


@pytest.fixture
async def steady() -> Any:
    async with Sandbox(speed=STEADY) as running:
        yield running


# --- deadlines --------------------------------------------------------------------------------------------------------


async def test_a_wait_that_times_out_can_be_taken_up_again(steady: Sandbox) -> None:
    async with opened(steady) as session:
        job = await session.submit("z-image", "A red kite")
        with pytest.raises(WaitTimeoutError) as raised:
            await session.wait_for(job, timeout=0.02)
        assert isinstance(raised.value, TimeoutError)
        assert raised.value.task_id == job.id
        assert raised.value.last is not None
        assert job.id in str(raised.value)
        assert (await session.wait_for(raised.value.task_id)).succeeded
    assert steady.request_log.purchases == 1


async def test_a_generate_that_times_out_tells_both_names(slow: Sandbox) -> None:
    async with opened(slow) as session:
        with pytest.raises(WaitTimeoutError) as raised:
            await session.generate("z-image", "A red kite", timeout=0.05)
        assert {raised.value.task_id} == set(slow.service_state.tasks)
        assert {raised.value.idempotency_key} == slow.request_log.idempotency_keys
        again = await session.submit("z-image", "A red kite", idempotency_key=raised.value.idempotency_key)
        assert again.id == raised.value.task_id
    assert slow.request_log.purchases == 1


WAIT_ELSEWHERE: Final = """
import asyncio, sys
from rivya_async import PollPolicy, RivyaSession

async def main():
    quick = PollPolicy(first=0.01, base=0.05, cap=0.1, floor=0.01)
    async with RivyaSession(base_url=sys.argv[1], poll=quick) as session:
        job = await session.wait_for(sys.argv[2], timeout=20)
        print(job.id, job.status)

asyncio.run(main(), debug=False)
"""


async def test_another_process_takes_up_the_wait(steady: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIVYA_API_KEY", steady.api_key)
    async with opened(steady) as session:
        with pytest.raises(WaitTimeoutError) as raised:
            await session.generate("z-image", "A red kite", timeout=0.01)
    code, out, err = await script(WAIT_ELSEWHERE, steady.base_url, raised.value.task_id, dev=False)
    assert (code, out, err) == (0, f"{raised.value.task_id} succeeded\n", "")
    assert steady.request_log.purchases == 1


@pytest.mark.parametrize("timeout", [0, 0.0, 1e-9])
async def test_no_time_at_all(slow: Sandbox, timeout: float) -> None:
    async with opened(slow) as session:
        job = await session.submit("z-image", "A red kite")
        with pytest.raises(WaitTimeoutError) as raised:
            async with asyncio.timeout(1.0):
                await session.wait_for(job, timeout=timeout)
    assert raised.value.task_id == job.id


async def test_a_deadline_comes_in_the_middle_of_a_poll(slow: Sandbox) -> None:
    loop = asyncio.get_running_loop()
    async with opened(slow) as session:
        job = await session.submit("z-image", "A red kite")
        slow.faults.add(route=POLL, delay=0.3)
        began = loop.time()
        with pytest.raises(WaitTimeoutError):
            await session.wait_for(job, timeout=0.1)
        assert 0.09 < loop.time() - began < 0.25


async def test_the_timeout_is_the_policys_if_left_out(slow: Sandbox) -> None:
    async with opened(slow, poll=PollPolicy(first=0.01, timeout=0.05)) as session:
        job = await session.submit("z-image", "A red kite")
        for wait in (session.wait_for(job), session.wait_for(job, poll=PollPolicy(first=0.01, timeout=0.01))):
            with pytest.raises(WaitTimeoutError):
                await asyncio.wait_for(wait, 1.0)
        endless = asyncio.create_task(session.wait_for(job, timeout=None))
        with pytest.raises(TimeoutError) as raised:
            await asyncio.wait_for(endless, 0.15)
        assert not isinstance(raised.value, WaitTimeoutError)


# --- ends that are no success -----------------------------------------------------------------------------------------


async def test_a_failed_job_is_an_error_unless_asked_otherwise(sandbox: Sandbox, session: RivyaSession) -> None:
    with pytest.raises(GenerationFailedError) as raised:
        await session.generate("z-image", "A kite [fail]", idempotency_key="order-1")
    error = raised.value
    assert error.generation.failed
    assert error.generation.error is not None
    assert error.generation.error.code == "generation_failed"
    assert (error.task_id, error.idempotency_key) == (error.generation.id, "order-1")
    job = await session.wait_for(error.task_id, raise_on_failure=False)
    assert job == error.generation
    with pytest.raises(GenerationFailedError):
        await session.wait_for(job)
    assert [snapshot.status async for snapshot in session.watch(error.task_id)][-1] == "failed"


@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationError), (403, PermissionDeniedError)])
async def test_a_key_that_died_ends_the_wait_and_names_the_job(
    slow: Sandbox, status: int, kind: type[Exception]
) -> None:
    async with opened(slow) as session:
        job = await session.submit("z-image", "A red kite")
        slow.faults.add(route=POLL, status=status)
        with pytest.raises(kind) as raised:
            await session.wait_for(job)
        assert job.id in "".join(raised.value.__notes__)
        with pytest.raises(kind) as bought:
            await session.generate("z-image", "A blue whale", idempotency_key="order-1")
        assert getattr(bought.value, "idempotency_key", None) == "order-1"
    assert slow.request_log.purchases == 2


async def test_a_job_of_another_account_is_not_there(sandbox: Sandbox, session: RivyaSession) -> None:
    job = await session.submit("z-image", "A red kite")
    async with RivyaSession(sandbox.add_key(credits=5), base_url=sandbox.base_url) as stranger:
        with pytest.raises(NotFoundError):
            await stranger.wait_for(job.id)


@pytest.mark.parametrize(
    "task_id", ["task/../../credits", "task_1?x=1", "a b", "task#1", "ä", "%2e%2e", "..%2f", "x" * 500]
)
async def test_odd_task_ids_stay_one_segment(sandbox: Sandbox, session: RivyaSession, task_id: str) -> None:
    with pytest.raises(NotFoundError):
        await session.wait_for(task_id)
    assert {request.route for request in sandbox.request_log} <= {POLL, None}
    assert sandbox.request_log.count("GET /api/v1/credits") == 0


# --- listeners --------------------------------------------------------------------------------------------------------


async def test_a_listener_hears_of_every_change_and_the_end_last(steady: Sandbox) -> None:
    heard: list[str] = []
    async with opened(steady) as session:
        job = await session.generate("z-image", "A red kite", on_update=lambda each: heard.append(each.status))
    assert heard[0] == "queued"
    assert heard[-1] == job.status == "succeeded"
    assert heard == sorted(set(heard), key=heard.index)


async def test_a_listener_may_wait(steady: Sandbox) -> None:
    heard: list[str] = []

    async def listen(generation: Generation) -> None:
        await asyncio.sleep(0.01)
        heard.append(generation.status)

    async with opened(steady) as session:
        job = await session.submit("z-image", "A red kite")
        await session.wait_for(job, on_update=listen)
    assert heard[-1] == "succeeded"


async def test_what_a_listener_raises_ends_its_wait_only(steady: Sandbox) -> None:
    def refuse(_: Generation) -> None:
        raise ZeroDivisionError

    async with opened(steady) as session:
        job = await session.submit("z-image", "A red kite")
        other = asyncio.create_task(session.wait_for(job))
        with pytest.raises(ZeroDivisionError):
            await session.wait_for(job, on_update=refuse)
        assert (await other).succeeded


async def test_a_watch_that_is_left_stops_polling(slow: Sandbox, ears: Ears) -> None:
    async with opened(slow, hooks=[ears]) as session:
        job = await session.submit("z-image", "A red kite")
        slow.faults.add(route=POLL, status=200, body=b'{"id": "%s", "status": "odd", "model": "m"}' % job.id.encode())
        async with aclosing(session.watch(job)) as snapshots:
            async for snapshot in snapshots:
                assert snapshot.status == "odd"
                break
        await settled(slow)
        polls = slow.request_log.count(POLL)
        await asyncio.sleep(0.1)
        assert slow.request_log.count(POLL) == polls


async def test_hooks_that_raise_change_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    class Broken(Ears):
        def on_attempt(self, details: Any) -> None:
            raise ZeroDivisionError

        on_poll = on_retry = on_wait = on_download = on_attempt

    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    ears = Ears()
    async with opened(sandbox, hooks=[Broken(), ears]) as session:
        job = await session.generate("z-image", "A red kite")
        assert len(await session.download(job, tmp_path)) == len(ears.downloads) == 1
    assert len(told) == len(ears.attempts) + len(ears.polls) + 2  # one wait, one download


# --- many jobs --------------------------------------------------------------------------------------------------------


async def test_as_completed_gives_each_job_once(steady: Sandbox) -> None:
    async with opened(steady) as session:
        jobs = [await session.submit("z-image", f"Kite {n}{' [fail]' * (n % 5 == 0)}") for n in range(25)]
        mixed: list[Generation | str] = [*jobs, *(job.id for job in jobs)]
        ended = [job async for job in session.as_completed(mixed)]
    assert len(ended) == 25
    assert ids(ended) == ids(jobs)
    assert sum(job.failed for job in ended) == 5
    assert [job.updated_at for job in ended] != []


async def test_as_completed_names_what_is_still_open(slow: Sandbox) -> None:
    async with opened(slow) as session:
        jobs = [await session.submit("z-image", f"Kite {n}") for n in range(5)]
        with pytest.raises(WaitTimeoutError) as raised:
            [job async for job in session.as_completed(jobs, timeout=0.05)]
    told = str(raised.value) + "".join(raised.value.__notes__)
    assert all(job.id in told for job in jobs)


async def test_as_completed_raises_what_cannot_be_waited_for_at_the_end(steady: Sandbox) -> None:
    async with opened(steady) as session:
        jobs = [await session.submit("z-image", f"Kite {n}") for n in range(5)]
        ended = []

        async def collect() -> None:
            async for job in session.as_completed([*jobs, "task_missing", "task_lost"]):
                ended.append(job)  # noqa: PERF401 - what came before the error counts

        with pytest.raises(NotFoundError) as raised:
            await collect()
    assert ids(ended) == ids(jobs)
    told = "".join(raised.value.__notes__)
    assert "task_missing" in told
    assert "task_lost" in told


async def test_as_completed_of_nothing(session: RivyaSession) -> None:
    assert [job async for job in session.as_completed([])] == []


async def test_as_completed_that_is_left_early(slow: Sandbox) -> None:
    async with opened(slow) as session:
        jobs = [await session.submit("z-image", f"Kite {n}") for n in range(5)]
        async with aclosing(session.as_completed(jobs)) as ends:
            wait = asyncio.ensure_future(anext(ends))
            await asyncio.sleep(0.02)
            wait.cancel()
            await asyncio.gather(wait, return_exceptions=True)
        await settled(slow)
        polls = slow.request_log.count(POLL)
        await asyncio.sleep(0.1)
        assert slow.request_log.count(POLL) == polls
