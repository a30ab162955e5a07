"""Where a request went, without what makes each one a name of its own: ids and queries."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from .._core.types.purchase_cost import GENERATIONS_PATH

WORDS: Final = frozenset(
    {
        *("api", "v1", "openapi.json", "models", "generations", "files", "credits"),
        *("chat", "completions", "stream", "sessions"),
        *("webhooks", "rotate-secret", "test", "deliveries", "webhook-events"),
    }
)
"""Every part of a path that is no id (contract section 1)."""


def template_of(path: str) -> str:
    """The path with `{id}` for each part that is one."""
    parts = path.partition("?")[0].split("/")
    return "/".join(part if not part or part in WORDS else "{id}" for part in parts)


def task_of(path: str) -> str | None:
    """The job that a request reads, if it reads one."""
    noun, _, name = path.partition("?")[0].rpartition("/")
    return unquote(name) if noun == GENERATIONS_PATH else None
