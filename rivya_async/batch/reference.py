"""What a row refers to: a file of this machine, or a link."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .._core.errors import ConfigurationError, ValidationFailed
from .._core.files.filenames import KIND_BY_EXTENSION
from .._core.files.media_type import KINDS, SNIFF_BYTES, check_upload, detect_media_type, limit_for
from .._core.generation_request import Reference
from .._core.types.generations import ReferenceMedia

if TYPE_CHECKING:
    from .._core.catalogue.model import Model


def as_reference(text: str) -> Reference:
    """The path, or the link with its kind by its ending. Raises `ConfigurationError` where that says nothing."""
    if "://" not in text:
        return Path(text)
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise ConfigurationError(f"{text.partition('?')[0]!r:.120} is no link: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ConfigurationError(f"{text.partition('?')[0]!r:.120} is no link for the service: give one with https://")
    kind = KIND_BY_EXTENSION.get(Path(parts.path).suffix.lower())
    if kind not in KINDS:
        raise ConfigurationError(
            f"what {text.partition('?')[0]!r:.120} leads to is not clear from its ending: download it and give its path"
        )
    return ReferenceMedia(text, kind=kind)


def file_problem(path: Path, model: Model) -> str | None:
    """Why this file could not be uploaded for this model; None if it could."""
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for a name that is too long
        return f"there is no file {str(path)!r:.200}"
    try:
        with path.open("rb") as file:
            head, size = file.read(SNIFF_BYTES), os.fstat(file.fileno()).st_size
        media = detect_media_type(head, name=path.name, kind=None)
        check_upload(limit_for(media.kind, model), media, name=path.name, size=size)
    except OSError as error:
        return f"the file {str(path)!r:.200} cannot be read: {error.strerror or error}"
    except (ConfigurationError, ValidationFailed) as error:
        return f"{str(path)!r:.200}: {error}"
    return None
