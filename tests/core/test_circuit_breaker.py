"""The circuit breaker opens for outages only, and closes on the response to a probe only."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.limits.circuit_breaker import (
    FAILURE_THRESHOLD,
    FIRST_PROBE_DELAY,
    MAX_PROBE_DELAY,
    RECOVERY_DURATION,
    RECOVERY_RATE,
    CircuitBreaker,
)


def opened(at: float = 0.0, u: float = 0.5) -> CircuitBreaker:
    breaker = CircuitBreaker()
    for _ in range(FAILURE_THRESHOLD):
        breaker.on_failure(at, at, u)
    return breaker


def test_opens_after_consecutive_failures() -> None:
    breaker = CircuitBreaker()
    for _ in range(FAILURE_THRESHOLD - 1):
        breaker.on_failure(1.0, 1.0, 0.5)
    assert not breaker.is_open
    breaker.on_response(1.0, 1.0)
    for _ in range(FAILURE_THRESHOLD - 1):
        breaker.on_failure(1.0, 1.0, 0.5)
    assert not breaker.is_open
    breaker.on_failure(1.0, 1.0, 0.5)
    assert breaker.is_open


def test_closed_breaker_has_no_limit() -> None:
    breaker = CircuitBreaker()
    breaker.on_request(0.0, 0.5)
    assert (breaker.delay(0.0), breaker.rate(0.0), breaker.open_for(5.0)) == (0.0, math.inf, 0.0)


def test_probe_delays_double_up_to_cap() -> None:
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(8):
        pauses.append(breaker.delay(now))
        now += pauses[-1]
        assert breaker.delay(now) == 0.0
        breaker.on_request(now, 0.5)
        breaker.on_failure(now, now, 0.5)
    assert pauses == [
        FIRST_PROBE_DELAY,
        1.0,
        2.0,
        4.0,
        MAX_PROBE_DELAY,
        MAX_PROBE_DELAY,
        MAX_PROBE_DELAY,
        MAX_PROBE_DELAY,
    ]
    assert breaker.open_for(now) == now


@pytest.mark.parametrize(("u", "share"), [(0.0, 0.5), (0.5, 1.0), (0.75, 1.25)])
def test_probe_delay_is_random(u: float, share: float) -> None:
    breaker = opened(u=u)
    assert breaker.delay(0.0) == FIRST_PROBE_DELAY * share
    breaker.on_request(1.0, u)
    assert breaker.delay(1.0) == 2 * FIRST_PROBE_DELAY * share


def test_probes_continue_for_a_week() -> None:
    breaker, now = opened(), 0.0
    for _ in range(100_000):
        now += breaker.delay(now)
        breaker.on_request(now, 0.999)
    assert breaker.delay(now) <= 1.5 * MAX_PROBE_DELAY


def test_only_response_to_probe_closes() -> None:
    breaker = opened(at=10.0)
    assert not breaker.on_response(11.0, sent_at=9.0)
    assert breaker.is_open
    assert breaker.on_response(12.0, sent_at=11.5)
    assert not breaker.is_open
    assert breaker.delay(12.0) == 0.0


def test_ignores_failures_sent_before_recovery() -> None:
    breaker = opened(at=0.0)
    breaker.on_response(100.0, sent_at=99.0)
    for _ in range(10 * FAILURE_THRESHOLD):
        breaker.on_failure(130.0, sent_at=70.0, u=0.5)
    assert not breaker.is_open
    for _ in range(FAILURE_THRESHOLD):
        breaker.on_failure(130.0, sent_at=101.0, u=0.5)
    assert breaker.is_open


def test_probe_delays_restart_after_outage() -> None:
    breaker = opened()
    for _ in range(6):
        breaker.on_request(50.0, 0.5)
    breaker.on_response(60.0, sent_at=59.0)
    for _ in range(FAILURE_THRESHOLD):
        breaker.on_failure(61.0, 61.0, 0.5)
    assert breaker.delay(61.0) == FIRST_PROBE_DELAY


def test_recovery_rate_doubles_every_second() -> None:
    breaker = opened()
    breaker.on_response(100.0, sent_at=99.0)
    rates = [breaker.rate(100.0 + seconds) for seconds in (0, 1, 2, RECOVERY_DURATION - 1, RECOVERY_DURATION)]
    assert rates == [RECOVERY_RATE, 2 * RECOVERY_RATE, 4 * RECOVERY_RATE, 512 * RECOVERY_RATE, math.inf]


def test_responses_without_outage_do_not_limit() -> None:
    breaker = CircuitBreaker()
    breaker.on_response(5.0, sent_at=4.0)
    assert breaker.rate(5.0) == math.inf


@given(
    st.lists(st.tuples(st.sampled_from(["take", "answer", "fail"]), st.floats(0, 20), st.floats(0, 30)), max_size=120)
)
def test_probe_delay_never_exceeds_cap(steps: list[tuple[str, float, float]]) -> None:
    breaker, now = CircuitBreaker(), 0.0
    for step, gap, age in steps:
        now += gap
        if step == "take":
            breaker.on_request(now, 0.5)
        elif step == "answer":
            breaker.on_response(now, now - age)
        else:
            breaker.on_failure(now, now - age, 0.5)
        assert 0.0 <= breaker.delay(now) <= 1.5 * MAX_PROBE_DELAY
        assert breaker.rate(now) >= RECOVERY_RATE
        assert breaker.is_open or breaker.delay(now) == 0.0
