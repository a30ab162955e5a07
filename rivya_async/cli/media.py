"""A look into downloaded files, for the contact sheet: the picture of a film, the shape of a sound.

All of it is adornment: without PyAV, or for a file that it cannot read, there is nothing to show and no error.
"""

from __future__ import annotations

from array import array
from io import BytesIO
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MIME_TYPES: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".ogg": "audio/ogg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
}

POSTER_SECONDS: Final = 1.0
"""How far into a film its picture is taken: the first frame is often black."""

RATE: Final = 8000
"""Samples per second at which a sound is looked at."""

BARS: Final = 72
"""Bars of a sound's shape."""


def mime_type(path: Path) -> str:
    """By the extension, which was chosen by the content type."""
    return MIME_TYPES.get(path.suffix.lower(), "application/octet-stream")


def poster(path: Path) -> bytes | None:
    """A JPEG of an early moment of a film."""
    try:
        import av

        with av.open(str(path)) as film:
            chosen = None
            for frame in film.decode(video=0):
                chosen = frame
                if frame.time is not None and frame.time >= POSTER_SECONDS:
                    break
            if chosen is None:
                return None
            data = BytesIO()
            chosen.to_image().save(data, "JPEG", quality=82)  # type: ignore[no-untyped-call]
            return data.getvalue()
    except (ImportError, OSError, ValueError, IndexError):
        return None


def shape(path: Path) -> Sequence[float]:
    """The loudness of a sound over its time, as `BARS` numbers from 0 to 1; empty if it cannot be read."""
    try:
        levels = list(_levels(path))
    except (ImportError, OSError, ValueError, IndexError):
        return ()
    loudest = max(levels, default=0.0)
    if not loudest:
        return ()
    bars = [
        levels[n * len(levels) // BARS : max((n + 1) * len(levels) // BARS, n * len(levels) // BARS + 1)]
        for n in range(BARS)
    ]
    return [max(bar, default=0.0) / loudest for bar in bars]


def _levels(path: Path) -> Iterator[float]:
    """The peak of every hundredth of a second, as decoded in one channel."""
    import av

    with av.open(str(path)) as sound:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        step = RATE // 100
        for frame in sound.decode(audio=0):
            for piece in resampler.resample(frame):
                samples = array("h", bytes(piece.planes[0])[: piece.samples * 2])
                for start in range(0, len(samples), step):
                    yield float(max(map(abs, samples[start : start + step])))
