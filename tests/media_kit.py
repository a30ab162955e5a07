"""Small real media files of every type that the service takes, made once."""

from __future__ import annotations

import io
from functools import cache
from typing import Any, Final

import av
from PIL import Image

SECONDS: Final = 1.0
"""Approximate length of each video and sound."""

VIDEO_CODECS: Final = {
    "mp4": ("mp4", "mpeg4"),
    "mov": ("mov", "mpeg4"),
    "webm": ("webm", "libvpx"),
    "mkv": ("matroska", "mpeg4"),
}
AUDIO_CODECS: Final = {
    "mp3": ("mp3", "libmp3lame"),
    "m4a": ("ipod", "aac"),
    "wav": ("wav", "pcm_s16le"),
    "aac": ("adts", "aac"),
    "ogg": ("ogg", "libopus"),
    "flac": ("flac", "flac"),
}
RATE: Final = 48_000

MIME_TYPES: Final = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "wav": "audio/wav",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
}
"""MIME types by extension."""


@cache
def media(extension: str) -> bytes:
    """Returns a file of this type."""
    if extension in VIDEO_CODECS:
        return _video(*VIDEO_CODECS[extension])
    if extension in AUDIO_CODECS:
        return _audio(*AUDIO_CODECS[extension])
    return picture({"jpg": "JPEG"}.get(extension, extension.upper()))


def picture(file_format: str = "PNG", color: int = 0x3C1EC8) -> bytes:
    """Returns an image whose bytes differ for each color."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), color).save(file, file_format)
    return file.getvalue()


def padded(video: bytes, size: int) -> bytes:
    """Returns the MP4 file enlarged to this many bytes by a final atom that players skip."""
    padding = size - len(video)
    return video + padding.to_bytes(4, "big") + b"free" + bytes(padding - 8)


def _video(container: str, codec: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame(64, 48, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        for number in range(int(24 * SECONDS)):
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return file.getvalue()


def _audio(container: str, codec: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=RATE)
        stream.layout = "mono"
        samples = stream.codec_context.frame_size or 1024
        for start in range(0, int(RATE * SECONDS), samples):
            frame = av.AudioFrame(format=stream.codec_context.format.name, layout="mono", samples=samples)
            frame.planes[0].update(bytes(frame.planes[0].buffer_size))
            frame.sample_rate, frame.pts = RATE, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return file.getvalue()
