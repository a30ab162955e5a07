"""`-p KEY=VALUE` and a model of the catalogue: values of the right type, or every problem at once. Pure."""

from __future__ import annotations

import json
import math
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from .._core.errors import ConfigurationError, ValidationFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._core.model import Model
    from .._core.model_param import ModelParam

REFERENCES: Final = "referenceMediaItems"
"""A param that the service takes and no catalogue lists."""

SHOWN: Final = 12
"""Names that one message lists."""


def checked_params(model: Model, given: Sequence[str]) -> dict[str, Any]:
    """The params of a job, typed by the model.

    Raises `ConfigurationError` where something is not `KEY=VALUE`, `ValidationFailed` with every problem: a model that
    cannot be bought, an unknown key, a value that does not fit, a required key that is missing.
    """
    problems = list(_model_problems(model))
    params: dict[str, Any] = {}
    for key, text in _pairs(given):
        param = model.param(key)
        try:
            params[key] = _reference_items(text) if key == REFERENCES else _typed(model, param, key, text)
        except ValueError as error:
            problems.append(str(error))
            params[key] = None
    problems += [_missing(param) for param in model.params if param.required and param.key not in params]
    if problems:
        raise ValidationFailed("; ".join(problems) + ". Nothing was bought.")
    return params


def nearest(name: str, known: Iterable[str]) -> str:
    """`(did you mean x?)`, or what there is to choose from."""
    choice = list(known)
    folded = {option.casefold(): option for option in choice}
    near = get_close_matches(name.casefold(), folded, n=2)
    if near:
        return f"(did you mean {' or '.join(repr(folded[option]) for option in near)}?)"
    shown = ", ".join(choice[:SHOWN]) + (", ..." if len(choice) > SHOWN else "")
    return f"(there {'is' if len(choice) == 1 else 'are'} {shown or 'none'})"


def _pairs(given: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigurationError(f"-p takes KEY=VALUE, not {text!r}")
        pairs.append((key, value))
    return pairs


def _model_problems(model: Model) -> Iterable[str]:
    if model.category == "chat":
        yield f"{model.id} is a chat model, which makes no files"
    elif model.api_status is not None and not model.is_available:
        yield f"{model.id} cannot be bought through the API now: it is {model.api_status!r}"


def _missing(param: ModelParam) -> str:
    example = param.default if param.default is not None else param.options[0] if param.options else "..."
    return f"{param.key} is required: -p {param.key}={example}"


def _typed(model: Model, param: ModelParam | None, key: str, text: str) -> Any:
    """The value; ValueError says what is wrong with it."""
    if param is None:
        raise ValueError(f"{model.id} has no param {key!r} {nearest(key, (param.key for param in model.params))}")
    if param.type == "select":
        return _selected(param, text)
    if param.type == "number":
        return _number(param, text)
    return text if param.type == "text" else _json(key, text)


def _selected(param: ModelParam, text: str) -> str:
    if param.options and text not in param.options:
        raise ValueError(f"{param.key} cannot be {text!r} {nearest(text, param.options)}")
    return text


def _number(param: ModelParam, text: str) -> int | float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{param.key} must be a number, not {text!r}") from None
    low = -math.inf if param.min is None else param.min
    high = math.inf if param.max is None else param.max
    if not math.isfinite(value) or not low <= value <= high:
        raise ValueError(f"{param.key} must be {_span(param)}, not {text}")
    try:
        return int(text)
    except ValueError:
        return value


def _span(param: ModelParam) -> str:
    if param.min is not None and param.max is not None:
        return f"from {param.min:g} to {param.max:g}"
    if param.min is not None:
        return f"{param.min:g} or more"
    return f"{param.max:g} or less" if param.max is not None else "a finite number"


def _reference_items(text: str) -> Any:
    items = _json(REFERENCES, text)
    if not isinstance(items, list):
        raise ValueError(f"{REFERENCES} must be a JSON list of objects with url and kind")  # noqa: TRY004 - a problem of the text
    return items


def _json(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{key} must be JSON: {error}") from None
