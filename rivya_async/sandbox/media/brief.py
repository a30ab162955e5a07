"""What is asked for: the values that come in and go out, and how the params of many models read as one."""

from __future__ import annotations

import re
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

PICTURE_SIDE: Final = {"1K": 768, "2K": 1024, "4K": 1280}
"""Long side in pixels by asked resolution: the order of size shows, the files stay small."""

FILM_SIDE: Final = 352
SECONDS: Final = (0.5, 60.0)
"""The shortest and the longest thing that is rendered, whatever is asked."""

WIDEST: Final = 10.0
"""No side is more than this many times the other."""

RATIO_KEYS: Final = ("aspect_ratio", "aspectRatio", "imageSize", "image_size", "size")
FORMAT_KEYS: Final = ("output_format", "outputFormat")
RESOLUTION_KEYS: Final = ("resolution", "image_resolution")
DURATION_KEYS: Final = ("duration", "n_frames", "duration_seconds")
"""`n_frames` counts seconds in spite of its name: the models that have it offer 10 and 15."""

FILM_SECONDS: Final = 5.0
SECONDS_PER_WORD: Final = 0.35
LETTERS_PER_WORD: Final = 6
SPEECH_SECONDS: Final = (2.0, 20.0)

SPEECH_KEYS: Final = ("voice", "dialogue", "default_voice")
SPEECH_MODELS: Final = ("turbo", "multilingual", "dialogue", "speech", "tts")

_NAMED_RATIOS: Final = {"square": 1.0, "landscape": 16 / 9, "portrait": 9 / 16}
_PAIR: Final = re.compile(r"(\d+(?:\.\d+)?)\s*[:x/_]\s*(\d+(?:\.\d+)?)")


@attrs.frozen
class Brief:
    """One result to render; two equal briefs are rendered into the same bytes."""

    category: str
    """`image`, `video` or `audio`."""
    model: str
    prompt: str
    params: Mapping[str, Any]
    seed: int
    index: int = 0
    """Which of the results of one job this is."""


@attrs.frozen
class Artifact:
    """A rendered file."""

    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    mime_type: str
    extension: str
    """With its dot."""


def ratio(brief: Brief) -> float:
    """Width over height; what cannot be read, such as `auto`, is square for an image and 16:9 for a video."""
    asked = (_ratio_of(str(brief.params.get(key))) for key in RATIO_KEYS)
    default = 16 / 9 if brief.category == "video" else 1.0
    found = next((value for value in asked if value), default)
    return min(max(found, 1 / WIDEST), WIDEST)


def _ratio_of(text: str) -> float | None:
    """`16:9`, `1024x768`, `portrait_4_3` or `square_hd` as a number.

    In a name the two numbers come longest first, whatever the orientation: `portrait_4_3` is three wide, four high.
    """
    text = text.strip().lower()
    name = text.partition("_")[0]
    pair = _PAIR.search(text)
    if pair is None:
        return _NAMED_RATIOS.get(name)
    first, second = float(pair[1]), float(pair[2])
    if not first or not second:
        return None
    return second / first if name == "portrait" else first / second


def picture_size(brief: Brief) -> tuple[int, int]:
    """Pixels of an image."""
    asked = next((str(brief.params[key]).upper() for key in RESOLUTION_KEYS if key in brief.params), "1K")
    return _fit(ratio(brief), PICTURE_SIDE.get(asked, PICTURE_SIDE["1K"]))


def film_size(brief: Brief) -> tuple[int, int]:
    """Pixels of a video; both numbers are even, as H.264 wants them."""
    width, height = _fit(ratio(brief), FILM_SIDE)
    return width + width % 2, height + height % 2


def _fit(asked: float, side: int) -> tuple[int, int]:
    return (side, round(side / asked)) if asked >= 1 else (round(side * asked), side)


def file_format(brief: Brief) -> str | None:
    """The asked file format in lower case, None if the params have none."""
    asked = (brief.params.get(key) for key in FORMAT_KEYS)
    return next((str(value).strip().lower() for value in asked if value), None)


def film_seconds(brief: Brief) -> float:
    """The asked length of a video."""
    return _asked_seconds(brief) or FILM_SECONDS


def tune_seconds(brief: Brief) -> float:
    """The asked length of a sound; if none is asked, the time it takes to say the text."""
    asked = _asked_seconds(brief)
    if asked is not None:
        return asked
    shortest, longest = SPEECH_SECONDS
    return min(max(words(brief) * SECONDS_PER_WORD, shortest), longest)


def is_speech(brief: Brief) -> bool:
    """Whether text is to be spoken; a model that is asked for a voice, or of a family that only speaks, speaks."""
    return any(key in brief.params for key in SPEECH_KEYS) or any(name in brief.model for name in SPEECH_MODELS)


def words(brief: Brief) -> int:
    """How many words are spoken; a text without spaces is counted by its letters."""
    text = spoken_text(brief)
    return max(len(text.split()), len(text) // LETTERS_PER_WORD)


def spoken_text(brief: Brief) -> str:
    """The prompt, or the lines of a dialogue when it comes without one."""
    lines = brief.params.get("dialogue")
    if brief.prompt or not isinstance(lines, list):
        return brief.prompt
    return " ".join(str(line.get("text", "")) for line in lines if isinstance(line, dict))


def _asked_seconds(brief: Brief) -> float | None:
    for key in DURATION_KEYS:
        try:
            seconds = float(brief.params[key])
        except (KeyError, TypeError, ValueError):
            continue
        if seconds > 0:
            shortest, longest = SECONDS
            return min(max(seconds, shortest), longest)
    return None


def dice_of(brief: Brief) -> Random:
    """Dice that fall alike for the same prompt, model, seed and index."""
    asked = "\0".join((brief.prompt, brief.model, str(brief.seed), str(brief.index)))
    digest = sha256(asked.encode("utf-8", "surrogatepass")).digest()
    return Random(int.from_bytes(digest))  # noqa: S311 - dice for a picture, not for a secret
