"""A file on its way out, as a form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..._core.http.messages import MultipartForm


class _FilePart(aiohttp.payload.AsyncIterablePayload):
    """The file in a form; where its size is known, the whole request has a length, which some servers insist on."""

    def __init__(self, form: MultipartForm, file: AsyncIterator[bytes]) -> None:
        super().__init__(file, content_type=form.mime_type)
        self._size = form.size
        self.set_content_disposition("form-data", quote_fields=False, name="file", filename=form.filename)


def build_multipart(form: MultipartForm, file: AsyncIterator[bytes]) -> aiohttp.MultipartWriter:
    """The fields first, so that a server knows what the file is before it comes."""
    body = aiohttp.MultipartWriter("form-data")
    for name, value in form.fields.items():
        body.append(value).set_content_disposition("form-data", quote_fields=False, name=name)
    body.append_payload(_FilePart(form, file))
    return body
