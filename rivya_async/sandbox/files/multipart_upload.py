"""Multipart uploads: the text fields are read to memory, the file to disk."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http import HttpProcessingError

from ..responses import ApiError, validation_error
from .sniffing import HEAD_BYTES

CHUNK_BYTES: Final = 256 * 1024
"""Bytes of a body that are read at once."""

FILE_PREFIX: Final = "upload-"
"""Prefix of the names of stored files."""


@attrs.frozen
class UploadedForm:
    """A form with one file. `name` is the client's file name, `head` the first bytes of the file."""

    fields: Mapping[str, str]
    name: str
    path: Path
    size: int
    head: bytes


async def receive_form(request: web.BaseRequest, folder: Path, *, max_bytes: int) -> UploadedForm:
    """Reads the form; raises `ApiError` for an invalid form, several files, or a file over `max_bytes`.

    The caller owns the file of the returned form. An error leaves no file.
    """
    if request.content_type != "multipart/form-data":
        raise validation_error("Send the file as multipart/form-data.")
    with tempfile.NamedTemporaryFile(prefix=FILE_PREFIX, dir=folder, delete=False) as file:
        path = Path(file.name)
    try:
        return await _read_parts(request, path, max_bytes)
    except BaseException as error:
        path.unlink()
        if isinstance(error, web.HTTPRequestEntityTooLarge):
            raise ApiError("body_too_large", "A text part of the form is too large.") from error
        if isinstance(error, ValueError | web.RequestPayloadError | HttpProcessingError | ConnectionError):
            raise validation_error("The form is incomplete or malformed.") from error
        raise


async def _read_parts(request: web.BaseRequest, path: Path, max_bytes: int) -> UploadedForm:
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
            size, head = await _save_file(part, path, max_bytes)
    if name is None:
        raise validation_error("The part file is required.")
    return UploadedForm(fields, name, path, size, head)


async def _save_file(part: BodyPartReader, path: Path, max_bytes: int) -> tuple[int, bytes]:
    """Returns the size of the file and its first bytes. Writes on the event loop: a chunk is one fast system call."""
    size, head = 0, b""
    with path.open("wb") as file:
        while chunk := await part.read_chunk(CHUNK_BYTES):
            size += len(chunk)
            if size > max_bytes:
                raise validation_error(f"The file is too large: the limit is {max_bytes:,} bytes.")
            head = head or chunk[:HEAD_BYTES]
            file.write(chunk)
    return size, head
