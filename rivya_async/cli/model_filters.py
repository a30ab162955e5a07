"""Which models of the catalogue a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.catalogue.validation import closest_matches, suggestion_text
from .._core.errors import ConfigurationError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from .._core.catalogue.model import Model


def chosen(models: Sequence[Model], wanted: Namespace) -> Sequence[Model]:
    """Those to which every filter applies. Raises `ConfigurationError` for a category that no model has."""
    known = dict.fromkeys(model.category for model in models)
    if wanted.category is not None and wanted.category not in known:
        hint = suggestion_text(closest_matches(wanted.category, known), known)
        raise ConfigurationError(f"there is no category {wanted.category!r} {hint}")
    return [model for model in models if _is_wanted(model, wanted)]


def _is_wanted(model: Model, wanted: Namespace) -> bool:
    return (
        wanted.category in {None, model.category}
        and (wanted.takes is None or _takes(model, wanted.takes))
        and (wanted.max_credits is None or (model.base_credits or 0) <= wanted.max_credits)
        and (wanted.search is None or _holds(model, wanted.search))
        and (model.is_available or not wanted.available)
    )


def _takes(model: Model, kind: str) -> bool:
    """Whether a job may refer to such a file; where no rule is told, it may."""
    if model.chat is not None:
        return kind == "image" and bool(model.chat.images)
    rules = model.reference_rules
    return rules is not None and (not rules.kinds or kind in rules.kinds)


def _holds(model: Model, text: str) -> bool:
    """Whether every word is in its id, its name or the keys of its params, in any case."""
    told = " ".join([model.id, model.display_name, *(param.key for param in model.params)]).casefold()
    return all(word in told for word in text.casefold().split())
