"""The service's OpenAPI document, which can confirm assumptions without a purchase."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from .checks import OBJECT, STRING, CheckGroup, expect, expect_fields
from .file_checks import FIELDS as FILE
from .service import Inconclusive, Service

checks = CheckGroup("openapi")

ROUTES: Final = (
    "GET /models",
    "GET /openapi.json",
    "POST /generations",
    "GET /generations/{}",
    "POST /files",
    "GET /files/{}",
    "GET /credits",
    "POST /chat/completions",
    "POST /chat/completions/stream",
    "GET /chat/sessions",
    "GET /chat/sessions/{}",
    "GET /webhooks",
    "POST /webhooks",
    "GET /webhooks/{}",
    "PATCH /webhooks/{}",
    "DELETE /webhooks/{}",
    "POST /webhooks/{}/rotate-secret",
    "POST /webhooks/{}/test",
    "GET /webhooks/{}/deliveries",
    "GET /webhook-events",
)


async def fetch_document(service: Service) -> dict[str, Any]:
    """Fetches the document, once per run and without a key."""

    async def fetch() -> dict[str, Any]:
        response = await service.request("GET", "/openapi.json", key="")
        expect(response.status == 200, "200", response.status)
        expect_fields(response.json, {"openapi": STRING, "paths": OBJECT})
        document: dict[str, Any] = response.json
        return document

    found: dict[str, Any] = await service.run_once("openapi", fetch)
    return found


async def fetch_operations(service: Service) -> dict[str, Any]:
    """Returns the operations under /api/v1 by name, such as "GET /generations/{}"."""
    paths = (await fetch_document(service))["paths"]
    prefix = "/api/v1" if any(path.startswith("/api/v1/") for path in paths) else ""
    return {
        f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path).removeprefix(prefix)}": operation
        for path, item in paths.items()
        for method, operation in item.items()
        if path.startswith(f"{prefix}/") and isinstance(operation, dict)
    }


@checks.documented("12")
async def document_without_key(service: Service) -> None:
    """The document is OpenAPI 3 and needs no key."""
    actual = (await fetch_document(service))["openapi"]
    expect(actual.startswith("3."), "OpenAPI 3", actual)


@checks.inferred("12")
async def documented_routes(service: Service) -> None:
    """The document has every documented route."""
    actual = await fetch_operations(service)
    missing = [route for route in ROUTES if route not in actual]
    expect(not missing, "every documented route", f"none of {', '.join(missing)}")


@checks.inferred("1")
async def no_undocumented_routes(service: Service) -> None:
    """The document has no other route: generations and files cannot be cancelled, listed or deleted."""
    more = sorted(set(await fetch_operations(service)) - set(ROUTES))
    expect(not more, "no other route", more)


@checks.assumed("14.13")
async def success_is_200(service: Service) -> None:
    """Every operation succeeds with 200."""
    for name, operation in (await fetch_operations(service)).items():
        actual = sorted(str(status) for status in operation.get("responses", {}) if str(status).startswith("2"))
        if name in ROUTES:
            expect(actual == ["200"], f"200 for {name}", actual)


@checks.assumed("14.11")
async def insufficient_credits_is_402(service: Service) -> None:
    """A generation request without credits returns 402 insufficient_credits."""
    responses = (await fetch_operations(service)).get("POST /generations", {}).get("responses", {})
    if not any(str(status).startswith("4") for status in responses):
        raise Inconclusive("the document has no error responses for POST /generations")
    expect("402" in responses, "402 among the responses of POST /generations", sorted(responses))


@checks.assumed("14.9")
async def file_schema(service: Service) -> None:
    """PublicApiFile has the assumed fields."""
    schemas = (await fetch_document(service)).get("components", {}).get("schemas", {})
    expect("PublicApiFile" in schemas, "the schema PublicApiFile", sorted(schemas))
    actual = set(schemas["PublicApiFile"].get("properties", {}))
    expect(actual >= set(FILE), f"the fields {', '.join(sorted(FILE))}", sorted(actual))


@checks.assumed("14.5")
async def list_limit(service: Service) -> None:
    """Lists accept a limit from 1 to 100."""
    for name in ("GET /chat/sessions", "GET /webhooks", "GET /webhooks/{}/deliveries", "GET /webhook-events"):
        parameters = await _parameters(service, name)
        found = [each.get("schema", {}) for each in parameters if each.get("name") == "limit"]
        expect(found and found[0].get("maximum") == 100, f"a limit of at most 100 for {name}", parameters)


@checks.assumed("14.15")
async def idempotency_key_length(service: Service) -> None:
    """An Idempotency-Key has at most 255 characters."""
    parameters = await _parameters(service, "POST /generations")
    found = [each.get("schema", {}) for each in parameters if str(each.get("name")).lower() == "idempotency-key"]
    if not found or "maxLength" not in found[0]:
        raise Inconclusive("the document has no maximum length of an Idempotency-Key")
    expect(found[0]["maxLength"] == 255, "255", found[0])


async def _parameters(service: Service, name: str) -> list[Any]:
    """Returns the parameters of an operation; shared ones are resolved."""
    parameters = (await fetch_operations(service)).get(name, {}).get("parameters", [])
    shared = (await fetch_document(service)).get("components", {}).get("parameters", {})
    return [shared.get(str(each.get("$ref", "")).rpartition("/")[2], each) for each in parameters]


@checks.inferred("12")
async def error_codes(service: Service) -> None:
    """The document contains every documented error code."""
    whole = json.dumps(await fetch_document(service))
    missing = [code for code in CODES if f'"{code}"' not in whole]
    expect(not missing, "every documented code", f"none of {', '.join(missing)}")


CODES: Final = [
    "public_api_disabled",
    "api_key_missing",
    "api_key_invalid",
    "api_key_revoked",
    "api_key_expired",
    "api_scope_denied",
    "rate_limited",
    "validation_failed",
    "not_found",
    "webhook_url_rejected",
    "chat_model_not_supported",
    "chat_session_conflict",
    "chat_attachment_not_supported",
    "idempotency_conflict",
    "insufficient_credits",
]
