"""What a mistyped name or value was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

SHOWN: Final = 12
"""Names that one message lists."""

COMPARED: Final = 100
"""Letters of a name that are compared: the comparison grows with the square of them."""


def nearest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """At most two names that `name` is near to, the nearest first; case, blanks and underscores do not count.

    >>> nearest("aspectRatio", ["aspect_ratio", "seed"])
    ('aspect_ratio',)
    """
    folded: dict[str, str] = {}
    for option in known:
        folded.setdefault(_folded(option), option)
    return tuple(folded[near] for near in get_close_matches(_folded(name), folded, n=2))


def hint(near: Iterable[object], known: Iterable[object]) -> str:
    """`(did you mean 'x'?)`, or what there is to choose from."""
    meant = " or ".join(repr(option) for option in near)
    if meant:
        return f"(did you mean {meant}?)"
    choice = [str(option) for option in known]
    shown = ", ".join(choice[:SHOWN]) + (", ..." if len(choice) > SHOWN else "")
    return f"(there {'is' if len(choice) == 1 else 'are'} {shown or 'none'})"


def _folded(name: str) -> str:
    return name[:COMPARED].casefold().replace("_", "").replace("-", "").replace(" ", "")
