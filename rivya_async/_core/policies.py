"""How often, how fast, how long: frozen values, checked when they are made. Every duration is in float seconds."""

from __future__ import annotations

import math
from typing import Any, Final, TypeVar

import attrs

from .errors import ConfigurationError

P = TypeVar("P")


def _check_number(
    instance: object, attribute: attrs.Attribute[Any], value: float, *, least: float, strict: bool
) -> None:
    name = f"{type(instance).__name__}.{attribute.name}"
    if not math.isfinite(_to_float(value)):
        raise ConfigurationError(f"{name} must be a finite number, not {value!r}")
    if value < least or (strict and value == least):
        raise ConfigurationError(f"{name} must be {'above' if strict else 'at least'} {least:g}, not {value!r}")


def _to_float(value: object) -> float:
    """The value as a float: NaN where it is no number, infinity where a float has no room for it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _positive(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    _check_number(instance, attribute, value, least=0.0, strict=True)


def _not_negative(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    _check_number(instance, attribute, value, least=0.0, strict=False)


def _at_least_one(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    _check_number(instance, attribute, value, least=1.0, strict=False)


def _positive_int(instance: object, attribute: attrs.Attribute[Any], value: int) -> None:
    _at_least_one(instance, attribute, value)
    if not isinstance(value, int):
        raise ConfigurationError(f"{type(instance).__name__}.{attribute.name} must be a whole number, not {value!r}")


def _flag(instance: object, attribute: attrs.Attribute[Any], value: bool) -> None:  # noqa: FBT001 - as attrs calls it
    if not isinstance(value, bool):
        raise ConfigurationError(f"{type(instance).__name__}.{attribute.name} must be True or False, not {value!r}")


def validate_policy(name: str, policy: P | None, default: P) -> P:
    """What was handed in as `name`, or the default; a `ConfigurationError` for what is no such policy."""
    if policy is None:
        return default
    if not isinstance(policy, type(default)):
        raise ConfigurationError(f"{name} must be {type(default).__name__}(...), not {policy!r}")
    return policy


class NotGiven:
    """The default of `timeout`: what the poll policy says."""

    def __repr__(self) -> str:
        return "<the policy's timeout>"


NOT_GIVEN: Final = NotGiven()


def validate_timeout(timeout: float | None) -> float | None:
    """A timeout in seconds as a wait takes it: None is for ever, 0 not at all; else a `ConfigurationError`."""
    if timeout is None:
        return None
    seconds = _to_float(timeout)
    if not seconds >= 0.0:  # NaN is not
        raise ConfigurationError(f"timeout must be None or a number of seconds from 0 on, not {timeout!r}")
    return None if math.isinf(seconds) else seconds


def _valid_timeout(_instance: object, _attribute: attrs.Attribute[Any], value: float | None) -> None:
    validate_timeout(value)


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """When a failed request is sent again.

    The delay before retry k (from 0) is drawn from U(0, min(cap, base * 2**k)) seconds: full jitter, as in
    `backoff.expo` with `backoff.full_jitter`. A `Retry-After` of the service replaces the draw, up to `cap`.

    `max_attempts` counts sends (5 is four retries); `max_elapsed` bounds the whole call: no retry begins after it.

    >>> RetryPolicy(max_attempts=3, base=0.25).cap
    30.0
    """

    max_attempts: int = attrs.field(default=5, validator=_positive_int)
    base: float = attrs.field(default=0.5, validator=_positive)
    cap: float = attrs.field(default=30.0, validator=_positive)
    max_elapsed: float = attrs.field(default=120.0, validator=_positive)

    def __attrs_post_init__(self) -> None:
        _check_order(self, "base", "cap")


@attrs.frozen(kw_only=True)
class PollPolicy:
    """When a waiting job is looked at.

    The first look comes after `first` seconds, give or take a fifth; the k-th after it (k from 0) a delay drawn from
    U(floor, max(floor, min(cap, base * factor**k))) seconds later: full jitter above a floor. After the ceiling has
    reached `cap` it grows with the job, to a tenth of its age: "slower for long video and audio jobs" is the service's
    advice (contract section 7). `timeout` bounds the whole wait; None waits for ever.

    `adaptive` lets a session that has seen jobs of a model end place the polls where jobs like it end, inside these
    bounds; without it, and until then, polls come as above (and without it nothing is learned). Where the session has
    more polls than its budget allows, all intervals are stretched alike, those at the cap too.

    >>> PollPolicy(first=1.0, timeout=None).cap
    10.0
    """

    first: float = attrs.field(default=2.5, validator=_not_negative)
    base: float = attrs.field(default=5.0, validator=_positive)
    cap: float = attrs.field(default=10.0, validator=_positive)
    factor: float = attrs.field(default=1.5, validator=_at_least_one)
    floor: float = attrs.field(default=1.0, validator=_not_negative)
    adaptive: bool = attrs.field(default=True, validator=_flag)
    timeout: float | None = attrs.field(default=1800.0, validator=_valid_timeout)

    def __attrs_post_init__(self) -> None:
        _check_order(self, "base", "cap")
        _check_order(self, "floor", "cap")


@attrs.frozen
class RateLimit:
    """How many requests a session sends: `per_second` on average, submits and polls together, and `burst` at once.

    A token bucket that begins full. Left out, `burst` is a tenth of a second's worth, at least 1. Downloads and uploads
    are not counted.

    >>> RateLimit(100)
    RateLimit(per_second=100, burst=10.0)
    """

    per_second: float = attrs.field(validator=_positive)
    burst: float = attrs.field(
        default=attrs.Factory(lambda limit: max(1.0, _to_float(limit.per_second) / 10.0), takes_self=True),
        validator=_at_least_one,
    )


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long one attempt may take, in seconds.

    `connect`: until the connection stands. `read`: between two pieces of an answer. `total`: one whole attempt.
    `upload`, `download`: one whole transfer. `chat`: one whole answer of a model that is not streamed, in place of
    `read` and `total`, since nothing comes before it is finished. A stream has no total, only `read`. What takes too
    long is cut up to a twentieth of the shortest of them later, a second at most.

    >>> Timeouts(read=10).total
    60.0
    """

    connect: float = attrs.field(default=10.0, validator=_positive)
    read: float = attrs.field(default=30.0, validator=_positive)
    total: float = attrs.field(default=60.0, validator=_positive)
    upload: float = attrs.field(default=600.0, validator=_positive)
    download: float = attrs.field(default=600.0, validator=_positive)
    chat: float = attrs.field(default=600.0, validator=_positive)


def _check_order(policy: RetryPolicy | PollPolicy, low: str, high: str) -> None:
    if getattr(policy, low) > getattr(policy, high):
        raise ConfigurationError(
            f"{type(policy).__name__}: {high}={getattr(policy, high)!r} is below {low}={getattr(policy, low)!r}"
        )
