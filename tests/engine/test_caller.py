"""One logical call: one key, counted attempts, pauses on virtual time, and the error that tells the truth."""

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
    SubmitTimeoutError,
    ValidationFailed,
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
    engine_over,
    failure_of,
    generations_of,
    job,
    never,
    poll_of,
    purchase,
    refusal,
    script,
    until,
)
from tests.engine.virtual_time import now, run, running_loop, settle

DROPPED = OutcomeUnknownError("dropped")
REFUSED = RequestNotSentError("refused")
CONFLICT = refusal(409, "idempotency_conflict")
BUSY = refusal(429, "rate_limited")
POLICY = PollPolicy()


async def error_of(transport: ScriptedTransport, **options: object) -> RivyaError:
    """What a purchase raises."""
    error = await failure_of(engine_over(transport, **options).executor.execute(purchase()))  # type: ignore[arg-type]
    assert isinstance(error, RivyaError)
    return error


# --- keys and attempts ------------------------------------------------------------------------------------------------


async def test_a_purchase_goes_out_once_under_a_minted_key() -> None:
    transport = script(job("task_1"))
    bought = await engine_over(transport).executor.execute(purchase())
    assert bought.id == "task_1"
    assert transport.keys == ["key-1"]


async def test_each_submit_has_a_new_key_and_a_given_key_is_kept() -> None:
    transport = script(job("task_1"))
    generations = generations_of(engine_over(transport))
    for key in (None, "order-42", None):
        await generations.create("z-image", "A red kite", idempotency_key=key)
    assert transport.keys == ["key-1", "order-42", "key-2"]


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
async def test_invalid_chat_key_is_rejected_before_anything_is_sent(key: str) -> None:
    transport = script(job("task_1"))
    engine = engine_over(transport)
    preflight = PurchasePreflight(Models(lambda: engine).catalogue, SpendLedger(), {}, new_key=lambda: "key-1")
    completions = Chat(lambda: engine, preflight).completions
    error = await failure_of(completions.create("gpt-5-2-chat", "Hello", idempotency_key=key))
    assert isinstance(error, ConfigurationError)
    error = await failure_of(completions.stream("gpt-5-2-chat", "Hello", idempotency_key=key).__aenter__())
    assert isinstance(error, ConfigurationError)
    assert not transport.received


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
async def test_an_invalid_key_is_rejected_before_references_are_uploaded(key: str) -> None:
    transport = script(job("task_1"))
    generations = generations_of(engine_over(transport))
    error = await failure_of(generations.create("z-image", "A red kite", references=["kite.png"], idempotency_key=key))
    assert isinstance(error, ConfigurationError)
    assert "idempotency_key" in str(error)
    assert not transport.received


async def test_a_read_has_no_key() -> None:
    transport = script(REFUSED, job("task_1"))
    await engine_over(transport).executor.execute(poll_of())
    assert [sent.key for sent in transport.received] == [None, None]


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
async def test_a_transient_fault_is_repeated_under_the_same_key(fault: Reply) -> None:
    transport = script(fault, fault, job("task_1"))
    bought = await engine_over(transport).executor.execute(purchase())
    assert bought.id == "task_1"
    assert transport.keys == ["key-1"] * 3
    assert len({sent.body for sent in transport.received}) == 1
    assert transport.times == pytest.approx([0, 0.25, 0.75])


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT)
async def test_it_gives_up_after_max_attempts_and_says_how_many_there_were(fault: Reply) -> None:
    transport = script(fault)
    error = await error_of(transport, retry=RetryPolicy(max_attempts=3))
    assert len(transport.received) == error.attempts == 3
    assert error.idempotency_key == "key-1"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(400, "validation_failed"), ValidationFailed),
        (refusal(401, "api_key_invalid"), AuthenticationError),
        (refusal(402, "insufficient_credits"), InsufficientCreditsError),
        (refusal(403, "api_scope_denied"), PermissionDeniedError),
        (refusal(418), APIStatusError),
        (Response(302, {"Location": "http://elsewhere.test"}, b""), APIStatusError),
        (Response(200, {}, b"<html>"), ResponseDecodeError),
    ],
)
async def test_what_does_not_pass_is_raised_at_once(answer: Reply, kind: type[RivyaError]) -> None:
    transport = script(answer)
    error = await error_of(transport)
    assert type(error) is kind
    assert (error.attempts, error.idempotency_key) == (1, "key-1")
    assert len(transport.received) == 1
    assert now() == 0


async def test_without_an_api_key_nothing_is_sent_and_the_error_still_has_the_purchase_key() -> None:
    transport = script(job("task_1"))
    error = await error_of(transport, settings=Config(api_key=None, base_url="http://service.test"))
    assert isinstance(error, ConfigurationError)
    assert error.idempotency_key == "key-1"
    assert error.attempts == 0
    assert transport.received == []


async def test_what_nobody_foresaw_passes_through_with_a_note_of_the_key() -> None:
    error = await failure_of(engine_over(script(RuntimeError("a bug"))).executor.execute(purchase()))
    assert isinstance(error, RuntimeError)
    assert "key-1" in error.__notes__[0]


# --- doubt ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [DROPPED, refusal(503), refusal(408), Response(504, {}, b"")])
@pytest.mark.parametrize("last", [REFUSED, BUSY])
async def test_a_last_attempt_that_did_nothing_does_not_hide_one_that_may_have_acted(first: Reply, last: Reply) -> None:
    error = await error_of(script(first, last), retry=RetryPolicy(max_attempts=3))
    assert type(error) is OutcomeUnknownError
    assert (error.attempts, error.idempotency_key) == (3, "key-1")


@pytest.mark.parametrize(
    ("first", "last", "kind"), [(REFUSED, BUSY, RateLimitError), (BUSY, REFUSED, RequestNotSentError)]
)
async def test_without_doubt_the_last_error_is_the_one(first: Reply, last: Reply, kind: type[RivyaError]) -> None:
    assert type(await error_of(script(first, last))) is kind


async def test_a_read_leaves_no_doubt() -> None:
    engine = engine_over(script(DROPPED, REFUSED))
    assert isinstance(await failure_of(engine.executor.execute(poll_of())), RequestNotSentError)
    engine = engine_over(script(DROPPED, refusal(401)))
    assert not hasattr(await failure_of(engine.executor.execute(poll_of())), "__notes__")


async def test_a_refusal_after_doubt_is_raised_with_a_note_of_the_doubt() -> None:
    error = await error_of(script(DROPPED, refusal(401, "api_key_revoked")))
    assert isinstance(error, AuthenticationError)
    assert "may have acted" in error.__notes__[0]
    assert not hasattr(await error_of(script(BUSY, refusal(401, "api_key_revoked"))), "__notes__")


# --- conflict ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [[], [REFUSED], [BUSY], [REFUSED, BUSY]])
async def test_a_conflict_is_the_callers_clash_while_nothing_of_ours_may_have_acted(before: list[Reply]) -> None:
    transport = script(*before, CONFLICT)
    error = await error_of(transport)
    assert type(error) is IdempotencyConflictError
    assert len(transport.received) == len(before) + 1


@pytest.mark.parametrize("first", [DROPPED, refusal(500), refusal(408)])
async def test_a_conflict_with_our_own_first_send_waits_and_repeats_under_the_same_key(first: Reply) -> None:
    transport = script(first, CONFLICT, CONFLICT, job("task_1"))
    bought = await engine_over(transport).executor.execute(purchase())
    assert bought.id == "task_1"
    assert transport.keys == ["key-1"] * 4
    assert transport.times == pytest.approx([0, 0.25, 0.75, 1.75])


async def test_a_conflict_with_our_own_first_send_that_never_ends_is_an_unknown_outcome() -> None:
    error = await error_of(script(DROPPED, CONFLICT))
    assert type(error) is OutcomeUnknownError
    assert error.idempotency_key == "key-1"


# --- pauses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "pause"),
    [("0", 0), ("3", 3), ("1.5", 1.5), ("3600", 30), ("Mon, 11 May 2026 08:00:07 GMT", 7), ("soon", 0.25)],
)
async def test_retry_after_is_honoured_up_to_the_cap(wish: str, pause: float) -> None:
    transport = script(refusal(429, "rate_limited", Retry_After=wish), job("task_1"))
    await engine_over(transport).executor.execute(purchase())
    assert transport.times == pytest.approx([0, pause])


async def test_no_retry_begins_after_max_elapsed() -> None:
    transport = script(refusal(503, Retry_After="4"))
    error = await error_of(transport, retry=RetryPolicy(max_attempts=100, max_elapsed=10))
    assert isinstance(error, InternalServerError)
    assert transport.times == pytest.approx([0, 4, 8])
    assert now() == 8


async def test_what_was_waited_before_the_first_send_is_not_elapsed() -> None:
    service = Service(latency=100)
    engine = engine_over(service.transport, max_connections=1)
    slow = asyncio.create_task(engine.executor.execute(purchase()))
    await settle()
    queued = asyncio.create_task(engine.executor.execute(purchase()))
    await until(99)
    service.is_down = True
    assert isinstance(await failure_of(slow), InternalServerError)
    service.is_down = False
    service.transport.latency = 0
    assert (await queued).id


PASSING = {name: reply for name, reply in TRANSIENT.items() if "429" not in name}
"""A 429 slows the whole session down, whatever its retries may do."""


@given(
    st.lists(st.sampled_from([*PASSING.values(), CONFLICT]), max_size=8),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.1, 100),
)
def test_whatever_happens_there_is_one_key_and_both_bounds_hold(
    faults: list[Reply], u: float, max_elapsed: float
) -> None:
    async def main() -> None:
        transport = script(*faults, job("task_1"))
        policy = RetryPolicy(max_elapsed=max_elapsed)
        engine = engine_over(transport, retry=policy, uniform=lambda: u)
        [outcome] = await asyncio.gather(engine.executor.execute(purchase()), return_exceptions=True)
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


async def test_no_pause_crosses_the_deadline() -> None:
    transport = script(refusal(503, Retry_After="4"))
    engine = engine_over(transport)
    error = await failure_of(engine.executor.execute(purchase(), deadline=running_loop().time() + 6))
    assert isinstance(error, InternalServerError)
    assert error.attempts == 2
    assert now() == 4


async def test_an_attempt_on_its_way_is_not_cut() -> None:
    engine = engine_over(script(job("task_1"), latency=10))
    await engine.executor.execute(purchase(), deadline=running_loop().time() + 1)
    assert now() == 10


async def test_nothing_is_bought_after_the_deadline() -> None:
    """A purchase whose place comes too late would be paid for, and nobody would wait for it."""
    transport = script(job("task_1"), latency=10)
    engine = engine_over(transport, max_connections=1)
    first = asyncio.create_task(engine.executor.execute(purchase()))
    await settle()
    error = await failure_of(engine.executor.execute(purchase(key="key-2"), deadline=running_loop().time() + 3))
    assert isinstance(error, SubmitTimeoutError)
    assert isinstance(error, TimeoutError)
    assert error.idempotency_key == "key-2"
    assert now() == pytest.approx(3)
    await first
    await settle()
    assert len(transport.received) == 1
    await engine.aclose()


async def test_a_purchase_in_doubt_whose_second_place_comes_too_late_is_an_unknown_outcome() -> None:
    transport = script(DROPPED, job("task_1"), latency=10)
    engine = engine_over(transport, max_connections=1)
    first = asyncio.create_task(failure_of(engine.executor.execute(purchase(), deadline=running_loop().time() + 15)))
    await settle()
    second = asyncio.create_task(engine.executor.execute(purchase()))
    error = await first
    assert isinstance(error, OutcomeUnknownError)
    assert error.idempotency_key == "key-1"
    assert now() == pytest.approx(15)
    await second
    await engine.aclose()


# --- cancelling -------------------------------------------------------------------------------------------------------


async def cancelled_after(seconds: float, transport: ScriptedTransport) -> asyncio.CancelledError:
    engine = engine_over(transport)
    buying = asyncio.create_task(engine.executor.execute(purchase()))
    await until(seconds)
    buying.cancel()
    error = await failure_of(buying)
    assert isinstance(error, asyncio.CancelledError)
    assert len(engine._timers) == 0
    await engine.aclose()  # comes back: no place was lost
    assert running_loop().timers == 0
    return error


@pytest.mark.parametrize(
    ("seconds", "transport"),
    [(1, lambda: ScriptedTransport(never)), (0.1, lambda: script(REFUSED)), (1, lambda: script(BUSY, latency=5))],
    ids=["in flight", "in back-off", "before the answer"],
)
async def test_cancelling_drops_the_attempt_and_leaves_a_note_of_the_key(
    seconds: float, transport: Callable[[], ScriptedTransport]
) -> None:
    scripted = transport()
    error = await cancelled_after(seconds, scripted)
    assert len(error.__notes__) == 1
    assert "idempotency_key='key-1'" in error.__notes__[0]
    assert len(scripted.received) == 1


async def test_cancelled_before_its_place_came_nothing_was_sent() -> None:
    transport = script(job("task_1"), latency=10)
    engine = engine_over(transport, max_connections=1)
    first = asyncio.create_task(engine.executor.execute(purchase()))
    second = asyncio.create_task(engine.executor.execute(purchase()))
    await settle()
    await cancel(second)
    await first
    assert transport.keys == ["key-1"]
    await engine.aclose()


async def test_a_cancelled_read_has_no_note() -> None:
    reading = asyncio.create_task(engine_over(ScriptedTransport(never)).executor.execute(poll_of()))
    await settle()
    reading.cancel()
    assert not hasattr(await failure_of(reading), "__notes__")


# --- closing ----------------------------------------------------------------------------------------------------------


async def test_closing_ends_a_pause_and_nothing_is_sent_any_more() -> None:
    transport = script(refusal(429, "rate_limited", Retry_After="20"))
    engine = engine_over(transport)
    buying = asyncio.create_task(engine.executor.execute(purchase()))
    await until(5)
    await engine.aclose()
    error = await failure_of(buying)
    assert isinstance(error, RivyaError)
    assert error.idempotency_key == "key-1"
    assert error.attempts == len(transport.received) == 1
    assert now() == 5


async def test_closing_in_a_pause_after_doubt_says_that_the_outcome_is_unknown() -> None:
    engine = engine_over(script(DROPPED))
    buying = asyncio.create_task(engine.executor.execute(purchase()))
    await until(0.1)
    await engine.aclose()
    assert isinstance(await failure_of(buying), OutcomeUnknownError)


async def test_closing_lets_what_is_in_flight_come_to_its_end_and_turns_away_the_rest() -> None:
    transport = script(job("task_1"), latency=10)
    engine = engine_over(transport, max_connections=1)
    first = asyncio.create_task(engine.executor.execute(purchase()))
    second = asyncio.create_task(engine.executor.execute(purchase(key="key-2")))
    await until(1)
    await engine.aclose()
    assert now() == 10
    assert first.done()
    assert (await first).id == "task_1"
    error = await failure_of(second)
    assert isinstance(error, RequestNotSentError)
    assert error.idempotency_key == "key-2"
    assert transport.closed
    assert isinstance(await failure_of(engine.executor.execute(purchase())), RequestNotSentError)
    assert len(transport.received) == 1


async def test_an_attempt_that_fails_while_closing_is_not_repeated() -> None:
    transport = script(refusal(503), latency=10)
    engine = engine_over(transport)
    buying = asyncio.create_task(engine.executor.execute(purchase()))
    await until(1)
    await engine.aclose()
    assert isinstance(await failure_of(buying), InternalServerError)
    assert len(transport.received) == 1


async def test_a_closing_that_is_cancelled_closes_at_once_and_nothing_is_sent_afterwards() -> None:
    async def answer(request: Request) -> Reply:
        return await never(request) if request.method == "GET" else BUSY

    transport = ScriptedTransport(answer)
    engine = engine_over(transport, uniform=lambda: 0.9)
    reading = asyncio.create_task(engine.executor.execute(poll_of()))
    buying = asyncio.create_task(engine.executor.execute(purchase()))
    await settle()
    closing = asyncio.create_task(engine.aclose())
    await settle()
    await cancel(closing)
    assert transport.closed
    assert isinstance(await failure_of(buying), RivyaError)
    assert len(transport.purchases) == 1
    await cancel(reading)


async def test_no_attempt_begins_once_closing_has_begun() -> None:
    """Not even while the polls in flight take their time to be cancelled."""

    async def answer(request: Request) -> Reply:
        if request.method == "POST":
            return job("task_1")
        try:
            return await never(request)
        finally:
            await asyncio.sleep(1)

    transport = ScriptedTransport(answer)
    engine = engine_over(transport)
    waiting = asyncio.create_task(engine.wait_registry.wait("task_1", None, POLICY, None))
    await settle()
    closing = asyncio.create_task(engine.aclose())
    await settle()
    assert isinstance(await failure_of(engine.executor.execute(purchase())), RequestNotSentError)
    await closing
    assert isinstance(await failure_of(waiting), RivyaError)
    assert transport.purchases == []
