"""Validation, coercion and price of a job by the catalogue."""

from __future__ import annotations

import pickle
from pathlib import PurePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async import ChatCapabilities
from rivya_async._core.catalogue.model import Model
from rivya_async._core.catalogue.model_param import REFERENCES_PARAM, ModelParam
from rivya_async._core.catalogue.reference_rules import FileLimit, ReferenceRules
from rivya_async._core.catalogue.validation import (
    closest_matches,
    format_problems,
    shorten,
    suggestion_text,
    unknown_model_problem,
)
from rivya_async._core.errors import APIStatusError, ConfigurationError, InvalidRequestError
from rivya_async._core.types.generations import File, ReferenceMedia, ValidationProblem

PARAMS = (
    ModelParam("aspect_ratio", "select", options=("1:1", "16:9", "9:16")),
    ModelParam("duration", "select", default="5", options=("5", "10")),
    ModelParam("sound", "select", options=("false", "true")),
    ModelParam("style", "select", options=("AUTO", "DESIGN")),
    ModelParam("anything", "select"),
    ModelParam("cfg_scale", "number", min=0, max=1),
    ModelParam("guidance", "number", min=1, max=10, step=0.1),
    ModelParam("frames", "number", step=8),
    ModelParam("seed", "number", min=0),
    ModelParam("low", "number", max=9),
    ModelParam("free", "number"),
    ModelParam("negative_prompt", "text"),
    ModelParam("shots", "array"),
    ModelParam("novel", "a type of tomorrow"),
)
LIMITS = [
    {"kind": "image", "max_size_mb": 10, "mime_types": ["image/png", "image/jpeg"]},
    {"kind": "video", "max_size_mb": None},
    {"kind": 5},
    "?",
]
MODEL = Model(
    "m-1",
    category="video",
    api_status="available",
    base_credits=7,
    billing_type="FIXED",
    max_prompt_length=20,
    params=PARAMS,
    supported_api_inputs=("text", "file"),
    reference_media={"max_files": 2, "file_kinds": ["image", "video"], "limits": LIMITS},
)
IMAGE = ReferenceMedia("https://rivya.ai/f/1.png", "image")
VIDEO = ReferenceMedia("https://rivya.ai/f/1.mp4", "video", duration_token="dt_1")


def found(
    params: Any = None, prompt: Any = "A red kite", references: Any = (), model: Model = MODEL
) -> list[ValidationProblem]:
    return list(model.problems(prompt, params, references))


def the_one(**job: Any) -> ValidationProblem:
    (problem,) = found(**job)
    return problem


# --- params -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("aspect_ratio", "16:9"),
        ("anything", "goes"),
        ("cfg_scale", 0),
        ("cfg_scale", 1.0),
        ("guidance", 1),
        ("guidance", 2.3),
        ("guidance", 0.1 + 0.2 + 1),
        ("guidance", 10),
        ("frames", 16),
        ("frames", -8.0),
        ("free", -2.5),
        ("negative_prompt", ""),
        ("shots", []),
        ("shots", (1, 2)),
        ("novel", object()),
        (REFERENCES_PARAM, []),
        (REFERENCES_PARAM, ()),
    ],
)
def test_accepts_valid_values(key: str, value: Any) -> None:
    MODEL.check("A red kite", {key: value})


@pytest.mark.parametrize(
    ("key", "value", "reason", "message", "near"),
    [
        ("negativePrompt", "x", "unknown", "m-1 has no param 'negativePrompt' (did you mean 'negative_prompt'?)",
         ("negative_prompt",)),
        ("aspect_ratio", "16:10", "option", "aspect_ratio cannot be '16:10' (did you mean '1:1' or '16:9'?)",
         ("1:1", "16:9")),
        ("style", "design", "option", "style cannot be 'design' (did you mean 'DESIGN'?)", ("DESIGN",)),
        ("duration", "7", "option", "duration cannot be '7' (there are 5, 10)", ()),
        ("duration", 5, "type", "duration must be a string, not 5 (did you mean '5'?)", ("5",)),
        ("duration", 7, "type", "duration must be a string, not 7 (there are 5, 10)", ()),
        ("sound", False, "type", "sound must be a string, not False (did you mean 'false'?)", ("false",)),
        ("sound", None, "type", "sound is None: leave it out", ()),
        ("sound", ["true"], "type", "sound must be a string, not ['true'] (there are false, true)", ()),
        ("anything", 5, "type", "anything must be a string, not 5 (there are none)", ()),
        ("cfg_scale", 2, "range", "cfg_scale must be from 0 to 1, not 2", (1,)),
        ("cfg_scale", -0.5, "range", "cfg_scale must be from 0 to 1, not -0.5", (0,)),
        ("cfg_scale", "0.5", "type", "cfg_scale must be a number, not '0.5' (did you mean 0.5?)", (0.5,)),
        ("cfg_scale", "much", "type", "cfg_scale must be a number, not 'much'", ()),
        ("cfg_scale", True, "type", "cfg_scale must be a number, not True", ()),
        ("cfg_scale", float("nan"), "type", "cfg_scale must be a number, not nan", ()),
        ("seed", float("inf"), "type", "seed must be a number, not inf", ()),
        ("seed", -1, "range", "seed must be 0 or more, not -1", (0,)),
        ("low", 10, "range", "low must be 9 or less, not 10", (9,)),
        ("guidance", 2.34, "step", "guidance must be in steps of 0.1 from 1, not 2.34 (did you mean 2.3 or 2.4?)",
         (2.3, 2.4)),
        ("frames", 3, "step", "frames must be in steps of 8, not 3 (did you mean 0 or 8?)", (0, 8)),
        ("negative_prompt", 5, "type", "negative_prompt must be a string, not 5", ()),
        ("shots", "x", "type", "shots must be a list, not 'x'", ()),
    ],
)  # fmt: skip
def test_rejects_invalid_values(key: str, value: Any, reason: str, message: str, near: tuple[Any, ...]) -> None:
    assert the_one(params={key: value}) == ValidationProblem(f"params.{key}", reason, message, near)


def test_numbers_of_any_length() -> None:
    MODEL.check("A red kite", {"seed": 10**5000, "low": -(10**5000), "frames": 8 * 10**5000})
    assert the_one(params={"low": 10**5000}).message == "low must be 9 or less, not so long a value of type int"


def test_suggested_step_is_in_range() -> None:
    param = ModelParam("x", "number", min=0, max=10, step=4)
    (problem,) = param.problems(9)
    assert problem.nearest == (8,)
    assert list(ModelParam("x", "number", step=0).problems(0.3)) == []


def test_rejects_non_string_key_and_non_mapping_params() -> None:
    assert the_one(params={5: "x"}).where == "params"
    assert the_one(params=["x"]) == ValidationProblem("params", "type", "params must be a mapping, not ['x']")


@pytest.mark.parametrize("params", [(), (ModelParam("a"), ModelParam(""))])
def test_model_without_params_accepts_any_key(params: tuple[ModelParam, ...]) -> None:
    Model("m", params=params).check(params={"unheard_of": 1})


@pytest.mark.parametrize("given", [{}, {"voice": None}])
def test_missing_param_suggests_example(given: dict[str, Any]) -> None:
    voice = ModelParam("voice", "select", required=True, default="Adam", options=("Adam", "Alice"))
    model = Model("m", params=(voice,))
    assert the_one(params=given, model=model) == ValidationProblem(
        "params.voice", "missing", "voice is required, such as 'Adam'", ("Adam",)
    )
    assert the_one(params={"voice": "Adan"}, model=model).reason == "option"


def test_missing_param_without_example() -> None:
    assert ModelParam("url", "text", required=True).missing_problem().message == "url is required"
    assert ModelParam("x", "select", options=("b",)).missing_problem().nearest == ("b",)


@pytest.mark.parametrize(
    ("options", "choices"),
    [
        ((), ()),
        (("5", "10"), ("5", "10")),
        ((5, 0.5, True, False), ("5", "0.5", "true", "false")),
        (({"value": "a", "label": "A"}, {"value": 1}), ("a", "1")),
        (("a", None), ()),
        (("a", {"label": "B"}), ()),
    ],
)
def test_choices_are_sent_values(options: tuple[Any, ...], choices: tuple[str, ...]) -> None:
    assert ModelParam("x", "select", options=options).choices == choices


# --- the dialogue -----------------------------------------------------------------------------------------------------

TALK = Model(
    "talk-1",
    max_prompt_length=10,
    supported_api_inputs=("text",),
    params=(ModelParam("dialogue", "array", required=True),),
)


def test_dialogue_replaces_prompt() -> None:
    assert not TALK.needs_prompt
    TALK.check(params={"dialogue": [{"voice": "Adam", "text": "x" * 10}]})


@pytest.mark.parametrize(
    ("lines", "messages"),
    [
        ([], ["dialogue is required: give it at least one line"]),
        ("Hi", ["dialogue must be a list, not 'Hi'"]),
        ([5], ["dialogue[0] needs a string 'voice'", "dialogue[0] needs a string 'text'"]),
        ([{"voice": "Adam", "text": ""}], ["dialogue[0] needs a string 'text'"]),
        (
            [{"voice": "Adam", "text": "Hello"}, {"voice": 5, "text": "Goodbye"}],
            ["dialogue[1] needs a string 'voice'", "dialogue has 12 characters, and talk-1 takes at most 10"],
        ),
    ],
)
def test_dialogue_lines(lines: Any, messages: list[str]) -> None:
    assert [problem.message for problem in found({"dialogue": lines}, model=TALK)] == messages


# --- the prompt and the model -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [None, "", " \n"])
def test_missing_prompt(prompt: str | None) -> None:
    assert the_one(prompt=prompt) == ValidationProblem("prompt", "missing", "prompt is required for m-1")


def test_long_or_non_string_prompt() -> None:
    MODEL.check("é" * 20)
    claim = "prompt has 21 characters, and m-1 takes at most 20"
    assert the_one(prompt="é" * 21) == ValidationProblem("prompt", "length", claim, (20,))
    assert the_one(prompt=5).reason == "type"


def test_prompt_is_optional_without_text_input() -> None:
    Model("m", supported_api_inputs=("url",)).check()
    Model("m").check("x" * 1_000_000)


@pytest.mark.parametrize("chat", [Model("talk", category="chat"), Model("talk", runtime="chat")])
def test_chat_model_has_no_generations(chat: Model) -> None:
    (problem,) = found({"unheard_of": 1}, prompt=None, model=chat)
    assert (problem.where, problem.reason) == ("model", "unavailable")
    assert "session.chat" in problem.message


def test_unavailable_model_is_reported_with_other_problems() -> None:
    soon = Model("soon", api_status="coming_soon", supported_api_inputs=("text",))
    assert [problem.where for problem in found(prompt="", model=soon)] == ["model", "prompt"]
    assert "'coming_soon'" in found(model=soon)[0].message


def test_unknown_model() -> None:
    near = unknown_model_problem("z-imag", ["z-image", "sora-2"])
    assert near == ValidationProblem(
        "model", "unknown", "there is no model 'z-imag' (did you mean 'z-image'?)", ("z-image",)
    )
    assert "models.list()" in unknown_model_problem("????", ["z-image"]).message


# --- references -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("references", "reason", "message"),
    [
        ([IMAGE] * 3, "count", "m-1 takes at most 2 references, not 3"),
        ([ReferenceMedia("u", "audio", duration_token="t")], "kind",
         "references[0] cannot be of kind 'audio' for m-1 (there are image, video)"),
        ([ReferenceMedia("u", "vidoe")], "kind",
         "references[0] cannot be of kind 'vidoe' for m-1 (did you mean 'video'?)"),
        ([IMAGE, ReferenceMedia("u", "video")], "missing",
         "references[1] is of kind 'video' and needs the duration token of its upload through the Files API"),
        ([ReferenceMedia("", "image")], "missing", "references[0] needs a string 'url'"),
        ([ReferenceMedia("u", "image", mime_type="image/jpg")], "format",
         "references[0] cannot be 'image/jpg' for m-1 (did you mean 'image/jpeg' or 'image/png'?)"),
        ([File("file_1", "u", "image", size_bytes=10_485_761)], "size",
         "references[0] has 10,485,761 bytes, and m-1 takes at most 10,485,760 for kind 'image'"),
    ],
)  # fmt: skip
def test_rejects_invalid_references(references: list[Any], reason: str, message: str) -> None:
    problem = the_one(references=references)
    assert (problem.reason, problem.message) == (reason, message)
    if isinstance(references[0], ReferenceMedia):
        assert the_one(params={REFERENCES_PARAM: [each.to_wire() for each in references]}) == problem


def test_accepts_valid_references() -> None:
    MODEL.check("A red kite", references=[IMAGE, VIDEO])
    MODEL.check("A red kite", {REFERENCES_PARAM: ({"url": "u", "kind": "image", "mimeType": "image/png"},)})
    MODEL.check("A red kite", references=[File("file_1", "u", "image", size_bytes=10_485_760)])
    MODEL.check("A red kite", references=[ReferenceMedia("u", "video", mime_type="video/x", duration_token="t")])


def test_reports_all_problems_of_references() -> None:
    assert len(found({REFERENCES_PARAM: [{}, IMAGE.to_wire(), 5, VIDEO.to_wire()]})) == 4
    assert found({REFERENCES_PARAM: [5]})[0].message == "references[0] must be an object with url and kind, not 5"


def test_local_file_is_only_counted() -> None:
    MODEL.check("A red kite", references=["kite.png", PurePath("kite.mov")])
    assert the_one(references=["kite.png", PurePath("kite.mov"), VIDEO]).reason == "count"


def test_references_are_given_once() -> None:
    problem = the_one(params={REFERENCES_PARAM: [IMAGE.to_wire()]}, references=[IMAGE])
    assert "not both" in problem.message
    assert the_one(params={REFERENCES_PARAM: {}}).message == "params.referenceMediaItems must be a list, not {}"


def test_model_without_references() -> None:
    text = Model("text-1", supported_api_inputs=("text",))
    assert text.reference_rules is None
    assert the_one(references=[IMAGE], model=text) == ValidationProblem(
        "references", "count", "text-1 takes no references"
    )


def test_unlisted_rules_are_not_checked() -> None:
    model = Model("m", supported_api_inputs=("file",), file_kinds=("image",))
    model.check(references=[IMAGE] * 99)
    assert the_one(references=[VIDEO], model=model).reason == "kind"
    Model("m", reference_media={"novel": True}).check(references=[IMAGE, VIDEO] * 50)


HORSE = Model(
    "horse",
    reference_media={
        "max_files": 10,
        "file_kinds": ["image", "video"],
        "caps": {"without_video": {"image": 9, "video": "?"}, "with_video": {"image": 5, "video": 1}},
    },
)


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ([IMAGE] * 9, None),
        ([VIDEO] + [IMAGE] * 5, None),
        ([IMAGE] * 10, "horse takes at most 9 references of kind 'image', not 10"),
        ([VIDEO] + [IMAGE] * 6, "horse takes at most 5 references of kind 'image' beside a video, not 6"),
        ([VIDEO] * 2, "horse takes at most 1 references of kind 'video' beside a video, not 2"),
    ],
)
def test_limit_per_kind(references: list[ReferenceMedia], message: str | None) -> None:
    assert [problem.message for problem in found(references=references, model=HORSE)] == [message] * bool(message)


@pytest.mark.parametrize("stated", [{}, {"max_files": "2", "file_kinds": "image", "limits": {}, "caps": []}])
def test_ignores_rules_of_other_shape(stated: dict[str, Any]) -> None:
    assert ReferenceRules.from_catalogue(stated) == ReferenceRules()
    assert ReferenceRules.from_catalogue({**stated, "max_files": True}) == ReferenceRules()


def test_reads_rules_with_units() -> None:
    rules = MODEL.reference_rules
    assert rules is not None
    assert rules.limits["image"] == FileLimit(10 * 1024 * 1024, ("image/png", "image/jpeg"))
    assert rules.limits["video"] == FileLimit()
    assert found(references=[IMAGE] * 2, model=Model("m", reference_media={"max_files": 1}))[0].message == (
        "m takes at most 1 reference, not 2"
    )


# --- the error --------------------------------------------------------------------------------------------------------


def test_reports_all_problems_in_picklable_error() -> None:
    slips = {"aspectratio": "1:1", "duration": 6, "seed": -1, "style": "x", "sound": None, "guidance": 1.05, "a": 1}
    slips["low"] = 10
    with pytest.raises(InvalidRequestError) as raised:
        MODEL.check("", slips, [ReferenceMedia("u", "audio")])
    error = raised.value
    assert not isinstance(error, APIStatusError)
    assert len(error.problems) == 10
    lines = str(error).splitlines()
    assert lines[0] == "this job for m-1 has 10 problems, and nothing was sent:"
    assert lines[1:] == [f"  {n}. {problem.message}" for n, problem in enumerate(error.problems, 1)]
    travelled = pickle.loads(pickle.dumps(error))
    assert (travelled.problems, str(travelled)) == (error.problems, str(error))


def test_single_problem_is_one_sentence() -> None:
    assert format_problems("m", [ValidationProblem("prompt", "missing", "prompt is required for m")]) == (
        "prompt is required for m. Nothing was sent."
    )


def test_long_value_is_shortened() -> None:
    assert len(shorten("x" * 10_000)) < 70
    assert len(the_one(params={"k" * 10_000: "v" * 10_000}).message) < 400
    assert closest_matches("x" * 100_000, ["xy"]) == ()


@pytest.mark.parametrize(
    ("known", "said"),
    [(["a"], "(there is a)"), ([], "(there are none)"), ([str(n) for n in range(99)], "10, 11, ...)")],
)
def test_lists_choices_without_close_match(known: list[str], said: str) -> None:
    assert suggestion_text(closest_matches("unlike any", known), known).endswith(said)


def test_param_by_key() -> None:
    assert MODEL.param("style") is MODEL.params[3]
    assert MODEL.param("missing") is None


# --- coerce -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "given_value", "value"),
    [
        ("duration", 5, "5"),
        ("duration", 10.0, "10"),
        ("duration", 7, 7),
        ("duration", "5", "5"),
        ("duration", "5.0", "5"),
        ("duration", "05", "5"),
        ("duration", "7.5", "7.5"),
        ("duration", "five", "five"),
        ("duration", None, None),
        ("sound", True, "true"),
        ("sound", False, "false"),
        ("sound", "TRUE", "true"),
        ("sound", "yes", "yes"),
        ("sound", 1, 1),
        ("style", True, True),
        ("anything", 5, 5),
        ("cfg_scale", "0.5", 0.5),
        ("cfg_scale", ".5", 0.5),
        ("cfg_scale", "1", 1),
        ("cfg_scale", "1.", 1.0),
        ("cfg_scale", "-1e-3", -0.001),
        ("cfg_scale", "0.1000000000000000000001", "0.1000000000000000000001"),
        ("cfg_scale", "1e400", "1e400"),
        ("cfg_scale", "1e999999999", "1e999999999"),
        ("cfg_scale", "nan", "nan"),
        ("cfg_scale", " 1", " 1"),
        ("cfg_scale", "1_0", "1_0"),
        ("cfg_scale", "٣", "٣"),
        ("cfg_scale", "", ""),
        ("cfg_scale", True, True),
        ("seed", "12345678901234567890", 12345678901234567890),
        ("seed", "9" * 5000, "9" * 5000),
        ("negative_prompt", 5, 5),
        ("duratoin", 5, 5),
        ("novel", "5", "5"),
    ],
)
def test_coercion(key: str, given_value: Any, value: Any) -> None:
    (coerced,) = MODEL.coerce({key: given_value}).values()
    assert (coerced, type(coerced)) == (value, type(value))


def test_coercion_copies_and_rejects_other_types() -> None:
    params = {"duration": 5}
    assert MODEL.coerce(params) == {"duration": "5"}
    assert params == {"duration": 5}
    assert MODEL.coerce(None) == {}
    with pytest.raises(ConfigurationError, match="mapping"):
        MODEL.coerce(["duration"])  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_coercion_of_numbers_is_exact(number: float) -> None:
    coerced = MODEL.coerce({"free": str(number)})["free"]
    assert (coerced, type(coerced)) == (number, type(number))


# --- the price --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("billing", "base", "price"),
    [
        ("FIXED", 7, 7),
        ("FIXED", 0, 0),
        ("FIXED", 2.5, 3),
        ("FIXED", 2.0, 2),
        ("FIXED", None, None),
        ("FIXED", -1, None),
        ("FIXED", float("nan"), None),
        ("METERED", 7, None),
        ("TOKEN_BASED", 7, None),
        (None, 7, None),
    ],
)
def test_fixed_price_is_estimated(billing: str | None, base: float | None, price: int | None) -> None:
    model = Model("m", billing_type=billing, base_credits=base)
    estimate = model.estimate_credits("A red kite", {"style": "10"}, [IMAGE])
    assert (estimate.credits, estimate.max_credits) == (price, price)
    assert estimate.kind == ("unknown" if price is None else "exact")


# --- chat -------------------------------------------------------------------------------------------------------------


def test_chat_capabilities() -> None:
    capabilities = {
        "web_search": True,
        "image_attachments": False,
        "thoughts": True,
        "reasoning_efforts": ["low", 5, "high"],
    }
    model = Model("talk", category="chat", chat_capabilities=capabilities)
    assert model.chat == ChatCapabilities(
        web_search=True, images=False, reasoning_efforts=("low", "high"), thoughts=True
    )
    assert Model("m", category="image", chat_capabilities=capabilities).chat is None


@pytest.mark.parametrize("stated", [None, {}, {"web_search": "yes", "reasoning_efforts": "low", "thoughts": 1}])
def test_unlisted_chat_capabilities_are_none(stated: dict[str, Any] | None) -> None:
    assert Model("talk", category="chat", chat_capabilities=stated).chat == ChatCapabilities()


def test_check_returns_the_price() -> None:
    model = Model("m", billing_type="FIXED", base_credits=2, supported_api_inputs=("text",))
    assert model.check("A kite") == model.estimate_credits("A kite")
