"""Files in the document."""

from __future__ import annotations

from typing import Final

from .binary import DOWNLOAD, RANGES
from .operation import Operation, answer
from .schema import BINARY, COUNT, INSTANT, KIND, NUMBER, STRING, TEXT, TRACE_ID, URL, or_null, record, ref, shape

SCHEMAS: Final = {
    "FileUpload": {
        **shape(
            "file kind",
            file=BINARY,
            kind=KIND,
            model=STRING,
            client_request_id=TRACE_ID,
        ),
        "description": "Types and sizes are checked by content; with a model, by its own rules.",
    },
    "PublicApiFile": record(
        id=TEXT,
        object={"const": "file"},
        kind=KIND,
        url=URL,
        name=STRING,
        mime_type=TEXT,
        size_bytes=COUNT,
        duration_seconds=or_null(NUMBER),
        duration_token=or_null(TEXT),
        model=or_null(STRING),
        client_request_id=or_null(STRING),
        created_at=INSTANT,
    ),
}

OPERATIONS: Final = {
    "POST /api/v1/files": Operation(
        "createFile",
        "Upload an image, a video or a sound to refer to.",
        answer("The file.", ref("PublicApiFile")),
        form=ref("FileUpload"),
    ),
    "GET /api/v1/files/{file_id}": Operation(
        "getFile", "One uploaded file.", answer("The file.", ref("PublicApiFile")), refuses="not_found"
    ),
    "GET /files/{name}": Operation(
        "getUploadedFile",
        "The content of an uploaded file; needs no key.",
        DOWNLOAD,
        refuses="not_found",
        parameters=RANGES,
    ),
}
