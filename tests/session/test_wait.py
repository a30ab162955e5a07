"""Waits: deadlines, other processes, listeners, groups of jobs, failed jobs."""

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
from tests.session.session_kit import POLL, SLOW, RecordingHooks, open_session, run_script, task_ids, wait_until_idle

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


async def test_wait_again_after_timeout(steady: Sandbox) -> None:
    async with open_session(steady) as session:
        job = await session.submit("z-image", "A red kite")
        with pytest.raises(WaitTimeoutError) as raised:
            await session.wait_for(job, timeout=0.02)
        assert isinstance(raised.value, TimeoutError)
        assert raised.value.task_id == job.id
        assert raised.value.last is not None
        assert job.id in str(raised.value)
        assert (await session.wait_for(raised.value.task_id)).succeeded
    assert steady.request_log.purchases == 1


async def test_generate_timeout_has_task_id_and_key(slow: Sandbox) -> None:
    async with open_session(slow) as session:
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


async def test_another_process_continues_wait(steady: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIVYA_API_KEY", steady.api_key)
    async with open_session(steady) as session:
        with pytest.raises(WaitTimeoutError) as raised:
            await session.generate("z-image", "A red kite", timeout=0.01)
    code, out, err = await run_script(WAIT_ELSEWHERE, steady.base_url, raised.value.task_id, dev=False)
    assert (code, out, err) == (0, f"{raised.value.task_id} succeeded\n", "")
    assert steady.request_log.purchases == 1


@pytest.mark.parametrize("timeout", [0, 0.0, 1e-9])
async def test_zero_timeout(slow: Sandbox, timeout: float) -> None:
    async with open_session(slow) as session:
        job = await session.submit("z-image", "A red kite")
        with pytest.raises(WaitTimeoutError) as raised:
            async with asyncio.timeout(1.0):
                await session.wait_for(job, timeout=timeout)
    assert raised.value.task_id == job.id


async def test_deadline_inside_poll(slow: Sandbox) -> None:
    loop = asyncio.get_running_loop()
    async with open_session(slow) as session:
        job = await session.submit("z-image", "A red kite")
        slow.faults.add(route=POLL, delay=2.0)
        began = loop.time()
        with pytest.raises(WaitTimeoutError):
            await session.wait_for(job, timeout=0.1)
        assert loop.time() - began > 0.09
        assert slow.request_log.count_status(200) == 1, "the poll has no answer yet"


async def test_default_timeout_is_of_policy(slow: Sandbox) -> None:
    async with open_session(slow, poll=PollPolicy(first=0.01, timeout=0.05)) as session:
        job = await session.submit("z-image", "A red kite")
        for wait in (session.wait_for(job), session.wait_for(job, poll=PollPolicy(first=0.01, timeout=0.01))):
            with pytest.raises(WaitTimeoutError):
                await asyncio.wait_for(wait, 1.0)
        endless = asyncio.create_task(session.wait_for(job, timeout=None))
        with pytest.raises(TimeoutError) as raised:
            await asyncio.wait_for(endless, 0.15)
        assert not isinstance(raised.value, WaitTimeoutError)


# --- ends that are no success -----------------------------------------------------------------------------------------


async def test_failed_job_raises_by_default(sandbox: Sandbox, session: RivyaSession) -> None:
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
async def test_revoked_key_ends_wait(slow: Sandbox, status: int, kind: type[Exception]) -> None:
    async with open_session(slow) as session:
        job = await session.submit("z-image", "A red kite")
        slow.faults.add(route=POLL, status=status)
        with pytest.raises(kind) as raised:
            await session.wait_for(job)
        assert job.id in "".join(raised.value.__notes__)
        with pytest.raises(kind) as bought:
            await session.generate("z-image", "A blue whale", idempotency_key="order-1")
        assert getattr(bought.value, "idempotency_key", None) == "order-1"
    assert slow.request_log.purchases == 2


async def test_job_of_other_account_is_not_found(sandbox: Sandbox, session: RivyaSession) -> None:
    job = await session.submit("z-image", "A red kite")
    async with RivyaSession(sandbox.add_key(credits=5), base_url=sandbox.base_url) as stranger:
        with pytest.raises(NotFoundError):
            await stranger.wait_for(job.id)


@pytest.mark.parametrize(
    "task_id", ["task/../../credits", "task_1?x=1", "a b", "task#1", "ä", "%2e%2e", "..%2f", "x" * 500]
)
async def test_escapes_task_ids(sandbox: Sandbox, session: RivyaSession, task_id: str) -> None:
    with pytest.raises(NotFoundError):
        await session.wait_for(task_id)
    assert {request.route for request in sandbox.request_log} <= {POLL, None}
    assert sandbox.request_log.count("GET /api/v1/credits") == 0


# --- listeners --------------------------------------------------------------------------------------------------------


async def test_listener_receives_every_change(steady: Sandbox) -> None:
    heard: list[str] = []
    async with open_session(steady) as session:
        job = await session.generate("z-image", "A red kite", on_update=lambda each: heard.append(each.status))
    assert heard[0] == "queued"
    assert heard[-1] == job.status == "succeeded"
    assert heard == sorted(set(heard), key=heard.index)


async def test_async_listener(steady: Sandbox) -> None:
    heard: list[str] = []

    async def listen(generation: Generation) -> None:
        await asyncio.sleep(0.01)
        heard.append(generation.status)

    async with open_session(steady) as session:
        job = await session.submit("z-image", "A red kite")
        await session.wait_for(job, on_update=listen)
    assert heard[-1] == "succeeded"


async def test_listener_error_ends_only_its_wait(steady: Sandbox) -> None:
    def refuse(_: Generation) -> None:
        raise ZeroDivisionError

    async with open_session(steady) as session:
        job = await session.submit("z-image", "A red kite")
        other = asyncio.create_task(session.wait_for(job))
        with pytest.raises(ZeroDivisionError):
            await session.wait_for(job, on_update=refuse)
        assert (await other).succeeded


async def test_abandoned_watch_stops_polling(slow: Sandbox, hooks: RecordingHooks) -> None:
    async with open_session(slow, hooks=[hooks]) as session:
        job = await session.submit("z-image", "A red kite")
        slow.faults.add(route=POLL, status=200, body=b'{"id": "%s", "status": "odd", "model": "m"}' % job.id.encode())
        async with aclosing(session.watch(job)) as snapshots:
            async for snapshot in snapshots:
                assert snapshot.status == "odd"
                break
        await wait_until_idle(slow)
        polls = slow.request_log.count(POLL)
        await asyncio.sleep(0.1)
        assert slow.request_log.count(POLL) == polls


async def test_raising_hooks_are_ignored(sandbox: Sandbox, tmp_path: Path) -> None:
    class Broken(RecordingHooks):
        def on_attempt(self, details: Any) -> None:
            raise ZeroDivisionError

        on_poll = on_retry = on_wait = on_download = on_attempt

    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    hooks = RecordingHooks()
    async with open_session(sandbox, hooks=[Broken(), hooks]) as session:
        job = await session.generate("z-image", "A red kite")
        assert len(await session.download(job, tmp_path)) == len(hooks.downloads) == 1
    assert len(reported) == len(hooks.attempts) + len(hooks.polls) + 2  # one wait, one download


# --- many jobs --------------------------------------------------------------------------------------------------------


async def test_as_completed_yields_each_job_once(steady: Sandbox) -> None:
    async with open_session(steady) as session:
        jobs = [await session.submit("z-image", f"Kite {n}{' [fail]' * (n % 5 == 0)}") for n in range(25)]
        mixed: list[Generation | str] = [*jobs, *(job.id for job in jobs)]
        ended = [job async for job in session.as_completed(mixed)]
    assert len(ended) == 25
    assert task_ids(ended) == task_ids(jobs)
    assert sum(job.failed for job in ended) == 5
    assert [job.updated_at for job in ended] != []


async def test_as_completed_timeout_names_open_jobs(slow: Sandbox) -> None:
    async with open_session(slow) as session:
        jobs = [await session.submit("z-image", f"Kite {n}") for n in range(5)]
        with pytest.raises(WaitTimeoutError) as raised:
            [job async for job in session.as_completed(jobs, timeout=0.05)]
    reported = str(raised.value) + "".join(raised.value.__notes__)
    assert all(job.id in reported for job in jobs)


async def test_as_completed_raises_errors_last(steady: Sandbox) -> None:
    async with open_session(steady) as session:
        jobs = [await session.submit("z-image", f"Kite {n}") for n in range(5)]
        ended = []

        async def collect() -> None:
            async for job in session.as_completed([*jobs, "task_missing", "task_lost"]):
                ended.append(job)  # noqa: PERF401 - what came before the error counts

        with pytest.raises(ExceptionGroup) as raised:
            await collect()
    assert task_ids(ended) == task_ids(jobs)
    assert {(type(error), vars(error)["task_id"]) for error in raised.value.exceptions} == {
        (NotFoundError, "task_missing"),
        (NotFoundError, "task_lost"),
    }


async def test_as_completed_of_empty_source(session: RivyaSession) -> None:
    assert [job async for job in session.as_completed([])] == []


async def test_abandoned_as_completed(slow: Sandbox) -> None:
    async with open_session(slow) as session:
        jobs = [await session.submit("z-image", f"Kite {n}") for n in range(5)]
        async with aclosing(session.as_completed(jobs)) as ends:
            wait = asyncio.ensure_future(anext(ends))
            await asyncio.sleep(0.02)
            wait.cancel()
            await asyncio.gather(wait, return_exceptions=True)
        await wait_until_idle(slow)
        polls = slow.request_log.count(POLL)
        await asyncio.sleep(0.1)
        assert slow.request_log.count(POLL) == polls
