"""File formats: which one a brief gets, and what it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from .brief import file_format

if TYPE_CHECKING:
    from .brief import Brief

MIME_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "mp4": "video/mp4",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
}

MODEL_FORMATS: Final = {
    "flux-kontext-pro": "jpeg",
    "flux-kontext-max": "jpeg",
    "nano-banana-2": "jpg",
}
"""Models whose documented default is not the usual one of their category."""

DEFAULT_FORMATS: Final = {"image": "png", "video": "mp4", "audio": "mp3_44100_128"}
_FAMILIES: Final = {
    "image": {"png": "png", "jpeg": "jpg", "jpg": "jpg", "webp": "webp"},
    "video": {"mp4": "mp4"},
    "audio": {"mp3": "mp3", "pcm": "wav", "wav": "wav", "ulaw": "wav", "alaw": "wav", "opus": "ogg"},
}


@attrs.frozen
class Format:
    """A file format with its numbers, as in `mp3_44100_128`: codec, sample rate in Hz, kilobits a second."""

    codec: str
    suffix: str
    rate: int | None = None
    kilobits: int | None = None


def describe(brief: Brief) -> tuple[str, str]:
    """The MIME type and the extension (with its dot) that `render` would give, without the rendering."""
    suffix = chosen_format(brief).suffix
    return MIME_TYPES[suffix], f".{suffix}"


def chosen_format(brief: Brief) -> Format:
    """The asked format; one that the category does not have is as good as none."""
    families = _FAMILIES[brief.category]
    default = MODEL_FORMATS.get(brief.model, DEFAULT_FORMATS[brief.category])
    asked = file_format(brief) or default
    name = asked if asked.partition("_")[0] in families else default
    codec, *numbers = name.split("_")
    rate, kilobits, *_ = [int(number) if number.isdecimal() else None for number in (*numbers, "", "")]
    return Format(codec=codec, suffix=families[codec], rate=rate, kilobits=kilobits)
