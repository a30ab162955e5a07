"""One thing that is wrong with a job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..types.validation_problem import ValidationProblem
from .suggestions import closest_matches, suggestion_text

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
