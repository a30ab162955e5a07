"""One thing that is wrong with a job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from ..types.generations import ValidationProblem

MAX_SHOWN_LENGTH = 60


def format_problems(model_id: str, problems: Sequence[ValidationProblem]) -> str:
    """Every problem of a job, one a line if there are several."""
    if len(problems) == 1:
        return f"{problems[0].message}. Nothing was sent."
    lines = [f"{number}. {problem.message}" for number, problem in enumerate(problems, 1)]
    return "\n  ".join([f"this job for {model_id} has {len(problems)} problems, and nothing was sent:", *lines])


def shorten(value: object) -> str:
    """A value as a message shows it: in short."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return f"so long a value of type {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[:MAX_SHOWN_LENGTH]}..."


def unknown_model_problem(model_id: str, known: Iterable[str]) -> ValidationProblem:
    """The problem of a job for a model that the catalogue does not hold."""
    ids = list(known)
    meant = closest_matches(model_id, ids)
    said = suggestion_text(meant, ()) if meant else "(session.models.list() shows every id)"
    return ValidationProblem("model", "unknown", f"there is no model {shorten(model_id)} {said}", meant)


MAX_SUGGESTED_NAMES: Final = 12
"""Names that one message lists."""

MAX_COMPARED_LENGTH: Final = 100
"""Letters of a name that are compared: the comparison grows with the square of them."""


def closest_matches(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """At most two names that `name` is near to, the nearest first; case, blanks and underscores do not count.

    >>> closest_matches("aspectRatio", ["aspect_ratio", "seed"])
    ('aspect_ratio',)
    """
    folded: dict[str, str] = {}
    for option in known:
        folded.setdefault(_normalize(option), option)
    return tuple(folded[near] for near in get_close_matches(_normalize(name), folded, n=2))


def suggestion_text(near: Iterable[object], known: Iterable[object]) -> str:
    """`(did you mean 'x'?)`, or what there is to choose from."""
    meant = " or ".join(repr(option) for option in near)
    if meant:
        return f"(did you mean {meant}?)"
    choice = [str(option) for option in known]
    shown = ", ".join(choice[:MAX_SUGGESTED_NAMES]) + (", ..." if len(choice) > MAX_SUGGESTED_NAMES else "")
    return f"(there {'is' if len(choice) == 1 else 'are'} {shown or 'none'})"


def _normalize(name: str) -> str:
    return name[:MAX_COMPARED_LENGTH].casefold().replace("_", "").replace("-", "").replace(" ", "")
