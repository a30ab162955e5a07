"""Previews of untrusted files in a report."""

from __future__ import annotations

import asyncio
import io
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from rivya_async.batch.report import previews
from rivya_async.batch.report.previews import Preview, add_previews, make_preview
from rivya_async.sandbox.files import uploads
from rivya_async.sandbox.responses import ApiError
from tests.media_kit import media


@pytest.mark.parametrize("file_format", ["TIFF", "BMP", "GIF", "PPM", "ICO", "TGA", "PDF", "EPS", "JPEG2000"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_decodes_no_image_of_another_format(tmp_path: Path, file_format: str, suffix: str) -> None:
    """S3: Pillow knows formats that start programs, such as EPS."""
    path = tmp_path / f"0.{suffix}"
    Image.new("RGB", (64, 64)).save(path, file_format)
    assert make_preview(path, 320) == Preview()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("content", ["png", "jpg", "webp"])
def test_decodes_known_images_by_their_first_bytes(tmp_path: Path, suffix: str, content: str) -> None:
    """S3: a wrong extension among the three does no harm."""
    path = tmp_path / f"0.{suffix}"
    path.write_bytes(media(content))
    assert make_preview(path, 320).thumbnail


@pytest.mark.parametrize("suffix", ["mp4", "mov", "webm", "mkv"])
def test_films_keep_their_preview(tmp_path: Path, suffix: str) -> None:
    """S3: with the demuxer of their type."""
    path = tmp_path / f"0.{suffix}"
    path.write_bytes(media(suffix))
    assert make_preview(path, 320).thumbnail


@pytest.mark.parametrize("suffix", ["mp3", "m4a", "wav", "aac", "ogg"])
def test_sounds_keep_their_waveform(tmp_path: Path, suffix: str) -> None:
    """S3: with the demuxer of their type."""
    path = tmp_path / f"0.{suffix}"
    path.write_bytes(media(suffix))
    assert make_preview(path, 320).waveform


@pytest.mark.parametrize("suffix", ["mp4", "mov", "webm", "mkv", "mp3", "wav"])
@pytest.mark.parametrize("playlist", ["#EXTM3U\n#EXTINF:1,\n{}\n", "ffconcat version 1.0\nfile '{}'\n"])
def test_playlists_open_no_other_file(tmp_path: Path, suffix: str, playlist: str) -> None:
    """S3: FFmpeg's playlists name other files and URLs."""
    (tmp_path / "secret.mp4").write_bytes(media("mp4"))
    path = tmp_path / f"0.{suffix}"
    path.write_text(playlist.format("secret.mp4"))
    assert make_preview(path, 320) == Preview()


def large_png(width: int, height: int) -> bytes:
    """Returns a small file of a large image."""
    packer = zlib.compressobj(9)
    row = bytes(1 + width * 3)
    data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("size", "has_preview"), [((4000, 10_000), True), ((4000, 10_001), False)])
def test_large_images_are_not_decoded(tmp_path: Path, size: tuple[int, int], has_preview: bool) -> None:
    """S4: the limit is 40 megapixels."""
    path = tmp_path / "0.png"
    path.write_bytes(large_png(*size))
    assert bool(make_preview(path, 320).thumbnail) is has_preview


def film(width: int, height: int, codec: str, container: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        output.mux(stream.encode(av.VideoFrame(width, height, "yuv420p")))
        output.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize(
    ("codec", "container", "suffix"),
    [("libx264", "mp4", "mp4"), ("mpeg4", "matroska", "mkv"), ("libvpx", "webm", "webm")],
)
def test_large_films_are_not_decoded(tmp_path: Path, codec: str, container: str, suffix: str) -> None:
    """S4: the header, or the stream itself, says that a frame has 42 megapixels."""
    path = tmp_path / f"0.{suffix}"
    path.write_bytes(film(7000, 6000, codec, container))
    assert make_preview(path, 320) == Preview()


def test_two_previews_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """S4: not one for each core."""
    running, most, lock = 0, 0, threading.Lock()
    is_second = threading.Event()

    def record(*_: Any) -> Preview:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if running > 1:
            is_second.set()
        is_second.wait(5)
        with lock:
            running -= 1
        return Preview()

    monkeypatch.setattr(previews, "make_preview", record)
    assert len(list(add_previews([(number, None) for number in range(20)], 320))) == 20
    assert most == 2


@pytest.mark.parametrize("playlist", ["#EXTM3U\n#EXTINF:1,\n{}\n", "ffconcat version 1.0\nfile '{}'\n"])
async def test_uploads_to_the_sandbox_open_no_other_file(tmp_path: Path, playlist: str) -> None:
    """S3: an upload is opened with the demuxer of its type."""
    (tmp_path / "secret.mp3").write_bytes(media("mp3"))
    path = tmp_path / "upload"
    path.write_text(playlist.format("secret.mp3"))
    for mime_type in [name for name, file_type in uploads.FILE_TYPES.items() if file_type.demuxer]:
        with pytest.raises(ApiError):
            await asyncio.to_thread(uploads.measure_duration, path, mime_type)
