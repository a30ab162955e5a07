"""The operations of the service over real sockets, with a fake clock."""

from __future__ import annotations

import asyncio
import io
import socket
import struct
from typing import Any

import pytest

from rivya_async.sandbox import ALL_SCOPES, FAIL_MARKER
from tests.sandbox.sandbox_client import HttpReply, SandboxClient, running_sandbox, wait_until

DAY = 24 * 3600.0


async def submit_and_finish(client: SandboxClient, **body: Any) -> HttpReply:
    """Submits a task and returns its status after its end."""
    task_id = await client.submit_task(**body)
    client.clock.now += 3600
    return await client.poll(task_id)


# --- lifecycle --------------------------------------------------------------------------------------------------------


async def test_generation_lifecycle() -> None:
    async with running_sandbox() as client:
        first = await client.submit(client_request_id="order-123-preview")
        task = client.sandbox.service_state.tasks[first.json["id"]]
        assert first.json == {
            "id": task.id,
            "status": "queued",
            "model": "z-image",
            "reserved_credits": 1,
            "final_credits": 0,
            "created_at": "2026-05-11T08:00:00.000Z",
            "updated_at": "2026-05-11T08:00:00.000Z",
            "result": None,
            "error": None,
        }
        assert (await client.poll(task.id)).raw == first.raw
        client.clock.now = task.starts_at
        assert (await client.poll(task.id)).json["status"] == "processing"
        client.clock.now = task.ends_at
        done = (await client.poll(task.id)).json
        assert (done["status"], done["final_credits"], done["error"]) == ("succeeded", 1, None)
        assert done["result"]["urls"] == [done["result"]["primary_url"]]
        assert done["result"]["primary_url"] == f"{client.sandbox.base_url}/results/{task.id}/0.png"
        assert (await client.poll(task.id)).json == done


async def test_credits_are_charged_and_refunded() -> None:
    async with running_sandbox(credits=10) as client:
        await submit_and_finish(client)
        await client.submit(model="sora-2", prompt=f"A boat {FAIL_MARKER}")
        assert (await client.request("GET", "/api/v1/credits")).json == {"current_credits": 3}
        rejected = await client.submit(model="sora-2")
        assert (rejected.status, rejected.code) == (402, "insufficient_credits")
        client.clock.now += 3600
        assert (await client.request("GET", "/api/v1/credits")).json == {"current_credits": 9}
        assert client.sandbox.credits == 9
        assert client.sandbox.request_log.purchases == 2


async def test_fail_marker_fails_job() -> None:
    async with running_sandbox() as client:
        failed = (await submit_and_finish(client, prompt=f"A boat {FAIL_MARKER}")).json
        assert (failed["status"], failed["final_credits"], failed["result"]) == ("failed", 0, None)
        assert failed["error"]["code"] == "generation_failed"


# --- authorization ----------------------------------------------------------------------------------------------------


async def test_public_paths_need_no_key() -> None:
    async with running_sandbox() as client:
        for path in ("/api/v1/models", "/api/v1/openapi.json"):
            assert (await client.request("GET", path, key="")).status == 200
        for path in ("/api/v1/credits", "/api/v1/generations/task_a"):
            rejected = await client.request("GET", path, key="")
            assert (rejected.status, rejected.code) == (401, "api_key_missing")


async def test_rejects_unauthorized_keys() -> None:
    async with running_sandbox() as client:
        keys = {
            "rvya_sk_unknown": (401, "api_key_invalid"),
            client.sandbox.add_key(revoked=True): (401, "api_key_revoked"),
            client.sandbox.add_key(expired=True): (401, "api_key_expired"),
            client.sandbox.add_key(scopes=ALL_SCOPES - {"generations:create"}): (403, "api_scope_denied"),
        }
        for key, expected in keys.items():
            rejected = await client.submit(key=key)
            assert (rejected.status, rejected.code) == expected
        assert client.sandbox.request_log.purchases == 0


async def test_keys_share_account_and_accounts_are_isolated() -> None:
    async with running_sandbox(credits=5) as client:
        second, stranger = client.sandbox.add_key(), client.sandbox.add_key(credits=3)
        task_id = await client.submit_task()
        assert (await client.poll(task_id, key=second)).status == 200
        hidden, missing = await client.poll(task_id, key=stranger), await client.poll("task_missing", key=stranger)
        assert (hidden.status, hidden.code, missing.code) == (404, "not_found", "not_found")
        assert hidden.json["error"]["message"] == missing.json["error"]["message"]
        balances = [(await client.request("GET", "/api/v1/credits", key=key)).json for key in (second, stranger)]
        assert balances == [{"current_credits": 4}, {"current_credits": 3}]


async def test_rate_limit_applies_per_key() -> None:
    async with running_sandbox(rate_limit=2) as client:
        replies = [await client.request("GET", "/api/v1/credits") for _ in range(3)]
        assert [reply.status for reply in replies] == [200, 200, 429]
        assert (replies[2].code, replies[2].headers["Retry-After"]) == ("rate_limited", "60")
        assert (await client.request("GET", "/api/v1/credits", key=client.sandbox.add_key())).status == 200
        assert (await client.request("GET", "/api/v1/models")).status == 200
        client.clock.now += 60
        assert (await client.request("GET", "/api/v1/credits")).status == 200


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b"[]", b'"x"', b"null", b'{"seed": NaN}', b'{"prompt": "\\ud800"}', b"[" * 100_000],
)
async def test_rejects_body_without_json_object(raw: bytes) -> None:
    async with running_sandbox() as client:
        rejected = await client.request("POST", "/api/v1/generations", data=raw)
        assert (rejected.status, rejected.code) == (400, "validation_failed")


async def test_rejects_large_body() -> None:
    async with running_sandbox() as client:
        rejected = await client.request("POST", "/api/v1/generations", data=io.BytesIO(b"x" * (1024 * 1024 + 1)))
        assert (rejected.status, rejected.code) == (413, "body_too_large")


async def test_validation_error_names_problems_and_purchases_nothing() -> None:
    async with running_sandbox() as client:
        rejected = await client.submit(params={"aspect_ratio": "7:1"}, files=[])
        assert (rejected.status, rejected.code) == (400, "validation_failed")
        assert "aspect_ratio" in rejected.json["error"]["message"]
        assert "files" in rejected.json["error"]["message"]
        assert client.sandbox.request_log.purchases == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/api/v1/", 404, "not_found"),
        ("GET", "/api/v1/models/", 404, "not_found"),
        ("GET", "/api/v1/generations/a/b", 404, "not_found"),
        ("GET", "/api/v1/generations/a%2Fb", 404, "not_found"),
        ("GET", "/api/v1/generations", 405, "method_not_allowed"),
        ("DELETE", "/api/v1/generations/task_a", 405, "method_not_allowed"),
        ("POST", "/api/v1/models", 405, "method_not_allowed"),
    ],
)
async def test_rejects_unknown_paths_and_methods(method: str, path: str, status: int, code: str) -> None:
    async with running_sandbox() as client:
        rejected = await client.request(method, path)
        assert (rejected.status, rejected.code) == (status, code)
        assert ("Allow" in rejected.headers) is (status == 405)


async def test_exception_is_internal_error(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("rivya_async.sandbox.api.validate_generation", lambda *_: 1 / 0)
    async with running_sandbox() as client:
        rejected = await client.submit()
        assert (rejected.status, rejected.code) == (500, "internal_error")
        assert "ZeroDivisionError" in caplog.text


async def test_errors_have_unique_request_ids() -> None:
    async with running_sandbox() as client:
        replies = [await client.request("GET", "/nowhere") for _ in range(3)]
        assert len({reply.json["error"]["requestId"] for reply in replies}) == 3


async def test_incomplete_body_purchases_nothing() -> None:
    async with running_sandbox() as client:
        host, port = "127.0.0.1", int(client.sandbox.base_url.rpartition(":")[2])
        _, writer = await asyncio.open_connection(host, port)
        writer.write(
            b"POST /api/v1/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
            b"Authorization: Bearer " + client.sandbox.api_key.encode() + b"\r\n\r\n{"
        )
        await writer.drain()
        await wait_until(lambda: client.sandbox.request_log.in_flight == 1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        await wait_until(lambda: client.sandbox.request_log.in_flight == 0)
        assert client.sandbox.request_log.purchases == 0
        assert [request.status for request in client.sandbox.request_log] == [400]


# --- idempotency ------------------------------------------------------------------------------------------------------


async def test_replay_is_identical() -> None:
    async with running_sandbox() as client:
        first = await client.submit(idempotency_key="order-42", params={"aspect_ratio": "1:1", "x": {"a": 1, "b": 2}})
        client.clock.now += 3600
        body = '{"params":{"x":{"b":2,"a":1},"aspect_ratio":"1:1"},\n"prompt":"A lighthouse at dusk","model":"z-image"}'
        again = await client.request("POST", "/api/v1/generations", data=body, headers={"Idempotency-Key": "order-42"})
        assert (again.status, again.raw) == (200, first.raw)
        assert client.sandbox.credits == 999_999


async def test_other_body_under_key_is_conflict_for_a_day() -> None:
    async with running_sandbox() as client:
        await client.submit(idempotency_key="order-42")
        rejected = await client.submit(idempotency_key="order-42", prompt="Another")
        assert (rejected.status, rejected.code) == (409, "idempotency_conflict")
        client.clock.now += DAY
        assert (await client.submit(idempotency_key="order-42", prompt="Another")).status == 200


async def test_keys_are_scoped_to_account() -> None:
    async with running_sandbox() as client:
        ids = {
            (await client.submit(idempotency_key="order-42", key=key)).json["id"]
            for key in (client.sandbox.api_key, client.sandbox.add_key(), client.sandbox.add_key(credits=5))
        }
        assert len(ids) == 2


async def test_errors_are_not_stored() -> None:
    async with running_sandbox(credits=0) as client:
        assert (await client.submit(idempotency_key="order-42", prompt="")).code == "validation_failed"
        assert (await client.submit(idempotency_key="order-42")).code == "insufficient_credits"
        client.sandbox.service_state.accounts["main"].credits = 1
        assert (await client.submit(idempotency_key="order-42")).status == 200


@pytest.mark.parametrize(("length", "status"), [(0, 400), (1, 200), (255, 200), (256, 400)])
async def test_enforces_key_length(length: int, status: int) -> None:
    async with running_sandbox() as client:
        assert (await client.submit(idempotency_key="k" * length)).status == status


# --- models -----------------------------------------------------------------------------------------------------------


async def test_lists_models() -> None:
    async with running_sandbox() as client:
        listing = (await client.request("GET", "/api/v1/models", key="")).json
        assert listing["object"] == "list"
        assert {"id", "params", "base_credits", "api_status"} <= set(listing["data"][0])
        assert "_meta" not in listing
