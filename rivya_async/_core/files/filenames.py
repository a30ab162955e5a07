"""Safe file names from untrusted input: URLs, content types and task ids."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import unquote, urlsplit

EXTENSIONS: Final = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/avif": ".avif",
    "image/heic": ".heic",
    "image/heif": ".heif",
    "image/bmp": ".bmp",
    "image/tiff": ".tiff",
    "image/jxl": ".jxl",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "video/x-msvideo": ".avi",
    "video/mpeg": ".mpg",
    "video/ogg": ".ogv",
    "video/3gpp": ".3gp",
    "audio/aac": ".aac",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/opus": ".opus",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/flac": ".flac",
    "audio/aiff": ".aiff",
    "audio/webm": ".weba",
    "audio/midi": ".mid",
    "audio/amr": ".amr",
}
"""File extension by media type: no file of the service gets another extension, except `.bin`."""

MEDIA_TYPE_ALIASES: Final = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/apng": "image/png",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
    "image/tif": "image/tiff",
    "application/mp4": "video/mp4",
    "video/x-m4v": "video/mp4",
    "video/m4v": "video/mp4",
    "video/mov": "video/quicktime",
    "video/matroska": "video/x-matroska",
    "video/avi": "video/x-msvideo",
    "video/msvideo": "video/x-msvideo",
    "audio/mp3": "audio/mpeg",
    "audio/mpeg3": "audio/mpeg",
    "audio/mpg": "audio/mpeg",
    "audio/m4a": "audio/mp4",
    "audio/aacp": "audio/aac",
    "application/ogg": "audio/ogg",
    "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/midi": "audio/midi",
    "audio/mid": "audio/midi",
}
"""Media type of the table by other names of the same type. A leading `x-` is ignored."""

EXTENSION_ALIASES: Final = {
    ".jpeg": ".jpg",
    ".jpe": ".jpg",
    ".jfif": ".jpg",
    ".apng": ".png",
    ".tif": ".tiff",
    ".m4v": ".mp4",
    ".mpeg": ".mpg",
    ".qt": ".mov",
    ".oga": ".ogg",
    ".wave": ".wav",
    ".aif": ".aiff",
    ".midi": ".mid",
}
"""Extension of the table by other extensions of the same type."""

UNKNOWN_EXTENSION: Final = ".bin"
"""Extension of a file whose type is not in the table."""

RESULT_EXTENSIONS: Final = (*dict.fromkeys(EXTENSIONS.values()), UNKNOWN_EXTENSION)
"""Every extension that a result file can get."""

KIND_BY_EXTENSION: Final = {suffix: media_type.partition("/")[0] for media_type, suffix in EXTENSIONS.items()} | {
    alias: next(media_type for media_type, known in EXTENSIONS.items() if known == suffix).partition("/")[0]
    for alias, suffix in EXTENSION_ALIASES.items()
}
"""Kind of a file by extension: image, video or audio."""

MAX_STEM_BYTES: Final = 150
"""Maximum length of a stem in bytes. Names have at most 255: the rest is for an extension and a number."""

RESERVED_NAMES: Final = re.compile(r"(?i)con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]")
"""Names of devices on Windows. It reads superscript digits as digits."""

REPLACED_PATTERN: Final = re.compile("\0+")
EXTENSION_PATTERN: Final = re.compile(r"\.[A-Za-z0-9]{1,8}")


def safe_stem(text: str) -> str:
    """Returns a portable file name without an extension: no separators, controls, outer dots or reserved names.

    Letters and their marks are kept in every script, in composed form (NFC), so that equal names are equal bytes.
    """
    normalized = unicodedata.normalize("NFC", text)
    stem = "".join(char if _is_safe(char) else "\0" for char in normalized)
    stem = REPLACED_PATTERN.sub("_", stem).encode()[:MAX_STEM_BYTES].decode(errors="ignore").strip(" .")
    if not stem.strip("_"):
        return "download"
    return f"_{stem}" if RESERVED_NAMES.fullmatch(stem.partition(".")[0].rstrip()) else stem


def _is_safe(char: str) -> bool:
    return char.isalnum() or char in "_.- " or unicodedata.category(char)[0] == "M"


def upload_filename(name: str) -> str:
    """Returns a file name for a multipart form: the last path segment, without quotes and control characters."""
    segment = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    safe = "".join("_" if char == '"' or not char.isprintable() else char for char in segment)
    return safe[-MAX_STEM_BYTES:] or "file"


def canonical_media_type(content_type: str | None) -> str:
    """Returns the media type of a `Content-Type` as the table spells it, in lower case and without parameters.

    >>> canonical_media_type("Audio/X-FLAC; charset=binary")
    'audio/flac'
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    for name in (media_type, media_type.replace("/x-", "/", 1)):
        if name in EXTENSIONS:
            return name
        if name in MEDIA_TYPE_ALIASES:
            return MEDIA_TYPE_ALIASES[name]
    return media_type


def canonical_extension(suffix: str) -> str:
    """Returns the extension as the table spells it, in lower case.

    >>> canonical_extension(".JPEG")
    '.jpg'
    """
    return EXTENSION_ALIASES.get(suffix.lower(), suffix.lower())


def extension_from_url(url: str) -> str:
    """Returns the extension of a URL if the table has it, else `.bin`."""
    suffix = canonical_extension(_split_extension(url)[1])
    return suffix if suffix in KIND_BY_EXTENSION else UNKNOWN_EXTENSION


def stem_from_url(url: str) -> str:
    """Returns a safe stem from the last path segment of a URL."""
    return safe_stem(_split_extension(url)[0])


def _split_extension(url: str) -> tuple[str, str]:
    try:
        segment = unquote(urlsplit(url).path.rpartition("/")[2])
    except ValueError:  # not a URL
        return "", ""
    stem, dot, suffix = segment.rpartition(".")
    if stem and EXTENSION_PATTERN.fullmatch(dot + suffix):
        return stem, dot + suffix
    return segment, ""
