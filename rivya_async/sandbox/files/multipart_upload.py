"""A form with a file as it comes in: the fields in memory, the file straight to disk."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http import HttpProcessingError

from ..api_error import ApiError
from .sniffing import HEAD_BYTES

CHUNK_BYTES: Final = 256 * 1024

PREFIX: Final = "upload-"
"""Of the names of the files that are ours."""


@attrs.frozen
class UploadedForm:
    """What came in: the text fields, the file's own name, where it lies, how long it is and how it begins."""

    fields: Mapping[str, str]
    name: str
    path: Path
    size: int
    head: bytes


async def receive(request: web.BaseRequest, folder: Path, *, most_bytes: int) -> UploadedForm:
    """Read the form; raises `Refused` for what is none, for more than one file, and for more than `most_bytes` of it.

    Whoever gets the parcel owns its file; where there is no parcel, no file is left.
    """
    if request.content_type != "multipart/form-data":
        raise ApiError("validation_failed", "Send the file as multipart/form-data.")
    with tempfile.NamedTemporaryFile(prefix=PREFIX, dir=folder, delete=False) as file:
        path = Path(file.name)
    try:
        return await _read(request, path, most_bytes)
    except web.HTTPRequestEntityTooLarge as error:
        path.unlink()
        raise ApiError("body_too_large", "A text part of the form is too large.") from error
    except (ValueError, web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:
        path.unlink()
        raise ApiError("validation_failed", "The form did not arrive whole, or is malformed.") from error
    except BaseException:
        path.unlink()
        raise


async def _read(request: web.BaseRequest, path: Path, most_bytes: int) -> UploadedForm:
    fields: dict[str, str] = {}
    name: str | None = None
    size, head = 0, b""
    async for part in await request.multipart():
        if isinstance(part, MultipartReader) or part is None:
            raise ApiError("validation_failed", "A form has no forms inside.")
        if part.name != "file":
            fields[part.name or ""] = (await part.read()).decode()
        elif name is not None:
            raise ApiError("validation_failed", "Send one file at a time.")
        else:
            name = part.filename or "file"
            size, head = await _save(part, path, most_bytes)
    if name is None:
        raise ApiError("validation_failed", "The part file is required.")
    return UploadedForm(fields, name, path, size, head)


async def _save(part: BodyPartReader, path: Path, most_bytes: int) -> tuple[int, bytes]:
    """The size of the file and its first bytes. Writing a chunk is one quick system call."""
    size, head = 0, b""
    with path.open("wb") as file:
        while chunk := await part.read_chunk(CHUNK_BYTES):
            size += len(chunk)
            if size > most_bytes:
                raise ApiError("validation_failed", f"The file is too large: {most_bytes:,} bytes are the most.")
            head = head or chunk[:HEAD_BYTES]
            file.write(chunk)
    return size, head
