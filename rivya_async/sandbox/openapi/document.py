"""The whole document: what each noun says of its routes, put together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from ..faults.parsing import FAULT_HEADER
from ..router import Route
from . import balance, chat, files, generations, models, webhooks
from .operation import Operation, answer
from .schema import OBJECT, TEXT, Schema, record

NOUNS: Final = (models, generations, files, balance, chat, webhooks)

OPERATIONS: Final[Mapping[str, Operation]] = {
    "GET /api/v1/openapi.json": Operation("getOpenApi", "This document.", answer("This document.", OBJECT)),
    **{name: operation for noun in NOUNS for name, operation in noun.OPERATIONS.items()},
}
"""What the document says of each route, by its name."""

SCHEMAS: Final[Mapping[str, Schema]] = {
    "ErrorEnvelope": record(error=record(code=TEXT, message=TEXT, requestId=TEXT)),
    **{name: schema for noun in NOUNS for name, schema in noun.SCHEMAS.items()},
}

DESCRIPTION: Final = (
    "A reconstruction from the public pages, as the rivya_async sandbox serves it. "
    f"Faults that a test asks for, also by the header {FAULT_HEADER}, may answer anything else."
)


def document(routes: Iterable[Route], base_url: str) -> bytes:
    """The document, as JSON, for a server at this address."""
    return _document(tuple(routes), base_url)


@cache
def _document(routes: tuple[Route, ...], base_url: str) -> bytes:
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = OPERATIONS[route.name].to_openapi(route)
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "Rivya API v1 (sandbox)", "version": "v1", "description": DESCRIPTION},
        "servers": [{"url": base_url}],
        "paths": paths,
        "components": {
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer", "bearerFormat": "rvya_sk_..."}},
            "schemas": SCHEMAS,
        },
    }
    return json.dumps(whole).encode()
