"""What a mistyped name or value was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

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
