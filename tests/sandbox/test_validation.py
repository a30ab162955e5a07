"""Validation against the whole catalogue: what every page shows is accepted, what breaks a rule is named."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async.sandbox import catalogue
from rivya_async.sandbox.catalogue import UNDOCUMENTED_MAX_REFERENCES, Catalogue, Model, Param
from rivya_async.sandbox.validation import validate_generation, validate_input

CATALOGUE = catalogue.load_catalogue()
MEDIA = [model for model in CATALOGUE.models.values() if not model.is_chat]
DIALOGUE = [{"voice": "Adam", "text": "Hello."}]
PARAMS = [pytest.param(model, param, id=f"{model.id}-{param.key}") for model in MEDIA for param in model.params]

each_model = pytest.mark.parametrize("model", MEDIA, ids=lambda model: model.id)


def required_params(model: Model) -> dict[str, Any]:
    """Returns the required params of a model."""
    values = {"dialogue": DIALOGUE, "video_url": "https://files.example/video.mp4", "upload_method": "s3"}
    return {param.key: values.get(param.key, param.default) for param in model.params if param.required}


def problems_with(model: Model, key: str, value: object) -> list[str]:
    return validate_input(model, "x", {**required_params(model), key: value})


def reference(kind: str) -> dict[str, str]:
    item = {"url": f"https://files.example/{kind}", "kind": kind}
    return item if kind == "image" else {**item, "durationToken": "dt"}


# --- the catalogue ----------------------------------------------------------------------------------------------------


def test_listing_has_no_unknown_values_except_nullable_ones() -> None:
    listing = json.loads(CATALOGUE.listing)
    assert set(listing) == {"object", "data"}
    assert len({entry["id"] for entry in listing["data"]}) == 58
    nullable = {"max_prompt_length", "reference_media", "chat_capabilities"}
    for entry in listing["data"]:
        assert {key for key, value in entry.items() if value is None} <= nullable, entry["id"]
    by_id = {entry["id"]: entry for entry in listing["data"]}
    assert by_id["gpt-5-2-chat"]["runtime"] == "chat"
    assert by_id["sora-2"]["runtime"] == "async_task"
    assert by_id["wan-2-2-animate-replace"]["url_input_supported"] is True
    assert by_id["flux-2-pro"]["requires_files_api"] is False


# --- valid requests ---------------------------------------------------------------------------------------------------


@each_model
def test_accepts_required_params_and_documented_defaults(model: Model) -> None:
    defaults = {**model.filled({}), **required_params(model)}
    assert validate_input(model, "x", required_params(model)) == []
    assert validate_input(model, "x", defaults) == []
    assert validate_generation(CATALOGUE, {"model": model.id, "prompt": "x", "params": defaults}) == []


@each_model
def test_accepts_every_option(model: Model) -> None:
    for param in model.params:
        for option in param.options:
            assert problems_with(model, param.key, option) == []


@each_model
def test_enforces_exact_prompt_limit(model: Model) -> None:
    if model.max_prompt_length is None:
        assert validate_input(model, "x" * 100_000, required_params(model)) == []
        return
    assert validate_input(model, "é" * model.max_prompt_length, required_params(model)) == []
    assert "too long" in validate_input(model, "é" * (model.max_prompt_length + 1), required_params(model))[0]


def test_ignores_unknown_params_and_members() -> None:
    body = {"model": "z-image", "prompt": "x", "params": {"num_frames": None, "x": [1]}, "note": 1}
    assert validate_generation(CATALOGUE, body) == []


@pytest.mark.parametrize("body", [{}, {"params": None}, {"client_request_id": None}, {"client_request_id": "x" * 128}])
def test_accepts_absent_members(body: dict[str, Any]) -> None:
    assert validate_generation(CATALOGUE, {"model": "z-image", "prompt": "x", **body}) == []


# --- invalid requests -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "not a model"),
        ({"model": None}, "not a model"),
        ({"model": ["z-image"]}, "not a model"),
        ({"model": "z-image-9"}, "not a model"),
        ({"model": "gpt-5-2-chat", "prompt": "x"}, "chat model"),
        ({"model": "z-image"}, "prompt is required"),
        ({"model": "z-image", "prompt": None}, "prompt is required"),
        ({"model": "z-image", "prompt": ""}, "prompt is required"),
        ({"model": "z-image", "prompt": " \n"}, "prompt is required"),
        ({"model": "z-image", "prompt": 5}, "prompt must be a string"),
        ({"model": "wan-2-2-animate-replace", "prompt": 5}, "prompt must be a string"),
        ({"model": "z-image", "prompt": "x", "params": []}, "params must be an object"),
        ({"model": "z-image", "prompt": "x", "params": "{}"}, "params must be an object"),
        ({"model": "z-image", "prompt": "x", "files": []}, "files is not a field"),
        ({"model": "z-image", "prompt": "x", "client_request_id": "x" * 129}, "client_request_id"),
        ({"model": "z-image", "prompt": "x", "client_request_id": 5}, "client_request_id"),
        ({"model": "elevenlabs-turbo-2-5", "prompt": "x"}, "params.voice is required"),
        ({"model": "elevenlabs-turbo-2-5", "prompt": "x", "params": {"voice": None}}, "params.voice is required"),
        ({"model": "elevenlabs-dialogue-v3"}, "params.dialogue is required"),
    ],
)
def test_rejects_invalid_body(body: dict[str, Any], text: str) -> None:
    found = validate_generation(CATALOGUE, body)
    assert len(found) == 1
    assert text in found[0]


def test_reports_all_problems_at_once() -> None:
    body = {"model": "kling-2-6", "files": [], "params": {"duration": 5, "sound": False}}
    assert len(validate_generation(CATALOGUE, body)) == 4


def test_rejects_unavailable_model() -> None:
    facts: dict[str, Any] = {"prompt_optional": [], "reference_caps": {}, "reference_rule_unseen": {}}
    entry = {**json.loads(CATALOGUE.listing)["data"][0], "api_status": "coming_soon"}
    soon: Catalogue = catalogue.parse_catalogue({**facts, "data": [entry]})
    assert "not available" in validate_generation(soon, {"model": "z-image", "prompt": "x"})[0]


@pytest.mark.parametrize(("model", "param"), PARAMS)
def test_rejects_values_of_wrong_type(model: Model, param: Param) -> None:
    wrong: dict[str, list[object]] = {
        "select": [5, True, "no such option", ["16:9"], {}],
        "number": [True, "5", [], math.nan, math.inf, -math.inf],
        "text": [5, True, [], None],
        "array": [
            "x",
            [],
            {},
            [5],
            [{}],
            [{"voice": "Adam"}],
            [{"voice": "Adam", "text": ""}],
            [{"voice": 1, "text": "x"}],
        ],
    }
    for value in wrong[param.type]:
        found = problems_with(model, param.key, value)
        assert len(found) == 1, value
        assert f"params.{param.key}" in found[0]


@pytest.mark.parametrize(
    ("model", "param"),
    [p for p in PARAMS if p.values[1].type == "number"],  # type: ignore[union-attr]
)
def test_number_ranges_are_inclusive(model: Model, param: Param) -> None:
    for bound, outside in ((param.min, -1), (param.max, 1)):
        if bound is not None:
            assert problems_with(model, param.key, bound) == []
            assert "must be from" in problems_with(model, param.key, bound + outside)[0]


def test_accepts_huge_number_without_maximum() -> None:
    assert problems_with(CATALOGUE.models["ideogram-v3"], "seed", 10**400) == []


def test_applies_prompt_limit_to_dialogue() -> None:
    model = CATALOGUE.models["elevenlabs-dialogue-v3"]
    lines = [{"voice": "Adam", "text": "x" * 2500}, {"voice": "Alice", "text": "y" * 2500}]
    assert validate_input(model, None, {"dialogue": lines}) == []
    assert "too long" in validate_input(model, None, {"dialogue": [*lines, *DIALOGUE]})[0]


# --- references -------------------------------------------------------------------------------------------------------


@each_model
def test_enforces_exact_reference_limits(model: Model) -> None:
    key = "referenceMediaItems"
    assert problems_with(model, key, []) == []
    if model.references is None:
        assert "takes no references" in problems_with(model, key, [reference("image")])[0]
        return
    kinds_with_video = model.references.kinds_with_video
    for kind in model.references.kinds:
        most = (kinds_with_video if kind == "video" and kinds_with_video else model.references.kinds)[kind]
        assert problems_with(model, key, [reference(kind)] * most) == []
        assert problems_with(model, key, [reference(kind)] * (most + 1)) != []
    assert "kind 'text'" in problems_with(model, key, [reference("text")])[0]


@pytest.mark.parametrize(
    ("model", "kinds", "is_fine"),
    [
        ("happyhorse-1-0", "image " * 9, True),
        ("happyhorse-1-0", "video " + "image " * 5, True),
        ("happyhorse-1-0", "video", True),
        ("happyhorse-1-0", "image " * 10, False),
        ("happyhorse-1-0", "video " + "image " * 6, False),
        ("happyhorse-1-0", "video video", False),
        ("wan-2-6", "video", True),
        ("wan-2-6", "video image", False),
        ("seedance-1-0-lite", "image image", True),
        ("seedance-1-0-lite", "image image image", False),
        ("seedream-4-0", "image " * UNDOCUMENTED_MAX_REFERENCES, True),
        ("wan-2-2-a14b-turbo", "image audio", True),
        ("seedream-4-0", "audio", False),
        ("qwen-image", "image image", False),
        ("qwen-image", "video", False),
        ("z-image", "image", False),
    ],
)
def test_applies_documented_reference_rules(model: str, kinds: str, is_fine: bool) -> None:
    found = problems_with(CATALOGUE.models[model], "referenceMediaItems", [reference(kind) for kind in kinds.split()])
    assert (found == []) is is_fine


@pytest.mark.parametrize(
    ("items", "text"),
    [
        (None, "must be a list"),
        ({}, "must be a list"),
        (["https://x"], "strings url and kind"),
        ([{"url": "https://x"}], "strings url and kind"),
        ([{"kind": "image"}], "strings url and kind"),
        ([{"url": "", "kind": "image"}], "strings url and kind"),
        ([{"url": "https://x", "kind": 1}], "strings url and kind"),
        ([{"url": "https://x", "kind": "video"}], "durationToken is required"),
        ([{"url": "https://x", "kind": "video", "durationToken": 1}], "durationToken is required"),
    ],
)
def test_rejects_malformed_references(items: object, text: str) -> None:
    found = problems_with(CATALOGUE.models["wan-2-6"], "referenceMediaItems", items)
    assert len(found) == 1
    assert text in found[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(MEDIA), JSON, JSON)
def test_validation_accepts_any_json_without_exception(model: Model, prompt: object, value: object) -> None:
    keys = [*(param.key for param in model.params), "referenceMediaItems"]
    for body in (
        {"params": dict.fromkeys(keys, value)},
        {"params": value},
        {"params": {"referenceMediaItems": [value]}},
    ):
        assert all(validate_generation(CATALOGUE, {"model": model.id, "prompt": prompt, **body}))
