"""How a purchase ended: with a record, with an error, or with both."""

from __future__ import annotations

import pickle

import pytest

from rivya_async._core.errors import ConfigurationError, GenerationFailedError, RateLimitError
from rivya_async._core.generation_request import GenerationRequest, Outcome, raise_if_failed
from rivya_async._core.types.generations import ErrorDetail, Generation

JOB = GenerationRequest("z-image", "A red kite")
DONE = Generation("task_1", "succeeded", "z-image")
FAILED = Generation("task_1", "failed", "z-image", error=ErrorDetail("generation_failed", "The model gave up."))


def test_a_good_outcome() -> None:
    outcome = Outcome(JOB, DONE)
    assert outcome.ok
    assert outcome.unwrap() is DONE


@pytest.mark.parametrize("generation", [None, FAILED])
def test_a_bad_outcome_raises_its_error(generation: Generation | None) -> None:
    error = RateLimitError("too many")
    outcome = Outcome(JOB, generation, error)
    assert not outcome.ok
    with pytest.raises(RateLimitError) as caught:
        outcome.unwrap()
    assert caught.value is error


def test_an_outcome_built_by_hand_of_nothing_says_so() -> None:
    with pytest.raises(ConfigurationError, match="neither"):
        Outcome(JOB).unwrap()


def test_an_outcome_is_a_value() -> None:
    assert Outcome(JOB, DONE) == Outcome(JOB, DONE)
    assert len({Outcome(JOB, DONE), Outcome(JOB, DONE)}) == 1
    arrived = pickle.loads(pickle.dumps(Outcome(JOB, None, RateLimitError("too many", retry_after=2.0))))
    assert arrived.request == JOB
    assert isinstance(arrived.error, RateLimitError)
    assert arrived.error.retry_after == 2.0


@pytest.mark.parametrize("status", ["queued", "processing", "succeeded", "some_new_status"])
def test_what_did_not_fail_passes(status: str) -> None:
    generation = Generation("task_1", status, "z-image")
    assert raise_if_failed(generation) is generation


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ErrorDetail("generation_failed", "The model gave up."), "generation_failed: The model gave up."),
        (ErrorDetail("some_new_code"), "some_new_code"),
        (None, "no reason given"),
    ],
)
def test_a_failed_job_is_an_error_that_tells_why_and_what_it_cost(error: ErrorDetail | None, why: str) -> None:
    generation = Generation("task_1", "failed", "z-image", error=error)
    with pytest.raises(GenerationFailedError) as caught:
        raise_if_failed(generation)
    assert why in str(caught.value)
    assert "task_1" in str(caught.value)
    assert caught.value.generation is generation
    assert caught.value.task_id == "task_1"
