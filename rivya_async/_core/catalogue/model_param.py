"""Parameters of a model: validation and coercion of their values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

import attrs

from ..public_module import set_public_module
from ..types.generations import Amount, ValidationProblem, extra_fields
from ..types.record import Record
from .validation import closest_matches, shorten, suggestion_text

NUMBER_PATTERN: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
INTEGER_PATTERN: Final = re.compile(r"[+-]?\d+", re.ASCII)
MAX_NUMBER_LENGTH: Final = 400
"""Maximum length of a text that is parsed as a number, in characters."""

STEP_TOLERANCE: Final = 1e-6
"""Accepted deviation from a step, as a fraction of the step: sums of floats are inexact."""

REFERENCES_PARAM: Final = "referenceMediaItems"
"""Key of `params` for references, which no catalogue lists [6]."""

DIALOGUE_PARAM: Final = "dialogue"
"""Key of the only documented array: lines of `voice` and `text` [6]."""


@attrs.frozen
class ModelParam(Record):
    """Parameter of a model.

    The shape is an assumption: members missing from another shape are empty, and not checked.

    >>> ModelParam("duration", "select", options=("5", "10")).coerce(5)
    '5'
    """

    key: str
    """Key in `params`."""
    type: str = ""
    """`select`, `number`, `text` or `array`, an open string."""
    required: bool = False
    """True if a job needs the param."""
    default: Any = attrs.field(default=None, hash=False)
    """Value that the service uses if the param is left out."""
    min: Amount | None = None
    """Minimum of a number."""
    max: Amount | None = None
    """Maximum of a number."""
    step: Amount | None = None
    """Step of a number."""
    options: tuple[Any, ...] = attrs.field(default=(), hash=False)
    """Options as listed in the catalogue; `choices` are those that are sent."""
    description: str = ""
    """Description for people."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The options as they are sent; empty if there are none, or one has an unknown type."""
        texts = [_format_text(option) for option in self.options]
        known = tuple(text for text in texts if text is not None)
        return known if len(known) == len(texts) else ()

    @property
    def example(self) -> Any:
        """A valid value for messages: the default, or the first choice; None if there is neither."""
        return self.default if self.default is not None else next(iter(self.choices), None)

    def coerce(self, value: Any) -> Any:
        """Returns the value as it must be sent, if that is unambiguous; else the value itself."""
        if self.type == "select" and isinstance(value, int | float):
            return next((choice for choice in self.choices if _is_same_value(choice, value)), value)
        if self.type == "select" and isinstance(value, str) and value not in self.choices:
            return next((choice for choice in self.choices if _is_same_text(choice, value)), value)
        if self.type == "number" and isinstance(value, str):
            return _parse_number(value)
        return value

    def problems(self, value: Any) -> Iterator[ValidationProblem]:
        """Yields the problems of this value."""
        if value is None:
            yield self._make_problem("type", "is None: leave it out")
        elif self.type == "select":
            yield from self._select_problems(value)
        elif self.type == "number":
            yield from self._number_problems(value)
        elif self.type == "text" and not isinstance(value, str):
            yield self._make_problem("type", f"must be a string, not {shorten(value)}")
        elif self.type == "array":
            yield from self._array_problems(value)

    def missing_problem(self) -> ValidationProblem:
        """Returns the problem of a job without this param."""
        if self.example is None:
            return self._make_problem("missing", "is required")
        return self._make_problem("missing", f"is required, such as {self.example!r}", self.example)

    def _make_problem(self, reason: str, message: str, *suggestions: Any) -> ValidationProblem:
        return ValidationProblem(f"params.{self.key}", reason, f"{self.key} {message}", suggestions)

    def _select_problems(self, value: Any) -> Iterator[ValidationProblem]:
        if not isinstance(value, str):
            matches = tuple(choice for choice in [self.coerce(value)] if isinstance(choice, str))
            hint = suggestion_text(matches, self.choices)
            yield self._make_problem("type", f"must be a string, not {shorten(value)} {hint}", *matches)
        elif self.choices and value not in self.choices:
            matches = closest_matches(value, self.choices)
            hint = suggestion_text(matches, self.choices)
            yield self._make_problem("option", f"cannot be {shorten(value)} {hint}", *matches)

    def _number_problems(self, value: Any) -> Iterator[ValidationProblem]:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
            number = self.coerce(value)
            suggestions = (number,) if isinstance(value, str) and number is not value else ()
            hint = f" {suggestion_text(suggestions, ())}" if suggestions else ""
            yield self._make_problem("type", f"must be a number, not {shorten(value)}{hint}", *suggestions)
        elif self.min is not None and value < self.min:
            yield self._make_problem("range", f"must be {self._range_text()}, not {shorten(value)}", self.min)
        elif self.max is not None and value > self.max:
            yield self._make_problem("range", f"must be {self._range_text()}, not {shorten(value)}", self.max)
        elif self.step is not None and self.step > 0:
            yield from self._step_problems(value, self.step)

    def _step_problems(self, value: Amount, step: Amount) -> Iterator[ValidationProblem]:
        base = Fraction(self.min or 0)
        steps = (Fraction(value) - base) / Fraction(step)
        if abs(steps - round(steps)) <= STEP_TOLERANCE:
            return
        neighbours = [_to_amount(base + count * Fraction(step)) for count in (math.floor(steps), math.ceil(steps))]
        valid = [number for number in neighbours if self.max is None or number <= self.max]
        start = "" if not self.min else f" from {format_number(self.min)}"
        message = f"must be in steps of {format_number(step)}{start}, not {shorten(value)} {suggestion_text(valid, ())}"
        yield self._make_problem("step", message, *valid)

    def _array_problems(self, value: Any) -> Iterator[ValidationProblem]:
        if not isinstance(value, list | tuple):
            yield self._make_problem("type", f"must be a list, not {shorten(value)}")
        elif not value and self.required:
            yield self._make_problem("missing", "is required: give it at least one line")
        elif self.key == DIALOGUE_PARAM:
            yield from _dialogue_problems(value)

    def _range_text(self) -> str:
        if self.min is not None and self.max is not None:
            return f"from {format_number(self.min)} to {format_number(self.max)}"
        return (
            f"{format_number(self.min)} or more" if self.min is not None else f"{format_number(self.max or 0)} or less"
        )


def _dialogue_problems(lines: Any) -> Iterator[ValidationProblem]:
    for index, line in enumerate(lines):
        where = f"{DIALOGUE_PARAM}[{index}]"
        for name in ("voice", "text"):
            value = line.get(name) if isinstance(line, Mapping) else None
            if not isinstance(value, str) or not value:
                yield ValidationProblem(f"params.{where}.{name}", "missing", f"{where} needs a string {name!r}")


def format_number(number: Amount) -> str:
    """Formats a number without an exponent and trailing zeros."""
    return str(number) if isinstance(number, int) else f"{number:.12g}"


def _to_amount(number: Fraction) -> Amount:
    return int(number) if number.denominator == 1 else round(float(number), 9)


def _parse_number(text: str) -> Amount | str:
    """Returns the number of a text, if the conversion is exact; else the text."""
    if len(text) > MAX_NUMBER_LENGTH or NUMBER_PATTERN.fullmatch(text) is None:
        return text
    if INTEGER_PATTERN.fullmatch(text) is not None:
        return int(text)
    number = float(text)
    return number if math.isfinite(number) and Fraction(repr(number)) == Fraction(text) else text


def _format_text(option: Any) -> str | None:
    """Returns an option as it is sent: a string, also for numbers, booleans and objects with a `value`."""
    if isinstance(option, Mapping):
        option = option.get("value")
    if isinstance(option, bool):
        return "true" if option else "false"
    if isinstance(option, int | float):
        return format_number(option)
    return option if isinstance(option, str) else None


def _is_same_text(choice: str, text: str) -> bool:
    """Returns True for another spelling of a number or a boolean, as spreadsheets write it: `5.0`, `05`, `TRUE`."""
    number = _parse_number(text)
    if isinstance(number, str):
        return choice.casefold() in {"true", "false"} and choice.casefold() == text.casefold()
    return _parse_number(choice) == number


def _is_same_value(choice: str, value: Amount) -> bool:
    if isinstance(value, bool):
        return choice.casefold() == ("true" if value else "false")
    return _parse_number(choice) == value


set_public_module("rivya_async", ModelParam)
