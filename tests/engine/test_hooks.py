"""Hooks are told what happens, and change nothing."""

from __future__ import annotations

import asyncio

import pytest

from rivya_async._core.errors import DeadlineExceeded, NotSent, OutcomeUnknown, RivyaError
from rivya_async._core.policies import PollPolicy
from rivya_async._engine.hooks import AttemptDetails, Hooks, PollDetails, RetryDetails
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


class Broken(Hooks):
    def on_attempt(self, details: AttemptDetails) -> None:
        raise RuntimeError("attempt")

    def on_retry(self, details: RetryDetails) -> None:
        raise RuntimeError("retry")

    def on_poll(self, details: PollDetails) -> None:
        raise RuntimeError("poll")


async def test_every_attempt_and_retry_of_a_call_is_told() -> None:
    notes = Notes()
    transport = script(OutcomeUnknown("dropped"), refusal(429, "rate_limited", Retry_After="3"), job("task_1"))
    await engine_over(transport, hooks=[notes]).caller.call(purchase())
    assert notes.order == ["attempt", "retry", "attempt", "retry", "attempt"]
    assert [details.number for details in notes.attempts] == [1, 2, 3]
    assert [type(details.error).__name__ for details in notes.attempts] == ["OutcomeUnknown", "RateLimited", "NoneType"]
    assert [(details.number, details.delay) for details in notes.retries] == [(2, 0.25), (3, 3)]
    told: list[AttemptDetails | RetryDetails] = [*notes.attempts, *notes.retries]
    assert {(details.method, details.path, details.idempotency_key) for details in told} == {
        ("POST", "/api/v1/generations", "key-1")
    }


async def test_the_last_failure_is_an_attempt_and_no_retry() -> None:
    notes = Notes()
    await failure_of(engine_over(script(refusal(400)), hooks=[notes]).caller.call(purchase()))
    assert notes.order == ["attempt"]


async def test_elapsed_is_the_attempts_own_time_without_the_queue_before_it() -> None:
    notes = Notes()
    engine = engine_over(script(job("task_1"), latency=2), hooks=[notes], max_connections=1)
    await asyncio.gather(*(engine.caller.call(purchase()) for _ in range(3)))
    assert [details.elapsed for details in notes.attempts] == pytest.approx([2, 2, 2])


async def test_what_was_never_sent_or_never_answered_is_no_attempt_that_succeeded() -> None:
    notes = Notes()
    engine = engine_over(ScriptedTransport(never), hooks=[notes], max_connections=1)
    calls = [asyncio.create_task(engine.caller.call(purchase())) for _ in range(2)]
    await settle()
    await cancel(*calls)
    await engine.aclose()
    assert isinstance(await failure_of(engine.caller.call(poll_of())), NotSent)
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
    assert isinstance(error, DeadlineExceeded)
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
