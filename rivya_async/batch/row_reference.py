"""The references of a row, and the problems of a row with its model and its files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .._core.catalogue.validation import unknown_model_problem
from .._core.errors import ConfigurationError, InvalidRequestError
from .._core.files.filenames import KIND_BY_EXTENSION
from .._core.files.media_type import KINDS, SNIFF_BYTES, check_upload, detect_media_type, limit_for
from .._core.generation_request import Reference
from .._core.types.generations import ReferenceMedia

if TYPE_CHECKING:
    from .._core.catalogue.model import Model
    from .row import Row


def parse_reference(text: str) -> Reference:
    """Returns the path, or the link with its media kind. Raises `ConfigurationError` if its ending has none."""
    if "://" not in text:
        return Path(text)
    shown = f"{text.partition('?')[0]!r:.120}"
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise ConfigurationError(f"{shown} is no link: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ConfigurationError(f"{shown} is no link for the service: give one with https://")
    kind = KIND_BY_EXTENSION.get(Path(parts.path).suffix.lower())
    if kind not in KINDS:
        raise ConfigurationError(f"the kind of {shown} is not clear from its ending: download it and give its path")
    return ReferenceMedia(text, kind=kind)


def find_problems(row: Row, models: Mapping[str, Model]) -> Iterator[str]:
    """Yields the problems of a row with the catalogue and with its files."""
    if row.model not in models:
        yield unknown_model_problem(row.model, models).message
        return
    model = models[row.model]
    references = []
    for text in row.references:
        try:
            reference = parse_reference(text)
            references.append(reference)
            if isinstance(reference, Path):
                _check_file(reference, model)
        except ConfigurationError as error:
            yield str(error)
    for problem in model.problems(row.prompt, model.coerce(row.params), references):
        yield problem.message


def find_outside(row: Row, root: Path) -> Iterator[str]:
    """Yields a problem for each local reference outside a folder, also by a symbolic link."""
    for text in row.references:
        if "://" not in text and not Path(text).resolve().is_relative_to(root):
            yield f"the reference {text!r:.200} is outside {str(root)!r:.200}"


def _check_file(path: Path, model: Model) -> None:
    """Raises `ConfigurationError` for a file that cannot be uploaded for this model."""
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for a name that is too long
        raise ConfigurationError(f"there is no file {str(path)!r:.200}")
    try:
        with path.open("rb") as file:
            head, size = file.read(SNIFF_BYTES), os.fstat(file.fileno()).st_size
        media = detect_media_type(head, name=path.name, kind=None)
        check_upload(limit_for(media.kind, model), media, name=path.name, size=size)
    except OSError as error:
        raise ConfigurationError(f"the file {str(path)!r:.200} cannot be read: {error.strerror or error}") from None
    except (ConfigurationError, InvalidRequestError) as error:
        raise ConfigurationError(f"{str(path)!r:.200}: {error}") from None
