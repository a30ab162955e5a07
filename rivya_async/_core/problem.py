"""One thing that is wrong with a job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from .nearest import hint, nearest

SHOWN_LETTERS = 60


@attrs.frozen
class Problem:
    """One thing that is wrong with a job, for programs and, as `message`, for people.

    `where` is `model`, `prompt`, `params`, `params.KEY`, `references[N]` or an argument of a chat. `reason` is one
    word: `unknown`, `missing`, `type`, `option`, `range`, `step`, `length`, `kind`, `format`, `size`, `count`,
    `unavailable`. `nearest` holds the names or values that were probably meant.

    >>> Problem("params.seed", "range", "seed must be 0 or more, not -1").where
    'params.seed'
    """

    where: str
    reason: str
    message: str
    nearest: tuple[str | float, ...] = ()


def told(model_id: str, problems: Sequence[Problem]) -> str:
    """Every problem of a job, one a line if there are several."""
    if len(problems) == 1:
        return f"{problems[0].message}. Nothing was sent."
    lines = [f"{number}. {problem.message}" for number, problem in enumerate(problems, 1)]
    return "\n  ".join([f"this job for {model_id} has {len(problems)} problems, and nothing was sent:", *lines])


def shown(value: object) -> str:
    """A value as a message shows it: in short."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return f"so long a value of type {type(value).__name__}"
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}..."


def unknown_model(model_id: str, known: Iterable[str]) -> Problem:
    """The problem of a job for a model that the catalogue does not hold."""
    ids = list(known)
    meant = nearest(model_id, ids)
    said = hint(meant, ()) if meant else "(session.models.list() shows every id)"
    return Problem("model", "unknown", f"there is no model {shown(model_id)} {said}", meant)
