"""What a row refers to: a file of this machine, or a link."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .._core.errors import ConfigurationError, ValidationFailed
from .._core.filenames import KIND_OF
from .._core.generation_request import Reference
from .._core.media_type import HEAD_BYTES, KINDS, check, limit_for, recognised
from .._core.records import ReferenceMedia

if TYPE_CHECKING:
    from .._core.model import Model


def parse_reference(text: str) -> Reference:
    """The path, or the link with its kind by its ending. Raises `ConfigurationError` where that says nothing."""
    if "://" not in text:
        return Path(text)
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise ConfigurationError(f"{text.partition('?')[0]!r:.120} is no link: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ConfigurationError(f"{text.partition('?')[0]!r:.120} is no link for the service: give one with https://")
    kind = KIND_OF.get(Path(parts.path).suffix.lower())
    if kind not in KINDS:
        raise ConfigurationError(
            f"what {text.partition('?')[0]!r:.120} leads to is not clear from its ending: download it and give its path"
        )
    return ReferenceMedia(text, kind=kind)


def find_file_problem(path: Path, model: Model) -> str | None:
    """Why this file could not be uploaded for this model; None if it could."""
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for a name that is too long
        return f"there is no file {str(path)!r:.200}"
    try:
        with path.open("rb") as file:
            head, size = file.read(HEAD_BYTES), os.fstat(file.fileno()).st_size
        media = recognised(head, name=path.name, kind=None)
        check(limit_for(media.kind, model), media, name=path.name, size=size)
    except OSError as error:
        return f"the file {str(path)!r:.200} cannot be read: {error.strerror or error}"
    except (ConfigurationError, ValidationFailed) as error:
        return f"{str(path)!r:.200}: {error}"
    return None
