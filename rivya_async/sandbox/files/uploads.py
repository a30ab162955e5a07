"""Uploads: the parts of a multipart form, and the media type and duration of its file, from its content."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import attrs
from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http import HttpProcessingError

from ..catalogue import MEGABYTE
from ..responses import ApiError, validation_error

MAX_UPLOAD_BYTES: Final = 128 * MEGABYTE
"""Bytes after which an upload is rejected unread, for every model."""

CHUNK_BYTES: Final = 256 * 1024
"""Bytes of a body that are read at once."""

HEAD_BYTES: Final = 4096
"""Bytes of a file that `detect_mime_type` needs."""

MAX_PIXELS: Final = "40000000"
"""Maximum pixels of a frame that FFmpeg decodes to find the properties of a stream."""

FILE_PREFIX: Final = "upload-"
"""Prefix of the names of stored files."""


class FileType(NamedTuple):
    """The file name extension of a media type, and the demuxer of FFmpeg for it.

    Without a demuxer, FFmpeg probes the content, and some formats open other files or URLs.
    """

    extension: str
    demuxer: str = ""


FILE_TYPES: Final[Mapping[str, FileType]] = {
    "image/jpeg": FileType(".jpg"),
    "image/png": FileType(".png"),
    "image/webp": FileType(".webp"),
    "video/mp4": FileType(".mp4", "mp4"),
    "video/quicktime": FileType(".mov", "mov"),
    "video/webm": FileType(".webm", "webm"),
    "video/x-matroska": FileType(".mkv", "matroska"),
    "audio/mpeg": FileType(".mp3", "mp3"),
    "audio/mp4": FileType(".m4a", "mp4"),
    "audio/wav": FileType(".wav", "wav"),
    "audio/aac": FileType(".aac", "aac"),
    "audio/ogg": FileType(".ogg", "ogg"),
}
"""Every media type that some model takes."""

_QUICKTIME_ATOMS: Final = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip"})
_ADTS: Final = frozenset({b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9"})

SIGNATURES: Final[tuple[tuple[Callable[[bytes], bool], str], ...]] = (
    (lambda head: head.startswith(b"\xff\xd8\xff"), "image/jpeg"),
    (lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), "image/png"),
    (lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP", "image/webp"),
    (lambda head: head.startswith(b"RIFF") and head[8:12] == b"WAVE", "audio/wav"),
    (lambda head: head.startswith(b"\x1a\x45\xdf\xa3") and b"webm" in head, "video/webm"),
    (lambda head: head.startswith(b"\x1a\x45\xdf\xa3"), "video/x-matroska"),
    (lambda head: head[4:12] == b"ftypqt  " or head[4:8] in _QUICKTIME_ATOMS, "video/quicktime"),
    (lambda head: head[4:8] == b"ftyp", "video/mp4"),
    (lambda head: head.startswith(b"OggS"), "audio/ogg"),
    (lambda head: head[:2] in _ADTS, "audio/aac"),
    (lambda head: head.startswith(b"ID3"), "audio/mpeg"),
    (lambda head: head[:1] == b"\xff" and head[1:2] >= b"\xe0", "audio/mpeg"),
)
"""Signatures in order of precedence. Separate from those of the client, so that both do not share a bug."""


@attrs.frozen
class UploadedForm:
    """A form with one file. `name` is the client's file name, `head` the first bytes of the file."""

    fields: Mapping[str, str]
    name: str
    path: Path
    size: int
    head: bytes


async def receive_form(request: web.BaseRequest, folder: Path) -> UploadedForm:
    """Reads the form: its text fields to memory, its file to disk.

    Raises `ApiError` for an invalid form, several files, or a file over `MAX_UPLOAD_BYTES`. The caller owns the file of
    the returned form. An error leaves no file.
    """
    if request.content_type != "multipart/form-data":
        raise validation_error("Send the file as multipart/form-data.")
    with tempfile.NamedTemporaryFile(prefix=FILE_PREFIX, dir=folder, delete=False) as file:
        path = Path(file.name)
    try:
        return await _read_parts(request, path)
    except BaseException as error:
        path.unlink()
        if isinstance(error, web.HTTPRequestEntityTooLarge):
            raise ApiError("body_too_large", "A text part of the form is too large.") from error
        if isinstance(error, ValueError | web.RequestPayloadError | HttpProcessingError | ConnectionError):
            raise validation_error("The form is incomplete or malformed.") from error
        raise


async def _read_parts(request: web.BaseRequest, path: Path) -> UploadedForm:
    fields: dict[str, str] = {}
    name: str | None = None
    size, head = 0, b""
    async for part in await request.multipart():
        if isinstance(part, MultipartReader) or part is None:
            raise validation_error("A part of the form must not be multipart itself.")
        if part.name != "file":
            fields[part.name or ""] = (await part.read()).decode()
        elif name is not None:
            raise validation_error("Send one file per request.")
        else:
            name = part.filename or "file"
            size, head = await _save_file(part, path)
    if name is None:
        raise validation_error("The part file is required.")
    return UploadedForm(fields, name, path, size, head)


async def _save_file(part: BodyPartReader, path: Path) -> tuple[int, bytes]:
    """Returns the size of the file and its first bytes. Writes on the event loop: a chunk is one fast system call."""
    size, head = 0, b""
    with path.open("wb") as file:
        while chunk := await part.read_chunk(CHUNK_BYTES):
            size += len(chunk)
            if size > MAX_UPLOAD_BYTES:
                raise validation_error(f"The file is too large: the limit is {MAX_UPLOAD_BYTES:,} bytes.")
            head = head or chunk[:HEAD_BYTES]
            file.write(chunk)
    return size, head


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
        with av.open(str(path), format=FILE_TYPES[mime_type].demuxer, options={"max_pixels": MAX_PIXELS}) as media:
            streams = media.streams.get({kind: 0})
            if media.duration is not None and streams:
                return round(media.duration / av.time_base, 3)
    except (FFmpegError, IndexError):
        pass
    raise validation_error(f"The file contains no {kind} that can be played.")
