"""The sandbox's own document: valid OpenAPI 3.1, all routes and no other, and true of what is answered."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from rivya_async._core.sse import NEED_DATA, Decoder
from rivya_async.sandbox import FAIL_MARKER, Fault
from rivya_async.sandbox.api import ROUTES
from rivya_async.sandbox.openapi import OPERATIONS
from rivya_async.sandbox.responses import STATUS_BY_CODE
from tests.sandbox.sandbox_client import HttpReply, SandboxClient, running_sandbox

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)
ASK = {"model": "gpt-5-2-chat", "message": "Hello"}


async def served(client: SandboxClient) -> Any:
    return (await client.request("GET", "/api/v1/openapi.json", key="")).json


def holds(document: Any, schema: Mapping[str, Any], value: Any) -> None:
    """`value` is what the schema of this document says."""
    OAS31Validator({**schema, "components": document["components"]}).validate(value)


def answers(document: Any, method: str, path: str) -> Any:
    return document["paths"][path][method.lower()]["responses"]


def fits(document: Any, method: str, path: str, reply: HttpReply) -> None:
    """The answer is one that the document says of this operation: status, headers, schema."""
    told = answers(document, method, path)[str(reply.status)]
    assert {name for name, header in told.get("headers", {}).items() if header["required"]} <= set(reply.headers)
    holds(document, told["content"]["application/json"]["schema"], reply.json)


async def test_it_is_valid_openapi() -> None:
    async with running_sandbox() as client:
        document = await served(client)
        validate(document, cls=OpenAPIV31SpecValidator)
        assert document["openapi"].startswith("3.1")
        assert "reconstruction" in document["info"]["description"]
        assert "X-Rivya-Sandbox-Fault" in document["info"]["description"]
        assert document["servers"] == [{"url": client.sandbox.base_url}]


async def test_it_has_every_route_and_no_other() -> None:
    async with running_sandbox() as client:
        paths = (await served(client))["paths"]
        described = {f"{method.upper()} {path}" for path, item in paths.items() for method in item}
        assert described == {route.name for route in ROUTES} == set(OPERATIONS)
        identities = [operation["operationId"] for item in paths.values() for operation in item.values()]
        assert len(identities) == len(set(identities))
        for path, item in paths.items():
            for operation in item.values():
                named = {entry["name"] for entry in operation.get("parameters", []) if entry["in"] == "path"}
                assert named == set(re.findall(r"{(\w+)}", path))


async def test_every_operation_says_who_may_call_it_and_how_it_may_be_refused() -> None:
    async with running_sandbox() as client:
        paths = (await served(client))["paths"]
        for route in ROUTES:
            operation = paths[route.path][route.method.lower()]
            assert operation["security"] == ([] if route.scope is None else [{"apiKey": []}])
            assert {"500", "503"} <= set(operation["responses"])
            assert "default" not in operation["responses"]
            if route.scope is not None:
                assert route.scope in operation["description"]
                assert {"401", "403", "429"} <= set(operation["responses"])


async def test_every_code_has_an_operation_that_may_answer_it() -> None:
    async with running_sandbox() as client:
        told = json.dumps((await served(client))["paths"])
        assert {code for code in STATUS_BY_CODE if f'"{code}"' not in told} == {
            "method_not_allowed"
        }  # that is no operation


async def test_a_generation_is_what_the_document_says_in_every_status() -> None:
    async with running_sandbox() as client:
        document = await served(client)
        for prompt in ("A kite", f"A kite {FAIL_MARKER}"):
            ordered = await client.submit(prompt=prompt)
            fits(document, "POST", "/api/v1/generations", ordered)
            client.clock.now += 3600
            fits(document, "GET", "/api/v1/generations/{task_id}", await client.poll(ordered.json["id"]))
        schemas = document["components"]["schemas"]
        assert set(ordered.json) == set(schemas["Generation"]["required"])
        assert set(schemas["Generation"]["required"]) == set(schemas["Generation"]["properties"])


async def test_an_order_has_the_schema_of_its_model() -> None:
    async with running_sandbox() as client:
        document = await served(client)
        schema = document["paths"]["/api/v1/generations"]["post"]["requestBody"]["content"]["application/json"][
            "schema"
        ]
        holds(document, schema, {"model": "z-image", "prompt": "A red kite", "params": {"aspect_ratio": "16:9"}})
        holds(document, schema, {"model": "veo3-1-fast", "prompt": "A red kite"})
        wrongs: list[dict[str, Any]] = [
            {"params": {"aspect_ratio": "17:9"}},
            {"files": []},
            {"prompt": None},
            {"model": "gpt-5-2-chat"},
        ]
        for wrong in wrongs:
            body = {"model": "z-image", "prompt": "A red kite", **wrong}
            assert not OAS31Validator({**schema, "components": document["components"]}).is_valid(body), wrong


async def test_the_lists_and_the_balance_are_what_the_document_says() -> None:
    async with running_sandbox() as client:
        document = await served(client)
        await client.request("POST", "/api/v1/chat/completions", json=ASK)
        await client.submit()
        client.clock.now += 3600
        for path in ("models", "credits", "chat/sessions", "webhooks", "webhook-events"):
            reply = await client.request("GET", f"/api/v1/{path}")
            fits(document, "GET", f"/api/v1/{path}", reply)
        assert reply.json["data"][0]["type"] == "generation.succeeded"


async def test_a_life_of_a_webhook_is_what_the_document_says() -> None:
    async with running_sandbox() as client:
        document = await served(client)
        path, one = "/api/v1/webhooks", "/api/v1/webhooks/{endpoint_id}"
        body = {"name": "Prod", "url": "https://hooks.example.org/rivya", "event_types": ["generation.failed"]}
        made = await client.request("POST", path, json=body)
        fits(document, "POST", path, made)
        receiver = f"{path}/{made.json['id']}"
        fits(document, "PATCH", one, await client.request("PATCH", receiver, json={"status": "disabled"}))
        fits(document, "PATCH", one, await client.request("PATCH", receiver, json={}))
        fits(document, "POST", f"{one}/rotate-secret", await client.request("POST", f"{receiver}/rotate-secret"))
        fits(document, "POST", f"{one}/test", await client.request("POST", f"{receiver}/test"))
        fits(document, "GET", f"{one}/deliveries", await client.request("GET", f"{receiver}/deliveries"))
        fits(document, "DELETE", one, await client.request("DELETE", receiver))
        fits(document, "POST", f"{one}/test", await client.request("POST", f"{receiver}/test"))
        fits(document, "GET", one, await client.request("GET", receiver))
        fits(document, "GET", one, await client.request("GET", f"{path}/whend_none"))


async def test_an_upload_is_what_the_document_says_whole_and_in_part() -> None:
    async with running_sandbox() as client:
        document = await served(client)
        reply = await client.request("POST", "/api/v1/files", data={"file": io.BytesIO(PNG), "kind": "image"})
        fits(document, "POST", "/api/v1/files", reply)
        fits(
            document, "GET", "/api/v1/files/{file_id}", await client.request("GET", f"/api/v1/files/{reply.json['id']}")
        )
        told = answers(document, "GET", "/files/{name}")
        for asked, status in (({}, "200"), ({"Range": "bytes=0-3"}, "206"), ({"Range": "bytes=99-"}, "416")):
            async with client.http.get(reply.json["url"], headers=asked) as part:
                assert str(part.status) == status
                for name, header in told[status]["headers"].items():
                    holds(document, header["schema"], part.headers[name])


async def test_the_events_of_a_stream_are_what_the_document_says() -> None:
    async with running_sandbox(speed=1000) as client:
        document = await served(client)
        path = "/api/v1/chat/completions/stream"
        reply = await client.request("POST", path, json={**ASK, "include_thoughts": True})
        told = answers(document, "POST", path)["200"]["content"]["text/event-stream"]["schema"]["oneOf"]
        events = {each["properties"]["event"]["const"]: each["properties"]["data"]["contentSchema"] for each in told}
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        decoder = Decoder()
        decoder.feed(reply.raw)
        seen = set()
        while (event := decoder.next()) is not NEED_DATA:
            holds(document, events[event.name], json.loads(event.data))
            seen.add(event.name)
        assert seen == set(events)


async def test_refusals_are_what_the_document_says() -> None:
    async with running_sandbox(rate_limit=3) as client:
        document = await served(client)
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
            fits(document, "POST", order, reply)
        assert [reply.status for reply in replies] == [401, 401, 403, 401, 402, 400, 413, 429, 503]
