"""The transitions of a job: every pair of states."""

from __future__ import annotations

import itertools

import pytest

from rivya_async import ConfigurationError
from rivya_async._jobs.transitions import (
    CONCURRENT_TRANSITIONS,
    TRANSITIONS,
    JobState,
    check_transition,
    is_open,
    sources_of,
)


@pytest.mark.parametrize(("old", "new"), list(itertools.product(JobState, JobState)))
def test_only_the_transitions_of_the_table_are_allowed(old: JobState, new: JobState) -> None:
    if new in TRANSITIONS[old]:
        assert check_transition(old, new) is new
    else:
        with pytest.raises(ConfigurationError, match=f"a job that is {old} cannot become {new}"):
            check_transition(old, new)


def test_a_purchase_is_never_sent_but_from_an_intent() -> None:
    assert [old for old in JobState if JobState.SUBMITTED in TRANSITIONS[old]] == [JobState.INTENT, JobState.DEAD]


def test_the_result_of_a_purchase_replaces_only_states_without_a_result() -> None:
    results = {JobState.SUCCEEDED, JobState.FAILED, JobState.DOWNLOADED}
    assert not sources_of(JobState.SUBMITTED) & {*results, JobState.SUBMITTED}
    assert sources_of(JobState.SUCCEEDED) == sources_of(JobState.FAILED) == {JobState.SUBMITTED, JobState.DEAD}


def test_the_two_tables_do_not_repeat_each_other() -> None:
    assert not [old for old, new in CONCURRENT_TRANSITIONS.items() if new & TRANSITIONS[old]]


def test_remaining_work_depends_on_downloads() -> None:
    open_states = {state for state in JobState if is_open(state, downloads=False)}
    assert open_states == {JobState.PLANNED, JobState.INTENT, JobState.SUBMITTED}
    assert {state for state in JobState if is_open(state, downloads=True)} == open_states | {JobState.SUCCEEDED}
