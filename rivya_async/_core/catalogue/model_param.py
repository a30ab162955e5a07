"""One parameter of a model: what its values look like, and what is wrong with one that does not."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

import attrs

from ..types.generations import Amount, ValidationProblem, extra_fields
from .validation import closest_matches, shorten, suggestion_text

NUMBER_PATTERN: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
INTEGER_PATTERN: Final = re.compile(r"[+-]?\d+", re.ASCII)
MAX_NUMBER_LENGTH: Final = 400
"""A longer text is no number that anybody means."""

STEP_TOLERANCE: Final = 1e-6
"""A part of a step by which a value may miss it: floats add up to a little more or less."""

DIALOGUE_PARAM: Final = "dialogue"
"""The one array that is documented: lines of `voice` and `text` [6]."""


@attrs.frozen
class ModelParam:
    """One parameter of a model [5]: `type` is `select`, `number`, `text` or `array`, all open strings.

    `options` come as the catalogue has them; `choices` are the strings that travel, also where they look like numbers.
    The shape is an assumption: what another shape leaves unsaid is empty, and is not checked.

    >>> ModelParam("duration", "select", options=("5", "10")).coerce(5)
    '5'
    """

    key: str
    type: str = ""
    required: bool = False
    default: Any = attrs.field(default=None, hash=False)
    min: Amount | None = None
    max: Amount | None = None
    step: Amount | None = None
    options: tuple[Any, ...] = attrs.field(default=(), hash=False)
    description: str = ""
    extra: Mapping[str, Any] = extra_fields()

    @property
    def choices(self) -> tuple[str, ...]:
        """The options as they travel; empty where there are none, or one is of a kind that we do not know."""
        texts = [_format_text(option) for option in self.options]
        known = tuple(text for text in texts if text is not None)
        return known if len(known) == len(texts) else ()

    @property
    def example(self) -> Any:
        """A value to show: the default, or the first choice; None if there is neither."""
        return self.default if self.default is not None else next(iter(self.choices), None)

    def coerce(self, value: Any) -> Any:
        """The value as it must travel, where that is certain; else the value itself."""
        if self.type == "select" and isinstance(value, int | float):
            return next((choice for choice in self.choices if _is_same_value(choice, value)), value)
        if self.type == "number" and isinstance(value, str):
            return _parse_number(value)
        return value

    def problems(self, value: Any) -> Iterator[ValidationProblem]:
        """What is wrong with this value."""
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
        """The problem of a job without it."""
        if self.example is None:
            return self._make_problem("missing", "is required")
        return self._make_problem("missing", f"is required, such as {self.example!r}", self.example)

    def _make_problem(self, reason: str, claim: str, *near: Any) -> ValidationProblem:
        return ValidationProblem(f"params.{self.key}", reason, f"{self.key} {claim}", near)

    def _select_problems(self, value: Any) -> Iterator[ValidationProblem]:
        if not isinstance(value, str):
            near = [choice for choice in [self.coerce(value)] if isinstance(choice, str)]
            yield self._make_problem(
                "type", f"must be a string, not {shorten(value)} {suggestion_text(near, self.choices)}", *near
            )
        elif self.choices and value not in self.choices:
            meant = closest_matches(value, self.choices)
            yield self._make_problem(
                "option", f"cannot be {shorten(value)} {suggestion_text(meant, self.choices)}", *meant
            )

    def _number_problems(self, value: Any) -> Iterator[ValidationProblem]:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
            near = self.coerce(value)
            meant = (near,) if isinstance(value, str) and near is not value else ()
            said = f" {suggestion_text(meant, ())}" if meant else ""
            yield self._make_problem("type", f"must be a number, not {shorten(value)}{said}", *meant)
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
        around = [_to_amount(base + whole * Fraction(step)) for whole in (math.floor(steps), math.ceil(steps))]
        meant = [near for near in around if self.max is None or near <= self.max]
        start = "" if not self.min else f" from {format_number(self.min)}"
        claim = f"must be in steps of {format_number(step)}{start}, not {shorten(value)} {suggestion_text(meant, ())}"
        yield self._make_problem("step", claim, *meant)

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
            given = line.get(name) if isinstance(line, Mapping) else None
            if not isinstance(given, str) or not given:
                yield ValidationProblem(f"params.{where}.{name}", "missing", f"{where} needs a string {name!r}")


def format_number(number: Amount) -> str:
    """A number of the catalogue for people: no exponent, no idle zeros."""
    return str(number) if isinstance(number, int) else f"{number:.12g}"


def _to_amount(number: Fraction) -> Amount:
    return int(number) if number.denominator == 1 else round(float(number), 9)


def _parse_number(text: str) -> Amount | str:
    """The number that a text says, if none of it is lost; else the text."""
    if len(text) > MAX_NUMBER_LENGTH or NUMBER_PATTERN.fullmatch(text) is None:
        return text
    if INTEGER_PATTERN.fullmatch(text) is not None:
        return int(text)
    number = float(text)
    return number if math.isfinite(number) and Fraction(repr(number)) == Fraction(text) else text


def _format_text(option: Any) -> str | None:
    """An option as it travels: a string, be it listed as a number, a boolean or an object with a `value`."""
    if isinstance(option, Mapping):
        option = option.get("value")
    if isinstance(option, bool):
        return "true" if option else "false"
    if isinstance(option, int | float):
        return format_number(option)
    return option if isinstance(option, str) else None


def _is_same_value(choice: str, value: Amount) -> bool:
    if isinstance(value, bool):
        return choice.casefold() == ("true" if value else "false")
    return _parse_number(choice) == value
