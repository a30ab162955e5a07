"""Estimates of prices from the catalogue and from purchases, and the dumps of learned prices."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async import PriceEstimate
from rivya_async._core.catalogue.learned_prices import MAX_OPEN_JOBS, LearnedPrices
from rivya_async._core.catalogue.model import Model, bind_prices
from rivya_async._core.catalogue.model_param import REFERENCES_PARAM, ModelParam
from rivya_async._core.catalogue.price_codec import (
    MAX_MODELS,
    MAX_NAMES,
    MAX_PARAMS,
    MAX_PRICES,
    MAX_TOTAL_PRICES,
    STEADY_OBSERVATIONS,
    load_prices,
)
from rivya_async._core.catalogue.price_params import compare_values, is_price_param, price_value
from rivya_async._core.chat.request import ChatRequest
from rivya_async._core.errors import ConfigurationError
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.types.generations import ReferenceMedia

IMAGE = ReferenceMedia("https://rivya.ai/f/1.png", "image")
UNREADABLE_VALUES: tuple[Any, ...] = ("x" * 33, None, [1], {}, math.nan, math.inf, 10**400, b"5")
INVALID_VALUES: tuple[Any, ...] = (None, [], {"a": 5}, {5: "a"}, {"a": "x" * 33}, {"x" * 65: "a"})
INVALID_CREDITS: tuple[Any, ...] = (None, 5, [], [5, 5], [5, 6, 7], [8, 6, 7], [0, 0, 0], [5, math.nan, 5])
PARAMS = (
    ModelParam("rendering_speed", "select", default="BALANCED", options=("TURBO", "BALANCED", "QUALITY")),
    ModelParam("duration", "number", default=5),
    ModelParam("size", "select", default="1:1", options=("1:1", "16:9")),
    ModelParam("style", "select", default="AUTO", options=("AUTO", "DESIGN")),
    ModelParam("mode", "select"),
)


def model_with(prices: LearnedPrices | None = None, **facts: Any) -> Model:
    model = Model(**{"id": "m", "billing_type": "FIXED", "base_credits": 10, "params": PARAMS, **facts})
    if prices is not None:
        bind_prices(model, prices)
    return model


def metered(prices: LearnedPrices) -> Model:
    return model_with(prices, billing_type="METERED")


def buy(
    prices: LearnedPrices, credits_: Any, params: Mapping[str, Any] | None = None, prompt: str = "A kite", **more: Any
) -> None:
    request = GenerationRequest("m", prompt, params=params or {}, **more)
    prices.observe(request, credits_, f"task_{credits_}_{len(prices._open)}")


def facts(estimate: PriceEstimate) -> tuple[Any, ...]:
    return estimate.credits, estimate.kind, estimate.max_credits


# --- params and values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *((name, True) for name in ("rendering_speed", "quality", "resolution", "duration", "mode", "audio_setting")),
        *((name, True) for name in ("imageResolution", "n_frames", "max_images", "enable_pro", "size", "Sound")),
        *((name, False) for name in ("aspect_ratio", "seed", "prompt_optimizer", "image_size", "style", "model", "")),
    ],
)
def test_params_that_change_the_price_are_recognised_by_name(name: str, expected: bool) -> None:
    assert is_price_param(name) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, "5"),
        (5.0, "5"),
        ("05.0", "5"),
        (0.5, "0.5"),
        (True, "true"),
        (" TRUE ", "true"),
        ("720P", "720p"),
        ("QUALITY", "quality"),
        ("", ""),
        *((odd, "?") for odd in UNREADABLE_VALUES),
    ],
)
def test_values_are_compared_as_texts(value: Any, expected: str) -> None:
    assert price_value(value) == expected


@pytest.mark.parametrize(
    ("value", "other", "expected"),
    [
        ("5", "10", -1),
        ("10", "5", 1),
        ("5", "5", 0),
        ("1080p", "720p", 1),
        ("1k", "4k", -1),
        ("false", "true", -1),
        ("turbo", "quality", -1),
        ("pro", "std", 1),
        ("4k", "720p", None),
        ("fun", "normal", None),
        ("fun", "5", None),
        ("true", "5", None),
        ("?", "?", None),
    ],
)
def test_order_of_values(value: str, other: str, expected: int | None) -> None:
    assert compare_values(value, other) == expected


# --- the catalogue ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, (10, "exact", 10)),
        (None, (10, "exact", 10)),
        ({"rendering_speed": "balanced", "duration": "5", "style": "DESIGN", "size": "16:9"}, (10, "exact", 10)),
        ({"duration": None}, (10, "exact", 10)),
        ({"rendering_speed": "QUALITY"}, (10, "lower_bound", None)),
        ({"duration": 10}, (10, "lower_bound", None)),
        ({"mode": "fun"}, (10, "lower_bound", None)),
        ({"quality": "high"}, (10, "lower_bound", None)),
        ({"duration": [5]}, (10, "lower_bound", None)),
        ({"rendering_speed": "TURBO"}, (0, "lower_bound", 10)),
        ({"rendering_speed": "TURBO", "duration": 10}, (0, "lower_bound", None)),
        ({"x" * 99 + "_duration": 9}, (10, "exact", 10)),
    ],
)
def test_estimate_from_the_catalogue(params: dict[str, Any] | None, expected: tuple[Any, ...]) -> None:
    assert facts(model_with().estimate_credits("A kite", params)) == expected


def test_estimate_says_where_the_price_comes_from() -> None:
    model = model_with()
    assert model.price_params == ("rendering_speed", "duration", "mode")
    assert model.estimate_credits().source == "base_credits of the catalogue, the price of the default settings"
    assert Model("m", billing_type="FIXED", base_credits=1).estimate_credits().source == (
        "base_credits of the catalogue, the price of this model"
    )
    assert model.estimate_credits("A kite", {"duration": 9}).source == (
        "base_credits of the catalogue is 10, and duration=9 may change the price"
    )
    assert Model("m", billing_type="METERED", base_credits=1).estimate_credits().source == (
        "the catalogue has no price of m (METERED)"
    )
    assert Model("m").estimate_credits().source == "the catalogue has no price of m (no billing type)"


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (PriceEstimate(7, "exact", ""), "7 credits"),
        (PriceEstimate(1, "learned", ""), "1 credit"),
        (PriceEstimate(1000, "lower_bound", ""), "at least 1,000 credits"),
        (PriceEstimate(None, "unknown", ""), "unknown"),
        (PriceEstimate(None, "unknown", "", 12), "at most 12 credits"),
    ],
)
def test_estimate_as_text(estimate: PriceEstimate, text: str) -> None:
    assert str(estimate) == text


def test_estimate_is_a_public_record() -> None:
    estimate = PriceEstimate(7, "exact", "base_credits", 7)
    assert estimate.to_dict() == {"credits": 7, "kind": "exact", "source": "base_credits", "max_credits": 7}
    assert pickle.loads(pickle.dumps(estimate)) == estimate
    assert PriceEstimate.__module__ == "rivya_async"


def test_params_must_be_a_mapping() -> None:
    with pytest.raises(ConfigurationError, match="mapping, not list"):
        model_with().estimate_credits("A kite", ["duration"])  # type: ignore[arg-type]


def test_model_with_one_price_ignores_params() -> None:
    prices = LearnedPrices()
    model = model_with(prices, id="seedream-4-0", params=(ModelParam("max_images", "number", default=1),))
    assert model.price_params == ()
    assert facts(model.estimate_credits("A kite", {"max_images": 6, "duration": 9})) == (10, "exact", 10)
    prices.observe(GenerationRequest("seedream-4-0", "A kite", params={"max_images": 2}), 6, "task_1")
    assert facts(model.estimate_credits("A kite", {"max_images": 6})) == (6, "learned", 6)


# --- purchases --------------------------------------------------------------------------------------------------------


def test_price_is_learned_for_its_params() -> None:
    prices = LearnedPrices()
    model = model_with(prices)
    buy(prices, 15, {"rendering_speed": "QUALITY", "seed": 1})
    buy(prices, 15, {"rendering_speed": "quality", "duration": "5", "seed": 2}, prompt="Another kite")
    assert facts(model.estimate_credits("x" * 99, {"rendering_speed": "QUALITY"})) == (15, "learned", 15)
    assert facts(model.estimate_credits()) == (10, "exact", 10)
    assert model.estimate_credits("x", {"rendering_speed": "QUALITY"}).source == (
        "reserved credits of earlier jobs with these params"
    )


def test_learned_price_replaces_that_of_the_catalogue() -> None:
    prices = LearnedPrices()
    model = model_with(prices)
    buy(prices, 12)
    assert facts(model.estimate_credits()) == (12, "learned", 12)
    assert facts(model.estimate_credits("x", {"rendering_speed": "TURBO"})) == (0, "lower_bound", 12)


def test_cap_takes_the_highest_known_price_if_one_covers_the_job() -> None:
    prices = LearnedPrices()
    model = model_with(prices)
    buy(prices, 20, {"duration": 10})
    buy(prices, 99, {"mode": "fun"})
    assert facts(model.estimate_credits("x", {"duration": 8})) == (10, "lower_bound", 99)
    assert facts(model.estimate_credits("x", {"duration": 12})) == (20, "lower_bound", None)
    assert facts(model.estimate_credits("x", {"duration": 3})) == (0, "lower_bound", 99)
    assert facts(model.estimate_credits("x", {"mode": "spicy"})) == (10, "lower_bound", None)
    assert facts(model.estimate_credits("x", {"duration": 10, "rendering_speed": "TURBO"})) == (0, "lower_bound", 99)


def test_observation_finds_a_param_that_changes_the_price() -> None:
    prices = LearnedPrices()
    model = model_with(prices)
    buy(prices, 10, {"style": "AUTO", "other": "same", "seed": 1})
    buy(prices, 14, {"style": "DESIGN", "other": "same", "seed": 2})
    assert model.price_params == ("rendering_speed", "duration", "mode", "style")
    assert facts(model.estimate_credits("x", {"style": "DESIGN"})) == (14, "learned", 14)
    assert facts(model.estimate_credits()) == (10, "learned", 10)
    assert facts(model.estimate_credits("x", {"style": "NEW"})) == (10, "lower_bound", None)
    buy(prices, 10, {"style": "AUTO"})
    buy(prices, 14, {"style": "DESIGN"})
    assert facts(model.estimate_credits("x", {"style": "AUTO"})) == (10, "learned", 10)


def test_observation_finds_that_references_change_the_price() -> None:
    prices = LearnedPrices()
    model = model_with(prices)
    buy(prices, 10)
    assert facts(model.estimate_credits("x", {}, [IMAGE])) == (10, "learned", 10)
    buy(prices, 13, references=[IMAGE])
    assert facts(model.estimate_credits("x", {}, [IMAGE])) == (13, "learned", 13)
    assert facts(model.estimate_credits("x", {REFERENCES_PARAM: [{}]})) == (13, "learned", 13)
    assert facts(model.estimate_credits("x", {}, [IMAGE, IMAGE])) == (13, "lower_bound", None)
    assert facts(model.estimate_credits()) == (10, "learned", 10)


def test_catalogue_price_is_without_references_once_they_matter() -> None:
    prices = LearnedPrices()
    model = model_with(prices)
    buy(prices, 20, {"duration": 9})
    buy(prices, 26, {"duration": 9}, references=[IMAGE])
    assert facts(model.estimate_credits()) == (10, "exact", 10)
    assert facts(model.estimate_credits("x", {}, [IMAGE])) == (10, "lower_bound", 26)


def test_price_that_varies_is_a_lower_bound_until_it_is_steady() -> None:
    prices = LearnedPrices()
    model = model_with(prices)
    buy(prices, 10)
    buy(prices, 12)
    estimate = model.estimate_credits()
    assert facts(estimate) == (10, "lower_bound", 12)
    assert estimate.source.endswith("10 to 12 credits")
    for _ in range(STEADY_OBSERVATIONS - 2):
        buy(prices, 12)
    assert model.estimate_credits().kind == "lower_bound"
    buy(prices, 12)
    assert facts(model.estimate_credits()) == (12, "learned", 12)


def test_cap_never_relies_on_less_than_the_highest_observed_price() -> None:
    """A rare higher price stays plausible, however many lower ones follow it, also after a dump."""
    prices = LearnedPrices()
    buy(prices, 40)
    for _ in range(10 * STEADY_OBSERVATIONS):
        buy(prices, 12)
    restored = LearnedPrices()
    restored.load(json.loads(json.dumps(prices.dump())))
    for each in (prices, restored):
        assert facts(model_with(each).estimate_credits()) == (12, "learned", 40)


@given(st.lists(st.sampled_from([5, 9, 13]), min_size=1), st.lists(st.sampled_from([5, 9, 13])))
def test_cap_relies_on_the_highest_price_of_any_history(observed: list[int], loaded: list[int]) -> None:
    prices, other = LearnedPrices(), LearnedPrices()
    for price in observed:
        buy(prices, price)
    for price in loaded:
        buy(other, price)
    prices.load(other.dump())
    assert model_with(prices).estimate_credits().max_credits == max([*observed, *loaded])


def test_metered_price_depends_on_the_text() -> None:
    prices = LearnedPrices()
    model = metered(prices)
    assert facts(model.estimate_credits("x")) == (None, "unknown", None)
    buy(prices, 6, prompt="x" * 10)
    assert facts(model.estimate_credits("x" * 10)) == (6, "learned", 6)
    assert facts(model.estimate_credits("x" * 11)) == (6, "lower_bound", None)
    assert facts(model.estimate_credits("x" * 9, {"duration": 4})) == (None, "unknown", 6)
    assert facts(model.estimate_credits("x" * 10, {"duration": 6})) == (6, "lower_bound", None)
    buy(prices, 7, prompt="x" * 20)
    assert facts(model.estimate_credits("x" * 15)) == (6, "lower_bound", 7)
    lines = {"dialogue": [{"voice": "A", "text": "x" * 30}, {"text": 5}, "odd"]}
    assert facts(model.estimate_credits(None, lines)) == (6, "lower_bound", None)


def test_price_of_a_chat_turn_is_its_reserve() -> None:
    prices = LearnedPrices()
    model = model_with(prices, category="chat", billing_type="TOKEN_BASED", params=())
    buy(prices, 3, prompt="Hello")
    estimate = model.estimate_credits("Hi")
    assert facts(estimate) == (3, "lower_bound", 3)
    assert estimate.source == (
        "reserved credits of earlier turns of this model; the final price depends on the tokens; attachments, history "
        "and options may raise the price of a turn"
    )
    fixed = model_with(prices, category="chat", id="other", params=())
    assert facts(fixed.estimate_credits("Hi")) == (10, "lower_bound", 10)
    assert facts(model.estimate_credits("Hello, and good morning")) == (3, "lower_bound", None)


@pytest.mark.parametrize(
    "options",
    [
        {"enable_web_search": True},
        {"include_thoughts": True},
        {"reasoning_effort": "high"},
        {"attachments": ("file_1",)},
        {"session_id": "ses_1"},
    ],
)
def test_plain_turns_say_nothing_about_the_options_of_a_turn(options: dict[str, Any]) -> None:
    prices = LearnedPrices()
    model = model_with(prices, category="chat", billing_type="TOKEN_BASED", params=())
    plain = ChatRequest(
        model="m", message="Hello", reasoning_effort="default", enable_web_search=False, include_thoughts=False
    )
    prices.observe(plain.to_priced_job(), 3, "task_1")
    turn = ChatRequest(model="m", message="Hi", **options).to_priced_job()
    assert facts(model.estimate_credits("Hi", plain.to_priced_job().params)) == (3, "lower_bound", 3)
    assert model.estimate_credits("Hi", turn.params).max_credits is None
    prices.observe(turn, 8, "task_2")
    learned = None if "session_id" in options else 8
    assert model.estimate_credits("Hi", turn.params).max_credits == learned
    assert facts(model.estimate_credits("Hi")) == (3, "lower_bound", 3)


def test_given_price_is_the_highest() -> None:
    prices = LearnedPrices({"m": 40})
    model = model_with(prices)
    assert facts(model.estimate_credits()) == (10, "exact", 40)
    estimate = model.estimate_credits("x", {"duration": 9})
    assert facts(estimate) == (10, "lower_bound", 40)
    assert estimate.source.endswith("; prices= states at most 40 credits")
    assert facts(metered(prices).estimate_credits("x")) == (None, "unknown", 40)


def test_final_credits_raise_the_highest_price() -> None:
    prices = LearnedPrices()
    model = model_with(prices)
    prices.observe(GenerationRequest("m", "A kite"), 10, "task_1")
    prices.observe_end("task_2", 99)
    prices.observe_end("task_1", 12)
    prices.observe_end("task_1", 99)
    assert facts(model.estimate_credits()) == (10, "lower_bound", 12)
    prices.observe(GenerationRequest("m", "A kite", params={"mode": "fun"}), 9, "task_3")
    prices.observe_end("task_3", 0)
    assert facts(model.estimate_credits("x", {"mode": "fun"})) == (9, "learned", 9)


@pytest.mark.parametrize("odd", [None, 0, -1, True, math.nan, math.inf, 1e12, "5"])
def test_odd_prices_are_not_learned(odd: Any) -> None:
    prices = LearnedPrices()
    buy(prices, odd)
    assert prices.dump()["models"] == {}


@pytest.mark.parametrize(
    "params", [{"duration": [5]}, {"quality": "x" * 33}, {str(n): n for n in range(MAX_PARAMS + 1)}]
)
def test_jobs_with_unreadable_params_teach_nothing(params: dict[str, Any]) -> None:
    prices = LearnedPrices()
    buy(prices, 5, params)
    assert prices.dump()["models"] == {}


def test_model_forgets_its_prices_in_copies() -> None:
    prices = LearnedPrices()
    model = model_with(prices)
    buy(prices, 12)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert other == model
        assert facts(other.estimate_credits()) == (10, "exact", 10)
    assert "learned" not in str(model.to_dict())


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_memory_is_bounded() -> None:
    prices = LearnedPrices()
    for number in range(MAX_MODELS + 5):
        prices.observe(GenerationRequest(f"m-{number}", "x"), 5, "task_1")
    assert next(iter(prices.dump()["models"])) == "m-5"
    prices.observe(GenerationRequest("m-5", "x"), 5, "task_1")
    prices.observe(GenerationRequest("new", "x"), 5, "task_1")
    assert next(iter(prices.dump()["models"])) == "m-7"
    buy(prices, 90, {"duration": 0})
    for number in range(1, MAX_PRICES + 5):
        buy(prices, 5, {"duration": 1})
        buy(prices, 5, {"duration": number})
    kept = [price["params"]["duration"] for price in prices.dump()["models"]["m"]["prices"]]
    assert (len(kept), kept[-2:]) == (MAX_PRICES, ["1", str(MAX_PRICES + 4)])
    assert facts(model_with(prices).estimate_credits("x", {"duration": 7.5})) == (10, "lower_bound", 90)
    for number in range(MAX_OPEN_JOBS + 5):
        prices.observe(GenerationRequest("m", "x"), 5, f"task_{number}")
    assert len(prices._open) == MAX_OPEN_JOBS


def test_number_of_all_prices_is_bounded() -> None:
    prices = LearnedPrices()
    for model in range(MAX_MODELS):
        for number in range(MAX_PRICES):
            params = {f"quality_{n}_{'x' * 50}": f"{number}_{n}_{'y' * 20}" for n in range(MAX_PARAMS)}
            prices.observe(GenerationRequest(f"m-{model}", "x", params=params), 5 + number, "task_1")
    dump = prices.dump()
    counts = [len(model["prices"]) for model in dump["models"].values()]
    assert (sum(counts), min(counts), counts[-1], len(counts)) == (MAX_TOTAL_PRICES, 1, MAX_PRICES, MAX_MODELS)
    assert dump["models"]["m-0"]["highest_dropped"] == 5 + MAX_PRICES - 2
    assert len(json.dumps(dump)) < 2_500_000
    restored = LearnedPrices()
    restored.load(dump)
    assert restored.dump() == dump


def test_observed_params_are_bounded() -> None:
    prices = LearnedPrices()
    buy(prices, 5, {f"a{n}": 1 for n in range(MAX_NAMES + 1)})
    buy(prices, 6, {f"a{n}": 2 for n in range(MAX_NAMES + 1)})
    assert prices.names_of("m") == ()
    assert facts(model_with(prices, params=()).estimate_credits()) == (5, "lower_bound", 6)


# --- dumps ------------------------------------------------------------------------------------------------------------


def learned() -> LearnedPrices:
    prices = LearnedPrices()
    buy(prices, 10, {"style": "AUTO"})
    buy(prices, 14, {"style": "DESIGN", "duration": 5.5})
    buy(prices, 15, {"style": "AUTO", "duration": 5.5})
    prices.observe_end("task_15_2", 13)
    return prices


def test_dump_is_json_and_restores_the_estimates() -> None:
    prices, restored = learned(), LearnedPrices()
    restored.load(json.loads(json.dumps(prices.dump())))
    assert restored.dump() == prices.dump()
    for params in ({}, {"style": "AUTO"}, {"style": "DESIGN", "duration": 5.5}, {"style": "AUTO", "duration": "5.5"}):
        assert model_with(restored).estimate_credits("x", params) == model_with(prices).estimate_credits("x", params)


def test_load_keeps_observed_prices() -> None:
    prices, other = LearnedPrices(), LearnedPrices()
    buy(prices, 12)
    buy(other, 10)
    buy(other, 20, {"duration": 10})
    prices.load(other.dump())
    model = model_with(prices)
    assert facts(model.estimate_credits()) == (12, "learned", 12)
    assert facts(model.estimate_credits("x", {"duration": 10})) == (20, "learned", 20)
    newer = LearnedPrices()
    buy(newer, 22, {"duration": 10})
    prices.load(newer.dump())
    assert facts(model.estimate_credits("x", {"duration": 10})) == (22, "learned", 22)


def test_load_joins_the_observed_params() -> None:
    prices, other = LearnedPrices(), LearnedPrices()
    buy(prices, 10, {"style": "AUTO", "tone": "low"})
    buy(prices, 14, {"style": "DESIGN", "tone": "low"})
    buy(other, 10, {"style": "AUTO", "tone": "low"})
    buy(other, 17, {"style": "AUTO", "tone": "loud"})
    prices.load(other.dump())
    assert set(prices.names_of("m")) == {"style", "tone"}
    model = model_with(prices)
    assert facts(model.estimate_credits("x", {"style": "AUTO", "tone": "loud"})) == (17, "learned", 17)
    assert facts(model.estimate_credits("x", {"style": "DESIGN", "tone": "low"})) == (14, "learned", 14)


def test_load_ignores_a_model_with_too_many_observed_params() -> None:
    prices, other = LearnedPrices(), LearnedPrices()
    for target, letter in ((prices, "a"), (other, "b")):
        buy(target, 5, {f"{letter}{n}": 1 for n in range(MAX_NAMES - 2)})
        buy(target, 6, {f"{letter}{n}": 2 for n in range(MAX_NAMES - 2)})
    before = prices.dump()
    prices.load(other.dump())
    assert prices.dump() == before


def test_load_takes_the_newest_of_too_many_models() -> None:
    source = learned().dump()["models"]["m"]
    prices = LearnedPrices()
    prices.load({"version": 1, "models": {f"m-{n}": {**source, "prices": source["prices"] * 99} for n in range(200)}})
    dump = prices.dump()["models"]
    assert (len(dump), list(dump)[-1], len(dump["m-199"]["prices"])) == (MAX_MODELS, "m-199", 3)
    prices.load({"version": 1, "models": {"new": source}})
    assert len(prices.dump()["models"]) == MAX_MODELS


PRICE = {"params": {"a": "1"}, "others": {}, "credits": [5, 5, 5], "count": 1, "longest": 3}


def dump_with(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "models": {"m": {"names": [], "prices": [{**PRICE, **changes}]}}}


@pytest.mark.parametrize(
    "dump",
    [
        None,
        [],
        {},
        {"version": 2},
        {"version": {"x": "y" * 1000}},
        {"version": 1},
        {"version": 1, "models": []},
        {"version": 1, "models": {5: {}}},
        {"version": 1, "models": {"m": 5}},
        {"version": 1, "models": {"m": {}}},
        {"version": 1, "models": {"m": {"names": [], "prices": {}}}},
        {"version": 1, "models": {"m": {"names": "a", "prices": []}}},
        {"version": 1, "models": {"m": {"names": [5], "prices": []}}},
        {"version": 1, "models": {"m": {"names": ["x" * 65], "prices": []}}},
        {"version": 1, "models": {"m": {"names": list(map(str, range(99))), "prices": []}}},
        {"version": 1, "models": {"m": {"names": [], "prices": [5]}}},
        *(dump_with(params=odd) for odd in INVALID_VALUES),
        dump_with(params={str(n): "1" for n in range(MAX_PARAMS + 1)}),
        dump_with(others=5),
        *(dump_with(credits=odd) for odd in INVALID_CREDITS),
        *(dump_with(credits=[odd, odd, odd]) for odd in (-1, True, "5", math.inf, 1e300)),
        *({"version": 1, "models": {"m": {"names": [], "prices": [], "highest_dropped": odd}}} for odd in ("5", -1)),
        *(dump_with(count=odd) for odd in (None, -1, 1.5, True, "1")),
        *(dump_with(longest=odd) for odd in (None, -1, math.nan)),
    ],
)
def test_invalid_dump_is_rejected_and_changes_nothing(dump: Any) -> None:
    prices = learned()
    before = prices.dump()
    with pytest.raises(ConfigurationError) as raised:
        prices.load(dump)
    assert len(str(raised.value)) < 400
    assert prices.dump() == before


def test_valid_dump_is_accepted() -> None:
    assert list(load_prices(dump_with())) == ["m"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.sampled_from([*PRICE]), JSON)
def test_arbitrary_dump_never_raises_anything_else(models: Any, member: str, value: Any) -> None:
    for dump in ({"version": 1, "models": models}, dump_with(**{member: value})):
        prices = LearnedPrices()
        try:
            prices.load(dump)
        except ConfigurationError:
            continue
        model_with(prices).estimate_credits("x", {"a": "1"})
        json.dumps(prices.dump())


VALUES = st.sampled_from(["TURBO", "BALANCED", "QUALITY", "fun", 3, 5, 8, True, None])


@given(st.lists(st.tuples(st.dictionaries(st.sampled_from(["rendering_speed", "duration", "mode", "style"]), VALUES))))
def test_estimate_never_exceeds_its_bounds(jobs: list[tuple[dict[str, Any]]]) -> None:
    """The price of the service here is a function of the params; so the estimate of known params is exact."""
    prices = LearnedPrices()
    model = model_with(prices)
    for (params,) in jobs:
        values = {name: str(value).lower() for name, value in params.items() if value is not None}
        price = 20 + sum(map(len, values.values())) * (1 + len(values))
        buy(prices, price, params)
        estimate = model.estimate_credits("A kite", params)
        assert estimate.credits is not None
        assert estimate.max_credits is not None
        assert estimate.credits <= price <= estimate.max_credits


def test_outdated_loaded_price_lowers_no_cap() -> None:
    old = LearnedPrices()
    old.observe(GenerationRequest("m", "A kite"), 1, "task_1")
    prices = LearnedPrices()
    prices.load(old.dump())
    model = Model("m", billing_type="FIXED", base_credits=5)
    bind_prices(model, prices)
    assert model.estimate_credits("A kite").max_credits == 5
    prices.observe(GenerationRequest("m", "A kite"), 1, "task_2")
    assert model.estimate_credits("A kite").max_credits == 1


def test_params_in_place_of_the_prompt_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="pass params"):
        Model("m").estimate_credits({"duration": "10"})  # type: ignore[arg-type]  # the mistake
