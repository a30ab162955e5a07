"""One logical call: its key, attempts, back-off on virtual time, and the error that it raises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.config import Config
from rivya_async._core.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    RequestNotSentError,
    ResponseDecodeError,
    RivyaError,
    SessionClosedError,
    SubmitTimeoutError,
)
from rivya_async._core.http.messages import Request, Response
from rivya_async._core.policies import PollPolicy, RetryPolicy
from rivya_async._core.spend import SpendLedger
from rivya_async._engine.purchase_preflight import PurchasePreflight
from rivya_async.resources.chat import Chat
from rivya_async.resources.models import Models
from tests.engine.engine_kit import (
    TRANSIENT,
    Reply,
    ScriptedTransport,
    Service,
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
    sleep_until,
)
from tests.engine.virtual_time import now, run, running_loop, settle

DROPPED = OutcomeUnknownError("dropped")
REFUSED = RequestNotSentError("refused")
CONFLICT = error_response(409, "idempotency_conflict")
BUSY = error_response(429, "rate_limited")
POLICY = PollPolicy()


async def error_of(transport: ScriptedTransport, **options: object) -> RivyaError:
    """Returns the error of a purchase."""
    error = await error_from(create_engine(transport, **options).executor.execute(purchase_operation()))  # type: ignore[arg-type]
    assert isinstance(error, RivyaError)
    return error


# --- keys and attempts ------------------------------------------------------------------------------------------------


async def test_purchase_is_sent_once_with_a_new_key() -> None:
    transport = scripted_transport(job_response("task_1"))
    bought = await create_engine(transport).executor.execute(purchase_operation())
    assert bought.id == "task_1"
    assert transport.keys == ["key-1"]


async def test_generates_keys_and_keeps_given_keys() -> None:
    transport = scripted_transport(job_response("task_1"))
    generations = create_generations(create_engine(transport))
    for key in (None, "order-42", None):
        await generations.create("z-image", "A red kite", idempotency_key=key)
    assert transport.keys == ["key-1", "order-42", "key-2"]


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
async def test_invalid_chat_key_is_rejected_before_anything_is_sent(key: str) -> None:
    transport = scripted_transport(job_response("task_1"))
    engine = create_engine(transport)
    preflight = PurchasePreflight(Models(lambda: engine).catalogue, SpendLedger(), new_key=lambda: "key-1")
    completions = Chat(lambda: engine, preflight).completions
    error = await error_from(completions.create("gpt-5-2-chat", "Hello", idempotency_key=key))
    assert isinstance(error, ConfigurationError)
    error = await error_from(completions.stream("gpt-5-2-chat", "Hello", idempotency_key=key).__aenter__())
    assert isinstance(error, ConfigurationError)
    assert not transport.received


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
async def test_invalid_key_is_rejected_before_uploads(key: str) -> None:
    transport = scripted_transport(job_response("task_1"))
    generations = create_generations(create_engine(transport))
    error = await error_from(generations.create("z-image", "A red kite", references=["kite.png"], idempotency_key=key))
    assert isinstance(error, ConfigurationError)
    assert "idempotency_key" in str(error)
    assert not transport.received


async def test_read_has_no_key() -> None:
    transport = scripted_transport(REFUSED, job_response("task_1"))
    await create_engine(transport).executor.execute(poll_operation())
    assert [sent.key for sent in transport.received] == [None, None]


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
async def test_retries_transient_error_with_the_same_key(fault: Reply) -> None:
    transport = scripted_transport(fault, fault, job_response("task_1"))
    bought = await create_engine(transport).executor.execute(purchase_operation())
    assert bought.id == "task_1"
    assert transport.keys == ["key-1"] * 3
    assert len({sent.body for sent in transport.received}) == 1
    assert transport.times == pytest.approx([0, 0.25, 0.75])


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
async def test_gives_up_after_max_attempts(fault: Reply) -> None:
    transport = scripted_transport(fault)
    error = await error_of(transport, retry=RetryPolicy(max_attempts=3))
    assert len(transport.received) == error.attempts == 3
    assert error.idempotency_key == "key-1"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error_response(400, "validation_failed"), BadRequestError),
        (error_response(401, "api_key_invalid"), AuthenticationError),
        (error_response(402, "insufficient_credits"), InsufficientCreditsError),
        (error_response(403, "api_scope_denied"), PermissionDeniedError),
        (error_response(418), APIStatusError),
        (Response(422, {}, b"<html>"), BadRequestError),
        (Response(403, {}, b'{"detail": "no"}'), PermissionDeniedError),
    ],
)
async def test_permanent_error_is_raised_at_once(answer: Reply, kind: type[RivyaError]) -> None:
    transport = scripted_transport(answer)
    error = await error_of(transport)
    assert type(error) is kind
    assert (error.attempts, error.idempotency_key) == (1, "key-1")
    assert len(transport.received) == 1
    assert now() == 0


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (Response(302, {"Location": "http://elsewhere.test"}, b""), APIStatusError),
        (Response(403, {}, b"<html>"), PermissionDeniedError),
        (Response(200, {}, b"<html>"), ResponseDecodeError),
    ],
)
async def test_purchase_not_answered_by_the_api_has_unknown_outcome(answer: Reply, cause: type[RivyaError]) -> None:
    transport = scripted_transport(answer)
    error = await error_of(transport, retry=RetryPolicy(max_attempts=3))
    assert type(error) is OutcomeUnknownError
    assert type(error.__cause__) is cause
    assert (len(transport.received), error.idempotency_key) == (3, "key-1")


async def test_missing_api_key_sends_nothing() -> None:
    transport = scripted_transport(job_response("task_1"))
    error = await error_of(transport, settings=Config(api_key=None, base_url="http://service.test"))
    assert isinstance(error, ConfigurationError)
    assert error.idempotency_key == "key-1"
    assert error.attempts == 0
    assert transport.received == []


async def test_unexpected_error_gets_a_note_of_the_key() -> None:
    error = await error_from(
        create_engine(scripted_transport(RuntimeError("a bug"))).executor.execute(purchase_operation())
    )
    assert isinstance(error, RuntimeError)
    assert "key-1" in error.__notes__[0]


# --- doubt ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [DROPPED, error_response(503), error_response(408), Response(504, {}, b"")])
@pytest.mark.parametrize("last", [REFUSED, BUSY])
async def test_unknown_outcome_of_earlier_attempt_is_raised(first: Reply, last: Reply) -> None:
    error = await error_of(scripted_transport(first, last), retry=RetryPolicy(max_attempts=3))
    assert type(error) is OutcomeUnknownError
    assert (error.attempts, error.idempotency_key) == (3, "key-1")


@pytest.mark.parametrize(
    ("first", "last", "kind"), [(REFUSED, BUSY, RateLimitError), (BUSY, REFUSED, RequestNotSentError)]
)
async def test_last_error_is_raised_if_no_attempt_is_ambiguous(
    first: Reply, last: Reply, kind: type[RivyaError]
) -> None:
    assert type(await error_of(scripted_transport(first, last))) is kind


async def test_read_is_never_ambiguous() -> None:
    engine = create_engine(scripted_transport(DROPPED, REFUSED))
    assert isinstance(await error_from(engine.executor.execute(poll_operation())), RequestNotSentError)
    engine = create_engine(scripted_transport(DROPPED, error_response(401)))
    assert not hasattr(await error_from(engine.executor.execute(poll_operation())), "__notes__")


async def test_rejection_after_ambiguous_attempt_gets_a_note() -> None:
    error = await error_of(scripted_transport(DROPPED, error_response(401, "api_key_revoked")))
    assert isinstance(error, AuthenticationError)
    assert "may have been processed" in error.__notes__[0]
    assert not hasattr(await error_of(scripted_transport(BUSY, error_response(401, "api_key_revoked"))), "__notes__")


# --- conflict ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [[], [REFUSED], [BUSY], [REFUSED, BUSY]])
async def test_conflict_is_raised_if_no_own_attempt_may_have_acted(before: list[Reply]) -> None:
    transport = scripted_transport(*before, CONFLICT)
    error = await error_of(transport)
    assert type(error) is IdempotencyConflictError
    assert len(transport.received) == len(before) + 1


@pytest.mark.parametrize("first", [DROPPED, error_response(500), error_response(408)])
async def test_conflict_with_own_attempt_is_retried(first: Reply) -> None:
    transport = scripted_transport(first, CONFLICT, CONFLICT, job_response("task_1"))
    bought = await create_engine(transport).executor.execute(purchase_operation())
    assert bought.id == "task_1"
    assert transport.keys == ["key-1"] * 4
    assert transport.times == pytest.approx([0, 0.25, 0.75, 1.75])


async def test_persistent_conflict_with_own_attempt_is_ambiguous() -> None:
    error = await error_of(scripted_transport(DROPPED, CONFLICT))
    assert type(error) is OutcomeUnknownError
    assert error.idempotency_key == "key-1"


# --- pauses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "pause"),
    [("0", 0), ("3", 3), ("1.5", 1.5), ("3600", 30), ("Mon, 11 May 2026 08:00:07 GMT", 7), ("soon", 0.25)],
)
async def test_retry_after_is_honoured_up_to_the_cap(wish: str, pause: float) -> None:
    transport = scripted_transport(error_response(429, "rate_limited", Retry_After=wish), job_response("task_1"))
    await create_engine(transport).executor.execute(purchase_operation())
    assert transport.times == pytest.approx([0, pause])


async def test_no_retry_begins_after_max_elapsed() -> None:
    transport = scripted_transport(error_response(503, Retry_After="4"))
    error = await error_of(transport, retry=RetryPolicy(max_attempts=100, max_elapsed=10))
    assert isinstance(error, InternalServerError)
    assert transport.times == pytest.approx([0, 4, 8])
    assert now() == 8


async def test_queue_time_is_not_elapsed_time() -> None:
    service = Service(latency=100)
    engine = create_engine(service.transport, max_connections=1)
    slow = asyncio.create_task(engine.executor.execute(purchase_operation()))
    await settle()
    queued = asyncio.create_task(engine.executor.execute(purchase_operation()))
    await sleep_until(99)
    service.is_down = True
    assert isinstance(await error_from(slow), InternalServerError)
    service.is_down = False
    service.transport.latency = 0
    assert (await queued).id


PASSING = {name: reply for name, reply in TRANSIENT.items() if "429" not in name}
"""Errors that do not slow down the whole session, as a 429 does."""


@given(
    st.lists(st.sampled_from([*PASSING.values(), CONFLICT]), max_size=8),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.1, 100),
)
def test_any_error_sequence_keeps_one_key_and_both_limits(faults: list[Reply], u: float, max_elapsed: float) -> None:
    async def main() -> None:
        transport = scripted_transport(*faults, job_response("task_1"))
        policy = RetryPolicy(max_elapsed=max_elapsed)
        engine = create_engine(transport, retry=policy, uniform=lambda: u)
        [outcome] = await asyncio.gather(engine.executor.execute(purchase_operation()), return_exceptions=True)
        if isinstance(outcome, RivyaError):
            assert outcome.idempotency_key == "key-1"
            assert outcome.attempts == len(transport.received)
        assert set(transport.keys) == {"key-1"}
        assert len(transport.received) <= policy.max_attempts
        assert transport.times[-1] <= max_elapsed + 1e-9
        assert len(engine._timers) == 0
        await engine.aclose()
        assert running_loop().timers == 0

    run(main())


# --- deadlines --------------------------------------------------------------------------------------------------------


async def test_no_back_off_crosses_the_deadline() -> None:
    transport = scripted_transport(error_response(503, Retry_After="4"))
    engine = create_engine(transport)
    error = await error_from(engine.executor.execute(purchase_operation(), deadline=running_loop().time() + 6))
    assert isinstance(error, InternalServerError)
    assert error.attempts == 2
    assert now() == 4


async def test_deadline_does_not_cancel_an_attempt() -> None:
    engine = create_engine(scripted_transport(job_response("task_1"), latency=10))
    await engine.executor.execute(purchase_operation(), deadline=running_loop().time() + 1)
    assert now() == 10


async def test_nothing_is_purchased_after_the_deadline() -> None:
    """A purchase that gets its slot after the deadline would be paid for without a caller that waits."""
    transport = scripted_transport(job_response("task_1"), latency=10)
    engine = create_engine(transport, max_connections=1)
    first = asyncio.create_task(engine.executor.execute(purchase_operation()))
    await settle()
    error = await error_from(
        engine.executor.execute(purchase_operation(key="key-2"), deadline=running_loop().time() + 3)
    )
    assert isinstance(error, SubmitTimeoutError)
    assert isinstance(error, TimeoutError)
    assert error.idempotency_key == "key-2"
    assert now() == pytest.approx(3)
    await first
    await settle()
    assert len(transport.received) == 1
    await engine.aclose()


async def test_late_slot_for_a_retry_is_ambiguous() -> None:
    transport = scripted_transport(DROPPED, job_response("task_1"), latency=10)
    engine = create_engine(transport, max_connections=1)
    first = asyncio.create_task(
        error_from(engine.executor.execute(purchase_operation(), deadline=running_loop().time() + 15))
    )
    await settle()
    second = asyncio.create_task(engine.executor.execute(purchase_operation()))
    error = await first
    assert isinstance(error, OutcomeUnknownError)
    assert error.idempotency_key == "key-1"
    assert now() == pytest.approx(15)
    await second
    await engine.aclose()


# --- cancelling -------------------------------------------------------------------------------------------------------


async def cancelled_after(seconds: float, transport: ScriptedTransport) -> asyncio.CancelledError:
    engine = create_engine(transport)
    buying = asyncio.create_task(engine.executor.execute(purchase_operation()))
    await sleep_until(seconds)
    buying.cancel()
    error = await error_from(buying)
    assert isinstance(error, asyncio.CancelledError)
    assert len(engine._timers) == 0
    await engine.aclose()  # comes back: no slot was lost
    assert running_loop().timers == 0
    return error


@pytest.mark.parametrize(
    ("seconds", "transport"),
    [
        (1, lambda: ScriptedTransport(no_response)),
        (0.1, lambda: scripted_transport(REFUSED)),
        (1, lambda: scripted_transport(BUSY, latency=5)),
    ],
    ids=["in flight", "in back-off", "before the answer"],
)
async def test_cancellation_gets_a_note_of_the_key(seconds: float, transport: Callable[[], ScriptedTransport]) -> None:
    scripted = transport()
    error = await cancelled_after(seconds, scripted)
    assert len(error.__notes__) == 1
    assert "idempotency_key='key-1'" in error.__notes__[0]
    assert len(scripted.received) == 1


async def test_cancelled_in_the_queue_sends_nothing() -> None:
    transport = scripted_transport(job_response("task_1"), latency=10)
    engine = create_engine(transport, max_connections=1)
    first = asyncio.create_task(engine.executor.execute(purchase_operation()))
    second = asyncio.create_task(engine.executor.execute(purchase_operation()))
    await settle()
    await cancel(second)
    await first
    assert transport.keys == ["key-1"]
    await engine.aclose()


async def test_cancelled_read_has_no_note() -> None:
    reading = asyncio.create_task(create_engine(ScriptedTransport(no_response)).executor.execute(poll_operation()))
    await settle()
    reading.cancel()
    assert not hasattr(await error_from(reading), "__notes__")


# --- closing ----------------------------------------------------------------------------------------------------------


async def test_close_ends_back_off() -> None:
    transport = scripted_transport(error_response(429, "rate_limited", Retry_After="20"))
    engine = create_engine(transport)
    buying = asyncio.create_task(engine.executor.execute(purchase_operation()))
    await sleep_until(5)
    await engine.aclose()
    error = await error_from(buying)
    assert isinstance(error, RivyaError)
    assert error.idempotency_key == "key-1"
    assert error.attempts == len(transport.received) == 1
    assert now() == 5


async def test_close_in_back_off_after_ambiguous_attempt() -> None:
    engine = create_engine(scripted_transport(DROPPED))
    buying = asyncio.create_task(engine.executor.execute(purchase_operation()))
    await sleep_until(0.1)
    await engine.aclose()
    assert isinstance(await error_from(buying), OutcomeUnknownError)


async def test_close_finishes_attempts_and_rejects_queued_calls() -> None:
    transport = scripted_transport(job_response("task_1"), latency=10)
    engine = create_engine(transport, max_connections=1)
    first = asyncio.create_task(engine.executor.execute(purchase_operation()))
    second = asyncio.create_task(engine.executor.execute(purchase_operation(key="key-2")))
    await sleep_until(1)
    await engine.aclose()
    assert now() == 10
    assert first.done()
    assert (await first).id == "task_1"
    error = await error_from(second)
    assert isinstance(error, SessionClosedError)
    assert error.idempotency_key == "key-2"
    assert transport.closed
    assert isinstance(await error_from(engine.executor.execute(purchase_operation())), SessionClosedError)
    assert len(transport.received) == 1


async def test_no_retry_while_closing() -> None:
    transport = scripted_transport(error_response(503), latency=10)
    engine = create_engine(transport)
    buying = asyncio.create_task(engine.executor.execute(purchase_operation()))
    await sleep_until(1)
    await engine.aclose()
    assert isinstance(await error_from(buying), InternalServerError)
    assert len(transport.received) == 1


async def test_cancelled_close_closes_at_once() -> None:
    async def answer(request: Request) -> Reply:
        return await no_response(request) if request.method == "GET" else BUSY

    transport = ScriptedTransport(answer)
    engine = create_engine(transport, uniform=lambda: 0.9)
    reading = asyncio.create_task(engine.executor.execute(poll_operation()))
    buying = asyncio.create_task(engine.executor.execute(purchase_operation()))
    await settle()
    closing = asyncio.create_task(engine.aclose())
    await settle()
    await cancel(closing)
    assert transport.closed
    assert isinstance(await error_from(buying), RivyaError)
    assert len(transport.purchases) == 1
    await cancel(reading)


async def test_no_attempt_begins_while_closing() -> None:
    """Not even while the polls in flight take their time to be cancelled."""

    async def answer(request: Request) -> Reply:
        if request.method == "POST":
            return job_response("task_1")
        try:
            return await no_response(request)
        finally:
            await asyncio.sleep(1)

    transport = ScriptedTransport(answer)
    engine = create_engine(transport)
    waiting = asyncio.create_task(engine.wait_registry.wait("task_1", None, POLICY, None))
    await settle()
    closing = asyncio.create_task(engine.aclose())
    await settle()
    assert isinstance(await error_from(engine.executor.execute(purchase_operation())), SessionClosedError)
    await closing
    assert isinstance(await error_from(waiting), RivyaError)
    assert transport.purchases == []
