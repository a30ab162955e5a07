"""Hooks observe the engine and have no effect on it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from contextvars import ContextVar

import pytest

from rivya_async._core.errors import (
    NotFoundError,
    OutcomeUnknownError,
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
    create_engine,
    create_generations,
    error_from,
    error_response,
    job_response,
    no_response,
    poll_operation,
    purchase_operation,
    scripted_transport,
)
from tests.engine.virtual_time import now, running_loop, settle

EVERY_SECOND = PollPolicy(first=1, base=1, cap=1, floor=1, factor=1, timeout=None)


class RecordingHooks(Hooks):
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


class FailingHooks(Hooks):
    def on_attempt(self, details: AttemptDetails) -> None:
        raise RuntimeError("attempt")

    def on_retry(self, details: RetryDetails) -> None:
        raise RuntimeError("retry")

    def on_poll(self, details: PollDetails) -> None:
        raise RuntimeError("poll")

    def on_wait(self, details: WaitDetails) -> None:
        raise RuntimeError("wait")


async def test_reports_attempts_and_retries() -> None:
    hooks = RecordingHooks()
    transport = scripted_transport(
        OutcomeUnknownError("dropped"), error_response(429, "rate_limited", Retry_After="3"), job_response("task_1")
    )
    await create_engine(transport, hooks=[hooks]).executor.execute(purchase_operation())
    assert hooks.order == ["attempt", "retry", "attempt", "retry", "attempt"]
    assert [details.number for details in hooks.attempts] == [1, 2, 3]
    assert [type(details.error).__name__ for details in hooks.attempts] == [
        "OutcomeUnknownError",
        "RateLimitError",
        "NoneType",
    ]
    assert [(details.number, details.delay) for details in hooks.retries] == [(2, 0.25), (3, 3)]
    received: list[AttemptDetails | RetryDetails] = [*hooks.attempts, *hooks.retries]
    assert {(details.method, details.path, details.idempotency_key) for details in received} == {
        ("POST", "/api/v1/generations", "key-1")
    }


async def test_last_failure_is_not_reported_as_retry() -> None:
    hooks = RecordingHooks()
    await error_from(
        create_engine(scripted_transport(error_response(400)), hooks=[hooks]).executor.execute(purchase_operation())
    )
    assert hooks.order == ["attempt"]


async def test_elapsed_excludes_queue_time() -> None:
    hooks = RecordingHooks()
    engine = create_engine(scripted_transport(job_response("task_1"), latency=2), hooks=[hooks], max_connections=1)
    await asyncio.gather(*(engine.executor.execute(purchase_operation()) for _ in range(3)))
    assert [details.elapsed for details in hooks.attempts] == pytest.approx([2, 2, 2])


async def test_unsent_and_unanswered_requests_are_reported_as_errors() -> None:
    hooks = RecordingHooks()
    engine = create_engine(ScriptedTransport(no_response), hooks=[hooks], max_connections=1)
    calls = [asyncio.create_task(engine.executor.execute(purchase_operation())) for _ in range(2)]
    await settle()
    await cancel(*calls)
    await engine.aclose()
    assert isinstance(await error_from(engine.executor.execute(poll_operation())), SessionClosedError)
    assert hooks.order == []


async def test_poll_is_reported_before_waiters_wake() -> None:
    hooks = RecordingHooks()
    transport = scripted_transport(
        job_response("task_1"),
        job_response("task_1", "processing"),
        error_response(503),
        job_response("task_1", "succeeded"),
    )
    generations = create_generations(create_engine(transport, hooks=[hooks]), EVERY_SECOND)
    woken: list[int] = []
    await generations.generate(JOB, on_update=lambda _: woken.append(len(hooks.polls)))
    assert [(details.task_id, details.number, details.status) for details in hooks.polls] == [
        ("task_1", 1, "processing"),
        ("task_1", 2, None),
        ("task_1", 3, "succeeded"),
    ]
    assert [details.delay for details in hooks.polls] == [1, 1, None]
    assert hooks.polls[1].error is not None
    assert woken == [0, 1, 3]


async def test_last_poll_has_no_delay() -> None:
    hooks = RecordingHooks()
    engine = create_engine(scripted_transport(error_response(404, "not_found")), hooks=[hooks])
    error = await error_from(create_generations(engine).wait_for("task_1"))
    [details] = hooks.polls
    assert (details.status, details.delay, type(details.error)) == (None, None, type(error))


async def test_hook_errors_are_only_logged() -> None:
    hooks = RecordingHooks()
    transport = scripted_transport(
        error_response(503),
        job_response("task_1"),
        job_response("task_1", "processing"),
        job_response("task_1", "succeeded"),
    )
    generations = create_generations(create_engine(transport, hooks=[FailingHooks(), hooks]), EVERY_SECOND)
    assert (await generations.generate(JOB)).succeeded
    assert now() == pytest.approx(2.25)
    reported = [str(context["exception"]) for context in running_loop().reported]
    assert reported == hooks.order
    assert all("FailingHooks.on_" in context["message"] for context in running_loop().reported)
    running_loop().reported.clear()


async def test_hook_errors_do_not_replace_errors() -> None:
    generations = create_generations(
        create_engine(scripted_transport(job_response("task_1")), hooks=[FailingHooks()]), EVERY_SECOND
    )
    error = await error_from(generations.generate(JOB, timeout=5))
    assert isinstance(error, WaitTimeoutError)
    assert isinstance(error, RivyaError)
    running_loop().reported.clear()


async def test_hook_can_use_the_engine() -> None:
    """A hook may begin something of its own; it runs between two steps of the engine, never inside one."""

    class Curious(Hooks):
        def on_poll(self, details: PollDetails) -> None:
            if details.status == "processing":
                others.append(asyncio.ensure_future(generations.wait_for(details.task_id)))

    others: list[asyncio.Future[object]] = []
    transport = scripted_transport(job_response("task_1", "processing"), job_response("task_1", "succeeded"))
    generations = create_generations(create_engine(transport, hooks=[Curious()]), EVERY_SECOND)
    assert (await generations.wait_for("task_1")).succeeded
    await asyncio.gather(*others)
    assert len(transport.received) == 2


async def test_wait_details_have_length_and_polls() -> None:
    hooks = RecordingHooks()
    transport = scripted_transport(
        error_response(503), job_response("task_1", "processing"), job_response("task_1", "failed")
    )
    generations = create_generations(create_engine(transport, hooks=[hooks]), EVERY_SECOND)
    await generations.wait_for("task_1", raise_on_failure=False)
    [details] = hooks.waits
    assert details == WaitDetails("task_1", "z-image", "failed", details.elapsed, 3, None)
    assert details.elapsed == pytest.approx(2)
    assert hooks.order[-2:] == ["poll", "wait"]


async def test_wait_details_have_the_error() -> None:
    hooks = RecordingHooks()
    engine = create_engine(
        scripted_transport(job_response("task_1"), job_response("task_1"), error_response(404, "not_found")),
        hooks=[hooks],
    )
    await error_from(create_generations(engine, EVERY_SECOND).wait_for("task_1", timeout=0.5))
    await error_from(create_generations(engine, EVERY_SECOND).wait_for("task_2"))
    assert [(details.task_id, details.model, type(details.error)) for details in hooks.waits] == [
        ("task_1", "z-image", WaitTimeoutError),
        ("task_2", None, NotFoundError),
    ]
    assert [(details.status, details.elapsed) for details in hooks.waits] == [(None, 0.5), (None, 0)]


async def test_each_wait_is_reported_once() -> None:
    hooks = RecordingHooks()
    transport = scripted_transport(
        job_response("task_1"), job_response("task_1", "processing"), job_response("task_1", "succeeded")
    )
    generations = create_generations(create_engine(transport, hooks=[hooks]), EVERY_SECOND)

    async def watch() -> list[str]:
        return [update.status async for update in generations.watch("task_1")]

    await asyncio.gather(generations.wait_for("task_1"), watch())
    assert [(details.status, details.elapsed, details.polls) for details in hooks.waits] == [("succeeded", 2, 3)] * 2


async def test_group_wait_reports_each_job() -> None:
    hooks = RecordingHooks()
    ends = {"task_1": "succeeded", "task_2": "queued"}
    transport = ScriptedTransport(lambda request: job_response(name := request.path[-6:], ends[name]))
    generations = create_generations(create_engine(transport, hooks=[hooks]), EVERY_SECOND)
    both = generations.as_completed(["task_1", "task_2"], timeout=5)
    assert (await anext(both)).id == "task_1"
    assert hooks.order[-1] == "wait"
    with pytest.raises(WaitTimeoutError):
        await anext(both)
    assert [(details.task_id, details.status) for details in hooks.waits] == [("task_1", "succeeded"), ("task_2", None)]
    assert [type(details.error) for details in hooks.waits] == [type(None), WaitTimeoutError]
    assert hooks.waits[1].elapsed == pytest.approx(5)


async def test_cancelled_and_known_waits_are_not_reported() -> None:
    hooks = RecordingHooks()
    transport = scripted_transport(job_response("task_1"), job_response("task_1"), job_response("task_1"))
    engine = create_engine(transport, hooks=[hooks])
    generations = create_generations(engine, EVERY_SECOND)
    waiting = asyncio.create_task(generations.wait_for("task_1"))
    await settle()
    await cancel(waiting)
    async with aclosing(generations.watch("task_1")) as updates:
        await anext(updates)
    assert hooks.waits == []
    waiting = asyncio.create_task(generations.wait_for("task_1"))
    await settle()
    await engine.aclose()
    assert isinstance(await error_from(waiting), SessionClosedError)
    assert [type(details.error) for details in hooks.waits] == [SessionClosedError]


async def test_poll_hooks_run_in_the_context_of_the_first_waiter() -> None:
    caller: ContextVar[str] = ContextVar("caller", default="no caller")
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
        return job_response(request.path[-6:], "succeeded" if now() > 1 else "queued")

    polled_by: set[str] = set()
    engine = create_engine(ScriptedTransport(answer), hooks=[Asking()], max_connections=1)
    generations = create_generations(engine, EVERY_SECOND)
    await asyncio.gather(wait_as("Ada", "task_1"), wait_as("Bob", "task_2"), wait_as("Cid", "task_1"))
    assert set(seen) == {
        ("task_1", "Ada"),
        ("task_2", "Bob"),
        ("task_1", "wait of Ada"),
        ("task_1", "wait of Cid"),
        ("task_2", "wait of Bob"),
    }
    assert polled_by == {"no caller"}, "a shared poll has the context of no caller"
