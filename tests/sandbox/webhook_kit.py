"""A webhook receiver, and a sandbox that delivers to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import attrs
from aiohttp import web

from rivya_async._core.webhooks.records import WebhookEvent
from rivya_async._core.webhooks.signatures import Verifier
from rivya_async.sandbox import Sandbox
from tests.sandbox.sandbox_client import FakeClock, SandboxClient

PATH: Final = "/api/v1/webhooks"
URL: Final = "https://hooks.example.org/rivya"
ALL_EVENT_TYPES: Final = ["generation.succeeded", "generation.failed"]
FAST: Final = 100_000.0


async def create_endpoint(client: SandboxClient, **body: Any) -> dict[str, Any]:
    reply = await client.request(
        "POST", PATH, json={"name": "Prod", "url": URL, "event_types": ALL_EVENT_TYPES, **body}
    )
    assert reply.status == 200, reply.raw
    data: dict[str, Any] = reply.json
    return data


async def list_objects(client: SandboxClient, path: str, **query: Any) -> list[dict[str, Any]]:
    reply = await client.request("GET", path, params=query)
    assert reply.json["object"] == "list"
    data: list[dict[str, Any]] = reply.json["data"]
    return data


@attrs.frozen
class ReceivedWebhook:
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    def verify(self, endpoint: dict[str, Any]) -> WebhookEvent:
        now = time.time()  # noqa: TID251  the sandbox signs by real time
        return Verifier(endpoint["signing_secret"]).verify(self.body, self.headers, now=now)


@attrs.define
class WebhookReceiver:
    url: str = ""
    statuses: list[int] = attrs.field(factory=list)
    """Statuses of the first responses; the others are 204."""
    requests: list[ReceivedWebhook] = attrs.field(factory=list)
    delay: float = 0.0

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(ReceivedWebhook(request.headers.copy(), await request.read()))
        await asyncio.sleep(self.delay)
        status = self.statuses.pop(0) if self.statuses else 204
        return web.Response(status=status, headers={"Location": self.url} if 300 <= status < 400 else {})


@asynccontextmanager
async def run_receiver() -> AsyncIterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    runner = web.ServerRunner(web.Server(receiver.serve, access_log=None), shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield receiver
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running_webhooks() -> AsyncIterator[tuple[SandboxClient, WebhookReceiver, dict[str, Any]]]:
    """Runs a sandbox in real time and a receiver; yields both with the endpoint of the receiver."""
    async with (
        run_receiver() as receiver,
        Sandbox(speed=FAST, allow_local_webhooks=True) as sandbox,
        aiohttp.ClientSession(sandbox.base_url, timeout=aiohttp.ClientTimeout(10)) as http,
    ):
        client = SandboxClient(sandbox, FakeClock(), http)
        yield client, receiver, await create_endpoint(client, url=receiver.url)


async def wait_for_deliveries(client: SandboxClient, endpoint: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Waits for this number of ended deliveries and returns all, the newest first."""
    async with asyncio.timeout(10):
        while True:
            found = await list_objects(client, f"{PATH}/{endpoint['id']}/deliveries", limit=100)
            if sum(each["status"] != "pending" for each in found) >= count:
                return found
            await asyncio.sleep(0.005)
