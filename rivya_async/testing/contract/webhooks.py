"""Webhooks. They cost nothing; every endpoint that a check makes is deleted again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from .check import LIST, MAYBE_NUMBER, MAYBE_TEXT, TEXT, WHOLE, Checks, expect, expect_list, expect_members
from .errors import expect_refusal, expect_success
from .service import CannotTell, Service

checks = Checks()

URL: Final = "https://example.com/rivya-contract"
TYPES: Final = ["generation.succeeded", "generation.failed"]
NAME: Final = "rivya_async contract check"

ENDPOINT: Final = {
    "id": TEXT,
    "object": TEXT,
    "name": TEXT,
    "url": TEXT,
    "event_types": LIST,
    "status": TEXT,
    "secret_preview": TEXT,
    "failure_count": WHOLE,
    "created_at": TEXT,
    "updated_at": TEXT,
    **dict.fromkeys(("last_success_at", "last_failure_at", "disabled_at", "revoked_at"), MAYBE_TEXT),
}
DELIVERY: Final = {
    "id": TEXT,
    "object": TEXT,
    "endpoint_id": TEXT,
    "event_id": TEXT,
    "event_type": TEXT,
    "status": TEXT,
    "attempt": WHOLE,
    "response_status": MAYBE_NUMBER,
    "error": MAYBE_TEXT,
    "created_at": TEXT,
    "delivered_at": MAYBE_TEXT,
}
EVENT: Final = {"id": TEXT, "type": TEXT, "api_version": TEXT, "created_at": TEXT, "data": (dict,)}


@asynccontextmanager
async def endpoint(service: Service) -> AsyncIterator[dict[str, Any]]:
    """An endpoint for one check."""
    reply = await service.ask("POST", "/webhooks", json={"name": NAME, "url": URL, "event_types": TYPES})
    expect_success(reply, "an endpoint")
    expect_members(reply.json, {"id": TEXT})
    try:
        yield reply.json
    finally:
        gone = await service.ask("DELETE", f"/webhooks/{reply.json['id']}")
        if gone.status >= 300 and gone.status != 404:
            raise CannotTell(f"webhook {reply.json['id']} was not deleted ({gone.status}): delete it by hand")


async def refused(service: Service, url: str) -> None:
    """AssertionError unless this URL is refused; one that is taken is deleted again."""
    reply = await service.ask("POST", "/webhooks", json={"name": NAME, "url": url, "event_types": TYPES})
    if reply.status < 300:
        await service.ask("DELETE", f"/webhooks/{reply.json.get('id')}")
    expect_refusal(reply, 400, "webhook_url_rejected")


@checks.documented("11")
async def plain_http(service: Service) -> None:
    """A URL with plain http is 400 webhook_url_rejected."""
    await refused(service, "http://example.com/rivya-contract")


@checks.documented("11")
async def loopback(service: Service) -> None:
    """A URL of loopback is 400 webhook_url_rejected."""
    await refused(service, "https://127.0.0.1/rivya-contract")


@checks.documented("11")
async def a_user(service: Service) -> None:
    """A URL with a user in it is 400 webhook_url_rejected."""
    await refused(service, "https://user@example.com/rivya-contract")


@checks.documented("11")
async def created(service: Service) -> None:
    """A new endpoint is active and tells its signing_secret."""
    async with endpoint(service) as made:
        expect_members(made, {**ENDPOINT, "signing_secret": TEXT})
        expect(made["status"] == "active", "active", made["status"])
        expect(made["signing_secret"].startswith("whsec_"), "a secret that begins with whsec_", "another one")
        expect(made["event_types"] == TYPES, ", ".join(TYPES), made["event_types"])


@checks.inferred("11")
async def preview(service: Service) -> None:
    """secret_preview is the first 8 characters of the secret, three dots and the last 6."""
    async with endpoint(service) as made:
        expect_members(made, {"secret_preview": TEXT, "signing_secret": TEXT})
        secret = made["signing_secret"]
        expect(
            made["secret_preview"] == f"{secret[:8]}...{secret[-6:]}", "8, three dots, 6", len(made["secret_preview"])
        )


@checks.assumed("14.5")
async def listed(service: Service) -> None:
    """The endpoints are a list, the newest first."""
    async with endpoint(service) as made:
        found = expect_list((await service.ask("GET", "/webhooks")).json, ENDPOINT)
        expect(found and found[0]["id"] == made["id"], "the new endpoint first", [each.get("id") for each in found][:3])


@checks.inferred("11")
async def read(service: Service) -> None:
    """An endpoint that is read does not tell its secret."""
    async with endpoint(service) as made:
        told = (await service.ask("GET", f"/webhooks/{made['id']}")).json
        expect_members(told, ENDPOINT)
        expect("signing_secret" not in told, "no signing_secret", sorted(told))


@checks.assumed("14.5")
async def updated(service: Service) -> None:
    """PATCH takes name and status, and answers the endpoint."""
    async with endpoint(service) as made:
        changes = {"name": f"{NAME}, disabled", "status": "disabled"}
        reply = await service.ask("PATCH", f"/webhooks/{made['id']}", json=changes)
        expect(reply.status == 200, "200", f"{reply.status} {reply.code}")
        expect_members(reply.json, {**ENDPOINT, "disabled_at": TEXT})
        came = {name: reply.json[name] for name in changes}
        expect(came == changes, str(changes), came)


@checks.inferred("11")
async def rotated(service: Service) -> None:
    """rotate-secret answers the endpoint with another signing_secret."""
    async with endpoint(service) as made:
        reply = await service.ask("POST", f"/webhooks/{made['id']}/rotate-secret")
        expect_members(reply.json, {**ENDPOINT, "signing_secret": TEXT})
        expect(reply.json["signing_secret"] != made.get("signing_secret"), "another secret", "the same one")


@checks.assumed("14.5")
async def tried(service: Service) -> None:
    """A test answers the delivery of an event generation.succeeded."""
    async with endpoint(service) as made:
        reply = await service.ask("POST", f"/webhooks/{made['id']}/test")
        expect_members(reply.json, DELIVERY)
        expect(reply.json["event_type"] == "generation.succeeded", "generation.succeeded", reply.json["event_type"])


@checks.assumed("14.5")
async def deliveries(service: Service) -> None:
    """The deliveries of an endpoint are a list with what we assume of each."""
    async with endpoint(service) as made:
        await service.ask("POST", f"/webhooks/{made['id']}/test")
        expect_list((await service.ask("GET", f"/webhooks/{made['id']}/deliveries")).json, DELIVERY)


@checks.assumed("14.3")
async def events(service: Service) -> None:
    """The events are a list of envelopes with the generation in data."""
    for event in expect_list((await service.ask("GET", "/webhook-events")).json, EVENT):
        expect_members(event["data"], {"id": TEXT, "status": TEXT, "model": TEXT})


@checks.assumed("14.5")
async def deleted(service: Service) -> None:
    """DELETE answers 200 with the endpoint, revoked."""
    async with endpoint(service) as made:
        reply = await service.ask("DELETE", f"/webhooks/{made['id']}")
        expect(reply.status == 200, "200", f"{reply.status} {reply.code}")
        expect_members(reply.json, {**ENDPOINT, "revoked_at": TEXT})
        expect(reply.json["status"] == "revoked", "revoked", reply.json["status"])


@checks.assumed("14.5")
async def unknown(service: Service) -> None:
    """An endpoint that does not exist is 404 not_found."""
    expect_refusal(await service.ask("GET", "/webhooks/whend_contractnone"), 404, "not_found")
