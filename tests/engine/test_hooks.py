"""Hooks are told what happens, and change nothing."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from contextvars import ContextVar

import pytest

from rivya_async._core.errors import (
    NotFoundError,
    OutcomeUnknownError,
    RequestNotSentError,
    RivyaError,
    SessionClosedError,
    WaitTimeoutError,
)
from rivya_async._core.http.messages import Request, Response
from rivya_async._core.policies import PollPolicy
from rivya_async._engine.hooks import AttemptDetails, Hooks, PollDetails, RetryDetails, WaitDetails
from tests.engine.engine_kit import (
    JOB,
    ScriptedTransport,
    cancel,
    engine_over,
    failure_of,
    generations_of,
    job,
    never,
    poll_of,
    purchase,
    refusal,
    script,
)
from tests.engine.virtual_time import now, running_loop, settle

EVERY_SECOND = PollPolicy(first=1, base=1, cap=1, floor=1, factor=1, timeout=None)


class Notes(Hooks):
    def __init__(self) -> None:
        self.attempts: list[AttemptDetails] = []
        self.retries: list[RetryDetails] = []
        self.polls: list[PollDetails] = []
        self.waits: list[WaitDetails] = []
        self.order: list[str] = []

    def on_attempt(self, details: AttemptDetails) -> None:
        self.attempts.append(details)
        self.order.append("attempt")

    def on_retry(self, details: RetryDetails) -> None:
        self.retries.append(details)
        self.order.append("retry")

    def on_poll(self, details: PollDetails) -> None:
        self.polls.append(details)
        self.order.append("poll")

    def on_wait(self, details: WaitDetails) -> None:
        self.waits.append(details)
        self.order.append("wait")


class Broken(Hooks):
    def on_attempt(self, details: AttemptDetails) -> None:
        raise RuntimeError("attempt")

    def on_retry(self, details: RetryDetails) -> None:
        raise RuntimeError("retry")

    def on_poll(self, details: PollDetails) -> None:
        raise RuntimeError("poll")

    def on_wait(self, details: WaitDetails) -> None:
        raise RuntimeError("wait")


async def test_every_attempt_and_retry_of_a_call_is_told() -> None:
    notes = Notes()
    transport = script(OutcomeUnknownError("dropped"), refusal(429, "rate_limited", Retry_After="3"), job("task_1"))
    await engine_over(transport, hooks=[notes]).executor.execute(purchase())
    assert notes.order == ["attempt", "retry", "attempt", "retry", "attempt"]
    assert [details.number for details in notes.attempts] == [1, 2, 3]
    assert [type(details.error).__name__ for details in notes.attempts] == [
        "OutcomeUnknownError",
        "RateLimitError",
        "NoneType",
    ]
    assert [(details.number, details.delay) for details in notes.retries] == [(2, 0.25), (3, 3)]
    told: list[AttemptDetails | RetryDetails] = [*notes.attempts, *notes.retries]
    assert {(details.method, details.path, details.idempotency_key) for details in told} == {
        ("POST", "/api/v1/generations", "key-1")
    }


async def test_the_last_failure_is_an_attempt_and_no_retry() -> None:
    notes = Notes()
    await failure_of(engine_over(script(refusal(400)), hooks=[notes]).executor.execute(purchase()))
    assert notes.order == ["attempt"]


async def test_elapsed_is_the_attempts_own_time_without_the_queue_before_it() -> None:
    notes = Notes()
    engine = engine_over(script(job("task_1"), latency=2), hooks=[notes], max_connections=1)
    await asyncio.gather(*(engine.executor.execute(purchase()) for _ in range(3)))
    assert [details.elapsed for details in notes.attempts] == pytest.approx([2, 2, 2])


async def test_what_was_never_sent_or_never_answered_is_no_attempt_that_succeeded() -> None:
    notes = Notes()
    engine = engine_over(ScriptedTransport(never), hooks=[notes], max_connections=1)
    calls = [asyncio.create_task(engine.executor.execute(purchase())) for _ in range(2)]
    await settle()
    await cancel(*calls)
    await engine.aclose()
    assert isinstance(await failure_of(engine.executor.execute(poll_of())), RequestNotSentError)
    assert notes.order == []


async def test_every_poll_is_told_before_its_waiters_wake() -> None:
    notes = Notes()
    transport = script(job("task_1"), job("task_1", "processing"), refusal(503), job("task_1", "succeeded"))
    generations = generations_of(engine_over(transport, hooks=[notes]), EVERY_SECOND)
    woken: list[int] = []
    await generations.generate(JOB, on_update=lambda _: woken.append(len(notes.polls)))
    assert [(details.task_id, details.number, details.status) for details in notes.polls] == [
        ("task_1", 1, "processing"),
        ("task_1", 2, None),
        ("task_1", 3, "succeeded"),
    ]
    assert [details.delay for details in notes.polls] == [1, 1, None]
    assert notes.polls[1].error is not None
    assert woken == [0, 1, 3]


async def test_a_poll_that_ends_the_wait_says_so() -> None:
    notes = Notes()
    engine = engine_over(script(refusal(404, "not_found")), hooks=[notes])
    error = await failure_of(generations_of(engine).wait_for("task_1"))
    [details] = notes.polls
    assert (details.status, details.delay, type(details.error)) == (None, None, type(error))


async def test_hooks_that_raise_are_reported_and_change_nothing() -> None:
    notes = Notes()
    transport = script(refusal(503), job("task_1"), job("task_1", "processing"), job("task_1", "succeeded"))
    generations = generations_of(engine_over(transport, hooks=[Broken(), notes]), EVERY_SECOND)
    assert (await generations.generate(JOB)).succeeded
    assert now() == pytest.approx(2.25)
    reported = [str(context["exception"]) for context in running_loop().reported]
    assert reported == notes.order
    assert all("Broken.on_" in context["message"] for context in running_loop().reported)
    running_loop().reported.clear()


async def test_hooks_that_raise_do_not_hide_an_error() -> None:
    generations = generations_of(engine_over(script(job("task_1")), hooks=[Broken()]), EVERY_SECOND)
    error = await failure_of(generations.generate(JOB, timeout=5))
    assert isinstance(error, WaitTimeoutError)
    assert isinstance(error, RivyaError)
    running_loop().reported.clear()


async def test_a_listener_may_use_the_engine() -> None:
    """A hook may begin something of its own; it runs between two steps of the engine, never inside one."""

    class Curious(Hooks):
        def on_poll(self, details: PollDetails) -> None:
            if details.status == "processing":
                others.append(asyncio.ensure_future(generations.wait_for(details.task_id)))

    others: list[asyncio.Future[object]] = []
    transport = script(job("task_1", "processing"), job("task_1", "succeeded"))
    generations = generations_of(engine_over(transport, hooks=[Curious()]), EVERY_SECOND)
    assert (await generations.wait_for("task_1")).succeeded
    await asyncio.gather(*others)
    assert len(transport.received) == 2


async def test_the_end_of_a_wait_is_told_with_its_length_and_its_polls() -> None:
    notes = Notes()
    transport = script(refusal(503), job("task_1", "processing"), job("task_1", "failed"))
    generations = generations_of(engine_over(transport, hooks=[notes]), EVERY_SECOND)
    await generations.wait_for("task_1", raise_on_failure=False)
    [details] = notes.waits
    assert details == WaitDetails("task_1", "z-image", "failed", details.elapsed, 3, None)
    assert details.elapsed == pytest.approx(2)
    assert notes.order[-2:] == ["poll", "wait"]


async def test_a_wait_that_ends_before_its_job_is_told_with_the_error() -> None:
    notes = Notes()
    engine = engine_over(script(job("task_1"), job("task_1"), refusal(404, "not_found")), hooks=[notes])
    await failure_of(generations_of(engine, EVERY_SECOND).wait_for("task_1", timeout=0.5))
    await failure_of(generations_of(engine, EVERY_SECOND).wait_for("task_2"))
    assert [(details.task_id, details.model, type(details.error)) for details in notes.waits] == [
        ("task_1", "z-image", WaitTimeoutError),
        ("task_2", None, NotFoundError),
    ]
    assert [(details.status, details.elapsed) for details in notes.waits] == [(None, 0.5), (None, 0)]


async def test_every_wait_for_a_job_is_told_and_that_of_a_listener_once() -> None:
    notes = Notes()
    transport = script(job("task_1"), job("task_1", "processing"), job("task_1", "succeeded"))
    generations = generations_of(engine_over(transport, hooks=[notes]), EVERY_SECOND)

    async def watch() -> list[str]:
        return [update.status async for update in generations.watch("task_1")]

    await asyncio.gather(generations.wait_for("task_1"), watch())
    assert [(details.status, details.elapsed, details.polls) for details in notes.waits] == [("succeeded", 2, 3)] * 2


async def test_of_jobs_that_are_waited_for_together_each_is_told_of() -> None:
    notes = Notes()
    ends = {"task_1": "succeeded", "task_2": "queued"}
    transport = ScriptedTransport(lambda request: job(name := request.path[-6:], ends[name]))
    generations = generations_of(engine_over(transport, hooks=[notes]), EVERY_SECOND)
    both = generations.as_completed(["task_1", "task_2"], timeout=5)
    assert (await anext(both)).id == "task_1"
    assert notes.order[-1] == "wait"
    with pytest.raises(WaitTimeoutError):
        await anext(both)
    assert [(details.task_id, details.status) for details in notes.waits] == [("task_1", "succeeded"), ("task_2", None)]
    assert [type(details.error) for details in notes.waits] == [type(None), WaitTimeoutError]
    assert notes.waits[1].elapsed == pytest.approx(5)


async def test_what_is_cancelled_or_left_or_known_is_no_wait_that_was_over() -> None:
    notes = Notes()
    transport = script(job("task_1"), job("task_1"), job("task_1"))
    engine = engine_over(transport, hooks=[notes])
    generations = generations_of(engine, EVERY_SECOND)
    waiting = asyncio.create_task(generations.wait_for("task_1"))
    await settle()
    await cancel(waiting)
    async with aclosing(generations.watch("task_1")) as updates:
        await anext(updates)
    assert notes.waits == []
    waiting = asyncio.create_task(generations.wait_for("task_1"))
    await settle()
    await engine.aclose()
    assert isinstance(await failure_of(waiting), SessionClosedError)
    assert [type(details.error) for details in notes.waits] == [SessionClosedError]


async def test_hooks_see_the_context_of_the_first_who_waits_whoever_polls() -> None:
    caller: ContextVar[str] = ContextVar("caller", default="nobody")
    seen: list[tuple[str, str]] = []

    class Asking(Hooks):
        def on_attempt(self, details: AttemptDetails) -> None:
            seen.append((details.path[-6:], caller.get()))

        def on_poll(self, details: PollDetails) -> None:
            seen.append((details.task_id, caller.get()))

        def on_wait(self, details: WaitDetails) -> None:
            seen.append((details.task_id, f"wait of {caller.get()}"))

    async def wait_as(name: str, task_id: str) -> None:
        caller.set(name)
        await generations.wait_for(task_id)

    def answer(request: Request) -> Response:
        polled_by.add(caller.get())
        return job(request.path[-6:], "succeeded" if now() > 1 else "queued")

    polled_by: set[str] = set()
    engine = engine_over(ScriptedTransport(answer), hooks=[Asking()], max_connections=1)
    generations = generations_of(engine, EVERY_SECOND)
    await asyncio.gather(wait_as("Ada", "task_1"), wait_as("Bob", "task_2"), wait_as("Cid", "task_1"))
    assert set(seen) == {
        ("task_1", "Ada"),
        ("task_2", "Bob"),
        ("task_1", "wait of Ada"),
        ("task_1", "wait of Cid"),
        ("task_2", "wait of Bob"),
    }
    assert polled_by == {"nobody"}, "who polls for all must not pass for one of them"
