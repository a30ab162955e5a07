"""The steps of one job, with a store and a session that follow the script of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest

from rivya_async import (
    AuthenticationError,
    Generation,
    GenerationRequest,
    InsufficientCreditsError,
    OutcomeUnknownError,
    RequestNotSentError,
    WaitTimeoutError,
)
from rivya_async._engine.shutdown import ShutdownRequested, ShutdownSignal
from rivya_async._jobs.runner import JobContext, JobPolicy, JobRunner
from rivya_async._jobs.transitions import JobAction, JobState

NOW = 1_000_000.0
RETRIED = frozenset({JobAction.RETRY, JobAction.RELEASE, JobAction.HALT, JobAction.KEEP})
QUEUED = Generation(id="task_1", status="queued", model="z-image")
SUCCEEDED = Generation(id="task_1", status="succeeded", model="z-image")


@attrs.define
class Record:
    key: str = "kite-1"
    state: JobState = JobState.PLANNED
    task_id: str | None = None
    intent_at: float | None = None
    submitted_at: float | None = None


@attrs.define
class RecordingStore:
    """A store in memory that records what happens to it."""

    record: Record = attrs.field(factory=Record)
    generation: Generation | None = None
    events: list[str] = attrs.field(factory=list)
    before_advance: Callable[[JobState], None] = lambda _: None

    def continues(self) -> bool:
        return self.record.state is JobState.SUCCEEDED

    async def load_request(self) -> GenerationRequest:
        return GenerationRequest("z-image", "A kite")

    async def advance(self, state: JobState, error: Exception | None = None, **changes: Any) -> None:
        self.before_advance(state)
        self.events.append(f"{state}" if error is None else f"{state} {type(error).__name__}")
        self.generation = changes.pop("generation", self.generation)
        self.record.state = state
        for name, value in changes.items():
            if hasattr(self.record, name):
                setattr(self.record, name, value)

    async def record_error(self, error: Exception, *, will_retry: bool) -> None:
        self.events.append(f"{type(error).__name__}{' again' * will_retry}")

    async def save_files(self, generation: Generation) -> Sequence[str]:
        return [generation.id]


@attrs.define
class ScriptedSession:
    """Answers each purchase and each wait with the next of these; an exception is raised."""

    submits: list[Any] = attrs.field(factory=lambda: [QUEUED])
    waits: list[Any] = attrs.field(factory=lambda: [SUCCEEDED])
    keys: list[str] = attrs.field(factory=list)

    async def submit(self, request: GenerationRequest, *, idempotency_key: str) -> Generation:
        self.keys.append(idempotency_key)
        return self._next(self.submits)

    async def wait_for(self, purchased: Generation | str) -> Generation:
        return self._next(self.waits)

    def _next(self, results: list[Any]) -> Generation:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[no-any-return]  # the tests write only generations


def context(session: ScriptedSession, policy: JobPolicy | None = None) -> JobContext:
    return JobContext(
        session=session, stop=ShutdownSignal(), wall=lambda: NOW, uniform=lambda: 0.5, policy=policy or JobPolicy()
    )


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async._jobs.backoff.FIRST_PAUSE", 0.001)


async def test_every_step_is_recorded_in_order() -> None:
    store = RecordingStore()
    await JobRunner(context(ScriptedSession()), store).run()
    assert store.events == ["intent", "submitted", "succeeded", "downloaded"]


async def test_an_unsent_intent_is_released_at_a_shutdown() -> None:
    run = context(ScriptedSession())
    store = RecordingStore(before_advance=lambda state: run.stop.set())
    with pytest.raises(ShutdownRequested):
        await JobRunner(run, store).run()
    assert store.events == ["intent", "planned"]


async def test_an_intent_of_several_workers_stays_at_a_shutdown() -> None:
    run = context(ScriptedSession(), JobPolicy(is_exclusive=False))
    store = RecordingStore(before_advance=lambda state: run.stop.set())
    with pytest.raises(ShutdownRequested):
        await JobRunner(run, store).run()
    assert store.events == ["intent"]


async def test_an_unanswered_purchase_stays_in_doubt_at_a_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async._jobs.runner.GRACE_SECONDS", 0.01)
    run, store = context(ScriptedSession()), RecordingStore()

    async def submit_for_ever(request: GenerationRequest, *, idempotency_key: str) -> Generation:
        run.stop.set()
        await asyncio.Event().wait()
        raise AssertionError

    run.session = attrs.make_class("Silent", {"submit": attrs.field(default=submit_for_ever)})()
    with pytest.raises(ShutdownRequested):
        await JobRunner(run, store).run()
    assert store.events == ["intent"]


async def test_a_purchase_is_repeated_under_its_key_until_it_is_answered() -> None:
    session = ScriptedSession(submits=[OutcomeUnknownError(), AuthenticationError(status=401), QUEUED])
    store = RecordingStore()
    await JobRunner(context(session, JobPolicy(retried=RETRIED)), store).run()
    assert store.events[:4] == ["intent", "OutcomeUnknownError again", "AuthenticationError again", "submitted"]
    assert session.keys == ["kite-1"] * 3


async def test_an_error_of_the_account_releases_the_job_and_halts_the_run() -> None:
    run, store = context(ScriptedSession(submits=[InsufficientCreditsError(status=402)])), RecordingStore()
    await JobRunner(run, store).run()
    assert store.events == ["intent", "planned InsufficientCreditsError"]
    assert isinstance(run.halted, InsufficientCreditsError)


async def test_no_intent_is_recorded_after_a_halt() -> None:
    run, store = context(ScriptedSession()), RecordingStore()
    run.halted = InsufficientCreditsError()
    with pytest.raises(ShutdownRequested):
        await JobRunner(run, store).run()
    assert store.events == []


@pytest.mark.parametrize(
    ("error", "event"),
    [(RequestNotSentError(), "planned RequestNotSentError"), (OutcomeUnknownError(), "OutcomeUnknownError")],
)
async def test_a_purchase_that_is_not_repeated_is_released_only_without_a_doubt(error: Exception, event: str) -> None:
    run, store = context(ScriptedSession(submits=[error])), RecordingStore()
    await JobRunner(run, store).run()
    assert store.events == ["intent", event]
    assert run.halted is None


async def test_a_doubt_that_outlives_the_key_is_abandoned_and_never_sent() -> None:
    session = ScriptedSession()
    store = RecordingStore(Record(state=JobState.INTENT, intent_at=NOW - 24 * 3600.0))
    await JobRunner(context(session), store).run()
    assert store.events == ["dead JobInDoubtError"]
    assert session.keys == []


async def test_a_wait_is_tried_again_only_where_the_policy_says_so() -> None:
    errors = [WaitTimeoutError("x", task_id="task_1"), SUCCEEDED]
    for policy, events in [
        (JobPolicy(), ["WaitTimeoutError"]),
        (JobPolicy(retried=RETRIED), ["WaitTimeoutError again", "succeeded", "downloaded"]),
    ]:
        store = RecordingStore(Record(state=JobState.SUBMITTED, task_id="task_1"))
        await JobRunner(context(ScriptedSession(waits=list(errors)), policy), store).run()
        assert store.events == events
