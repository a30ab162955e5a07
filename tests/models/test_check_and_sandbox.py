"""The check of the client and the validation of the sandbox agree, except where the manual says otherwise."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator

from rivya_async._core.catalogue.model import Model, ModelList
from rivya_async._core.catalogue.model_param import REFERENCES_PARAM, ModelParam
from rivya_async._core.http import serialization
from rivya_async.sandbox import catalogue
from rivya_async.sandbox.openapi import load_document
from rivya_async.sandbox.validation import validate_generation

CATALOGUE = catalogue.load_catalogue()
MODELS = serialization.decode(CATALOGUE.listing, ModelList).data
MEDIA = [model for model in MODELS if not model.is_chat]

STRICTER = {"step", "format", "size"}
"""Problems that only the client rejects, beside unknown keys: the sandbox lets it pass, as the service may."""

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.lists(st.integers() | st.text(max_size=2), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
LINES = st.lists(
    st.fixed_dictionaries(
        {}, optional={"voice": st.sampled_from(["Adam", "", 5]), "text": st.sampled_from(["Hi.", "", "x" * 2600])}
    ),
    max_size=3,
)
ITEMS = st.lists(
    st.fixed_dictionaries(
        {"url": st.sampled_from(["https://rivya.ai/f/1", "https://rivya.ai/f/2", "https://rivya.ai/f/3", ""])},
        optional={
            "kind": st.sampled_from(["image", "image", "image", "video", "audio", "text", 5]),
            "durationToken": st.sampled_from(["dt_1", "dt_2", "dt_3", ""]),
            "mimeType": st.sampled_from(["image/png", "image/gif", "video/mp4"]),
        },
    )
    | st.integers(),
    max_size=12,
)


def values(param: ModelParam) -> st.SearchStrategy[Any]:
    """Values of which many fit."""
    if param.choices:
        return st.one_of(st.sampled_from(param.choices), st.sampled_from(param.choices), ODD)
    if param.type == "number":
        low = -1000 if param.min is None else param.min
        high = low + 1000 if param.max is None else param.max
        return st.one_of(st.integers(math.ceil(low) - 1, math.floor(high) + 1), st.floats(low, high), ODD)
    return (LINES if param.type == "array" else st.text(max_size=5)) | ODD


@st.composite
def jobs(draw: st.DrawFn, model: Model) -> dict[str, Any]:
    """The body of a purchase, right or wrong."""
    body: dict[str, Any] = {"model": model.id}
    most = model.max_prompt_length or 100
    prompt = draw(st.sampled_from(["A red kite", "A red kite", "é" * most, "é" * (most + 1), "", " \n", None, 5]))
    if prompt is not None:
        body["prompt"] = prompt
    params = {}
    for param in model.params:
        if draw(st.booleans()) or (param.required and draw(st.integers(0, 9))):
            params[param.key] = draw(values(param))
    if draw(st.integers(0, 2)) == 0:
        params[REFERENCES_PARAM] = draw(ITEMS | ODD)
    if draw(st.integers(0, 4)) == 0:
        params[draw(st.text(min_size=1, max_size=8))] = draw(ODD)
    return body if draw(st.booleans()) and not params else {**body, "params": params}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_client_and_sandbox_agree_on_every_model(model: Model) -> None:
    @settings(max_examples=80, deadline=None)
    @given(jobs(model))
    def agree(body: dict[str, Any]) -> None:
        found = list(model.problems(body.get("prompt"), body.get("params")))
        known = {f"params.{param.key}" for param in model.params}
        shared = [
            problem
            for problem in found
            if problem.reason not in STRICTER and not (problem.reason == "unknown" and problem.where not in known)
        ]
        assert bool(shared) == bool(validate_generation(CATALOGUE, body)), (found, validate_generation(CATALOGUE, body))

    agree()


def documented(model_id: str) -> OAS31Validator:
    """Returns the sandbox's own schema of an order for this model."""
    schema = {"$ref": f"#/components/schemas/GenerationRequest.{model_id}", "components": load_document()["components"]}
    return OAS31Validator(schema)


@pytest.mark.parametrize("model", [model for model in MEDIA if model.is_available], ids=lambda model: model.id)
def test_openapi_document_agrees_with_validation(model: Model) -> None:
    document = documented(model.id)

    @settings(max_examples=40, deadline=None)
    @given(jobs(model))
    def agree(body: dict[str, Any]) -> None:
        try:
            json.dumps(body, allow_nan=False).encode()
        except ValueError:
            return  # no JSON says it
        found = [
            problem for problem in validate_generation(CATALOGUE, body) if "params.dialogue is too long" not in problem
        ]
        assert document.is_valid(body) is (not found), (found, list(document.iter_errors(body)))

    agree()


def test_openapi_document_agrees_with_sandbox_on_references() -> None:
    seen = set()
    for model in CATALOGUE.models.values():
        if model.is_chat or not model.is_available:
            continue
        document = documented(model.id)
        required = {param.key: min(param.options) for param in model.params if param.required and param.options}
        for counts in itertools.product((0, 1, 3, 10, 11), (0, 1, 4), (0, 1, 4)):
            items = [
                {"url": f"https://rivya.ai/f/{n}", "kind": kind, "durationToken": "dt_1"}
                for kind, count in zip(("image", "video", "audio"), counts, strict=True)
                for n in range(count)
            ]
            body = {"model": model.id, "prompt": "A red kite", "params": {**required, REFERENCES_PARAM: items}}
            fits = validate_generation(CATALOGUE, body) == []
            assert document.is_valid(body) is fits, body
            seen.add((fits, counts))
            if fits and items and counts[1] + counts[2]:
                assert not document.is_valid(json.loads(json.dumps(body).replace("dt_1", ""))), body
    assert len({fits for fits, _ in seen}) == 2
    assert {counts for fits, counts in seen if fits} > {(10, 0, 0), (0, 1, 0), (0, 0, 1)}


@pytest.mark.parametrize("model", MEDIA, ids=lambda model: model.id)
def test_coerce_is_idempotent(model: Model) -> None:
    @settings(max_examples=20, deadline=None)
    @given(jobs(model))
    def settled(body: dict[str, Any]) -> None:
        params = body.get("params", {})
        coerced = model.coerce(params)
        assert list(coerced) == list(params)
        assert repr(model.coerce(coerced)) == repr(coerced)
        before, after = (
            {problem.where for problem in model.problems("x", each) if problem.reason == "type"}
            for each in (params, coerced)
        )
        assert after <= before
        invalid = {problem.where for problem in model.problems("x", params)}
        for key, value in params.items():
            if f"params.{key}" not in invalid:
                assert repr(coerced[key]) == repr(value)

    settled()


@pytest.mark.parametrize("model", MEDIA, ids=lambda model: model.id)
def test_coerced_python_values_are_accepted_by_sandbox(model: Model) -> None:
    said: dict[str, Any] = {}
    meant: dict[str, Any] = {}
    for param in model.params:
        if param.type == "number":
            meant[param.key] = param.max if param.min is None else param.min
            said[param.key] = str(meant[param.key])
        for choice in param.choices:
            if choice in {"true", "false"} or choice.replace(".", "", 1).isdigit():
                meant[param.key] = choice
                said[param.key] = (
                    {"true": True, "false": False}.get(choice) if choice in {"true", "false"} else float(choice)
                )
        if param.required and param.key not in said:
            needed = {"array": [{"voice": "Adam", "text": "Hi."}], "text": "https://files.example/video.mp4"}
            said[param.key] = needed.get(param.type, param.default or next(iter(param.choices), None))
            meant[param.key] = said[param.key]
    coerced = model.coerce(said)
    assert coerced == meant
    assert [type(value) for value in coerced.values()] == [type(value) for value in meant.values()]
    model.check("A red kite", coerced)
    assert validate_generation(CATALOGUE, {"model": model.id, "prompt": "A red kite", "params": coerced}) == []


@pytest.mark.parametrize("model", MEDIA, ids=lambda model: model.id)
def test_documented_defaults_are_valid(model: Model) -> None:
    defaults = {param.key: param.default for param in model.params if param.default is not None}
    if model.id == "elevenlabs-dialogue-v3":
        defaults["dialogue"] = [{"voice": "Adam", "text": "Hi."}]
    if model.id == "sora-watermark-remover":
        defaults |= {"video_url": "https://files.example/video.mp4", "upload_method": "s3"}
    model.check("A red kite", defaults)


def test_catalogue_has_every_documented_model() -> None:
    assert len(MODELS) == 58
    assert len(MEDIA) == 52


def test_listing_states_the_applied_reference_rule() -> None:
    for model in MEDIA:
        rule, known = model.reference_rules, CATALOGUE.models[model.id].references
        assert (rule is None) == (known is None), model.id
        if rule is not None and known is not None:
            assert rule.max_files == known.max_items
            assert set(rule.kinds) == {*known.kinds, *known.kinds_with_video} == set(model.file_kinds)


def test_only_chat_models_have_chat_capabilities() -> None:
    for model in MODELS:
        assert (model.chat is not None) == model.is_chat
        if model.chat is not None:
            assert model.chat.images == ("file" in model.supported_api_inputs)
            assert None not in {model.chat.web_search, model.chat.thoughts, model.chat.reasoning_efforts}
    searching = {model.id for model in MODELS if model.chat is not None and model.chat.web_search}
    assert searching == {"gemini-2-5-flash-chat", "gpt-5-2-chat", "claude-sonnet-4-6-chat"}
