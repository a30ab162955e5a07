"""Text with fields that a row fills in: `A {colour} kite`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import Formatter
from typing import Any

from .._core.catalogue.validation import closest_matches, suggestion_text
from .._core.errors import ConfigurationError


class Template:
    """Text and the names of columns in braces; a brace itself is doubled. Nothing of a value can be looked into.

    Raises `ConfigurationError` for what is no such text.

    >>> Template("A {colour} kite").filled({"colour": "red"})
    'A red kite'
    """

    def __init__(self, text: str) -> None:
        try:
            parts = list(Formatter().parse(text))
        except ValueError as error:
            raise ConfigurationError(f"{text!r:.80} is no template: {error}; write {{{{ for a brace itself") from None
        for _, field, spec, conversion in parts:
            if field is not None and (not field.strip() or spec or conversion or set(field) & set(".[")):
                shown = f"{{{field}}}"
                raise ConfigurationError(f"{shown:.80} in {text!r:.80} is no field: put the name of a column in braces")
        self._parts = [(text, field) for text, field, _, _ in parts]
        self.fields = tuple(field for _, field in self._parts if field is not None)

    def filled(self, values: Mapping[str, Any]) -> str:
        """The text for these values. Raises `ConfigurationError` for a field that is not there, or not to be shown."""
        return "".join(text if field is None else text + _value(field, values) for text, field in self._parts)


def no_value(field: str, names: Iterable[str]) -> str:
    """What is said of a field that is none of these."""
    names = list(names)
    return f"there is no value for {{{field}}} {suggestion_text(closest_matches(field, names), names)}"


def _value(field: str, values: Mapping[str, Any]) -> str:
    value = values.get(field)
    if value is None:
        raise ConfigurationError(no_value(field, values))
    if isinstance(value, dict | list):
        raise ConfigurationError(f"{{{field}}} is no text or number, which a template could show")
    return str(value)
