"""Retry decisions: purchases are never sent twice without a key, reads survive transient errors."""

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
    BadRequestError,
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
    WaitTimeoutError,
)
from rivya_async._core.http.error_responses import status_error_class
from rivya_async._core.http.retry import (
    AttemptState,
    GiveUp,
    RetryAfterDelay,
    decide_retry,
    indicates_outage,
    is_transient,
    outcome_is_ambiguous,
    poll_error_is_transient,
    retry_after_of,
    retry_delay,
    throttled_retry_delay,
)
from rivya_async._core.policies import RetryPolicy

POLICY = RetryPolicy()


def answer(status: int, code: str | None = None, **details: Any) -> APIStatusError:
    return status_error_class(status, code)("no", status=status, code=code, **details)


TRANSIENT_RESPONSES: list[RivyaError] = [
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
    BadRequestError("no"),
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


def is_retry(error: RivyaError, *, repeatable: bool, may_have_acted: bool = False, sent: int = 1) -> bool:
    attempts = AttemptState(sent, may_have_acted=may_have_acted)
    return isinstance(decide_retry(POLICY, error, attempts, repeatable=repeatable, u=0.5), RetryAfterDelay)


@pytest.mark.parametrize("repeatable", [True, False])
def test_unsent_request_is_repeated(repeatable: bool) -> None:
    assert is_retry(RequestNotSentError("no route"), repeatable=repeatable)


def test_unknown_outcome_is_repeated_only_if_safe() -> None:
    assert is_retry(OutcomeUnknownError("dropped"), repeatable=True)
    assert not is_retry(OutcomeUnknownError("dropped"), repeatable=False)


@pytest.mark.parametrize("error", TRANSIENT_RESPONSES, ids=shown)
def test_transient_response_is_repeated_only_if_safe(error: RivyaError) -> None:
    assert is_retry(error, repeatable=True)
    assert not is_retry(error, repeatable=False)


@pytest.mark.parametrize("may_have_acted", [True, False])
@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("error", FINAL, ids=shown)
def test_other_errors_are_not_repeated(error: RivyaError, repeatable: bool, may_have_acted: bool) -> None:
    assert not is_retry(error, repeatable=repeatable, may_have_acted=may_have_acted)


@pytest.mark.parametrize(
    ("may_have_acted", "repeatable", "is_repeated"),
    [(False, True, False), (True, True, True), (True, False, False), (False, False, False)],
)
def test_idempotency_conflict_is_repeated_after_ambiguous_attempt(
    may_have_acted: bool, repeatable: bool, is_repeated: bool
) -> None:
    error = answer(409, "idempotency_conflict")
    assert isinstance(error, IdempotencyConflictError)
    assert is_retry(error, repeatable=repeatable, may_have_acted=may_have_acted, sent=2) is is_repeated


def test_ambiguous_purchase_without_key_is_not_repeated() -> None:
    assert not is_retry(RequestNotSentError("no route"), repeatable=False, may_have_acted=True, sent=2)
    assert is_retry(RequestNotSentError("no route"), repeatable=True, may_have_acted=True, sent=2)


@pytest.mark.parametrize(("sent", "is_repeated"), [(1, True), (2, True), (3, False), (4, False)])
def test_max_attempts_counts_sends(sent: int, is_repeated: bool) -> None:
    error = RequestNotSentError("")
    decision = decide_retry(RetryPolicy(max_attempts=3), error, AttemptState(sent), repeatable=True, u=0.0)
    assert isinstance(decision, RetryAfterDelay) is is_repeated


@pytest.mark.parametrize(
    ("elapsed", "seconds", "is_repeated"),
    [(0.0, 10.0, True), (110.0, 10.0, True), (110.1, 10.0, False), (120.0, 0.0, True), (120.1, 0.0, False)],
)
def test_max_elapsed_limits_retries(elapsed: float, seconds: float, is_repeated: bool) -> None:
    error = answer(429, retry_after=seconds)
    decision = decide_retry(POLICY, error, AttemptState(1, elapsed), repeatable=True, u=0.0)
    assert isinstance(decision, RetryAfterDelay) is is_repeated


@pytest.mark.parametrize(
    ("error", "attempts", "repeatable", "reason"),
    [
        (NotFoundError("no"), AttemptState(1), True, "not transient"),
        (OutcomeUnknownError("no"), AttemptState(1), False, "no key"),
        (RequestNotSentError("no"), AttemptState(5), True, "5 attempts"),
        (RequestNotSentError("no"), AttemptState(2, 500.0), True, "120 s"),
    ],
)
def test_give_up_has_reason(error: RivyaError, attempts: AttemptState, repeatable: bool, reason: str) -> None:
    decision = decide_retry(POLICY, error, attempts, repeatable=repeatable, u=0.5)
    assert isinstance(decision, GiveUp)
    assert reason in decision.reason


# --- delays -----------------------------------------------------------------------------------------------------------


def test_ceilings_double_up_to_cap() -> None:
    assert [retry_delay(POLICY, retry, 1.0) for retry in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_first_retry_has_first_ceiling() -> None:
    decisions = [
        decide_retry(POLICY, RequestNotSentError(""), AttemptState(sent), repeatable=True, u=0.5)
        for sent in (1, 2, 3, 4)
    ]
    assert decisions == [RetryAfterDelay(0.25), RetryAfterDelay(0.5), RetryAfterDelay(1.0), RetryAfterDelay(2.0)]


def test_attempt_state_defaults() -> None:
    assert AttemptState(1) == AttemptState(sent=1, elapsed=0.0, may_have_acted=False)


def test_full_jitter() -> None:
    assert [retry_delay(POLICY, 2, u) for u in (0.0, 0.25, 0.5)] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(("seconds", "delay"), [(0.0, 0.0), (3.25, 3.25), (30.0, 30.0), (31.0, 30.0), (1e300, 30.0)])
def test_retry_after_replaces_jitter_up_to_cap(seconds: float, delay: float) -> None:
    for u in (0.0, 0.99):
        decision = decide_retry(POLICY, answer(503, retry_after=seconds), AttemptState(1), repeatable=True, u=u)
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
retry_afters = st.none() | st.floats(min_value=0.0, allow_nan=False, allow_infinity=False)
errors = st.sampled_from([*TRANSIENT_RESPONSES, *FINAL, RequestNotSentError(""), OutcomeUnknownError("")]) | st.builds(
    answer,
    st.integers(300, 599),
    st.none() | st.sampled_from(["idempotency_conflict", "rate_limited", "public_api_disabled", "other"]),
    retry_after=retry_afters,
)
histories = st.builds(AttemptState, st.integers(1, 10_000), st.floats(0.0, 1e9), st.booleans())


@given(retry_policies(), st.integers(0, 10_000), draws, retry_afters)
def test_delay_is_between_zero_and_cap(policy: RetryPolicy, retry: int, u: float, seconds: float | None) -> None:
    delay = retry_delay(policy, retry, u, seconds)
    assert math.isfinite(delay)
    assert 0.0 <= delay <= policy.cap


@given(retry_policies(), errors, histories, st.booleans(), draws)
def test_decision_keeps_all_limits(
    policy: RetryPolicy, error: RivyaError, attempts: AttemptState, repeatable: bool, u: float
) -> None:
    decision = decide_retry(policy, error, attempts, repeatable=repeatable, u=u)
    if isinstance(decision, RetryAfterDelay):
        assert 0.0 <= decision.delay <= policy.cap
        assert attempts.sent < policy.max_attempts
        assert attempts.elapsed + decision.delay <= policy.max_elapsed


@given(retry_policies(), errors, histories, draws)
def test_purchase_is_never_sent_twice_without_key(
    policy: RetryPolicy, error: RivyaError, attempts: AttemptState, u: float
) -> None:
    """Without a key, only requests that were never sent are repeated."""
    decision = decide_retry(policy, error, attempts, repeatable=False, u=u)
    if isinstance(decision, RetryAfterDelay):
        assert isinstance(error, RequestNotSentError)
        assert not attempts.may_have_acted


@given(st.lists(errors, min_size=1, max_size=20), st.booleans())
def test_purchase_is_never_sent_twice_in_one_call(failures: list[RivyaError], repeatable: bool) -> None:
    """In a whole call, at most one send of a purchase without a key may have been processed."""
    policy = RetryPolicy(max_attempts=1_000, max_elapsed=1e9)
    may_have_acted = False
    ambiguous_sends = 0
    for sent, error in enumerate(failures, start=1):
        ambiguous_sends += not isinstance(error, RequestNotSentError)
        decision = decide_retry(policy, error, AttemptState(sent, 0.0, may_have_acted), repeatable=repeatable, u=0.5)
        may_have_acted = may_have_acted or outcome_is_ambiguous(error)
        if isinstance(decision, GiveUp):
            break
    assert repeatable or ambiguous_sends <= 1


# --- polls and downloads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [*TRANSIENT_RESPONSES, RequestNotSentError(""), OutcomeUnknownError("")], ids=shown)
def test_poll_survives_transient_errors(error: RivyaError) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", [*FINAL, answer(409, "idempotency_conflict")], ids=shown)
def test_poll_ends_with_permanent_errors(error: RivyaError) -> None:
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
def test_outcome_is_ambiguous(error: RivyaError, doubt: bool) -> None:
    assert outcome_is_ambiguous(error) is doubt


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (RateLimitError("no", retry_after=2.5), 2.5),
        (InternalServerError("no", retry_after=0.0), 0.0),
        (InternalServerError("no"), None),
        (RequestNotSentError("no"), None),
        (WaitTimeoutError("no"), None),
    ],
)
def test_only_responses_have_retry_after(error: RivyaError, seconds: float | None) -> None:
    assert retry_after_of(error) == seconds


# --- retry budget -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("u", [0.0, 0.3, 0.999])
def test_throttled_delay_is_half_cap_to_cap(u: float) -> None:
    assert POLICY.cap / 2 <= throttled_retry_delay(POLICY, u) <= POLICY.cap
    assert throttled_retry_delay(POLICY, u) == POLICY.cap * (1 + u) / 2


@pytest.mark.parametrize("retry_after", [None, 1.0, 25.0])
def test_throttled_retry_is_slow_and_respects_retry_after(
    retry_after: float | None,
) -> None:
    error = answer(503, retry_after=retry_after)
    regular = decide_retry(POLICY, error, AttemptState(1), repeatable=True, u=0.5)
    throttled = decide_retry(POLICY, error, AttemptState(1), repeatable=True, u=0.5, has_retry_token=False)
    assert regular == RetryAfterDelay(0.25 if retry_after is None else retry_after)
    assert throttled == RetryAfterDelay(max(22.5, retry_after or 0.0))


def test_throttled_retry_after_max_elapsed_gives_up() -> None:
    attempts = AttemptState(2, elapsed=100.0)
    assert isinstance(decide_retry(POLICY, answer(503), attempts, repeatable=True, u=0.5), RetryAfterDelay)
    assert isinstance(
        decide_retry(POLICY, answer(503), attempts, repeatable=True, u=0.5, has_retry_token=False), GiveUp
    )


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
def test_indicates_outage(error: RivyaError, is_down: bool) -> None:
    assert indicates_outage(error) is is_down


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 404, 407, 409, 410, 421, 422, 451, 499])
def test_poll_answered_without_envelope_is_transient(status: int) -> None:
    page = answer(status)
    assert not poll_error_is_transient(page)
    page.has_envelope = False
    assert poll_error_is_transient(page)


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (ResponseDecodeError("no record"), True),
        (RequestNotSentError("no network"), True),
        (OutcomeUnknownError("dropped"), True),
        (answer(503), True),
        (answer(404, "not_found"), False),
        (ConfigurationError("no key"), False),
    ],
)
def test_transient_errors_of_poll(error: RivyaError, transient: bool) -> None:
    assert poll_error_is_transient(error) is transient
