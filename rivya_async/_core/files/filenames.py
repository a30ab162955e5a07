"""Safe file names from untrusted input: URLs, content types and task ids."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urlsplit

EXTENSIONS: Final = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "audio/aac": ".aac",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "application/json": ".json",
}
"""File extension by media type, for the types of the contract (section 8)."""

KIND_BY_EXTENSION: Final = {suffix: media_type.partition("/")[0] for media_type, suffix in EXTENSIONS.items()} | {
    ".jpeg": "image"
}
"""Kind of a file by extension: image, video, audio, or application."""

MAX_STEM_BYTES: Final = 150
"""Maximum length of a stem in bytes. Names have at most 255: the rest is for an extension and a number."""

RESERVED_NAMES: Final = re.compile(r"(?i)con|prn|aux|nul|com[0-9]|lpt[0-9]")
"""Names of devices on Windows."""

UNSAFE_CHARACTERS: Final = re.compile(r"[^\w.\- ]+")
EXTENSION_PATTERN: Final = re.compile(r"\.[A-Za-z0-9]{1,8}")


def safe_stem(text: str) -> str:
    """Returns a portable file name without an extension: no separators, controls, outer dots or reserved names."""
    stem = UNSAFE_CHARACTERS.sub("_", text).encode()[:MAX_STEM_BYTES].decode(errors="ignore").strip(" .")
    if not stem.strip("_"):
        return "download"
    return f"_{stem}" if RESERVED_NAMES.fullmatch(stem.partition(".")[0].rstrip()) else stem


def upload_filename(name: str) -> str:
    """Returns a file name for a multipart form: the last path segment, without quotes and control characters."""
    segment = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    safe = "".join("_" if char == '"' or not char.isprintable() else char for char in segment)
    return safe[-MAX_STEM_BYTES:] or "file"


def file_extension(content_type: str | None, url: str) -> str:
    """Returns the extension of the content type, else of the URL, else `.bin`."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return EXTENSIONS.get(media_type) or _split_extension(url)[1].lower() or ".bin"


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
