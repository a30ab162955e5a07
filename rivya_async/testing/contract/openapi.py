"""The service's own OpenAPI document, which may settle for nothing what we could only assume."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from .check import OBJECT, TEXT, Checks, expect, expect_members
from .files import MEMBERS as FILE
from .service import CannotTell, Service

checks = Checks()

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


async def document(service: Service) -> dict[str, Any]:
    """The document, asked for once in a run, without a key."""

    async def asked() -> dict[str, Any]:
        reply = await service.ask("GET", "/openapi.json", key="")
        expect(reply.status == 200, "200", reply.status)
        expect_members(reply.json, {"openapi": TEXT, "paths": OBJECT})
        told: dict[str, Any] = reply.json
        return told

    found: dict[str, Any] = await service.shared("openapi", asked)
    return found


async def operations(service: Service) -> dict[str, Any]:
    """Its operations under /api/v1 by name, such as "GET /generations/{}"."""
    paths = (await document(service))["paths"]
    prefix = "/api/v1" if any(path.startswith("/api/v1/") for path in paths) else ""
    return {
        f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path).removeprefix(prefix)}": operation
        for path, item in paths.items()
        for method, operation in item.items()
        if path.startswith(f"{prefix}/") and isinstance(operation, dict)
    }


@checks.documented("12")
async def public(service: Service) -> None:
    """The document is OpenAPI 3, and needs no key."""
    came = (await document(service))["openapi"]
    expect(came.startswith("3."), "OpenAPI 3", came)


@checks.inferred("12")
async def every_route(service: Service) -> None:
    """It has every route that the pages name."""
    came = await operations(service)
    missing = [route for route in ROUTES if route not in came]
    expect(not missing, "every documented route", f"none of {', '.join(missing)}")


@checks.inferred("1")
async def no_other_route(service: Service) -> None:
    """It has no route under /api/v1 beyond those: nothing cancels, lists or deletes jobs or files."""
    more = sorted(set(await operations(service)) - set(ROUTES))
    expect(not more, "no other route", more)


@checks.assumed("14.13")
async def success_is_200(service: Service) -> None:
    """Every operation succeeds with 200."""
    for name, operation in (await operations(service)).items():
        came = sorted(str(status) for status in operation.get("responses", {}) if str(status).startswith("2"))
        if name in ROUTES:
            expect(came == ["200"], f"200 for {name}", came)


@checks.assumed("14.11")
async def insufficient_credits_is_402(service: Service) -> None:
    """An order without credits is 402 insufficient_credits."""
    responses = (await operations(service)).get("POST /generations", {}).get("responses", {})
    if not any(str(status).startswith("4") for status in responses):
        raise CannotTell("the document tells no failures of POST /generations")
    expect("402" in responses, "402 among the answers of POST /generations", sorted(responses))


@checks.assumed("14.9")
async def the_file(service: Service) -> None:
    """PublicApiFile has the members that we assume."""
    schemas = (await document(service)).get("components", {}).get("schemas", {})
    expect("PublicApiFile" in schemas, "the schema PublicApiFile", sorted(schemas))
    came = set(schemas["PublicApiFile"].get("properties", {}))
    expect(came >= set(FILE), f"the members {', '.join(sorted(FILE))}", sorted(came))


@checks.assumed("14.5")
async def the_limit_of_lists(service: Service) -> None:
    """Lists take a limit from 1 to 100."""
    for name in ("GET /chat/sessions", "GET /webhooks", "GET /webhooks/{}/deliveries", "GET /webhook-events"):
        told = (await operations(service)).get(name, {}).get("parameters", [])
        found = [each.get("schema", {}) for each in told if each.get("name") == "limit"]
        expect(found and found[0].get("maximum") == 100, f"a limit of at most 100 for {name}", told)


@checks.assumed("14.15")
async def the_length_of_a_key(service: Service) -> None:
    """An Idempotency-Key has at most 255 characters."""
    told = (await operations(service)).get("POST /generations", {}).get("parameters", [])
    found = [each.get("schema", {}) for each in told if str(each.get("name")).lower() == "idempotency-key"]
    if not found or "maxLength" not in found[0]:
        raise CannotTell("the document tells no length of an Idempotency-Key")
    expect(found[0]["maxLength"] == 255, "255", found[0])


@checks.inferred("12")
async def the_codes(service: Service) -> None:
    """It names the documented error codes."""
    whole = json.dumps(await document(service))
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
