"""The words that the schemas of all nouns are written with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..validation import CLIENT_REQUEST_ID_MAX_LENGTH

Schema = Mapping[str, Any]

BOOLEAN: Final = {"type": "boolean"}
STRING: Final = {"type": "string"}
TEXT: Final = {"type": "string", "minLength": 1}
NUMBER: Final = {"type": "number"}
COUNT: Final = {"type": "integer", "minimum": 0}
INSTANT: Final = {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
URL: Final = {"type": "string", "format": "uri"}
BINARY: Final = {"type": "string", "format": "binary"}
OBJECT: Final = {"type": "object"}
NEVER: Final = False
"""What a member is that must not be sent."""

KIND: Final = {"type": "string", "enum": ["image", "video", "audio"]}


def ref(name: str) -> dict[str, Any]:
    """A schema of the document, by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def shape(required: str, /, **properties: Schema | bool) -> dict[str, Any]:
    """An object: the members that it always has, and all of them."""
    return {"type": "object", "required": required.split(), "properties": properties}


def record(**properties: Schema) -> dict[str, Any]:
    """An object that always has all of its members."""
    return shape(" ".join(properties), **properties)


def array(items: Schema, **rules: int) -> dict[str, Any]:
    """A list of such items."""
    return {"type": "array", "items": items, **rules}


def or_null(schema: Schema) -> dict[str, Any]:
    """This or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def listing(name: str) -> dict[str, Any]:
    """A list as the API answers it."""
    return record(object={"const": "list"}, data=array(ref(name)))


TRACE_ID: Final = {"type": "string", "maxLength": CLIENT_REQUEST_ID_MAX_LENGTH}
"""`client_request_id`; in JSON it may be null."""
