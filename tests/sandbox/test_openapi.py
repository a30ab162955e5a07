"""The sandbox's OpenAPI document is valid, lists exactly the routes, and describes the responses that are sent."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from typing import Any

from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from rivya_async._core.http.sse import NEED_DATA, Decoder
from rivya_async.sandbox import FAIL_MARKER, Fault, catalogue, idempotency, request_context
from rivya_async.sandbox.api import ROUTES
from rivya_async.sandbox.responses import STATUS_BY_CODE
from rivya_async.sandbox.validation import CLIENT_REQUEST_ID_MAX_LENGTH
from rivya_async.sandbox.webhooks import endpoints
from tests.sandbox.sandbox_client import HttpReply, SandboxClient, running_sandbox

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)
CHAT_REQUEST = {"model": "gpt-5-2-chat", "message": "Hello"}


async def fetch_document(client: SandboxClient) -> Any:
    return (await client.request("GET", "/api/v1/openapi.json", key="")).json


def resolve(document: Any, value: Any) -> Any:
    """Follows a `$ref` to a shared parameter or response."""
    return reduce(getitem, value["$ref"].split("/")[1:], document) if "$ref" in value else value


def validate_value(document: Any, schema: Mapping[str, Any], value: Any) -> None:
    OAS31Validator({**schema, "components": document["components"]}).validate(value)


def responses(document: Any, method: str, path: str) -> dict[str, Any]:
    found = document["paths"][path][method.lower()]["responses"]
    return {status: resolve(document, response) for status, response in found.items()}


def validate_reply(document: Any, method: str, path: str, reply: HttpReply) -> None:
    """Checks status, headers and body of a response against the document."""
    response = responses(document, method, path)[str(reply.status)]
    assert {name for name, header in response.get("headers", {}).items() if header["required"]} <= set(reply.headers)
    validate_value(document, response["content"]["application/json"]["schema"], reply.json)


async def test_document_is_valid() -> None:
    async with running_sandbox() as client:
        document = await fetch_document(client)
        validate(document, cls=OpenAPIV31SpecValidator)
        assert document["openapi"].startswith("3.1")
        assert "reconstruction" in document["info"]["description"]
        assert "X-Rivya-Sandbox-Fault" in document["info"]["description"]
        assert document["servers"] == [{"url": client.sandbox.base_url}]


async def test_document_lists_exactly_the_routes() -> None:
    async with running_sandbox() as client:
        document = await fetch_document(client)
        paths = document["paths"]
        described = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
        assert described == {route.name for route in ROUTES}
        identities = [operation["operationId"] for item in paths.values() for operation in item.values()]
        assert len(identities) == len(set(identities))
        for path, item in paths.items():
            for operation in item.values():
                parameters = [resolve(document, entry) for entry in operation.get("parameters", [])]
                named = {entry["name"] for entry in parameters if entry["in"] == "path"}
                assert named == set(re.findall(r"{(\w+)}", path))


async def test_shared_components_are_used() -> None:
    async with running_sandbox() as client:
        document = await fetch_document(client)
        text = json.dumps(document)
        for kind in ("parameters", "responses", "schemas"):
            for name in document["components"][kind]:
                assert f'"#/components/{kind}/{name}"' in text, name


async def test_document_limits_match_code() -> None:
    async with running_sandbox() as client:
        components = (await fetch_document(client))["components"]
    parameters, schemas = components["parameters"], components["schemas"]
    assert parameters["IdempotencyKey"]["schema"]["maxLength"] == idempotency.MAX_KEY_LENGTH
    assert parameters["Limit"]["schema"]["default"] == request_context.DEFAULT_LIMIT
    assert parameters["Limit"]["schema"]["maximum"] == request_context.MAX_LIMIT
    webhook = schemas["WebhookRequest"]["properties"]
    assert webhook["name"]["maxLength"] == endpoints.NAME_MAX_LENGTH
    assert webhook["url"]["maxLength"] == endpoints.URL_MAX_LENGTH
    assert webhook["event_types"]["items"]["enum"] == list(endpoints.EVENT_TYPES)
    assert [each["required"] for each in schemas["WebhookChanges"]["anyOf"]] == [[name] for name in endpoints.FIELDS]
    chat = schemas["ChatRequest"]["properties"]
    assert chat["reasoning_effort"]["anyOf"][0]["enum"] == list(catalogue.REASONING_EFFORTS)
    for trace_id in (chat["client_request_id"]["anyOf"][0], schemas["FileUpload"]["properties"]["client_request_id"]):
        assert trace_id["maxLength"] == CLIENT_REQUEST_ID_MAX_LENGTH


async def test_every_error_code_has_its_own_status() -> None:
    async with running_sandbox() as client:
        document = await fetch_document(client)
        for route in ROUTES:
            for status, response in responses(document, route.method, route.path).items():
                if status[0] in "45" and "content" in response:
                    named = response["content"]["application/json"]["schema"]["allOf"][1]
                    codes = named["properties"]["error"]["properties"]["code"]["enum"]
                    assert {STATUS_BY_CODE[code] for code in codes} == {int(status)}


async def test_every_operation_has_security_and_errors() -> None:
    async with running_sandbox() as client:
        paths = (await fetch_document(client))["paths"]
        for route in ROUTES:
            operation = paths[route.path][route.method.lower()]
            assert operation["security"] == ([] if route.scope is None else [{"apiKey": []}])
            assert {"500", "503"} <= set(operation["responses"])
            assert "default" not in operation["responses"]
            if route.scope is not None:
                assert route.scope in operation["description"]
                assert {"401", "403", "429"} <= set(operation["responses"])


async def test_every_error_code_has_an_operation() -> None:
    async with running_sandbox() as client:
        document = await fetch_document(client)
        text = json.dumps([responses(document, route.method, route.path) for route in ROUTES])
        assert {code for code in STATUS_BY_CODE if f'"{code}"' not in text} == {
            "method_not_allowed"
        }  # no operation has it


async def test_generation_responses_match_document() -> None:
    async with running_sandbox() as client:
        document = await fetch_document(client)
        for prompt in ("A kite", f"A kite {FAIL_MARKER}"):
            created = await client.submit(prompt=prompt)
            validate_reply(document, "POST", "/api/v1/generations", created)
            client.clock.now += 3600
            validate_reply(document, "GET", "/api/v1/generations/{task_id}", await client.poll(created.json["id"]))
        schemas = document["components"]["schemas"]
        assert set(created.json) == set(schemas["Generation"]["required"])
        assert set(schemas["Generation"]["required"]) == set(schemas["Generation"]["properties"])


async def test_generation_request_has_schema_of_its_model() -> None:
    async with running_sandbox() as client:
        document = await fetch_document(client)
        schema = document["paths"]["/api/v1/generations"]["post"]["requestBody"]["content"]["application/json"][
            "schema"
        ]
        validate_value(
            document, schema, {"model": "z-image", "prompt": "A red kite", "params": {"aspect_ratio": "16:9"}}
        )
        validate_value(document, schema, {"model": "veo3-1-fast", "prompt": "A red kite"})
        invalid_changes: list[dict[str, Any]] = [
            {"params": {"aspect_ratio": "17:9"}},
            {"files": []},
            {"prompt": None},
            {"model": "gpt-5-2-chat"},
        ]
        for change in invalid_changes:
            body = {"model": "z-image", "prompt": "A red kite", **change}
            assert not OAS31Validator({**schema, "components": document["components"]}).is_valid(body), change


async def test_list_and_balance_responses_match_document() -> None:
    async with running_sandbox() as client:
        document = await fetch_document(client)
        await client.request("POST", "/api/v1/chat/completions", json=CHAT_REQUEST)
        await client.submit()
        client.clock.now += 3600
        for path in ("models", "credits", "chat/sessions", "webhooks", "webhook-events"):
            reply = await client.request("GET", f"/api/v1/{path}")
            validate_reply(document, "GET", f"/api/v1/{path}", reply)
        assert reply.json["data"][0]["type"] == "generation.succeeded"


async def test_webhook_responses_match_document() -> None:
    async with running_sandbox() as client:
        document = await fetch_document(client)
        path, endpoint_path = "/api/v1/webhooks", "/api/v1/webhooks/{endpoint_id}"
        body = {"name": "Prod", "url": "https://hooks.example.org/rivya", "event_types": ["generation.failed"]}
        created = await client.request("POST", path, json=body)
        validate_reply(document, "POST", path, created)
        location = f"{path}/{created.json['id']}"
        validate_reply(
            document, "PATCH", endpoint_path, await client.request("PATCH", location, json={"status": "disabled"})
        )
        validate_reply(document, "PATCH", endpoint_path, await client.request("PATCH", location, json={}))
        validate_reply(
            document,
            "POST",
            f"{endpoint_path}/rotate-secret",
            await client.request("POST", f"{location}/rotate-secret"),
        )
        validate_reply(document, "POST", f"{endpoint_path}/test", await client.request("POST", f"{location}/test"))
        validate_reply(
            document, "GET", f"{endpoint_path}/deliveries", await client.request("GET", f"{location}/deliveries")
        )
        validate_reply(document, "DELETE", endpoint_path, await client.request("DELETE", location))
        validate_reply(document, "POST", f"{endpoint_path}/test", await client.request("POST", f"{location}/test"))
        validate_reply(document, "GET", endpoint_path, await client.request("GET", location))
        validate_reply(document, "GET", endpoint_path, await client.request("GET", f"{path}/whend_none"))


async def test_upload_and_file_responses_match_document() -> None:
    async with running_sandbox() as client:
        document = await fetch_document(client)
        reply = await client.request("POST", "/api/v1/files", data={"file": io.BytesIO(PNG), "kind": "image"})
        validate_reply(document, "POST", "/api/v1/files", reply)
        validate_reply(
            document, "GET", "/api/v1/files/{file_id}", await client.request("GET", f"/api/v1/files/{reply.json['id']}")
        )
        described = responses(document, "GET", "/files/{name}")
        for asked, status in (({}, "200"), ({"Range": "bytes=0-3"}, "206"), ({"Range": "bytes=99-"}, "416")):
            async with client.http.get(reply.json["url"], headers=asked) as part:
                assert str(part.status) == status
                for name, header in described[status]["headers"].items():
                    validate_value(document, header["schema"], part.headers[name])


async def test_stream_events_match_document() -> None:
    async with running_sandbox(speed=1000) as client:
        document = await fetch_document(client)
        path = "/api/v1/chat/completions/stream"
        reply = await client.request("POST", path, json={**CHAT_REQUEST, "include_thoughts": True})
        schemas = responses(document, "POST", path)["200"]["content"]["text/event-stream"]["schema"]["oneOf"]
        events = {each["properties"]["event"]["const"]: each["properties"]["data"]["contentSchema"] for each in schemas}
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        decoder = Decoder()
        decoder.feed(reply.raw)
        seen = set()
        while (event := decoder.next_event()) is not NEED_DATA:
            validate_value(document, events[event.name], json.loads(event.data))
            seen.add(event.name)
        assert seen == set(events)


async def test_error_responses_match_document() -> None:
    async with running_sandbox(rate_limit=3) as client:
        document = await fetch_document(client)
        order = "/api/v1/generations"
        poor = client.sandbox.add_key(credits=0)
        replies = [
            await client.submit(key=""),
            await client.submit(key="rvya_sk_unknown"),
            await client.submit(key=client.sandbox.add_key(scopes=frozenset({"credits:read"}))),
            await client.submit(key=client.sandbox.add_key(revoked=True)),
            await client.submit(key=poor),
            await client.submit(key=poor, files=[]),
            await client.request("POST", order, key=poor, data=io.BytesIO(bytes(1_100_000))),
            await client.submit(key=poor),
        ]
        client.sandbox.faults.add(Fault(route=f"POST {order}", status=503, code="public_api_disabled"))
        replies.append(await client.submit())
        for reply in replies:
            validate_reply(document, "POST", order, reply)
        assert [reply.status for reply in replies] == [401, 401, 403, 401, 402, 400, 413, 429, 503]
