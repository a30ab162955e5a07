"""Media types of uploads, detected from their first bytes, and the limits of the service (contract section 8)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from ..assumptions import MEGABYTE
from ..catalogue.reference_rules import FileLimit
from ..errors import ConfigurationError, InvalidRequestError
from .filenames import (
    EXTENSIONS,
    KIND_BY_EXTENSION,
    UNKNOWN_EXTENSION,
    canonical_extension,
    canonical_media_type,
    extension_from_url,
)

if TYPE_CHECKING:
    from ..catalogue.model import Model

MAX_SHOWN_NAME: Final = 100
"""Maximum characters of a file name in an error message."""

SNIFF_BYTES: Final = 8192
"""Number of bytes from which a media type is detected."""

KINDS: Final = ("image", "video", "audio")
"""Kinds of files that the service accepts."""

DEFAULT_SIZES: Final[Mapping[str, int]] = {"image": 10 * MEGABYTE, "video": 50 * MEGABYTE, "audio": 10 * MEGABYTE}
"""Documented default limits of the size of a file by kind, in bytes. Some models accept larger files."""

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
        raise ConfigurationError(f"kind must be one of {', '.join(KINDS)}, not {kind!r:.40}")
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

    It is the limit of the catalogue, or none: models may accept larger files than the documented default, and the
    documented media types are common ones, not all.
    """
    if model is None:
        return FileLimit()
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


def size_warning(limit: FileLimit, media: MediaType, *, name: str | None, size: int | None) -> str | None:
    """Returns a warning for a file above the documented default size, if the limit of its model is not known."""
    default = DEFAULT_SIZES[media.kind]
    if size is None or size <= default or limit.max_bytes is not None:
        return None
    return (
        f"{_display_name(name)} has {size:,} bytes: the documented default limit for kind {media.kind!r} is "
        f"{default:,}, and the service may reject more"
    )


def _unsupported_type(model: Model, kind: str, accepted: str) -> InvalidRequestError:
    message = f"{model.id} takes no file of kind {kind!r}, {accepted}: nothing was sent"
    return InvalidRequestError(message)


def _sniff_mime_type(head: bytes) -> str | None:
    import filetype  # type: ignore[import-untyped]

    match = filetype.guess(head)
    return None if match is None else canonical_media_type(match.mime)


def _type_by_extension(name: str | None, kind: str) -> str | None:
    """Returns the media type of the extension, if it has this kind."""
    suffix = canonical_extension("." + (name or "").rpartition(".")[2])
    return next((mime for mime, known in EXTENSIONS.items() if known == suffix and mime.startswith(kind)), None)


def _rejection(name: str | None, reason: str) -> InvalidRequestError:
    message = f"{_display_name(name)} cannot be uploaded: {reason}. Nothing was sent."
    return InvalidRequestError(message)


def _display_name(name: str | None) -> str:
    return f"{name[-MAX_SHOWN_NAME:]!r}" if name else "the file"


# --- results ----------------------------------------------------------------------------------------------------------

MESSAGE_TYPE_PATTERN: Final = re.compile(r"text/.*|application/(?:.*\+)?(?:html|xml|json)")
"""Media types of pages and messages. SVG, which is written in XML, is `image/svg+xml`."""

HTML_TYPES: Final = ("text/html", "application/xhtml+xml")
HTML_PATTERN: Final = re.compile(rb"(?i)(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)\b")
MARKUP_PATTERN: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*[<{\[]")
CONTROL_CHARACTERS: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def result_extension(content_type: str | None, head: bytes, url: str) -> str:
    """Returns the extension of a result file: of its media type, else of its first bytes, else of its URL.

    The extension of the URL is wrong for a text, and for a type that the first bytes show.
    """
    media_type = canonical_media_type(content_type)
    if media_type not in EXTENSIONS:
        media_type = _sniff_mime_type(head) or ""
    if media_type or (head and _is_text(head)):
        return EXTENSIONS.get(media_type, UNKNOWN_EXTENSION)
    return extension_from_url(url)


def is_result_media(content_type: str | None, head: bytes, *, rejects_text: bool) -> bool:
    """Returns False for an HTML page in place of a file.

    With `rejects_text`, a file must be an image, a video or audio by its media type or its first bytes, or binary data
    of no known type.
    """
    media_type, sniffed_type = canonical_media_type(content_type), _sniff_mime_type(head)
    if HTML_PATTERN.match(head):
        return False
    if media_type in EXTENSIONS or (sniffed_type or "").partition("/")[0] in KINDS:
        return True
    if not rejects_text:
        return media_type not in HTML_TYPES
    if media_type.partition("/")[0] in KINDS:
        return True
    return sniffed_type is None and not MESSAGE_TYPE_PATTERN.fullmatch(media_type) and not _is_text(head)


def _is_text(head: bytes) -> bool:
    if CONTROL_CHARACTERS.search(head):
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return MARKUP_PATTERN.match(head) is not None
    return True


def name_mismatch(suffix: str, extension: str) -> bool:
    """Returns True if a suffix that a caller chose names another media type than the extension of the file.

    >>> [name_mismatch(suffix, ".png") for suffix in (".png", ".jpg", ".dat", "")]
    [False, True, False, False]
    """
    suffix = canonical_extension(suffix)
    return suffix in KIND_BY_EXTENSION and extension not in {suffix, UNKNOWN_EXTENSION}
