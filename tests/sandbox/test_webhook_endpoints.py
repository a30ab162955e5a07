"""The webhook API: creating, listing, changing and revoking endpoints."""

from __future__ import annotations

from typing import Any, Final

import pytest

from rivya_async.sandbox.openapi import load_document
from tests.sandbox.sandbox_client import running_sandbox
from tests.sandbox.webhook_kit import (
    ALL_EVENT_TYPES,
    PATH,
    URL,
    create_endpoint,
    list_objects,
)


async def test_new_endpoint_has_documented_members() -> None:
    async with running_sandbox() as client:
        data = await create_endpoint(client)
        secret = data["signing_secret"]
        assert data["id"].startswith("whend_")
        assert secret.startswith("whsec_")
        assert data["secret_preview"] == f"{secret[:8]}...{secret[-6:]}"
        assert {**data, "id": "", "signing_secret": "", "secret_preview": ""} == {
            "id": "",
            "object": "webhook_endpoint",
            "name": "Prod",
            "url": URL,
            "event_types": ALL_EVENT_TYPES,
            "status": "active",
            "secret_preview": "",
            "signing_secret": "",
            "last_success_at": None,
            "last_failure_at": None,
            "failure_count": 0,
            "created_at": "2026-05-11T08:00:00.000Z",
            "updated_at": "2026-05-11T08:00:00.000Z",
            "disabled_at": None,
            "revoked_at": None,
        }
        assert set(data) == set(load_document()["components"]["schemas"]["WebhookEndpointWithSecret"]["required"])


async def test_secret_is_returned_once() -> None:
    async with running_sandbox() as client:
        data = await create_endpoint(client)
        secret = data.pop("signing_secret")
        assert (await client.request("GET", f"{PATH}/{data['id']}")).json == data
        assert await list_objects(client, PATH) == [data]
        renamed = await client.request("PATCH", f"{PATH}/{data['id']}", json={"name": "Other"})
        rotated = (await client.request("POST", f"{PATH}/{data['id']}/rotate-secret")).json
        assert rotated["signing_secret"] != secret
        assert secret.encode() not in renamed.raw
        assert rotated["secret_preview"] != data["secret_preview"]


async def test_lists_newest_first_up_to_limit() -> None:
    async with running_sandbox() as client:
        for number in range(25):
            await create_endpoint(client, name=f"{number}")
        assert [each["name"] for each in await list_objects(client, PATH)] == [
            f"{number}" for number in range(24, 4, -1)
        ]
        assert [each["name"] for each in await list_objects(client, PATH, limit=2)] == ["24", "23"]
        assert len(await list_objects(client, PATH, limit=100)) == 25
        for limit in ("0", "101", "x", "-1", ""):
            assert (await client.request("GET", PATH, params={"limit": limit})).code == "validation_failed"


async def test_patch_changes_fields() -> None:
    async with running_sandbox() as client:
        path = f"{PATH}/{(await create_endpoint(client))['id']}"
        client.clock.now += 60
        change = {
            "name": "New",
            "url": "https://8.8.8.8/",
            "event_types": ["generation.failed"] * 2,
            "status": "disabled",
        }
        data = (await client.request("PATCH", path, json=change)).json
        assert {name: data[name] for name in change} == {**change, "event_types": ["generation.failed"]}
        assert data["updated_at"] == data["disabled_at"] == "2026-05-11T08:01:00.000Z"
        data = (await client.request("PATCH", path, json={"status": "active"})).json
        assert (data["status"], data["disabled_at"], data["name"]) == ("active", None, "New")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, "validation_failed"),
        ({"secret": "mine"}, "validation_failed"),
        ({"name": ""}, "validation_failed"),
        ({"name": None}, "validation_failed"),
        ({"name": "a" * 129}, "validation_failed"),
        ({"url": None}, "validation_failed"),
        ({"url": 5}, "validation_failed"),
        ({"url": "http://hooks.example.org"}, "webhook_url_rejected"),
        ({"event_types": []}, "validation_failed"),
        ({"event_types": "generation.failed"}, "validation_failed"),
        ({"event_types": ["chat.completed"]}, "validation_failed"),
        ({"event_types": [{}]}, "validation_failed"),
        ({"status": "revoked"}, "validation_failed"),
        ({"status": []}, "validation_failed"),
    ],
)
async def test_rejects_invalid_changes(change: dict[str, Any], code: str) -> None:
    async with running_sandbox() as client:
        before = await create_endpoint(client)
        path = f"{PATH}/{before.pop('id')}"
        assert (await client.request("PATCH", path, json=change)).code == code
        assert (await client.request("GET", path)).json["name"] == "Prod"
        if change and "status" not in change and "secret" not in change:
            whole = {"name": "Prod", "url": URL, "event_types": ALL_EVENT_TYPES, **change}
            assert (await client.request("POST", PATH, json=whole)).code == code
            assert len(await list_objects(client, PATH)) == 1


@pytest.mark.parametrize("missing", ["name", "url", "event_types"])
async def test_rejects_missing_fields(missing: str) -> None:
    async with running_sandbox() as client:
        whole = {"name": "Prod", "url": URL, "event_types": ALL_EVENT_TYPES}
        del whole[missing]
        assert (await client.request("POST", PATH, json=whole)).code == "validation_failed"
        assert (await client.request("POST", PATH, data=b"{")).code == "validation_failed"


async def test_delete_revokes_endpoint() -> None:
    async with running_sandbox() as client:
        path = f"{PATH}/{(await create_endpoint(client))['id']}"
        data = (await client.request("DELETE", path)).json
        assert (data["status"], data["revoked_at"]) == ("revoked", "2026-05-11T08:00:00.000Z")
        client.clock.now += 60
        assert (await client.request("DELETE", path)).json == data == (await client.request("GET", path)).json
        for method, tail in (("PATCH", ""), ("POST", "/rotate-secret"), ("POST", "/test")):
            assert (
                await client.request(method, f"{path}{tail}", json={"status": "active"})
            ).code == "validation_failed"


OPERATIONS: Final = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("POST", "/rotate-secret"),
    ("POST", "/test"),
    ("GET", "/deliveries"),
]


@pytest.mark.parametrize(("method", "tail"), OPERATIONS)
async def test_endpoint_is_private_to_account(method: str, tail: str) -> None:
    async with running_sandbox() as client:
        path = f"{PATH}/{(await create_endpoint(client))['id']}{tail}"
        stranger = client.sandbox.add_key(credits=10)
        assert (await client.request(method, path, key=stranger, json={"name": "Mine"})).code == "not_found"
        assert (await client.request(method, f"{PATH}/whend_none{tail}", json={"name": "Mine"})).code == "not_found"
        assert (await client.request("GET", PATH, key=stranger)).json["data"] == []


async def test_webhook_operations_need_scope() -> None:
    async with running_sandbox() as client:
        key = client.sandbox.add_key(scopes={"generations:create", "generations:read"})
        for method, path in [
            ("GET", PATH),
            ("POST", PATH),
            ("GET", "/api/v1/webhook-events"),
            *((method, f"{PATH}/whend_1{tail}") for method, tail in OPERATIONS),
        ]:
            assert (await client.request(method, path, key=key)).code == "api_scope_denied"


async def test_rejects_local_urls_by_default() -> None:
    local = {"name": "Dev", "url": "http://127.0.0.1:1/", "event_types": ALL_EVENT_TYPES}
    async with running_sandbox() as client:
        assert (await client.request("POST", PATH, json=local)).code == "webhook_url_rejected"
    async with running_sandbox(allow_local_webhooks=True) as client:
        assert (await client.request("POST", PATH, json=local)).status == 200
