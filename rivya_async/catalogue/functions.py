"""Builds the functions of the catalogue from `models.json`."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

from .._core.catalogue.model import Model
from .._core.catalogue.model_param import ModelParam, format_number
from .._core.catalogue.validation import closest_matches, suggestion_text
from .._core.generation_request import GenerationRequest, Reference
from .._core.http.serialization import structure

MODULE: Final = __name__.rpartition(".")[0]
KEYS: Final = ("client_request_id", "idempotency_key")
"""Keyword arguments of every function."""


class DialogueLine(TypedDict):
    """Line of a dialogue: the name of its voice, and its text."""

    voice: str
    text: str


class PackagedModels(Mapping[str, Model]):
    """The packaged catalogue by model id. A model is built when it is first read: all take a tenth of a second."""

    def __init__(self) -> None:
        facts = json.loads(Path(__file__).with_name("models.json").read_text(encoding="utf-8"))
        self._entries: dict[str, Any] = {entry["id"]: entry for entry in facts["data"]}
        self._reference_caps: dict[str, Any] = facts["reference_caps"]
        self._unseen_rules: dict[str, Any] = facts["reference_rule_unseen"]
        self._models: dict[str, Model] = {}

    def __getitem__(self, model_id: str) -> Model:
        if model_id not in self._models:
            entry = dict(self._entries[model_id])
            if caps := self._reference_caps.get(model_id):
                entry["reference_media"] = {**(entry["reference_media"] or {}), "caps": caps}
            if model_id in self._unseen_rules:
                entry["file_kinds"] = self._unseen_rules[model_id]
            self._models[model_id] = structure(entry, Model)
        return self._models[model_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@cache
def models() -> Mapping[str, Model]:
    """Returns the known models by id, chat models included. Reads the packaged catalogue, and sends nothing.

    The service may know more models: `session.models.list()` asks it.
    """
    return PackagedModels()


@cache
def models_by_name() -> Mapping[str, Model]:
    """Returns the models that have a function by its name. Chat models have none."""
    return {function_name(model.id): model for model in models().values() if not model.is_chat}


def function_name(model_id: str) -> str:
    """Returns the name of the function of a model.

    >>> function_name("kling-3.0"), function_name("4o-image")
    ('kling_3_0', 'model_4o_image')
    """
    name = re.sub(r"\W", "_", model_id)
    return name if name.isidentifier() else f"model_{name}"


def public_names() -> list[str]:
    """Returns the names of the package `catalogue`."""
    return sorted(["DialogueLine", "ModelId", "models", *models_by_name()])


def resolve(name: str) -> Any:
    """Returns the value of a name of the package `catalogue`. Raises `AttributeError` with the nearest names."""
    if name in ("DialogueLine", "models"):
        return globals()[name]
    if name == "ModelId":
        return Literal[tuple(models())]
    known = models_by_name()
    model = known.get(name) or known.get(f"model_{name.lstrip('_')}")  # getattr(catalogue, "4o_image") works, too
    if model is None:
        chat = next((each.id for each in models().values() if function_name(each.id) == name), None)
        advice = (
            f"{chat} is a chat model: use session.chat.completions.create"
            if chat is not None
            else f"there is no such model {suggestion_text(closest_matches(name, known), ())}. "
            "For a model that this version does not know, pass its id to submit"
        )
        raise AttributeError(f"module {MODULE!r} has no attribute {name!r}: {advice}")
    return build_function(model)


def build_function(model: Model) -> Callable[..., GenerationRequest]:
    """Returns the function of a model."""
    signature = build_signature(model)
    name = function_name(model.id)

    def build(*args: Any, **kwargs: Any) -> GenerationRequest:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            unknown = next((key for key in kwargs if key not in signature.parameters), None)
            matches = () if unknown is None else closest_matches(unknown, signature.parameters)
            hint = f" {suggestion_text(matches, ())}" if matches else ""
            raise TypeError(f"{name}(): {error}{hint}") from None
        params = {param.key: given[param.key] for param in model.params if given.get(param.key) is not None}
        keys = {key: given.get(key) for key in KEYS}
        references = given.get("references") or ()
        return GenerationRequest(
            model.id, given.get("prompt"), params=model.coerce(params), references=references, **keys
        )

    build.__name__ = build.__qualname__ = name
    build.__module__ = MODULE
    build.__doc__ = describe(model)
    build.__signature__ = signature  # type: ignore[attr-defined] # a documented attribute that typeshed lacks
    build.__annotations__ = {
        **{parameter.name: parameter.annotation for parameter in signature.parameters.values()},
        "return": GenerationRequest,
    }
    return build


def build_signature(model: Model) -> inspect.Signature:
    """Returns the signature of the function of a model."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    prompt = {"annotation": str} if model.needs_prompt else {"annotation": str | None, "default": None}
    parameters = [inspect.Parameter("prompt", inspect.Parameter.POSITIONAL_OR_KEYWORD, **prompt)]
    if model.reference_rules is not None:
        parameters.append(inspect.Parameter("references", keyword, annotation=Sequence[Reference], default=()))
    for param in model.params:
        default = inspect.Parameter.empty if param.required else param.default
        parameters.append(inspect.Parameter(param.key, keyword, annotation=annotation(param), default=default))
    parameters += [inspect.Parameter(key, keyword, annotation=str | None, default=None) for key in KEYS]
    return inspect.Signature(parameters, return_annotation=GenerationRequest)


def annotation(param: ModelParam) -> Any:
    """Returns the type of a param: its options, also as numbers and booleans, or the type of its values."""
    none: tuple[None, ...] = () if param.required or param.default is not None else (None,)
    if param.type == "select" and param.choices:
        values = [_converted(choice) for choice in param.choices]
        exact = [value for value in values if isinstance(value, int)]  # True and False are integers
        options: Any = Literal[(*param.choices, *exact, *none)]
        return options | float if any(isinstance(value, float) for value in values) else options
    types = {"number": int if _is_whole(param) else float, "text": str, "select": str, "array": Sequence[DialogueLine]}
    kind: Any = types.get(param.type, Any)
    return kind | None if none and kind is not Any else kind


def describe(model: Model) -> str:
    """Returns the docstring of the function of a model."""
    lines = [f"{model.display_name or model.id}, {model.category}: {_price(model)}.", ""]
    if model.max_prompt_length is not None:
        lines.append(f"Prompt: at most {model.max_prompt_length:,} characters.")
    lines += _reference_lines(model)
    lines += [_param_line(param) for param in model.params]
    if not model.is_available:
        lines.append("The model could not be bought through the API when this version was made.")
    return "\n".join(lines).rstrip()


def _price(model: Model) -> str:
    price = model.estimate_credits()
    if price.credits is not None:
        if not model.price_params:
            return f"{price} per job"
        return f"{price} per job with the default settings; {', '.join(model.price_params)} may change it"
    return f"{(model.billing_type or 'unknown price').lower()}, {model.base_credits or 0} credits listed"


def _reference_lines(model: Model) -> Iterator[str]:
    rules = model.reference_rules
    if rules is None:
        return
    rule = (model.reference_media or {}).get("rule")
    count = f"at most {rules.max_files}" if rules.max_files is not None else "the limit is not published"
    yield f"References ({', '.join(rules.kinds) or 'any kind'}): {rule or f'{count}.'}"
    for kind, limit in rules.limits.items():
        size = "" if limit.max_bytes is None else f" up to {limit.max_bytes / 1_048_576:g} MB"
        yield f"  {kind}{size}: {', '.join(limit.mime_types)}"


def _param_line(param: ModelParam) -> str:
    parts = [param.description.rstrip(".") or param.type]
    if param.min is not None or param.max is not None:
        low, high = ("" if end is None else format_number(end) for end in (param.min, param.max))
        parts.append(f"from {low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}")
    if param.step is not None:
        parts.append(f"in steps of {format_number(param.step)}")
    if param.required:
        parts.append("required")
    elif param.default is not None:
        parts.append(f"default {param.default!r}")
    return f"{param.key}: {', '.join(parts)}."


def _converted(choice: str) -> Any:
    """Returns the boolean or number that `coerce` converts to this choice; else the choice."""
    if choice in ("true", "false"):
        return choice == "true"
    return ModelParam("", "number").coerce(choice)


def _is_whole(param: ModelParam) -> bool:
    return isinstance(param.step, int) or (param.step is None and "seed" in param.key)
