"""Names for files out of what strangers say: a URL, a content type, a task id."""

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
"""The media types that the contract names (section 8), and what they are called on disk."""

KIND_BY_EXTENSION: Final = {suffix: media_type.partition("/")[0] for media_type, suffix in EXTENSIONS.items()} | {
    ".jpeg": "image"
}
"""Of what kind a file is whose name ends so: image, video, audio, or application."""

MAX_STEM_BYTES: Final = 150
"""A name has room for 255 bytes: this leaves some for the extension, and for those who add a number."""

RESERVED_NAMES: Final = re.compile(r"(?i)con|prn|aux|nul|com[0-9]|lpt[0-9]")
UNSAFE_CHARACTERS: Final = re.compile(r"[^\w.\- ]+")
EXTENSION_PATTERN: Final = re.compile(r"\.[A-Za-z0-9]{1,8}")


def safe_stem(text: str) -> str:
    """A file name without extension that no system trips over: no separators, controls, edge dots, reserved names."""
    stem = UNSAFE_CHARACTERS.sub("_", text).encode()[:MAX_STEM_BYTES].decode(errors="ignore").strip(" .")
    if not stem.strip("_"):
        return "download"
    return f"_{stem}" if RESERVED_NAMES.fullmatch(stem.partition(".")[0].rstrip()) else stem


def upload_filename(name: str) -> str:
    """A file's name as a form may carry it: its last part, without quotes and controls."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return "".join("_" if mark == '"' or not mark.isprintable() else mark for mark in last)[-MAX_STEM_BYTES:] or "file"


def file_extension(content_type: str | None, url: str) -> str:
    """By the content type; by the URL where that says nothing; `.bin` where neither does."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return EXTENSIONS.get(media_type) or _split_extension(url)[1].lower() or ".bin"


def stem_from_url(url: str) -> str:
    """A safe stem out of the last segment of a URL's path."""
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
