from __future__ import annotations

from typing import Any

import pytest

from rivya_async._core.errors import ConfigurationError, ValidationFailed
from rivya_async._core.model import Model
from rivya_async._core.model_param import ModelParam
from rivya_async.cli.values import checked_params, nearest

PARAMS = (
    ModelParam(key="aspect_ratio", type="select", options=("1:1", "16:9", "9:16")),
    ModelParam(key="duration", type="select", options=("5", "10")),
    ModelParam(key="sound", type="select", options=("false", "true")),
    ModelParam(key="style", type="select", options=("AUTO", "DESIGN")),
    ModelParam(key="anything", type="select"),
    ModelParam(key="cfg_scale", type="number", min=0, max=1),
    ModelParam(key="seed", type="number", min=0),
    ModelParam(key="low", type="number", max=9),
    ModelParam(key="negative_prompt", type="text"),
    ModelParam(key="dialogue", type="array"),
    ModelParam(key="novel", type="a type of tomorrow"),
)
MODEL = Model(id="m-1", category="video", api_status="available", params=PARAMS)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("aspect_ratio=16:9", "16:9"),
        ("duration=5", "5"),
        ("sound=true", "true"),
        ("anything=goes", "goes"),
        ("cfg_scale=0.5", 0.5),
        ("seed=7", 7),
        ("seed=1e3", 1000.0),
        ("negative_prompt=", ""),
        ("negative_prompt=a=b", "a=b"),
        ("negative_prompt=5", "5"),
        ('dialogue=[{"voice": "Adam", "text": "Hello"}]', [{"voice": "Adam", "text": "Hello"}]),
        ("novel=true", True),
        ('referenceMediaItems=[{"url": "u", "kind": "image"}]', [{"url": "u", "kind": "image"}]),
    ],
)
def test_values_take_the_type_of_the_catalogue(given: str, value: Any) -> None:
    (found,) = checked_params(MODEL, [given]).values()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("aspectRatio=16:9", "no param 'aspectRatio' (did you mean 'aspect_ratio'?)"),
        ("aspect_ratio=16:10", "aspect_ratio cannot be '16:10' (did you mean"),
        ("style=design", "style cannot be 'design' (did you mean 'DESIGN'?)"),
        ("duration=7", "duration cannot be '7' (there are 5, 10)"),
        ("cfg_scale=2", "cfg_scale must be from 0 to 1, not 2"),
        ("seed=-1", "seed must be 0 or more, not -1"),
        ("low=10", "low must be 9 or less, not 10"),
        ("seed=many", "seed must be a number, not 'many'"),
        ("cfg_scale=nan", "cfg_scale must be from 0 to 1, not nan"),
        ("seed=inf", "seed must be 0 or more, not inf"),
        ("dialogue=[oops", "dialogue must be JSON"),
        ("referenceMediaItems={}", "referenceMediaItems must be a JSON list"),
    ],
)
def test_what_does_not_fit_names_what_would(given: str, told: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        checked_params(MODEL, [given])
    assert told in refused.value.message
    assert refused.value.message.endswith("Nothing was bought.")


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ValidationFailed) as refused:
        checked_params(MODEL, ["aspectratio=1:1", "duration=6", "seed=x"])
    assert all(key in refused.value.message for key in ("aspectratio", "duration", "seed"))


@pytest.mark.parametrize("given", ["aspect_ratio", "=1:1", ""])
def test_what_is_no_pair_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError, match="KEY=VALUE"):
        checked_params(MODEL, [given])


def test_a_required_param_is_asked_for_with_a_value_to_copy() -> None:
    voice = ModelParam(key="voice", type="select", required=True, default="Adam", options=("Adam", "Alice"))
    with pytest.raises(ValidationFailed, match="voice is required: -p voice=Adam"):
        checked_params(Model(id="m", params=(voice,)), [])
    with pytest.raises(ValidationFailed) as refused:
        checked_params(Model(id="m", params=(voice,)), ["voice=Adan"])
    assert "required" not in refused.value.message


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Model(id="talk", category="chat"), "talk is a chat model"),
        (Model(id="soon", category="image", api_status="coming_soon"), "it is 'coming_soon'"),
    ],
)
def test_a_model_that_cannot_be_bought_is_refused(model: Model, told: str) -> None:
    with pytest.raises(ValidationFailed, match=told):
        checked_params(model, [])


@pytest.mark.parametrize(
    ("known", "told"),
    [(["a"], "(there is a)"), ([], "(there are none)"), ([str(n) for n in range(99)], "10, 11, ...)")],
)
def test_without_a_near_name_the_choice_is_shown(known: list[str], told: str) -> None:
    assert nearest("unlike any", known).endswith(told)
