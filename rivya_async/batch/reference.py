"""What a row refers to: a file of this machine, or a link."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from .._core.errors import ConfigurationError
from .._core.filenames import EXTENSIONS
from .._core.generation_request import Reference
from .._core.records import ReferenceMedia

KINDS: Final = {suffix: media_type.partition("/")[0] for media_type, suffix in EXTENSIONS.items()} | {".jpeg": "image"}
"""Of what kind a file is whose name ends so."""


def as_reference(text: str) -> Reference:
    """The path, or the link with its kind by its ending. Raises `ConfigurationError` where that says nothing."""
    if "://" not in text:
        return Path(text)
    kind = KINDS.get(Path(urlsplit(text).path).suffix.lower())
    if kind not in {"image", "video", "audio"}:
        raise ConfigurationError(
            f"what {text.partition('?')[0]!r:.120} leads to is not clear from its ending: download it and give its path"
        )
    return ReferenceMedia(text, kind=kind)
