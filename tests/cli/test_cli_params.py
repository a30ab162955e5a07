from __future__ import annotations

from typing import Any

import click
import pytest

from rivya_async import PriceEstimate
from rivya_async._core.catalogue.model import Model
from rivya_async._core.catalogue.model_param import ModelParam
from rivya_async._core.errors import ConfigurationError
from rivya_async.cli.commands.generations import format_estimate, parse_params
from rivya_async.cli.options import KeyValue

PAIR = KeyValue("KEY=VALUE", "seed=7")

PARAMS = (
    ModelParam(key="aspect_ratio", type="select", options=("1:1", "16:9", "9:16")),
    ModelParam(key="duration", type="select", options=("5", "10")),
    ModelParam(key="sound", type="select", options=("false", "true")),
    ModelParam(key="anything", type="select"),
    ModelParam(key="cfg_scale", type="number", min=0, max=1),
    ModelParam(key="seed", type="number", min=0),
    ModelParam(key="negative_prompt", type="text"),
    ModelParam(key="dialogue", type="array"),
    ModelParam(key="novel", type="a type of tomorrow"),
    ModelParam(key="bare"),
)
UNKNOWN = PriceEstimate(None, "unknown", "")
MODEL = Model(id="m-1", category="video", api_status="available", params=PARAMS)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("aspect_ratio=16:9", "16:9"),
        ("aspect_ratio=16:10", "16:10"),
        ("duration=5", "5"),
        ("sound=true", "true"),
        ("anything=goes", "goes"),
        ("cfg_scale=0.5", 0.5),
        ("cfg_scale=much", "much"),
        ("seed=7", 7),
        ("seed=1e3", 1000.0),
        ("negative_prompt=", ""),
        ("negative_prompt=a=b", "a=b"),
        ("negative_prompt=5", "5"),
        ('dialogue=[{"voice": "Adam", "text": "Hello"}]', [{"voice": "Adam", "text": "Hello"}]),
        ("novel=true", True),
        ("bare=true", "true"),
        ("unknown=5", "5"),
        ('referenceMediaItems=[{"url": "u", "kind": "image"}]', [{"url": "u", "kind": "image"}]),
    ],
)
def test_values_are_converted_by_catalogue(given: str, value: Any) -> None:
    (found,) = parse_params(MODEL, [PAIR(given)]).values()
    assert found == value
    assert type(found) is type(value)


def test_values_without_catalogue_are_text() -> None:
    given = ["seed=7", "novel=true", "referenceMediaItems=[]"]
    assert parse_params(None, map(PAIR, given)) == {"seed": "7", "novel": "true", "referenceMediaItems": []}


@pytest.mark.parametrize("given", ["aspect_ratio", "=1:1", ""])
def test_rejects_text_without_equals_sign(given: str) -> None:
    with pytest.raises(click.BadParameter, match="KEY=VALUE"):
        PAIR(given)


@pytest.mark.parametrize("given", ["dialogue=[oops", "referenceMediaItems=x", "novel=yes"])
def test_rejects_invalid_json(given: str) -> None:
    with pytest.raises(ConfigurationError, match="must be JSON"):
        parse_params(MODEL, [PAIR(given)])


@pytest.mark.parametrize(
    ("model", "price", "expected"),
    [
        (Model("m"), PriceEstimate(5, "exact", "base"), "3 jobs of m: about 15 credits."),
        (Model("m"), PriceEstimate(5, "lower_bound", "base"), "3 jobs of m: at least 15 credits (base)."),
        (Model("m"), PriceEstimate(None, "unknown", "", 7), "3 jobs of m: at most 21 credits."),
        (Model("m", billing_type="METERED", base_credits=2), UNKNOWN, "it costs (METERED, from 2 credits each)."),
        (Model("m"), UNKNOWN, "3 jobs of m: the catalogue does not say what it costs (no price)."),
    ],
)
def test_format_estimate(model: Model, price: PriceEstimate, expected: str) -> None:
    assert format_estimate(model, price, 3).endswith(expected)
