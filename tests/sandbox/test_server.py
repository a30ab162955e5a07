"""The server: start, close, addresses, accounts and keys."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket

import aiohttp
import pytest

from rivya_async.sandbox import Sandbox
from tests.sandbox.sandbox_client import SUBMIT, running_sandbox, upload_media
from tests.sandbox.webhook_kit import create_endpoint, list_objects

CHAT = "/api/v1/chat/completions"


async def test_default_key_follows_seed() -> None:
    assert Sandbox(seed=1).api_key == Sandbox(seed=1).api_key != Sandbox(seed=2).api_key
    assert re.fullmatch(r"rvya_sk_[\w-]{32}", Sandbox().api_key)
    async with running_sandbox(api_key="rvya_sk_mine") as client:
        assert (await client.request("GET", "/api/v1/credits", key="rvya_sk_mine")).status == 200


async def test_closes_at_once_with_open_connections() -> None:
    before = asyncio.all_tasks()
    async with running_sandbox() as client:
        await asyncio.gather(*(client.request("GET", "/api/v1/models") for _ in range(20)))
        started = asyncio.get_running_loop().time()
        await client.sandbox.aclose()
        assert asyncio.get_running_loop().time() - started < 0.5
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.request("GET", "/api/v1/models")
        await client.sandbox.aclose()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("iterations", range(6))
async def test_connection_accepted_while_closing_is_closed(iterations: int) -> None:
    async with Sandbox() as sandbox:
        client = socket.create_connection(("127.0.0.1", int(sandbox.base_url.rpartition(":")[2])))
        client.setblocking(False)
        for _ in range(iterations):
            await asyncio.sleep(0)
    with client, contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().sock_recv(client, 1) == b""


async def test_connection_with_unread_responses_is_closed() -> None:
    async with Sandbox() as sandbox:
        server = sandbox._server
        assert server is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.base_url.rpartition(":")[2]), limit=1)
        writer.write(b"GET /api/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
        while not server.connections:  # noqa: ASYNC110 - the server has no such event
            await asyncio.sleep(0)
        transport = server.connections[0].transport
        assert transport is not None
        while not transport.get_write_buffer_size():  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert transport.get_extra_info("socket").fileno() == -1
    writer.transport.abort()
    await asyncio.sleep(0)
    assert reader is not None


async def test_restart_keeps_port_and_state() -> None:
    async with running_sandbox() as client:
        task_id, address = await client.submit_task(), client.sandbox.base_url
        await client.sandbox.aclose()
        await client.sandbox.start()
        assert client.sandbox.base_url == address
        assert (await client.poll(task_id)).status == 200


async def test_failed_start_leaves_sandbox_usable() -> None:
    async with Sandbox() as first:
        with pytest.raises(RuntimeError, match="running already"):
            await first.start()
        port = int(first.base_url.rpartition(":")[2])
        second = Sandbox(port=port)
        assert second.base_url == first.base_url
        with pytest.raises(RuntimeError, match="has not been started"):
            _ = Sandbox().base_url
        with pytest.raises(OSError, match=r"(?i)address already in use"):
            await second.start()
    async with second:
        assert second.base_url == first.base_url


async def test_ipv6_base_url_has_brackets() -> None:
    try:
        async with Sandbox(host="::1") as sandbox:
            assert sandbox.base_url.startswith("http://[::1]:")
    except OSError:
        pytest.skip("this machine has no IPv6")


async def test_sends_100_continue() -> None:
    async with running_sandbox() as client:
        headers = {"Authorization": f"Bearer {client.sandbox.api_key}"}
        body = {"model": "z-image", "prompt": "x"}
        async with client.http.post("/api/v1/generations", json=body, headers=headers, expect100=True) as response:
            assert response.status == 200


async def test_handles_thousand_concurrent_jobs() -> None:
    async with running_sandbox(speed=1_000_000) as client:
        replies = await asyncio.gather(*(client.submit(idempotency_key=f"order-{n}") for n in range(1000)))
        client.clock.now += 1
        polls = await asyncio.gather(*(client.poll(reply.json["id"]) for reply in replies))
        assert {look.json["status"] for look in polls} == {"succeeded"}
        assert client.sandbox.credits == 999_000
        assert set(client.sandbox.request_log.purchases_by_key.values()) == {1}
        assert client.sandbox.request_log.count(SUBMIT) == 1000


async def test_accounts_are_isolated() -> None:
    async with running_sandbox(credits=50, rate_limit=20, rate_window=1e9, speed=1e5) as client:
        sandbox = client.sandbox
        theirs = sandbox.add_key("team-b", credits=5)
        task_id = await client.submit_task()
        file = await upload_media(client, "kite.png", "image")
        hook = await create_endpoint(client)
        await client.request("POST", CHAT, json={"model": "gpt-5-2-chat", "message": "Hello"})
        (session,) = await list_objects(client, "/api/v1/chat/sessions")
        for path in (
            f"/api/v1/generations/{task_id}",
            f"/api/v1/files/{file['id']}",
            f"/api/v1/chat/sessions/{session['id']}",
            f"/api/v1/webhooks/{hook['id']}",
            f"/api/v1/webhooks/{hook['id']}/deliveries",
        ):
            assert (await client.request("GET", path)).status == 200
            assert (await client.request("GET", path, key=theirs)).code == "not_found"
        for path in ("/api/v1/chat/sessions", "/api/v1/webhooks", "/api/v1/webhook-events"):
            assert (await client.request("GET", path, key=theirs)).json["data"] == []
        first = await client.submit(idempotency_key="order-42")
        other = await client.submit(idempotency_key="order-42", key=theirs, prompt="Another")
        assert other.status == 200
        assert other.json["id"] != first.json["id"]
        assert (sandbox.credits_of(theirs), sandbox.credits_of(sandbox.add_key("team-b"))) == (4, 4)
        while (await client.request("GET", "/api/v1/credits")).status == 200:
            pass
        assert (await client.request("GET", "/api/v1/credits")).code == "rate_limited"
        assert (await client.request("GET", "/api/v1/credits", key=theirs)).json == {"current_credits": 4}


async def test_key_can_be_revoked_and_expired() -> None:
    async with running_sandbox() as client:
        sandbox = client.sandbox
        old, late = sandbox.add_key(), sandbox.add_key("team-b")
        assert len({old, late, sandbox.api_key, sandbox.add_key()}) == 4
        assert (await client.request("GET", "/api/v1/credits", key=old)).status == 200
        sandbox.revoke_key(old)
        sandbox.expire_key(late)
        assert (await client.request("GET", "/api/v1/credits", key=old)).code == "api_key_revoked"
        assert (await client.request("GET", "/api/v1/credits", key=late)).code == "api_key_expired"
        assert sandbox.credits_of(late) == 1_000_000
        for ask in (sandbox.revoke_key, sandbox.expire_key, sandbox.credits_of):
            with pytest.raises(ValueError, match="no API key of the sandbox"):
                ask("rvya_sk_other")
        with pytest.raises(ValueError, match="there is no scope 'credit:read'; the scopes are chat:create"):
            sandbox.add_key(scopes={"credit:read"})
