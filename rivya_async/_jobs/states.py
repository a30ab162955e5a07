"""The states of a job and the transitions between them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from enum import StrEnum
from typing import Final

from .._core.errors import ConfigurationError


class JobState(StrEnum):
    """Progress of a job.

    `INTENT` is stored before a purchase is sent: after any end of the process the purchase is repeated under the same
    key. `DEAD` is an abandoned job, with its reason. `WITHDRAWN` is a job that was cancelled before its purchase.
    """

    PLANNED = "planned"
    INTENT = "intent"
    SUBMITTED = "submitted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DOWNLOADED = "downloaded"
    DEAD = "dead"
    WITHDRAWN = "withdrawn"


TRANSITIONS: Final[Mapping[JobState, Set[JobState]]] = {
    JobState.PLANNED: {JobState.INTENT, JobState.DEAD},
    JobState.INTENT: {JobState.PLANNED, JobState.SUBMITTED, JobState.DEAD},
    JobState.SUBMITTED: {JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD},
    JobState.SUCCEEDED: {JobState.DOWNLOADED, JobState.DEAD},
    JobState.FAILED: {JobState.PLANNED, JobState.INTENT},
    JobState.DOWNLOADED: set(),
    JobState.DEAD: {JobState.PLANNED, JobState.SUBMITTED},
    JobState.WITHDRAWN: set(),
}
"""The states that may follow each state.

An intent returns to `PLANNED` where the service rejected it or it was never sent. A failed or dead job returns there
when it is retried. A run that purchases failed jobs again leads from `FAILED` to `INTENT`.
"""

CONCURRENT_TRANSITIONS: Final[Mapping[JobState, Set[JobState]]] = {
    JobState.PLANNED: {JobState.SUBMITTED, JobState.WITHDRAWN},
    JobState.DEAD: {JobState.SUCCEEDED, JobState.FAILED},
    JobState.WITHDRAWN: {JobState.SUBMITTED},
}
"""The states that may follow besides, where several workers process one job and clients withdraw it.

The result of a purchase replaces the state that another worker has recorded meanwhile. A job that was purchased
elsewhere is `SUBMITTED` at once. A job that is enqueued again continues as `workers.JobRecord.revived_state` says.
"""

UNPURCHASED: Final = frozenset({JobState.PLANNED, JobState.INTENT})
"""States of a job without a known purchase."""

ENDED: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.DOWNLOADED, JobState.DEAD, JobState.WITHDRAWN})
"""States after which nothing is left to do but a download."""


def check_transition(old: JobState, new: JobState) -> JobState:
    """Returns the new state. Raises `ConfigurationError` where it cannot follow the old one."""
    if new not in TRANSITIONS[old]:
        raise ConfigurationError(f"a job that is {old} cannot become {new}")
    return new


def sources_of(state: JobState) -> Set[JobState]:
    """Returns the states that this one may follow where several workers process one job."""
    return {old for old in JobState if state in TRANSITIONS[old] or state in CONCURRENT_TRANSITIONS.get(old, ())}


def is_open(state: JobState, *, downloads: bool) -> bool:
    """Returns True where a run has work left: purchases and waits, and downloads if they are wanted."""
    return state not in ENDED or (downloads and state is JobState.SUCCEEDED)
