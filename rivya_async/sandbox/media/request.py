"""Render requests: one reading of the params of many models as size, length, file format and randomness."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from random import Random
from typing import Any, Final

import attrs

IMAGE_LONG_SIDE_PIXELS: Final = {"1K": 768, "2K": 1024, "4K": 1280}
VIDEO_LONG_SIDE_PIXELS: Final = 352
MAX_ASPECT_RATIO: Final = 10.0
MIN_SECONDS: Final = 0.5
MAX_SECONDS: Final = 60.0
DEFAULT_VIDEO_SECONDS: Final = 5.0
MIN_SPEECH_SECONDS: Final = 2.0
MAX_SPEECH_SECONDS: Final = 20.0
SPEECH_SECONDS_PER_WORD: Final = 0.35
LETTERS_PER_WORD: Final = 6
"""Letters that count as one word in a text without spaces."""

RATIO_KEYS: Final = ("aspect_ratio", "aspectRatio", "imageSize", "image_size", "size")
NAMED_RATIOS: Final = {"square": 1.0, "landscape": 16 / 9, "portrait": 9 / 16}
RESOLUTION_KEYS: Final = ("resolution", "image_resolution")
FORMAT_KEYS: Final = ("output_format", "outputFormat")
DURATION_KEYS: Final = ("duration", "n_frames", "duration_seconds")
"""`n_frames` counts seconds in spite of its name: the models that have it offer 10 and 15."""

DEFAULT_FORMATS: Final = {"image": "png", "video": "mp4", "audio": "mp3_44100_128"}
MODEL_FORMATS: Final = {"flux-kontext-pro": "jpeg", "flux-kontext-max": "jpeg", "nano-banana-2": "jpg"}
"""Documented defaults of models that differ from the default of their category."""

JPEG: Final = ("jpg", "image/jpeg")
FORMATS: Final = {
    "image": {"png": ("png", "image/png"), "jpeg": JPEG, "jpg": JPEG, "webp": ("webp", "image/webp")},
    "video": {"mp4": ("mp4", "video/mp4")},
    "audio": dict.fromkeys(("wav", "pcm", "ulaw", "alaw"), ("wav", "audio/wav"))
    | {"mp3": ("mp3", "audio/mpeg"), "opus": ("ogg", "audio/ogg")},
}
"""File name suffix and MIME type by category and codec."""


@attrs.frozen
class FileFormat:
    """A file format with its options, such as `mp3_44100_128`: codec, sample rate in Hz, kilobits per second."""

    codec: str
    suffix: str
    mime_type: str
    sample_rate: int | None
    kilobits: int | None


@attrs.frozen
class Artifact:
    """A rendered file."""

    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    mime_type: str


@attrs.frozen
class RenderRequest:
    """One `image`, `video` or `audio` file to render; equal requests give the same bytes."""

    category: str
    model: str
    prompt: str
    params: Mapping[str, Any]
    seed: int
    index: int = 0
    """Position of this file among the results of its job."""

    @property
    def aspect_ratio(self) -> float:
        """Width divided by height. The default, also for `auto`, is 1:1 for an image and 16:9 for a video."""
        requested = (_parse_aspect_ratio(str(self.params.get(key))) for key in RATIO_KEYS)
        default = 16 / 9 if self.category == "video" else 1.0
        return min(max(next(filter(None, requested), default), 1 / MAX_ASPECT_RATIO), MAX_ASPECT_RATIO)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels; those of a video are even, as H.264 requires."""
        resolution = next((str(self.params[key]).upper() for key in RESOLUTION_KEYS if key in self.params), "")
        is_video, ratio = self.category == "video", self.aspect_ratio
        side = VIDEO_LONG_SIDE_PIXELS if is_video else IMAGE_LONG_SIDE_PIXELS.get(resolution, 768)
        width, height = (side, round(side / ratio)) if ratio >= 1 else (round(side * ratio), side)
        return (width + width % 2, height + height % 2) if is_video else (width, height)

    @property
    def seconds(self) -> float:
        """The requested length. The default of a sound is the time that reading the text aloud takes."""
        for key in DURATION_KEYS:
            try:
                seconds = float(self.params[key])
            except (KeyError, TypeError, ValueError):
                continue
            if seconds > 0:
                return min(max(seconds, MIN_SECONDS), MAX_SECONDS)
        if self.category == "video":
            return DEFAULT_VIDEO_SECONDS
        lines = self.params.get("dialogue") if not self.prompt else None
        lines = [line for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []
        text = self.prompt or " ".join(str(line.get("text", "")) for line in lines)
        words = max(len(text.split()), len(text) // LETTERS_PER_WORD)
        return min(max(words * SPEECH_SECONDS_PER_WORD, MIN_SPEECH_SECONDS), MAX_SPEECH_SECONDS)

    @property
    def file_format(self) -> FileFormat:
        """The requested format, or the default of the model if the category does not have that format."""
        codecs = FORMATS[self.category]
        default = MODEL_FORMATS.get(self.model, DEFAULT_FORMATS[self.category])
        name = next((str(self.params[key]).strip().lower() for key in FORMAT_KEYS if self.params.get(key)), default)
        codec, *options = (name if name.partition("_")[0] in codecs else default).split("_")
        sample_rate, kilobits, *_ = [int(option) if option.isdecimal() else None for option in (*options, "", "")]
        return FileFormat(codec, *codecs[codec], sample_rate=sample_rate, kilobits=kilobits)

    def create_rng(self) -> Random:
        """Returns random numbers that depend on prompt, model, seed and index."""
        key = f"{self.prompt}\0{self.model}\0{self.seed}\0{self.index}".encode("utf-8", "surrogatepass")
        return Random(int.from_bytes(sha256(key).digest()))  # noqa: S311 - it decorates and protects no secret


def _parse_aspect_ratio(text: str) -> float | None:
    """Returns `16:9`, `1024x768`, `portrait_4_3` or `square_hd` as width divided by height.

    Named ratios give the long side first: `portrait_4_3` is three wide and four high.
    """
    name = text.strip().lower().partition("_")[0]
    width, height, *_ = [*map(float, re.findall(r"\d+(?:\.\d+)?", text)), 0.0, 0.0]
    if not width or not height:
        return NAMED_RATIOS.get(name)
    return height / width if name == "portrait" else width / height
