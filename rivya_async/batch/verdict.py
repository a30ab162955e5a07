"""What an error means for the row that met it. A function of values."""

from __future__ import annotations

from enum import Enum, auto

from .._core.errors import (
    Answered,
    InsufficientCredits,
    NotFound,
    RivyaError,
    ScopeDenied,
    SpendLimitReached,
    Unauthorized,
    ValidationFailed,
)
from .._core.retry import is_transient
from .states import State


class GivenUp(Exception):
    """This row cannot be bought, whoever asks; caught where it is carried. `code`: `invalid` or `in_doubt`."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Verdict(Enum):
    """What becomes of the row. After `BACK` and `HALT` nothing more is bought: every other row would meet the same."""

    OPEN = auto()
    """It stays as it is, and goes on in the next run."""
    DEAD = auto()
    """It is given up."""
    BACK = auto()
    """Nothing was bought, that is sure: it is planned again."""
    HALT = auto()
    """It stays as it is."""


def passes(error: Exception, *, in_doubt: bool) -> bool:
    """Whether the same step may go well later. `in_doubt`: a purchase under the key may have been made."""
    return isinstance(error, RivyaError) and is_transient(error, may_have_acted=in_doubt)


def verdict(state: State, error: Exception, *, in_doubt: bool) -> Verdict:
    """The verdict on a row that met this error in this state, when it is not tried any more in this run."""
    if isinstance(error, GivenUp):
        return Verdict.DEAD
    if state not in {State.PLANNED, State.INTENT}:
        return Verdict.DEAD if isinstance(error, NotFound) else Verdict.OPEN
    if passes(error, in_doubt=in_doubt):
        return Verdict.OPEN
    if state is State.PLANNED or (in_doubt and not settles_the_doubt(error)):
        return Verdict.HALT
    if isinstance(error, InsufficientCredits | Unauthorized | ScopeDenied | SpendLimitReached):
        return Verdict.BACK
    return Verdict.DEAD if isinstance(error, Answered) else Verdict.HALT


def settles_the_doubt(error: Exception) -> bool:
    """Whether it says that nothing was bought by any send: the service looks for the key before it looks at the job."""
    return isinstance(error, InsufficientCredits | ValidationFailed)
