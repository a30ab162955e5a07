"""`-p KEY=VALUE` and a model of the catalogue: values of the right type. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from .._core.catalogue.model import REFERENCES_PARAM
from .._core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._core.catalogue.model import Model

AS_THEY_ARE: Final = frozenset({"select", "number", "text", ""})
"""Types whose values are typed as text; a number becomes one by `Model.coerce`. Values of other types are JSON."""


def typed_params(model: Model | None, given: Sequence[str]) -> dict[str, Any]:
    """The params of a job, typed as the model's catalogue entry says; as text where it says nothing.

    Raises `ConfigurationError` where something is not `KEY=VALUE`, or should be JSON and is not. Whether the values fit
    is for `Model.check`.
    """
    params = {key: _value(model, key, text) for key, text in map(_pair, given)}
    return params if model is None else model.coerce(params)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigurationError(f"-p takes KEY=VALUE, not {text!r}")
    return key, value


def _value(model: Model | None, key: str, text: str) -> Any:
    param = None if model is None else model.param(key)
    if key != REFERENCES_PARAM and (param is None or param.type in AS_THEY_ARE):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{key} must be JSON: {error}") from None
