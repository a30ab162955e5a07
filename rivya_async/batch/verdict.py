"""What an error means for the row that met it. A function of values."""

from __future__ import annotations

from enum import Enum, auto

from .._core.errors import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    InsufficientCreditsError,
    NotFoundError,
    PermissionDeniedError,
    SpendLimitError,
)
from .._core.http.retry import is_transient
from .._core.spend import proves_not_purchased
from .states import State


class GivenUp(Exception):
    """This row cannot be bought, whoever asks; caught where it is carried. `code`: `invalid` or `in_doubt`."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Verdict(Enum):
    """What becomes of the row.

    After `BACK` and `HALT` nothing more is bought, as every other row would meet the same, unless the error passes.
    """

    OPEN = auto()
    """It stays as it is, and goes on in the next run."""
    DEAD = auto()
    """It is given up."""
    BACK = auto()
    """Nothing was bought, that is sure: it is planned again."""
    HALT = auto()
    """It stays as it is."""


def verdict(state: State, error: Exception, *, in_doubt: bool, just_bought: bool = False) -> Verdict:
    """The verdict on a row that met this error in this state, when it is not tried any more in this run.

    `just_bought`: a replica of the service may lag behind and not know the job.
    """
    if isinstance(error, GivenUp):
        return Verdict.DEAD
    if state in {State.SUBMITTED, State.SUCCEEDED}:
        return Verdict.DEAD if isinstance(error, NotFoundError) and not just_bought else Verdict.OPEN
    if is_transient(error, may_have_acted=in_doubt):
        return Verdict.BACK if state is State.INTENT and not in_doubt else Verdict.OPEN
    if state is not State.INTENT or (in_doubt and not proves_not_purchased(error)):
        return Verdict.HALT
    if isinstance(
        error,
        InsufficientCreditsError | AuthenticationError | PermissionDeniedError | SpendLimitError | ConfigurationError,
    ):
        return Verdict.BACK
    return Verdict.DEAD if isinstance(error, APIStatusError) else Verdict.HALT
