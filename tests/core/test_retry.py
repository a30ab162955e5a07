"""The retry law, to the letter: nothing is bought twice, and what costs nothing is repeated while there is hope."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.errors import (
    APIDisabledError,
    APIStatusError,
    AuthenticationError,
    ChatSessionConflictError,
    ConfigurationError,
    GenerationFailedError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    RequestNotSentError,
    ResponseDecodeError,
    RivyaError,
    SessionClosedError,
    ValidationFailed,
    WaitTimeoutError,
    status_error_class,
)
from rivya_async._core.http.retry import (
    AttemptState,
    GiveUp,
    RetryAfterDelay,
    decide_retry,
    indicates_outage,
    is_transient,
    outcome_is_ambiguous,
    retry_after_of,
    retry_delay,
    throttled_retry_delay,
)
from rivya_async._core.policies import RetryPolicy

POLICY = RetryPolicy()


def answer(status: int, code: str | None = None, **details: Any) -> APIStatusError:
    return status_error_class(status, code)("no", status=status, code=code, **details)


PASSING_ANSWERS: list[RivyaError] = [
    answer(408),
    answer(425),
    answer(429),
    answer(429, "rate_limited"),
    answer(429, "some_new_code"),
    answer(500),
    answer(500, "internal_error"),
    answer(501),
    answer(502),
    answer(503),
    answer(503, "public_api_disabled"),
    answer(504),
    answer(599),
    answer(500, "not_found"),
    RateLimitError("no"),
    InternalServerError("no"),
    APIDisabledError("no"),
]

FINAL: list[RivyaError] = [
    answer(400, "validation_failed"),
    answer(400),
    answer(401, "api_key_invalid"),
    answer(402, "insufficient_credits"),
    answer(403, "api_scope_denied"),
    answer(404, "not_found"),
    answer(405),
    answer(409),
    answer(409, "some_new_conflict"),
    answer(409, "chat_session_conflict"),
    answer(410),
    answer(413),
    answer(415),
    answer(422),
    answer(302),
    answer(307),
    APIStatusError("no"),
    ValidationFailed("no"),
    AuthenticationError("no"),
    PermissionDeniedError("no"),
    InsufficientCreditsError("no"),
    NotFoundError("no"),
    ChatSessionConflictError("no"),
    ConfigurationError("no"),
    ResponseDecodeError("no"),
    WaitTimeoutError("no"),
    GenerationFailedError("no"),
    SessionClosedError("no"),
    RivyaError("no"),
]


def shown(error: RivyaError) -> str:
    return f"{type(error).__name__}-{getattr(error, 'status', None)}-{getattr(error, 'code', None)}"


def is_again(error: RivyaError, *, repeatable: bool, may_have_acted: bool = False, sent: int = 1) -> bool:
    attempts = AttemptState(sent, may_have_acted=may_have_acted)
    return isinstance(decide_retry(POLICY, error, attempts, repeatable=repeatable, u=0.5), RetryAfterDelay)


@pytest.mark.parametrize("repeatable", [True, False])
def test_what_was_not_sent_is_repeated(repeatable: bool) -> None:
    assert is_again(RequestNotSentError("no route"), repeatable=repeatable)


def test_an_unknown_outcome_is_repeated_if_a_repeat_is_safe_and_else_never() -> None:
    assert is_again(OutcomeUnknownError("dropped"), repeatable=True)
    assert not is_again(OutcomeUnknownError("dropped"), repeatable=False)


@pytest.mark.parametrize("error", PASSING_ANSWERS, ids=shown)
def test_an_answer_that_may_pass_is_repeated_if_a_repeat_is_safe_and_else_never(error: RivyaError) -> None:
    assert is_again(error, repeatable=True)
    assert not is_again(error, repeatable=False)


@pytest.mark.parametrize("may_have_acted", [True, False])
@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("error", FINAL, ids=shown)
def test_everything_else_is_raised_at_once(error: RivyaError, repeatable: bool, may_have_acted: bool) -> None:
    assert not is_again(error, repeatable=repeatable, may_have_acted=may_have_acted)


@pytest.mark.parametrize(
    ("may_have_acted", "repeatable", "again"),
    [(False, True, False), (True, True, True), (True, False, False), (False, False, False)],
)
def test_an_idempotency_conflict_is_the_callers_clash_or_our_own_first_send(
    may_have_acted: bool, repeatable: bool, again: bool
) -> None:
    error = answer(409, "idempotency_conflict")
    assert isinstance(error, IdempotencyConflictError)
    assert is_again(error, repeatable=repeatable, may_have_acted=may_have_acted, sent=2) is again


def test_a_purchase_without_a_key_that_may_have_acted_is_not_sent_again_even_if_the_last_send_never_left() -> None:
    assert not is_again(RequestNotSentError("no route"), repeatable=False, may_have_acted=True, sent=2)
    assert is_again(RequestNotSentError("no route"), repeatable=True, may_have_acted=True, sent=2)


@pytest.mark.parametrize(("sent", "again"), [(1, True), (2, True), (3, False), (4, False)])
def test_attempts_are_bounded_and_count_sends(sent: int, again: bool) -> None:
    error = RequestNotSentError("")
    decision = decide_retry(RetryPolicy(max_attempts=3), error, AttemptState(sent), repeatable=True, u=0.0)
        RetryPolicy(max_attempts=3), RequestNotSentError(""), AttemptState(sent), repeatable=True, u=0.0
    )
    assert isinstance(decision, RetryAfterDelay) is again


@pytest.mark.parametrize(
    ("elapsed", "wish", "again"),
    [(0.0, 10.0, True), (110.0, 10.0, True), (110.1, 10.0, False), (120.0, 0.0, True), (120.1, 0.0, False)],
)
def test_no_retry_begins_after_the_time_is_up(elapsed: float, wish: float, again: bool) -> None:
    error = answer(429, retry_after=wish)
    decision = decide_retry(POLICY, error, AttemptState(1, elapsed), repeatable=True, u=0.0)
    assert isinstance(decision, RetryAfterDelay) is again


@pytest.mark.parametrize(
    ("error", "attempts", "repeatable", "reason"),
    [
        (NotFoundError("no"), AttemptState(1), True, "does not pass"),
        (OutcomeUnknownError("no"), AttemptState(1), False, "no key"),
        (RequestNotSentError("no"), AttemptState(5), True, "5 attempts"),
        (RequestNotSentError("no"), AttemptState(2, 500.0), True, "120 s"),
    ],
)
def test_a_stop_says_why(error: RivyaError, attempts: AttemptState, repeatable: bool, reason: str) -> None:
    decision = decide_retry(POLICY, error, attempts, repeatable=repeatable, u=0.5)
    assert isinstance(decision, GiveUp)
    assert reason in decision.reason


# --- delays -----------------------------------------------------------------------------------------------------------


def test_the_ceilings_double_from_the_base_to_the_cap() -> None:
    assert [retry_delay(POLICY, retry, 1.0) for retry in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_the_first_retry_has_the_first_ceiling() -> None:
    decisions = [
        decide_retry(POLICY, RequestNotSentError(""), AttemptState(sent), repeatable=True, u=0.5)
        for sent in (1, 2, 3, 4)
    ]
    assert decisions == [RetryAfterDelay(0.25), RetryAfterDelay(0.5), RetryAfterDelay(1.0), RetryAfterDelay(2.0)]


def test_a_call_begins_without_doubt() -> None:
    assert AttemptState(1) == AttemptState(sent=1, elapsed=0.0, may_have_acted=False)


def test_the_jitter_is_full() -> None:
    assert [retry_delay(POLICY, 2, u) for u in (0.0, 0.25, 0.5)] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(("wish", "delay"), [(0.0, 0.0), (3.25, 3.25), (30.0, 30.0), (31.0, 30.0), (1e300, 30.0)])
def test_the_services_wish_beats_the_draw_up_to_the_cap(wish: float, delay: float) -> None:
    for u in (0.0, 0.99):
        decision = decide_retry(POLICY, answer(503, retry_after=wish), AttemptState(1), repeatable=True, u=u)
        assert decision == RetryAfterDelay(delay)


@st.composite
def retry_policies(draw: st.DrawFn) -> RetryPolicy:
    cap = draw(st.floats(min_value=1e-300, max_value=1e300))
    return RetryPolicy(
        max_attempts=draw(st.integers(1, 10_000)),
        base=draw(st.floats(min_value=0.0, max_value=cap, exclude_min=True)),
        cap=cap,
        max_elapsed=draw(st.floats(min_value=1e-300, max_value=1e300)),
    )


draws = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)
wishes = st.none() | st.floats(min_value=0.0, allow_nan=False, allow_infinity=False)
errors = st.sampled_from([*PASSING_ANSWERS, *FINAL, RequestNotSentError(""), OutcomeUnknownError("")]) | st.builds(
    answer,
    st.integers(300, 599),
    st.none() | st.sampled_from(["idempotency_conflict", "rate_limited", "public_api_disabled", "other"]),
    retry_after=wishes,
)
histories = st.builds(AttemptState, st.integers(1, 10_000), st.floats(0.0, 1e9), st.booleans())


@given(retry_policies(), st.integers(0, 10_000), draws, wishes)
def test_a_delay_is_within_zero_and_the_cap(policy: RetryPolicy, retry: int, u: float, wish: float | None) -> None:
    delay = retry_delay(policy, retry, u, wish)
    assert math.isfinite(delay)
    assert 0.0 <= delay <= policy.cap


@given(retry_policies(), errors, histories, st.booleans(), draws)
def test_a_repeat_keeps_every_bound(
    policy: RetryPolicy, error: RivyaError, attempts: AttemptState, repeatable: bool, u: float
) -> None:
    decision = decide_retry(policy, error, attempts, repeatable=repeatable, u=u)
    if isinstance(decision, RetryAfterDelay):
        assert 0.0 <= decision.delay <= policy.cap
        assert attempts.sent < policy.max_attempts
        assert attempts.elapsed + decision.delay <= policy.max_elapsed


@given(retry_policies(), errors, histories, draws)
def test_the_money_law(policy: RetryPolicy, error: RivyaError, attempts: AttemptState, u: float) -> None:
    """Without a key, only what certainly never left goes out again."""
    decision = decide_retry(policy, error, attempts, repeatable=False, u=u)
    if isinstance(decision, RetryAfterDelay):
        assert isinstance(error, RequestNotSentError)
        assert not attempts.may_have_acted


@given(st.lists(errors, min_size=1, max_size=20), st.booleans())
def test_the_money_law_over_a_whole_call(failures: list[RivyaError], repeatable: bool) -> None:
    """A call as the engine makes it: at most one send of a purchase without a key can have acted."""
    policy = RetryPolicy(max_attempts=1_000, max_elapsed=1e9)
    may_have_acted = False
    sends_that_may_have_acted = 0
    for sent, error in enumerate(failures, start=1):
        sends_that_may_have_acted += not isinstance(error, RequestNotSentError)
        decision = decide_retry(policy, error, AttemptState(sent, 0.0, may_have_acted), repeatable=repeatable, u=0.5)
        may_have_acted = may_have_acted or outcome_is_ambiguous(error)
        if isinstance(decision, GiveUp):
            break
    assert repeatable or sends_that_may_have_acted <= 1


# --- what polls and downloads ask -----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [*PASSING_ANSWERS, RequestNotSentError(""), OutcomeUnknownError("")], ids=shown)
def test_a_poll_goes_on_through_every_transient_fault(error: RivyaError) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", [*FINAL, answer(409, "idempotency_conflict")], ids=shown)
def test_a_poll_ends_with_what_does_not_pass(error: RivyaError) -> None:
    assert not is_transient(error)


@pytest.mark.parametrize(
    ("error", "doubt"),
    [
        (OutcomeUnknownError("dropped"), True),
        (answer(500), True),
        (answer(502), True),
        (answer(504), True),
        (answer(503, "public_api_disabled"), True),
        (answer(408), True),
        (RequestNotSentError("no route"), False),
        (answer(400), False),
        (answer(409, "idempotency_conflict"), False),
        (answer(425), False),
        (answer(429), False),
        (APIStatusError("no"), False),
        (ConfigurationError("no"), False),
    ],
    ids=lambda value: shown(value) if isinstance(value, RivyaError) else None,
)
def test_after_which_failures_the_service_may_have_acted(error: RivyaError, doubt: bool) -> None:
    assert outcome_is_ambiguous(error) is doubt


@pytest.mark.parametrize(
    ("error", "wish"),
    [
        (RateLimitError("no", retry_after=2.5), 2.5),
        (InternalServerError("no", retry_after=0.0), 0.0),
        (InternalServerError("no"), None),
        (RequestNotSentError("no"), None),
        (WaitTimeoutError("no"), None),
    ],
)
def test_only_answers_carry_a_wish(error: RivyaError, wish: float | None) -> None:
    assert retry_after_of(error) == wish


# --- what the session's budget asks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("u", [0.0, 0.3, 0.999])
def test_a_slow_retry_comes_after_half_the_cap_to_the_cap(u: float) -> None:
    assert POLICY.cap / 2 <= throttled_retry_delay(POLICY, u) <= POLICY.cap
    assert throttled_retry_delay(POLICY, u) == POLICY.cap * (1 + u) / 2


@pytest.mark.parametrize("retry_after", [None, 1.0, 25.0])
def test_without_haste_a_retry_comes_at_the_slowest_pace_and_never_sooner_than_the_service_wishes(
    retry_after: float | None,
) -> None:
    error = answer(503, retry_after=retry_after)
    hasty = decide_retry(POLICY, error, AttemptState(1), repeatable=True, u=0.5)
    slow = decide_retry(POLICY, error, AttemptState(1), repeatable=True, u=0.5, in_haste=False)
    assert hasty == RetryAfterDelay(0.25 if retry_after is None else retry_after)
    assert slow == RetryAfterDelay(max(22.5, retry_after or 0.0))


def test_a_slow_retry_that_comes_too_late_is_none() -> None:
    attempts = AttemptState(2, elapsed=100.0)
    assert isinstance(decide_retry(POLICY, answer(503), attempts, repeatable=True, u=0.5), RetryAfterDelay)
    assert isinstance(decide_retry(POLICY, answer(503), attempts, repeatable=True, u=0.5, in_haste=False), GiveUp)


@pytest.mark.parametrize(
    ("error", "is_down"),
    [
        (RequestNotSentError("refused"), True),
        (OutcomeUnknownError("dropped"), True),
        (answer(500), True),
        (answer(502), True),
        (answer(503, "public_api_disabled"), True),
        (answer(599), True),
        (answer(200, "internal_error"), True),
        (answer(408), False),
        (answer(429), False),
        (answer(404), False),
        (answer(401), False),
        (ResponseDecodeError("a page"), False),
        (ConfigurationError("no key"), False),
    ],
)
def test_no_answer_or_a_fault_of_the_servers_own_may_be_an_outage(error: RivyaError, is_down: bool) -> None:
    assert indicates_outage(error) is is_down
