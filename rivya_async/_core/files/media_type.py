"""What an upload holds, found from its first bytes, and the limits that the service documents. Contract section 8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from ..assumptions import MEGABYTE
from ..catalogue.reference_rules import FileLimit
from ..errors import ConfigurationError, ValidationFailed
from .filenames import EXTENSIONS

if TYPE_CHECKING:
    from ..catalogue.model import Model

SNIFF_BYTES: Final = 8192
"""As many of the first bytes as it takes to tell what a file holds."""

KINDS: Final = ("image", "video", "audio")


DEFAULT_LIMITS: Final[Mapping[str, FileLimit]] = {
    "image": FileLimit(10 * MEGABYTE, ("image/jpeg", "image/png", "image/webp")),
    "video": FileLimit(50 * MEGABYTE, ("video/mp4", "video/quicktime", "video/webm")),
    "audio": FileLimit(
        10 * MEGABYTE, ("audio/mpeg", "audio/mp4", "audio/wav", "audio/x-wav", "audio/aac", "audio/ogg")
    ),
}
"""The documented limits of a file for no model in particular."""

CANONICAL_TYPES: Final = {"image/apng": "image/png", "video/x-m4v": "video/mp4"}
"""Types that the service does not name, and the ones that they are a case of."""

AUDIO_CONTAINER_TYPES: Final = {"video/mp4": "audio/mp4"}
"""A container that may hold nothing but sound: only who made the file knows without reading it all."""


@attrs.frozen
class MediaType:
    """What a file holds: `kind` is image, video or audio."""

    kind: str
    mime_type: str


def detect_media_type(head: bytes, *, name: str | None, kind: str | None) -> MediaType:
    """What these first bytes belong to. `kind` is what the caller says it is.

    What the bytes do not tell, the name's extension may, if the caller says the kind. Raises `ConfigurationError` where
    nothing tells, `ValidationFailed` where the bytes are of another kind.
    """
    if kind is not None and kind not in KINDS:
        raise ConfigurationError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if not head:
        raise _rejection(name, "it is empty")
    found = _sniff_mime_type(head)
    if found is None and kind is not None:
        found = _type_by_extension(name, kind)
    if found is None:
        raise ConfigurationError(
            f"{_display_name(name)} does not begin like any image, video or sound that we know: "
            "if it is one, pass its kind, and a filename with the right extension"
        )
    if kind == "audio":
        found = AUDIO_CONTAINER_TYPES.get(found, found)
    is_kind = found.partition("/")[0]
    if is_kind not in KINDS:
        raise _rejection(name, f"it is {found}, and neither an image nor a video nor a sound")
    if kind not in {None, is_kind}:
        raise _rejection(name, f"it is {found}, not of kind {kind!r}: leave kind out, or pass another file")
    return MediaType(is_kind, found)


def limit_for(kind: str, model: Model | None) -> FileLimit:
    """The limit for a file of this kind, for this model.

    Without a model it is the documented default. With one it is what the catalogue tells of the model: nothing, if it
    tells nothing that we can read, for models may take more than the default.
    """
    if model is None:
        return DEFAULT_LIMITS[kind]
    rules = model.reference_rules
    if rules is None and model.supported_api_inputs:
        raise _unsupported_type(model, kind, "and none of any other")
    if rules is not None and rules.kinds and kind not in rules.kinds:
        raise _unsupported_type(model, kind, f"only {' and '.join(rules.kinds)}")
    return FileLimit() if rules is None else rules.limits.get(kind, FileLimit())


def check_upload(limit: FileLimit, media: MediaType, *, name: str | None, size: int | None) -> None:
    """Raise `ValidationFailed` for a file that the service would refuse. A size of None is not known yet."""
    if limit.mime_types and media.mime_type not in limit.mime_types:
        raise _rejection(name, f"{media.mime_type} is not taken, convert it to {' or '.join(limit.mime_types)}")
    if size is not None and limit.max_bytes is not None and size > limit.max_bytes:
        raise _rejection(name, f"{size:,} bytes are more than the {limit.max_bytes:,} that are taken, make it smaller")


def _unsupported_type(model: Model, kind: str, taken: str) -> ValidationFailed:
    return ValidationFailed(
        f"{model.id} takes no file of kind {kind!r}, {taken}: nothing was sent", code="validation_failed"
    )


def _sniff_mime_type(head: bytes) -> str | None:
    import filetype  # type: ignore[import-untyped]

    found = filetype.guess(head)
    return None if found is None else CANONICAL_TYPES.get(found.mime, str(found.mime))


def _type_by_extension(name: str | None, kind: str) -> str | None:
    """By the extension, if it is one of this kind."""
    suffix = "." + (name or "").rpartition(".")[2].lower()
    suffix = {".jpeg": ".jpg"}.get(suffix, suffix)
    return next((mime for mime, known in EXTENSIONS.items() if known == suffix and mime.startswith(kind)), None)


def _rejection(name: str | None, why: str) -> ValidationFailed:
    return ValidationFailed(
        f"{_display_name(name)} cannot be uploaded: {why}. Nothing was sent.", code="validation_failed"
    )


def _display_name(name: str | None) -> str:
    return repr(name) if name else "the file"
