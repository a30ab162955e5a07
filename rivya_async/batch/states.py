"""What can become of a row, as a table. Every change of a journal goes through `checked`."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from .._core.errors import ConfigurationError


class State(StrEnum):
    """How far a row has come.

    `INTENT` is written before a purchase is sent, so that after any end of the process it is repeated under the same
    key. `DEAD` is a row that was given up, with its reason.
    """

    PLANNED = "planned"
    INTENT = "intent"
    SUBMITTED = "submitted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DOWNLOADED = "downloaded"
    DEAD = "dead"


ALLOWED: Final = {
    State.PLANNED: {State.INTENT, State.DEAD},
    State.INTENT: {State.PLANNED, State.SUBMITTED, State.DEAD},
    State.SUBMITTED: {State.SUCCEEDED, State.FAILED, State.DEAD},
    State.SUCCEEDED: {State.DOWNLOADED, State.DEAD},
    State.FAILED: {State.PLANNED, State.INTENT},
    State.DOWNLOADED: set[State](),
    State.DEAD: {State.PLANNED, State.SUBMITTED},
}
"""From each state to which. Back to `PLANNED`: from an intent that the service refused or that was never sent, and from
a failed or dead row that is to be tried again. A run that buys failed jobs anew leads from `FAILED` to `INTENT`."""


def checked(old: State, new: State) -> State:
    """The new state; a `ConfigurationError` where no row may go from the old one to it."""
    if new not in ALLOWED[old]:
        raise ConfigurationError(f"a row that is {old} cannot become {new}")
    return new


def is_open(state: State, *, downloads: bool) -> bool:
    """Whether a run has something left to do for a row."""
    return state in {State.PLANNED, State.INTENT, State.SUBMITTED} or (downloads and state is State.SUCCEEDED)
