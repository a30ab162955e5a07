"""What a purchase asks for: checked and kept when it is made, and sent as it was given."""

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

from rivya_async._core.errors import ConfigurationError
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.types.generations import File, ReferenceMedia

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
def test_the_body_of_the_request(job: GenerationRequest, body: dict[str, Any]) -> None:
    assert job.to_wire() == body


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()))
def test_params_travel_untouched(params: dict[str, Any]) -> None:
    assert GenerationRequest("m", params=params).to_wire().get("params", {}) == params


def test_a_body_is_made_anew_each_time() -> None:
    job = GenerationRequest("m", params={"seed": 5})
    job.to_wire()["params"]["seed"] = 6
    assert job.to_wire()["params"]["seed"] == 5


# --- a value ----------------------------------------------------------------------------------------------------------


def full() -> GenerationRequest:
    return GenerationRequest(
        "m", "p", params={"seed": 5}, references=[PHOTO], client_request_id="mine", idempotency_key="order-42"
    )


def test_equal_jobs_are_equal_and_hash_alike() -> None:
    assert full() == full()
    assert hash(full()) == hash(full())
    assert full() != attrs.evolve(full(), params={"seed": 6})
    assert full() == attrs.evolve(full(), references=(PHOTO,)), "a list or a tuple: the same job"


def test_only_model_and_prompt_come_by_place() -> None:
    with pytest.raises(TypeError):
        GenerationRequest("m", "p", {"seed": 5})  # type: ignore[call-arg]


@pytest.mark.parametrize("travel", [lambda job: pickle.loads(pickle.dumps(job)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("params", [{"seed": 5}, MappingProxyType({"seed": 5})], ids=["dict", "proxy"])
def test_a_job_survives_travel(travel: Callable[[Any], Any], params: Any) -> None:
    job = attrs.evolve(full(), params=params)
    assert travel(job) == job


def test_a_job_is_not_changed_by_what_happens_to_its_parts() -> None:
    """One dictionary filled anew in a loop makes different jobs, even if they are sent later."""
    params: dict[str, Any] = {"seed": 1}
    references = [PHOTO]
    job = GenerationRequest("m", params=params, references=references)
    params["seed"] = 2
    references.append(SOUND)
    assert job == GenerationRequest("m", params={"seed": 1}, references=[PHOTO])


# --- what could not be a job for any model ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
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
def test_what_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        GenerationRequest(**({"model": "m"} | arguments))


@pytest.mark.parametrize("length", [1, 128])
def test_the_longest_and_the_shortest_trace_id(length: int) -> None:
    assert GenerationRequest("m", client_request_id="x" * length).client_request_id == "x" * length


def test_files_of_this_machine_wait_for_a_session() -> None:
    job = GenerationRequest("z-image", references=["a.png", PHOTO, PurePath("b") / "c.mp4"])
    assert job.paths == ["a.png", PurePath("b/c.mp4")]
    assert pickle.loads(pickle.dumps(job)) == job
    with pytest.raises(ConfigurationError, match=r"a\.png has not been uploaded"):
        job.to_wire()


def test_an_uploaded_file_is_a_reference() -> None:
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
