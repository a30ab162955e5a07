"""Previews of result files: thumbnails of images and videos, and waveforms of audio.

Without Pillow and PyAV, or for a file that they cannot decode, there is no preview and no error.
"""

from __future__ import annotations

import io
import os
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from ..._core.files.filenames import EXTENSIONS, KIND_BY_EXTENSION

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

MEDIA_TYPES: Final = {".jpeg": "image/jpeg"} | {suffix: name for name, suffix in reversed(EXTENSIONS.items())}
"""Media types by file extension."""

QUALITY: Final = 62
"""WebP quality of thumbnails, from 0 to 100."""

POSTER_TIME: Final = 1.0
"""Seconds into a video at which its thumbnail is taken. First frames are often black."""

WAVEFORM_BARS: Final = 72
"""Values of a waveform."""

SAMPLE_RATE: Final = 8000
"""Samples per second of audio that is decoded for its waveform."""

MAX_PENDING: Final = 64
"""Previews that are computed ahead."""


@attrs.frozen
class Preview:
    """A WebP thumbnail, or the waveform of audio as levels from 0 to 100."""

    thumbnail: bytes | None = attrs.field(default=None, repr=False)
    waveform: Sequence[int] = ()


def kind_of(path: str) -> str:
    """Returns `image`, `video`, `audio` or another word."""
    return KIND_BY_EXTENSION.get(Path(path).suffix.lower(), "file")


def make_preview(path: Path | None, side: int) -> Preview:
    """Returns the preview of a file. `side` is the longest side of a thumbnail in pixels. Blocks."""
    kind = kind_of(str(path))
    try:
        if path is not None and kind == "audio":
            return Preview(waveform=_read_waveform(path))
        if path is not None and kind in {"image", "video"}:
            with _open_image(path, side) if kind == "image" else _read_frame(path) as image:
                image.thumbnail((side, side))
                data = io.BytesIO()
                mode = "RGBA" if image.has_transparency_data else "RGB"
                image.convert(mode).save(data, "WEBP", quality=QUALITY, method=2)
                return Preview(data.getvalue())
    except Exception:  # noqa: BLE001, S110  deleted, too large, not of its type: each decoder has its own errors
        pass
    return Preview()


def add_previews(items: Iterable[tuple[T, Path | None]], side: int) -> Iterator[tuple[T, Preview]]:
    """Yields each item with the preview of its file, computed in threads: decoders release the interpreter lock."""
    threads = ThreadPoolExecutor(os.cpu_count() or 1, "rivya-previews")
    pending: deque[tuple[T, Future[Preview]]] = deque()
    try:
        for item, path in items:
            pending.append((item, threads.submit(make_preview, path, side)))
            if len(pending) > MAX_PENDING:
                first, preview = pending.popleft()
                yield first, preview.result()
        for item, preview in pending:
            yield item, preview.result()
    finally:
        threads.shutdown(cancel_futures=True)


def _open_image(path: Path, side: int) -> Image:
    from PIL import Image

    image = Image.open(path)
    image.draft("RGB", (side, side))
    return image


def _read_frame(path: Path) -> Image:
    """Returns the frame at `POSTER_TIME`, or the last one of a shorter video."""
    import av

    with av.open(str(path)) as video:
        frames = video.decode(video=0)
        frame = next(frames)
        while (frame.time or 0.0) < POSTER_TIME and (later := next(frames, None)) is not None:
            frame = later
        return frame.to_image()  # type: ignore[no-any-return, no-untyped-call]  # PyAV leaves its type out


def _read_waveform(path: Path) -> Sequence[int]:
    """Returns the loudest level of each of `WAVEFORM_BARS` parts, relative to the loudest of all."""
    peaks = list(_read_peaks(path))
    loudest = max(peaks)
    starts = [bar * len(peaks) // WAVEFORM_BARS for bar in range(WAVEFORM_BARS + 1)]
    bars = (max(peaks[start : max(end, start + 1)]) for start, end in pairwise(starts))
    return [round(100 * bar / loudest) for bar in bars]


def _read_peaks(path: Path) -> Iterator[int]:
    """Yields the peak of every hundredth of a second."""
    import av

    with av.open(str(path)) as audio:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        step = SAMPLE_RATE // 100
        for frame in audio.decode(audio=0):
            for part in resampler.resample(frame):
                samples = array("h", bytes(part.planes[0])[: part.samples * 2])
                for start in range(0, len(samples), step):
                    yield max(map(abs, samples[start : start + step]))
