"""The answers of a download, whole or in part."""

from __future__ import annotations

from typing import Final

from .operation import response
from .schema import BINARY, STRING

_MEDIA: Final = {"image/*": BINARY, "video/*": BINARY, "audio/*": BINARY}
_HEADERS: Final = {"Accept_Ranges": {"const": "bytes"}, "ETag": {"type": "string", "pattern": '^"[0-9a-f-]+"$'}}
_PART: Final = {"type": "string", "pattern": r"^bytes \d+-\d+/\d+$"}

DOWNLOAD: Final = {
    "200": response("The file.", _MEDIA, **_HEADERS),
    "206": response("The part that was asked for.", _MEDIA, **_HEADERS, Content_Range=_PART),
    "416": response(
        "Of that part the file has nothing.",
        {},
        **_HEADERS,
        Content_Range={"type": "string", "pattern": r"^bytes \*/\d+$"},
    ),
}

RANGES: Final = (
    {
        "name": "Range",
        "in": "header",
        "description": "One range of bytes; anything else is passed over.",
        "schema": {**STRING, "examples": ["bytes=0-1023"]},
    },
    {
        "name": "If-Range",
        "in": "header",
        "description": "The ETag of the copy that is to be completed; of another file all is sent.",
        "schema": STRING,
    },
)
