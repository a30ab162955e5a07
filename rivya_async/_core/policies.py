"""Policies for retries, polls, rates and timeouts: frozen values, validated on construction. Durations are seconds."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from typing import Any, Final, TypeVar

import attrs
import backoff

from .errors import ConfigurationError
from .public_module import set_public_module

P = TypeVar("P")

MAX_BACKOFF_STEPS: Final = 1024
"""Number of delays after which exponential back-off stays constant, even below its cap."""


def _backoff_ceilings(base: float, factor: float, cap: float) -> tuple[float, ...]:
    """Returns min(cap, base * factor**k) for k = 0, 1, ... until the cap is reached, by `backoff.expo`.

    Delays are these bounds times a random number of the caller: `backoff.full_jitter`, but without the global
    generator. The bounds are computed once per policy, since every poll needs one.
    """
    rising = backoff.expo(base=factor, factor=base, max_value=cap)
    next(rising)  # its first value is None, for `send`
    ceilings = []
    try:
        for ceiling in islice(rising, MAX_BACKOFF_STEPS):
            ceilings.append(ceiling)
            if ceiling >= cap:
                break
    except OverflowError:
        ceilings.append(cap)
    return tuple(ceilings)


def _number_validator(minimum: float, *, exclusive: bool = False) -> Callable[[Any, attrs.Attribute[Any], float], None]:
    """Returns a validator of finite numbers."""

    def validate(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
        name = f"{type(instance).__name__}.{attribute.name}"
        if not math.isfinite(_to_float(value)):
            raise ConfigurationError(f"{name} must be a finite number, not {value!r}")
        if value < minimum or (exclusive and value == minimum):
            bound = "above" if exclusive else "at least"
            raise ConfigurationError(f"{name} must be {bound} {minimum:g}, not {value!r}")

    return validate


_positive = _number_validator(0.0, exclusive=True)
_not_negative = _number_validator(0.0)
_at_least_one = _number_validator(1.0)


def _to_float(value: object) -> float:
    """Returns the value as a float: NaN if it is not a number, infinity if it is too large."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _positive_int(instance: object, attribute: attrs.Attribute[Any], value: int) -> None:
    _at_least_one(instance, attribute, value)
    if not isinstance(value, int):
        raise ConfigurationError(f"{type(instance).__name__}.{attribute.name} must be a whole number, not {value!r}")


def _flag(instance: object, attribute: attrs.Attribute[Any], value: bool) -> None:  # noqa: FBT001 - as attrs calls it
    if not isinstance(value, bool):
        raise ConfigurationError(f"{type(instance).__name__}.{attribute.name} must be True or False, not {value!r}")


def validate_policy(name: str, policy: P | None, default: P) -> P:
    """Returns the policy, or the default for None. Raises `ConfigurationError` for a value of another type."""
    if policy is None:
        return default
    if not isinstance(policy, type(default)):
        raise ConfigurationError(f"{name} must be {type(default).__name__}(...), not {policy!r}")
    return policy


class NotGiven:
    """Type of the default of `timeout`: the timeout of the poll policy."""

    def __repr__(self) -> str:
        return "NOT_GIVEN"


NOT_GIVEN: Final = NotGiven()


def validate_timeout(timeout: float | None) -> float | None:
    """Returns a timeout in seconds, or None for no limit. Raises `ConfigurationError` for an invalid timeout."""
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
    """Delays and limits of retries.

    The delay before retry k (from 0) is random from U(0, min(cap, base * 2**k)) seconds: exponential back-off with full
    jitter. A `Retry-After` of the service replaces it, up to `cap`.

    >>> RetryPolicy(max_attempts=3, base=0.25).cap
    30.0
    """

    max_attempts: int = attrs.field(default=5, validator=_positive_int)
    """Maximum number of sent requests: 5 is four retries."""
    base: float = attrs.field(default=0.5, validator=_positive)
    """Upper bound of the first delay in seconds. It doubles with each retry."""
    cap: float = attrs.field(default=30.0, validator=_positive)
    """Maximum delay in seconds, also for a `Retry-After`."""
    max_elapsed: float = attrs.field(default=120.0, validator=_positive)
    """Seconds after the first request from which on no retry begins."""
    ceilings: tuple[float, ...] = attrs.field(init=False, repr=False, eq=False)
    """Upper bounds of the delays in seconds, in order; the last one repeats."""

    def __attrs_post_init__(self) -> None:
        _check_order(self, "base", "cap")
        object.__setattr__(self, "ceilings", _backoff_ceilings(self.base, 2.0, self.cap))


@attrs.frozen(kw_only=True)
class PollPolicy:
    """Intervals between polls of a job.

    The first poll comes after `first` seconds, plus or minus a fifth. The delay before the k-th further poll (k from 0)
    is random from U(floor, max(floor, min(cap, base * factor**k))) seconds: exponential back-off with full jitter
    above a floor. Once it has reached `cap`, the upper bound grows to a tenth of the age of the job: the service
    recommends slower polls "for long video and audio jobs" in its documentation.

    With `adaptive` the polls follow the durations of similar jobs, within these bounds. Until a job of the model has
    ended, and without `adaptive`, intervals are as above. If the session has more polls than its rate allows, all
    adaptive intervals grow by the same factor, even beyond the cap.

    >>> PollPolicy(first=1.0, timeout=None).cap
    10.0
    """

    first: float = attrs.field(default=2.5, validator=_not_negative)
    """Seconds to the first poll, plus or minus a fifth."""
    base: float = attrs.field(default=5.0, validator=_positive)
    """Upper bound of the next delay in seconds."""
    cap: float = attrs.field(default=10.0, validator=_positive)
    """Maximum of the upper bound in seconds, for jobs younger than ten times as much."""
    factor: float = attrs.field(default=1.5, validator=_at_least_one)
    """Factor by which the upper bound grows with each poll."""
    floor: float = attrs.field(default=1.0, validator=_not_negative)
    """Minimum delay in seconds."""
    adaptive: bool = attrs.field(default=True, validator=_flag)
    """True to learn the durations of jobs, and to poll when similar jobs ended."""
    timeout: float | None = attrs.field(default=1800.0, validator=_valid_timeout)
    """Seconds after which a wait ends with `WaitTimeoutError`; None for no limit."""
    ceilings: tuple[float, ...] = attrs.field(init=False, repr=False, eq=False)
    """Upper bounds of the delays after the first poll in seconds, in order; the last one repeats."""

    def __attrs_post_init__(self) -> None:
        _check_order(self, "base", "cap")
        _check_order(self, "floor", "cap")
        object.__setattr__(self, "ceilings", _backoff_ceilings(self.base, self.factor, self.cap))


@attrs.frozen
class RateLimit:
    """Rate limit of a session: `per_second` requests on average, submits and polls together, and `burst` at once.

    The limit is a token bucket that starts full. Downloads and uploads are not limited. The limit of the service is
    not documented, and that of the sandbox is off by default. Without a `RateLimit`, a session estimates the limit
    from the 429s of the service.

    >>> RateLimit(100)
    RateLimit(per_second=100, burst=10.0)
    """

    per_second: float = attrs.field(validator=_positive)
    """Requests per second on average, submits and polls together."""
    burst: float = attrs.field(
        default=attrs.Factory(lambda limit: max(1.0, _to_float(limit.per_second) / 10.0), takes_self=True),
        validator=_at_least_one,
    )
    """Requests that may be sent at once; by default a tenth of `per_second`, at least 1."""


@attrs.frozen(kw_only=True)
class Timeouts:
    """Timeouts of one attempt in seconds.

    A stream has no total timeout, only `read`. A timeout may fire late by a twentieth of the shortest one, at most a
    second.

    >>> Timeouts(read=10).total
    60.0
    """

    connect: float = attrs.field(default=10.0, validator=_positive)
    """Seconds to connect."""
    read: float = attrs.field(default=30.0, validator=_positive)
    """Seconds between two chunks of a response."""
    total: float = attrs.field(default=60.0, validator=_positive)
    """Seconds for a whole attempt."""
    upload: float = attrs.field(default=600.0, validator=_positive)
    """Seconds for a whole upload."""
    download: float = attrs.field(default=600.0, validator=_positive)
    """Seconds for a whole download."""
    chat: float = attrs.field(default=600.0, validator=_positive)
    """Seconds for a chat answer that is not streamed, in place of `read` and `total`."""


def _check_order(policy: RetryPolicy | PollPolicy, low: str, high: str) -> None:
    if getattr(policy, low) > getattr(policy, high):
        raise ConfigurationError(
            f"{type(policy).__name__}: {high}={getattr(policy, high)!r} is below {low}={getattr(policy, low)!r}"
        )


set_public_module("rivya_async", PollPolicy, RateLimit, RetryPolicy, Timeouts)
