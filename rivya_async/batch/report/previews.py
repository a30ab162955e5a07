"""Previews of result files: thumbnails of images and videos, and waveforms of audio.

Without Pillow and PyAV, or for a file that they cannot decode, there is no preview and no error. Files are untrusted:
the first bytes choose the one decoder that may read a file, and large frames are rejected before they are decoded.
"""

from __future__ import annotations

import io
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from ..._core.files.filenames import EXTENSIONS, KIND_BY_EXTENSION
from ..._core.files.media_type import SNIFF_BYTES, detect_media_type

if TYPE_CHECKING:
    from av.container import InputContainer
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

DECODERS: Final = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "matroska",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/mp4": "mp4",
    "audio/mpeg": "mp3",
    "audio/ogg": "ogg",
    "audio/wav": "wav",
    "audio/x-flac": "flac",
    "audio/x-wav": "wav",
}
"""Format of Pillow, or demuxer of FFmpeg, by media type. Others are not decoded: some start programs or read URLs."""

MAX_PIXELS: Final = 40_000_000
"""Maximum pixels of an image or a frame. Larger ones are not decoded."""

MAX_FRAMES: Final = 240
"""Frames of a video that are decoded at most."""

MAX_WAVEFORM_SECONDS: Final = 3600
"""Seconds of audio that are decoded at most."""

MAX_THREADS: Final = 2
"""Previews that are computed at once: each may need several hundred megabytes."""

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
        if path is None or kind not in {"audio", "image", "video"}:
            return Preview()
        decoder = _choose_decoder(path, kind)
        if kind == "audio":
            return Preview(waveform=_read_waveform(path, decoder))
        with _open_image(path, decoder, side) if kind == "image" else _read_frame(path, decoder) as image:
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
    threads = ThreadPoolExecutor(MAX_THREADS, "rivya-previews")
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


def _choose_decoder(path: Path, kind: str) -> str:
    """Returns the decoder for the content of a file of this kind."""
    with path.open("rb") as file:
        return DECODERS[detect_media_type(file.read(SNIFF_BYTES), name=None, kind=kind).mime_type]


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        raise ValueError("too many pixels for a preview")


def _open_image(path: Path, decoder: str, side: int) -> Image:
    from PIL import Image

    image = Image.open(path, formats=(decoder,))
    try:
        _check_size(*image.size)
    except ValueError:
        image.close()
        raise
    image.draft("RGB", (side, side))
    return image


def _open_media(path: Path, decoder: str) -> InputContainer:
    import av

    return av.open(str(path), format=decoder, options={"max_pixels": str(MAX_PIXELS)})


def _read_frame(path: Path, decoder: str) -> Image:
    """Returns the frame at `POSTER_TIME`, or the last one of a shorter video."""
    with _open_media(path, decoder) as video:
        codec = video.streams.video[0].codec_context
        _check_size(codec.width, codec.height)
        codec.options = {"max_pixels": str(MAX_PIXELS)}  # frames may be larger than the header says
        frames = islice(video.decode(video=0), MAX_FRAMES)
        frame = next(frames)
        while (frame.time or 0.0) < POSTER_TIME and (later := next(frames, None)) is not None:
            frame = later
        return frame.to_image()  # type: ignore[no-any-return, no-untyped-call]  # PyAV leaves its type out


def _read_waveform(path: Path, decoder: str) -> Sequence[int]:
    """Returns the loudest level of each of `WAVEFORM_BARS` parts, relative to the loudest of all."""
    peaks = list(islice(_read_peaks(path, decoder), 100 * MAX_WAVEFORM_SECONDS))
    loudest = max(peaks) or 1
    starts = [bar * len(peaks) // WAVEFORM_BARS for bar in range(WAVEFORM_BARS + 1)]
    bars = (max(peaks[start : max(end, start + 1)]) for start, end in pairwise(starts))
    return [round(100 * bar / loudest) for bar in bars]


def _read_peaks(path: Path, decoder: str) -> Iterator[int]:
    """Yields the peak of every hundredth of a second."""
    import av

    with _open_media(path, decoder) as audio:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        step = SAMPLE_RATE // 100
        for frame in audio.decode(audio=0):
            for part in resampler.resample(frame):
                samples = array("h", bytes(part.planes[0])[: part.samples * 2])
                for start in range(0, len(samples), step):
                    yield max(map(abs, samples[start : start + step]))
