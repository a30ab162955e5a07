"""Webhooks. They cost nothing; every check deletes the endpoint that it creates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from .checks import (
    ARRAY,
    INTEGER,
    NULLABLE_NUMBER,
    NULLABLE_STRING,
    OBJECT,
    STRING,
    CheckGroup,
    expect,
    expect_error,
    expect_fields,
    expect_list,
    expect_success,
)
from .service import Inconclusive, Service

checks = CheckGroup("webhooks")

URL: Final = "https://example.com/rivya-contract"
TYPES: Final = ["generation.succeeded", "generation.failed"]
NAME: Final = "rivya_async contract check"

ENDPOINT: Final = {
    "id": STRING,
    "object": STRING,
    "name": STRING,
    "url": STRING,
    "event_types": ARRAY,
    "status": STRING,
    "secret_preview": STRING,
    "failure_count": INTEGER,
    "created_at": STRING,
    "updated_at": STRING,
    **dict.fromkeys(("last_success_at", "last_failure_at", "disabled_at", "revoked_at"), NULLABLE_STRING),
}
DELIVERY: Final = {
    "id": STRING,
    "object": STRING,
    "endpoint_id": STRING,
    "event_id": STRING,
    "event_type": STRING,
    "status": STRING,
    "attempt": INTEGER,
    "response_status": NULLABLE_NUMBER,
    "error": NULLABLE_STRING,
    "created_at": STRING,
    "delivered_at": NULLABLE_STRING,
}
EVENT: Final = {"id": STRING, "type": STRING, "api_version": STRING, "created_at": STRING, "data": OBJECT}


@asynccontextmanager
async def temporary_endpoint(service: Service) -> AsyncIterator[dict[str, Any]]:
    """Creates an endpoint for one check and deletes it."""
    response = await service.request("POST", "/webhooks", json={"name": NAME, "url": URL, "event_types": TYPES})
    expect_success(response, "an endpoint")
    expect_fields(response.json, {"id": STRING})
    try:
        yield response.json
    finally:
        deleted = await service.request("DELETE", f"/webhooks/{response.json['id']}")
        if deleted.status >= 300 and deleted.status != 404:
            raise Inconclusive(f"webhook {response.json['id']} was not deleted ({deleted.status}): delete it by hand")


async def expect_url_rejected(service: Service, url: str) -> None:
    """Raises AssertionError unless this URL is rejected; deletes an endpoint that was created."""
    response = await service.request("POST", "/webhooks", json={"name": NAME, "url": url, "event_types": TYPES})
    if response.status < 300:
        await service.request("DELETE", f"/webhooks/{response.json.get('id')}")
    expect_error(response, 400, "webhook_url_rejected")


@checks.documented("11")
async def http_url(service: Service) -> None:
    """A plain http URL returns 400 webhook_url_rejected."""
    await expect_url_rejected(service, "http://example.com/rivya-contract")


@checks.documented("11")
async def loopback_url(service: Service) -> None:
    """A loopback URL returns 400 webhook_url_rejected."""
    await expect_url_rejected(service, "https://127.0.0.1/rivya-contract")


@checks.documented("11")
async def url_with_userinfo(service: Service) -> None:
    """A URL with userinfo returns 400 webhook_url_rejected."""
    await expect_url_rejected(service, "https://user@example.com/rivya-contract")


@checks.documented("11")
async def created_endpoint(service: Service) -> None:
    """A new endpoint is active and has its signing_secret."""
    async with temporary_endpoint(service) as endpoint:
        expect_fields(endpoint, {**ENDPOINT, "signing_secret": STRING})
        expect(endpoint["status"] == "active", "active", endpoint["status"])
        expect(endpoint["signing_secret"].startswith("whsec_"), "a secret that begins with whsec_", "another prefix")
        expect(endpoint["event_types"] == TYPES, ", ".join(TYPES), endpoint["event_types"])


@checks.inferred("11")
async def secret_preview(service: Service) -> None:
    """secret_preview is the first 8 characters of the secret, three dots and the last 6."""
    async with temporary_endpoint(service) as endpoint:
        expect_fields(endpoint, {"secret_preview": STRING, "signing_secret": STRING})
        secret = endpoint["signing_secret"]
        expect(
            endpoint["secret_preview"] == f"{secret[:8]}...{secret[-6:]}",
            "8, three dots, 6",
            len(endpoint["secret_preview"]),
        )


@checks.assumed("14.5")
async def endpoint_list(service: Service) -> None:
    """Endpoints are a list, newest first."""
    async with temporary_endpoint(service) as endpoint:
        found = expect_list((await service.request("GET", "/webhooks")).json, ENDPOINT)
        expect(
            found and found[0]["id"] == endpoint["id"], "the new endpoint first", [each.get("id") for each in found][:3]
        )


@checks.inferred("11")
async def retrieved_endpoint(service: Service) -> None:
    """A retrieved endpoint has no signing_secret."""
    async with temporary_endpoint(service) as endpoint:
        retrieved = (await service.request("GET", f"/webhooks/{endpoint['id']}")).json
        expect_fields(retrieved, ENDPOINT)
        expect("signing_secret" not in retrieved, "no signing_secret", sorted(retrieved))


@checks.assumed("14.5")
async def updated_endpoint(service: Service) -> None:
    """PATCH accepts name and status and returns the endpoint."""
    async with temporary_endpoint(service) as endpoint:
        changes = {"name": f"{NAME}, disabled", "status": "disabled"}
        response = await service.request("PATCH", f"/webhooks/{endpoint['id']}", json=changes)
        expect(response.status == 200, "200", f"{response.status} {response.code}")
        expect_fields(response.json, {**ENDPOINT, "disabled_at": STRING})
        actual = {name: response.json[name] for name in changes}
        expect(actual == changes, str(changes), actual)


@checks.inferred("11")
async def rotated_secret(service: Service) -> None:
    """rotate-secret returns the endpoint with a new signing_secret."""
    async with temporary_endpoint(service) as endpoint:
        response = await service.request("POST", f"/webhooks/{endpoint['id']}/rotate-secret")
        expect_fields(response.json, {**ENDPOINT, "signing_secret": STRING})
        expect(response.json["signing_secret"] != endpoint.get("signing_secret"), "a new secret", "the old secret")


@checks.assumed("14.5")
async def delivery_of_test(service: Service) -> None:
    """A test returns the delivery of a generation.succeeded event."""
    async with temporary_endpoint(service) as endpoint:
        response = await service.request("POST", f"/webhooks/{endpoint['id']}/test")
        expect_fields(response.json, DELIVERY)
        expect(
            response.json["event_type"] == "generation.succeeded", "generation.succeeded", response.json["event_type"]
        )


@checks.assumed("14.5")
async def delivery_list(service: Service) -> None:
    """Deliveries of an endpoint are a list with the assumed fields."""
    async with temporary_endpoint(service) as endpoint:
        await service.request("POST", f"/webhooks/{endpoint['id']}/test")
        expect_list((await service.request("GET", f"/webhooks/{endpoint['id']}/deliveries")).json, DELIVERY)


@checks.assumed("14.3")
async def event_list(service: Service) -> None:
    """Events are a list of envelopes with the generation in data."""
    for event in expect_list((await service.request("GET", "/webhook-events")).json, EVENT):
        expect_fields(event["data"], {"id": STRING, "status": STRING, "model": STRING})


@checks.assumed("14.5")
async def deleted_endpoint(service: Service) -> None:
    """DELETE returns 200 with the revoked endpoint."""
    async with temporary_endpoint(service) as endpoint:
        response = await service.request("DELETE", f"/webhooks/{endpoint['id']}")
        expect(response.status == 200, "200", f"{response.status} {response.code}")
        expect_fields(response.json, {**ENDPOINT, "revoked_at": STRING})
        expect(response.json["status"] == "revoked", "revoked", response.json["status"])


@checks.assumed("14.5")
async def unknown_endpoint(service: Service) -> None:
    """An unknown endpoint returns 404 not_found."""
    expect_error(await service.request("GET", "/webhooks/whend_contractnone"), 404, "not_found")
