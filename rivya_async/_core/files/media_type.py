"""Media types of uploads, detected from their first bytes, and the limits of the service (contract section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from ..assumptions import MEGABYTE
from ..catalogue.reference_rules import FileLimit
from ..errors import ConfigurationError, InvalidRequestError
from .filenames import EXTENSIONS

if TYPE_CHECKING:
    from ..catalogue.model import Model

SNIFF_BYTES: Final = 8192
"""Number of bytes from which a media type is detected."""

KINDS: Final = ("image", "video", "audio")
"""Kinds of files that the service accepts."""

DEFAULT_LIMITS: Final[Mapping[str, FileLimit]] = {
    "image": FileLimit(10 * MEGABYTE, ("image/jpeg", "image/png", "image/webp")),
    "video": FileLimit(50 * MEGABYTE, ("video/mp4", "video/quicktime", "video/webm")),
    "audio": FileLimit(
        10 * MEGABYTE, ("audio/mpeg", "audio/mp4", "audio/wav", "audio/x-wav", "audio/aac", "audio/ogg")
    ),
}
"""Documented limits of a file by kind, for any model."""

CANONICAL_TYPES: Final = {"image/apng": "image/png", "video/x-m4v": "video/mp4"}
"""Documented media type by detected type, where they differ."""

AUDIO_CONTAINER_TYPES: Final = {"video/mp4": "audio/mp4"}
"""Audio type by container type. A container may have no video, which only the caller knows."""


@attrs.frozen
class MediaType:
    """Media type of a file: `kind` is image, video or audio."""

    kind: str
    mime_type: str


def detect_media_type(head: bytes, *, name: str | None, kind: str | None) -> MediaType:
    """Returns the media type of the first bytes of a file. `kind` is the kind stated by the caller.

    With a `kind`, the extension of the name is the fallback. Raises `ConfigurationError` for an unknown type, and
    `InvalidRequestError` for another kind.
    """
    if kind is not None and kind not in KINDS:
        raise ConfigurationError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if not head:
        raise _rejection(name, "it is empty")
    mime_type = _sniff_mime_type(head)
    if mime_type is None and kind is not None:
        mime_type = _type_by_extension(name, kind)
    if mime_type is None:
        raise ConfigurationError(
            f"{_display_name(name)} is not a known image, video or audio format: "
            "if it is one, pass its kind, and a filename with the right extension"
        )
    if kind == "audio":
        mime_type = AUDIO_CONTAINER_TYPES.get(mime_type, mime_type)
    detected_kind = mime_type.partition("/")[0]
    if detected_kind not in KINDS:
        raise _rejection(name, f"it is {mime_type}, not an image, a video or audio")
    if kind not in {None, detected_kind}:
        raise _rejection(name, f"it is {mime_type}, not of kind {kind!r}: leave kind out, or pass another file")
    return MediaType(detected_kind, mime_type)


def limit_for(kind: str, model: Model | None) -> FileLimit:
    """Returns the limit for a file of this kind, for this model.

    Without a model it is the documented default. With one it is the limit of the catalogue, or none: models may accept
    more than the default.
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
    """Raises `InvalidRequestError` for a file that the service would reject. `size` is None if unknown."""
    if limit.mime_types and media.mime_type not in limit.mime_types:
        raise _rejection(name, f"{media.mime_type} is not accepted, convert it to {' or '.join(limit.mime_types)}")
    if size is not None and limit.max_bytes is not None and size > limit.max_bytes:
        raise _rejection(
            name, f"{size:,} bytes are more than the {limit.max_bytes:,} that are accepted: make it smaller"
        )


def _unsupported_type(model: Model, kind: str, accepted: str) -> InvalidRequestError:
    message = f"{model.id} takes no file of kind {kind!r}, {accepted}: nothing was sent"
    return InvalidRequestError(message)


def _sniff_mime_type(head: bytes) -> str | None:
    import filetype  # type: ignore[import-untyped]

    match = filetype.guess(head)
    return None if match is None else CANONICAL_TYPES.get(match.mime, str(match.mime))


def _type_by_extension(name: str | None, kind: str) -> str | None:
    """Returns the media type of the extension, if it has this kind."""
    suffix = "." + (name or "").rpartition(".")[2].lower()
    suffix = {".jpeg": ".jpg"}.get(suffix, suffix)
    return next((mime for mime, known in EXTENSIONS.items() if known == suffix and mime.startswith(kind)), None)


def _rejection(name: str | None, reason: str) -> InvalidRequestError:
    message = f"{_display_name(name)} cannot be uploaded: {reason}. Nothing was sent."
    return InvalidRequestError(message)


def _display_name(name: str | None) -> str:
    return repr(name) if name else "the file"
