"""Requests for generations are validated and copied on construction, and sent unchanged."""

from __future__ import annotations

import copy
import pickle
from collections import deque
from collections.abc import Callable
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.errors import ConfigurationError, GenerationFailedError, RateLimitError
from rivya_async._core.generation_request import GenerationRequest, Outcome, build_request, raise_if_failed
from rivya_async._core.types.generations import ErrorDetail, File, Generation, ReferenceMedia

PHOTO = ReferenceMedia("https://rivya.ai/f/1.png", "image", mime_type="image/png")
SOUND = ReferenceMedia("https://rivya.ai/f/2.mp3", "audio", duration_token="dt_1")

# --- on the wire ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "body"),
    [
        (GenerationRequest("z-image"), {"model": "z-image"}),
        (GenerationRequest("z-image", ""), {"model": "z-image", "prompt": ""}),
        (GenerationRequest("z-image", "A red kite"), {"model": "z-image", "prompt": "A red kite"}),
        (
            GenerationRequest("m", params={"aspect_ratio": "16:9", "aspectRatio": "1:1", "waterMark": "false"}),
            {"model": "m", "params": {"aspect_ratio": "16:9", "aspectRatio": "1:1", "waterMark": "false"}},
        ),
        (
            GenerationRequest("m", references=[PHOTO, SOUND], params={"seed": 5}),
            {
                "model": "m",
                "params": {
                    "seed": 5,
                    "referenceMediaItems": [
                        {"url": "https://rivya.ai/f/1.png", "kind": "image", "mimeType": "image/png"},
                        {"url": "https://rivya.ai/f/2.mp3", "kind": "audio", "durationToken": "dt_1"},
                    ],
                },
            },
        ),
        (
            GenerationRequest("m", params={"referenceMediaItems": [{"url": "u", "kind": "image", "newMember": 1}]}),
            {"model": "m", "params": {"referenceMediaItems": [{"url": "u", "kind": "image", "newMember": 1}]}},
        ),
        (GenerationRequest("m", client_request_id="mine"), {"model": "m", "client_request_id": "mine"}),
        pytest.param(GenerationRequest("m", idempotency_key="k"), {"model": "m"}, id="the-key-is-a-header"),
    ],
)
def test_body_of_request(job: GenerationRequest, body: dict[str, Any]) -> None:
    assert job.to_wire() == body


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()))
def test_params_are_sent_unchanged(params: dict[str, Any]) -> None:
    assert GenerationRequest("m", params=params).to_wire().get("params", {}) == params


def test_to_wire_returns_new_body() -> None:
    job = GenerationRequest("m", params={"seed": 5})
    job.to_wire()["params"]["seed"] = 6
    assert job.to_wire()["params"]["seed"] == 5


# --- a value ----------------------------------------------------------------------------------------------------------


def full() -> GenerationRequest:
    return GenerationRequest(
        "m", "p", params={"seed": 5}, references=[PHOTO], client_request_id="mine", idempotency_key="order-42"
    )


def test_equal_requests_hash_equally() -> None:
    assert full() == full()
    assert hash(full()) == hash(full())
    assert full() != attrs.evolve(full(), params={"seed": 6})
    assert full() == attrs.evolve(full(), references=(PHOTO,)), "a list or a tuple: the same job"


def test_only_model_and_prompt_are_positional() -> None:
    with pytest.raises(TypeError):
        GenerationRequest("m", "p", {"seed": 5})  # type: ignore[call-arg]


@pytest.mark.parametrize("travel", [lambda job: pickle.loads(pickle.dumps(job)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("params", [{"seed": 5}, MappingProxyType({"seed": 5})], ids=["dict", "proxy"])
def test_survives_pickle_and_copy(travel: Callable[[Any], Any], params: Any) -> None:
    job = attrs.evolve(full(), params=params)
    assert travel(job) == job


def test_keeps_copies_of_params_and_references() -> None:
    """A dictionary that is reused in a loop makes different jobs."""
    params: dict[str, Any] = {"seed": 1}
    references = [PHOTO]
    job = GenerationRequest("m", params=params, references=references)
    params["seed"] = 2
    references.append(SOUND)
    assert job == GenerationRequest("m", params={"seed": 1}, references=[PHOTO])


# --- invalid requests -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": ""}, "model must be the id"),
        ({"model": None}, "model must be the id"),
        ({"model": 5}, "model must be the id"),
        ({"model": b"z-image"}, "model must be the id"),
        ({"prompt": b"p"}, "prompt must be a string, not bytes"),
        ({"prompt": ["p"]}, "prompt must be a string, not list"),
        ({"params": None}, "params must be a mapping, not NoneType"),
        ({"params": [("a", 1)]}, "params must be a mapping, not list"),
        ({"params": "seed=5"}, "params must be a mapping, not str"),
        ({"params": {5: "a"}}, "keys of params must be strings"),
        ({"params": {None: "a"}}, "keys of params must be strings"),
        ({"params": {True: "a"}}, "keys of params must be strings"),
        ({"references": PHOTO}, "references must be"),
        ({"references": "a.png"}, "references must be"),
        ({"references": None}, "references must be"),
        ({"references": {PHOTO}}, "references must be"),
        ({"references": iter([PHOTO])}, "references must be"),
        ({"references": [""]}, "a reference must be a path, a File or a ReferenceMedia, not ''"),
        ({"references": [PHOTO, {"url": "u"}]}, "a reference must be a path, a File or a ReferenceMedia, not dict"),
        (
            {"references": ["https://a.example/1.png?token=x"]},
            r"needs its kind: ReferenceMedia\('https://a.example/1.png'",
        ),
        ({"references": b"ab"}, "reference"),
        ({"references": [PHOTO], "params": {"referenceMediaItems": []}}, "not both"),
        ({"client_request_id": ""}, "client_request_id must be a string of 1 to 128"),
        ({"client_request_id": "x" * 129}, "client_request_id must be a string of 1 to 128"),
        ({"client_request_id": 5}, "client_request_id must be a string of 1 to 128"),
    ],
)
def test_rejects_invalid_requests(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        GenerationRequest(**({"model": "m"} | arguments))


@pytest.mark.parametrize("length", [1, 128])
def test_client_request_id_length(length: int) -> None:
    assert GenerationRequest("m", client_request_id="x" * length).client_request_id == "x" * length


def test_paths_are_local_references() -> None:
    job = GenerationRequest("z-image", references=["a.png", PHOTO, PurePath("b") / "c.mp4"])
    assert job.paths == ["a.png", PurePath("b/c.mp4")]
    assert pickle.loads(pickle.dumps(job)) == job
    with pytest.raises(ConfigurationError, match=r"a\.png has not been uploaded"):
        job.to_wire()


def test_uploaded_file_is_reference() -> None:
    file = File("file_1", "https://rivya.ai/f/1.mp4", "video", duration_seconds=2.5, duration_token="dt_1")
    given = [file]
    job = GenerationRequest("wan-2-6", references=given)
    assert job.references == (file,)
    assert given == [file]
    assert job.paths == []
    assert job.to_wire()["params"]["referenceMediaItems"] == [
        {"url": "https://rivya.ai/f/1.mp4", "kind": "video", "durationSeconds": 2.5, "durationToken": "dt_1"}
    ]
    assert GenerationRequest("wan-2-6", references=deque([file])) == job


JOB = GenerationRequest("z-image", "A red kite")
DONE = Generation("task_1", "succeeded", "z-image")
FAILED = Generation("task_1", "failed", "z-image", error=ErrorDetail("generation_failed", "The model gave up."))


def test_successful_outcome() -> None:
    outcome = Outcome(JOB, DONE)
    assert outcome.ok
    assert outcome.unwrap() is DONE


@pytest.mark.parametrize("generation", [None, FAILED])
def test_failed_outcome_raises_its_error(generation: Generation | None) -> None:
    error = RateLimitError("too many")
    outcome = Outcome(JOB, generation, error)
    assert not outcome.ok
    with pytest.raises(RateLimitError) as caught:
        outcome.unwrap()
    assert caught.value is error


def test_empty_outcome_raises() -> None:
    with pytest.raises(ConfigurationError, match="neither"):
        Outcome(JOB).unwrap()


def test_outcome_is_a_value() -> None:
    assert Outcome(JOB, DONE) == Outcome(JOB, DONE)
    assert len({Outcome(JOB, DONE), Outcome(JOB, DONE)}) == 1
    arrived = pickle.loads(pickle.dumps(Outcome(JOB, None, RateLimitError("too many", retry_after=2.0))))
    assert arrived.request == JOB
    assert isinstance(arrived.error, RateLimitError)
    assert arrived.error.retry_after == 2.0


@pytest.mark.parametrize("status", ["queued", "processing", "succeeded", "some_new_status"])
def test_raise_if_failed_passes_other_records(status: str) -> None:
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
def test_raise_if_failed_has_reason_and_cost(error: ErrorDetail | None, why: str) -> None:
    generation = Generation("task_1", "failed", "z-image", error=error)
    with pytest.raises(GenerationFailedError) as caught:
        raise_if_failed(generation)
    assert why in str(caught.value)
    assert "task_1" in str(caught.value)
    assert caught.value.generation is generation
    assert caught.value.task_id == "task_1"


# --- arguments of a submit --------------------------------------------------------------------------------------------


def test_build_request_from_parts() -> None:
    built = build_request("z-image", "A kite", params={"seed": 1}, references=[PHOTO], client_request_id="r")
    assert built == GenerationRequest(
        "z-image", "A kite", params={"seed": 1}, references=[PHOTO], client_request_id="r"
    )
    with pytest.raises(ConfigurationError) as raised:
        build_request("", idempotency_key="k")
    assert raised.value.idempotency_key == "k"


def test_build_request_accepts_request_with_key_only() -> None:
    job = GenerationRequest("z-image", "A kite")
    assert build_request(job) is job
    assert build_request(job, idempotency_key="k") == attrs.evolve(job, idempotency_key="k")
    with pytest.raises(ConfigurationError, match="or its parts") as raised:
        build_request(job, "Another kite", idempotency_key="k")
    assert raised.value.idempotency_key == "k"
