"""Messages about invalid jobs, with suggestions for mistyped names and values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from ..terminal_text import shorten_text
from ..types.generations import ValidationProblem

MAX_SUGGESTED_NAMES: Final = 12
"""Maximum number of valid names in one message."""

MAX_COMPARED_LENGTH: Final = 100
"""Maximum number of compared characters of a name: the time of a comparison grows with their square."""


def closest_matches(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Returns at most two names similar to `name`, best first; case, blanks, dashes and underscores do not count.

    >>> closest_matches("aspectRatio", ["aspect_ratio", "seed"])
    ('aspect_ratio',)
    """
    normalized: dict[str, str] = {}
    for option in known:
        normalized.setdefault(_normalize(option), option)
    return tuple(normalized[match] for match in get_close_matches(_normalize(name), normalized, n=2))


def suggestion_text(matches: Iterable[object], known: Iterable[object]) -> str:
    """Returns `(did you mean 'x'?)`, or a list of the known values if nothing matches."""
    suggested = " or ".join(repr(match) for match in matches)
    if suggested:
        return f"(did you mean {suggested}?)"
    options = [str(option) for option in known]
    shown = ", ".join(options[:MAX_SUGGESTED_NAMES]) + (", ..." if len(options) > MAX_SUGGESTED_NAMES else "")
    return f"(there {'is' if len(options) == 1 else 'are'} {shown or 'none'})"


def format_problems(model_id: str, problems: Sequence[ValidationProblem]) -> str:
    """Returns one message for all problems of a job, with one line per problem if there are several."""
    if len(problems) == 1:
        return f"{problems[0].message}. Nothing was sent."
    lines = [f"{number}. {problem.message}" for number, problem in enumerate(problems, 1)]
    return "\n  ".join([f"this job for {model_id} has {len(problems)} problems, and nothing was sent:", *lines])


def shorten(value: object) -> str:
    """Returns the repr of a value, cut to the length of a message."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        return f"so long a value of type {type(value).__name__}"
    return shorten_text(text)


def unknown_model_problem(model_id: str, known: Iterable[str]) -> ValidationProblem:
    """Returns the problem of a job for a model that is not in the catalogue."""
    matches = closest_matches(model_id, known)
    hint = suggestion_text(matches, ()) if matches else "(session.models.list() shows every id)"
    return ValidationProblem("model", "unknown", f"there is no model {shorten(model_id)} {hint}", matches)


def _normalize(name: str) -> str:
    return name[:MAX_COMPARED_LENGTH].casefold().replace("_", "").replace("-", "").replace(" ", "")
