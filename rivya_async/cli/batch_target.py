"""Where a command about a batch may write."""

from __future__ import annotations

from pathlib import Path

from .._core.errors import ConfigurationError


def harmless_target(text: str, *needed: Path) -> Path:
    """The path to write to; a `ConfigurationError` if it is one of the files that are still needed."""
    path = Path(text)
    for each in needed:
        if path.resolve() == each.resolve() or (path.exists() and each.exists() and path.samefile(each)):
            raise ConfigurationError(f"{path} would be written over, and is still needed: choose another file")
    return path
