"""Defaults and validation of policies."""

from __future__ import annotations

import math
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs
import pytest

from rivya_async._core.errors import ConfigurationError
from rivya_async._core.policies import (
    NOT_GIVEN,
    PollPolicy,
    RateLimit,
    RetryPolicy,
    Timeouts,
    validate_policy,
    validate_timeout,
)

POLICIES: tuple[type[Any], ...] = (RetryPolicy, PollPolicy, Timeouts)

NUMBERS = [
    (kind, field.name)
    for kind in POLICIES
    for field in attrs.fields(kind)
    if field.init and field.name not in {"adaptive", "timeout"}
]
MAY_BE_ZERO = {"first", "floor"}
NONSENSE: list[Any] = [
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    -(10**400),
    -1,
    -0.001,
    True,
    False,
    "5",
    "",
    None,
    [5],
    5j,
    Decimal(5),
    Fraction(5),
]


def shown(value: Any) -> str:
    return f"{value!r:.20}"


def test_documented_defaults() -> None:
    assert RetryPolicy() == RetryPolicy(max_attempts=5, base=0.5, cap=30.0, max_elapsed=120.0)
    assert PollPolicy() == PollPolicy(
        first=2.5, base=5.0, cap=10.0, factor=1.5, floor=1.0, adaptive=True, timeout=1800.0
    )
    assert Timeouts() == Timeouts(connect=10, read=30, total=60, upload=600, download=600)


@pytest.mark.parametrize("kind", POLICIES)
def test_policy_is_a_value(kind: type[Any]) -> None:
    policy = kind()
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert hash(policy) == hash(kind())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(policy, attrs.fields(kind)[0].name, 1)
    with pytest.raises(TypeError):
        kind(1)


@pytest.mark.parametrize("value", NONSENSE, ids=shown)
@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_rejects_invalid_numbers_by_field(kind: type[Any], name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{kind.__name__}\.{name} must be "):
        kind(**{name: value})


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_zero_is_valid_for_first_and_floor_only(kind: type[Any], name: str) -> None:
    if name in MAY_BE_ZERO:
        assert getattr(kind(**{name: 0}), name) == 0
    else:
        with pytest.raises(ConfigurationError, match=rf"{kind.__name__}\.{name}"):
            kind(**{name: 0})


@pytest.mark.parametrize("value", [1.0, 2.5])
def test_max_attempts_is_integer(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"RetryPolicy\.max_attempts must be a whole number"):
        RetryPolicy(max_attempts=value)


def test_one_attempt_is_valid() -> None:
    assert RetryPolicy(max_attempts=1).max_attempts == 1


@pytest.mark.parametrize("factor", [0, 0.5, 0.999])
def test_factor_below_one_is_invalid(factor: float) -> None:
    with pytest.raises(ConfigurationError, match=r"PollPolicy\.factor must be at least 1"):
        PollPolicy(factor=factor)


@pytest.mark.parametrize("value", ["no", 1, 0, None])
def test_adaptive_is_bool(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"PollPolicy\.adaptive must be True or False"):
        PollPolicy(adaptive=value)


@pytest.mark.parametrize(
    ("kind", "arguments", "names"),
    [
        (RetryPolicy, {"base": 31.0}, "cap=30.0 is below base=31.0"),
        (RetryPolicy, {"cap": 0.1}, "cap=0.1 is below base=0.5"),
        (PollPolicy, {"base": 11.0}, "cap=10.0 is below base=11.0"),
        (PollPolicy, {"cap": 4.0}, "cap=4.0 is below base=5.0"),
        (PollPolicy, {"floor": 10.5}, "cap=10.0 is below floor=10.5"),
    ],
)
def test_rejects_cap_below_base_or_floor(kind: type[Any], arguments: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{kind.__name__}: {names}$"):
        kind(**arguments)


def test_cap_may_equal_base_or_floor() -> None:
    assert RetryPolicy(base=30.0).base == 30.0
    assert PollPolicy(base=10.0, floor=10.0).floor == 10.0


@pytest.mark.parametrize(
    ("timeout", "checked"),
    [(None, None), (0, 0.0), (0.0, 0.0), (5, 5.0), (1e9, 1e9), (math.inf, None), (10**400, None)],
    ids=shown,
)
def test_timeout_is_none_or_seconds(timeout: float | None, checked: float | None) -> None:
    assert validate_timeout(timeout) == checked
    assert type(validate_timeout(timeout)) is type(checked)
    assert PollPolicy(timeout=timeout).timeout == timeout


@pytest.mark.parametrize("timeout", [math.nan, -math.inf, -1, -1e-9, -(10**400), True, False, "5", [5], 5j], ids=shown)
def test_rejects_invalid_timeout(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^timeout must be None or a number of seconds from 0 on, not "):
        validate_timeout(timeout)
    with pytest.raises(ConfigurationError, match="timeout must be None or a number of seconds"):
        PollPolicy(timeout=timeout)


def test_missing_policy_is_default() -> None:
    default, other = PollPolicy(), PollPolicy(first=1.0)
    assert validate_policy("poll", None, default) is default
    assert validate_policy("poll", other, default) is other


@pytest.mark.parametrize("policy", [5, "fast", {"first": 1.0}, RetryPolicy(), PollPolicy], ids=shown)
def test_rejects_other_types_by_argument_name(policy: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^poll must be PollPolicy\(\.\.\.\), not "):
        validate_policy("poll", policy, PollPolicy())


@pytest.mark.parametrize(
    ("arguments", "burst"), [((100,), 10.0), ((5,), 1.0), ((0.1,), 1.0), ((50, 50), 50), ((50, 2.5), 2.5)]
)
def test_default_burst_is_tenth_of_rate(arguments: tuple[float, ...], burst: float) -> None:
    limit = RateLimit(*arguments)
    assert (limit.per_second, limit.burst) == (arguments[0], burst)
    assert pickle.loads(pickle.dumps(limit)) == limit
    assert hash(limit) == hash(RateLimit(*arguments))


@pytest.mark.parametrize("value", [*NONSENSE, 0], ids=shown)
def test_rejects_invalid_rate_limit(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^RateLimit\.per_second must be "):
        RateLimit(value)
    with pytest.raises(ConfigurationError, match=r"^RateLimit\.burst must be "):
        RateLimit(10, value)


def test_burst_below_one_is_invalid() -> None:
    with pytest.raises(ConfigurationError, match=r"^RateLimit\.burst must be at least 1, not 0\.5"):
        RateLimit(10, 0.5)


def test_missing_timeout_shows_as_its_name() -> None:
    assert repr(NOT_GIVEN) == "NOT_GIVEN"
