"""One problem of a request, as a public record."""

from __future__ import annotations

import attrs


@attrs.frozen
class ValidationProblem:
    """One thing that is wrong with a job, for programs and, as `message`, for people.

    `where` is `model`, `prompt`, `params`, `params.KEY`, `references[N]` or an argument of a chat. `reason` is one
    word: `unknown`, `missing`, `type`, `option`, `range`, `step`, `length`, `kind`, `format`, `size`, `count`,
    `unavailable`. `nearest` holds the names or values that were probably meant.

    >>> ValidationProblem("params.seed", "range", "seed must be 0 or more, not -1").where
    'params.seed'
    """

    where: str
    reason: str
    message: str
    nearest: tuple[str | float, ...] = ()
