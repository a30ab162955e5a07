"""The functions of the catalogue match their models, and their types."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from typing import Any, get_args

import pytest

import rivya_async.catalogue
from rivya_async import GenerationRequest, Model, ModelParam, ReferenceMedia, RivyaSession, catalogue
from rivya_async.catalogue import functions
from rivya_async.catalogue.__main__ import STUB, build_stub
from rivya_async.sandbox import Sandbox

NAMES = sorted(functions.models_by_name())
LINE = {"voice": "Adam", "text": "Hello"}


def valid_values(param: ModelParam) -> list[Any]:
    """Returns values that the model accepts, as a user may write them."""
    if param.type == "array":
        return [[LINE]]
    if param.type == "select":
        return [*param.choices, *map(functions._converted, param.choices)]
    if param.type == "number":
        return [value for value in (param.min, param.max, param.default) if value is not None] or [1]
    return ["text"]


def references_for(model: Model) -> list[ReferenceMedia]:
    rules = model.reference_rules
    if rules is None:
        return []
    kind = next(iter(rules.kinds), "image")
    return [ReferenceMedia("https://rivya.ai/f/1", kind, duration_token="token")]


def call(name: str, **params: Any) -> GenerationRequest:
    function, model = getattr(catalogue, name), functions.models_by_name()[name]
    required = {param.key: valid_values(param)[0] for param in model.params if param.required}
    prompt = ["A red kite"] if model.needs_prompt else []
    request: GenerationRequest = function(*prompt, **{**required, **params})
    return request


def test_stub_is_current() -> None:
    assert STUB.read_text() == build_stub(), "run python -m rivya_async.catalogue"


@pytest.mark.parametrize("name", NAMES)
def test_every_value_of_every_param_passes_the_check(name: str) -> None:
    model = functions.models_by_name()[name]
    request = call(name)
    assert request.model == model.id
    model.check(request.prompt, request.params)
    for param in model.params:
        for value in valid_values(param):
            request = call(name, **{param.key: value})
            model.check(request.prompt, request.params, request.references)
    if references_for(model):
        request = call(name, references=references_for(model))
        model.check(request.prompt, request.params, request.references)


@pytest.mark.parametrize("name", NAMES)
def test_signature_documents_the_params(name: str) -> None:
    function, model = getattr(catalogue, name), functions.models_by_name()[name]
    parameters = inspect.signature(function).parameters
    assert {param.key for param in model.params} <= set(parameters)
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in list(parameters.values())[1:])
    for param in model.params:
        default = parameters[param.key].default
        assert default == (inspect.Parameter.empty if param.required else param.default)
        if param.choices:
            literal = next((each for each in get_args(parameters[param.key].annotation) if get_args(each)), None)
            options = get_args(literal or parameters[param.key].annotation)
            assert set(param.choices) <= {option for option in options if isinstance(option, str)}
        assert f"{param.key}: " in function.__doc__
    assert "credit" in function.__doc__
    assert pickle.loads(pickle.dumps(function)) is function


async def test_requests_pass_the_check_of_the_service() -> None:
    async with Sandbox() as sandbox, RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
        served = await session.models.list()
        assert {model.id for model in served} == set(catalogue.models()) == set(get_args(catalogue.ModelId))
        for model in served:
            if not model.is_chat:
                request = call(functions.function_name(model.id))
                model.check(request.prompt, request.params, request.references)
        job = await session.submit(catalogue.kling_3_0("A red kite", duration=10, sound=False), check=True)
    assert job.model == "kling-3-0"


def test_values_are_converted_and_defaults_are_not_sent() -> None:
    request = catalogue.kling_3_0("A red kite", duration=10, sound=False, idempotency_key="order-1")
    assert request == GenerationRequest(
        "kling-3-0", "A red kite", params={"duration": "10", "sound": "false"}, idempotency_key="order-1"
    )
    assert catalogue.qwen2_image("A red kite", seed=None).params == {}


def test_misspelt_names_are_errors_with_suggestions() -> None:
    with pytest.raises(AttributeError, match="did you mean 'kling_3_0'"):
        _ = getattr(catalogue, "kling_30")  # noqa: B009 - type checkers find it
    with pytest.raises(AttributeError, match=r"session\.chat\.completions"):
        _ = getattr(catalogue, "gpt_5_2_chat")  # noqa: B009
    with pytest.raises(TypeError, match=r"kling_3_0\(\): .*'duratoin' \(did you mean 'duration'\?\)"):
        catalogue.kling_3_0("x", duratoin=5)  # type: ignore[call-arg] # the misspelt name is the test
    with pytest.raises(TypeError, match="missing a required argument: 'prompt'"):
        catalogue.z_image()  # type: ignore[call-arg] # the missing prompt is the test


def test_ids_that_are_no_names_have_a_function() -> None:
    assert catalogue.model_4o_image("A red kite").model == "4o-image"
    assert getattr(catalogue, "4o_image")("A red kite").model == "4o-image"


def test_completion_lists_every_name() -> None:
    assert dir(catalogue) == sorted([*NAMES, "DialogueLine", "ModelId", "models"])
    assert set(dir(catalogue)) == set(rivya_async.catalogue.functions.public_names())


def test_import_of_the_package_does_not_build_the_catalogue() -> None:
    code = "import sys, rivya_async; assert not any('catalogue' in name for name in sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
