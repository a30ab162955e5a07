"""Media type and duration of uploaded files, from their content: names and headers are not trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..responses import validation_error

HEAD_BYTES: Final = 4096
"""Bytes of a file that `detect_mime_type` needs."""

EXTENSIONS: Final = {
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/webp": ".webp",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "audio/mpeg": ".mp3",
    "audio/mp4": ".m4a",
    "audio/wav": ".wav",
    "audio/aac": ".aac",
    "audio/ogg": ".ogg",
}
"""File name extension of every type that some model takes."""

DEMUXERS: Final = {
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "matroska",
    "audio/mpeg": "mp3",
    "audio/mp4": "mp4",
    "audio/wav": "wav",
    "audio/aac": "aac",
    "audio/ogg": "ogg",
}
"""FFmpeg's demuxer of each type. Without it, FFmpeg probes the content, and some formats open other files or URLs."""

MAX_PIXELS: Final = "40000000"
"""Maximum pixels of a frame that FFmpeg decodes to find the properties of a stream."""

_QUICKTIME_ATOMS: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip"})
_ADTS: Final = frozenset({b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9"})


def _is_ftyp(head: bytes, *, quicktime: bool) -> bool:
    return head[4:8] == b"ftyp" and (head[8:12] == b"qt  ") is quicktime


SIGNATURES: Final[tuple[tuple[Callable[[bytes], bool], str], ...]] = (
    (lambda head: head.startswith(b"\xff\xd8\xff"), "image/jpeg"),
    (lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), "image/png"),
    (lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP", "image/webp"),
    (lambda head: head.startswith(b"RIFF") and head[8:12] == b"WAVE", "audio/wav"),
    (lambda head: head.startswith(b"\x1a\x45\xdf\xa3") and b"webm" in head, "video/webm"),
    (lambda head: head.startswith(b"\x1a\x45\xdf\xa3"), "video/x-matroska"),
    (lambda head: _is_ftyp(head, quicktime=True) or head[4:8] in _QUICKTIME_ATOMS, "video/quicktime"),
    (lambda head: _is_ftyp(head, quicktime=False), "video/mp4"),
    (lambda head: head.startswith(b"OggS"), "audio/ogg"),
    (lambda head: head[:2] in _ADTS, "audio/aac"),
    (lambda head: head.startswith(b"ID3"), "audio/mpeg"),
    (lambda head: head[:1] == b"\xff" and head[1:2] >= b"\xe0", "audio/mpeg"),
)
"""Signatures in order of precedence. Separate from those of the client, so that both do not share a bug."""


def detect_mime_type(head: bytes, kind: str) -> str | None:
    """Returns the media type of a file's first bytes; an MP4 of kind `audio` is audio/mp4."""
    found = next((mime_type for matches, mime_type in SIGNATURES if matches(head)), None)
    return "audio/mp4" if found == "video/mp4" and kind == "audio" else found


def measure_duration(path: Path, mime_type: str) -> float:
    """Returns the duration of an audio or video file in seconds; raises `ApiError` for an unplayable file. Blocks."""
    import av
    from av.error import FFmpegError

    kind = mime_type.partition("/")[0]
    try:
        with av.open(str(path), format=DEMUXERS[mime_type], options={"max_pixels": MAX_PIXELS}) as media:
            streams = media.streams.get({kind: 0})
            if media.duration is not None and streams:
                return round(media.duration / av.time_base, 3)
    except (FFmpegError, IndexError):
        pass
    raise validation_error(f"The file contains no {kind} that can be played.")
