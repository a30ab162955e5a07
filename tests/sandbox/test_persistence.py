"""The state over restarts: everything that was answered survives a kill."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from rivya_async.sandbox import FAIL_MARKER, Sandbox
from rivya_async.sandbox.idempotency import RETENTION, StoredResponse
from tests.media_kit import media
from tests.sandbox.sandbox_client import FakeClock, SandboxClient, limited_file_size, upload_media
from tests.sandbox.webhook_kit import create_endpoint, list_objects, run_receiver, wait_for_deliveries

CHAT: Final = "/api/v1/chat/completions"


# --- restarts ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_sandbox(state: Path, clock: FakeClock, **options: Any) -> AsyncIterator[SandboxClient]:
    """Runs a sandbox with this state and clock."""
    async with (
        Sandbox(state=state, clock=clock, **options) as sandbox,
        aiohttp.ClientSession(sandbox.base_url, timeout=aiohttp.ClientTimeout(10)) as http,
    ):
        yield SandboxClient(sandbox, clock, http)


async def test_job_continues_after_restart(tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_sandbox(tmp_path / "s.db", clock, speed=1.0, credits=100) as client:
        first = await client.submit(idempotency_key="order-42")
        task_id, secret = first.json["id"], client.sandbox.api_key
        key = client.sandbox.add_key()
    async with open_sandbox(tmp_path / "s.db", clock, speed=1.0) as client:
        assert (client.sandbox.api_key, client.sandbox.add_key(), client.sandbox.credits) == (secret, key, 99)
        assert (await client.poll(task_id)).json["status"] == "queued"
        again = await client.submit(idempotency_key="order-42")
        assert again.raw == first.raw
        assert (await client.submit(idempotency_key="order-42", prompt="Other")).code == "idempotency_conflict"
        assert client.sandbox.request_log.purchases == 0
        assert await client.submit_task() != task_id
        clock.now += 3600
        ended_job = (await client.poll(task_id)).json
        assert ended_job["status"] == "succeeded"
        assert ended_job["result"]["primary_url"].startswith(client.sandbox.base_url)
        assert (client.sandbox.credits, len(client.sandbox.service_state.tasks)) == (98, 2)


async def test_failed_job_is_refunded_once(tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_sandbox(tmp_path / "s.db", clock, credits=10) as client:
        await client.submit_task(prompt=FAIL_MARKER)
        clock.now += 3600
        await client.submit_task(prompt=FAIL_MARKER)
        assert client.sandbox.credits == 9
    for stored_files, later in ((9, 0), (10, 3600), (10, 0)):
        clock.now += later
        async with open_sandbox(tmp_path / "s.db", clock) as client:
            assert client.sandbox.credits == stored_files


async def test_stored_response_expires_after_a_day(tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_sandbox(tmp_path / "s.db", clock) as client:
        first = await client.submit(idempotency_key="order-42")
    clock.now += RETENTION + 1
    async with open_sandbox(tmp_path / "s.db", clock) as client:
        assert (await client.submit(idempotency_key="order-42")).json["id"] != first.json["id"]
        assert len(list(client.sandbox._store.load(StoredResponse))) == 1


async def test_uploaded_files_survive_restart(tmp_path: Path) -> None:
    clock = FakeClock()
    async with open_sandbox(tmp_path / "s.db", clock) as client:
        image, sound = await upload_media(client, "kite.png", "image"), await upload_media(client, "kite.wav", "audio")
        assert (await client.request("POST", "/api/v1/files", data={"kind": "image"})).status == 400
    (tmp_path / "s.db-files" / "upload-half").write_bytes(b"an upload that was cut")
    async with open_sandbox(tmp_path / "s.db", clock) as client:
        assert len(list((tmp_path / "s.db-files").iterdir())) == 2
        for data, name in ((image, "png"), (sound, "wav")):
            now = (await client.request("GET", f"/api/v1/files/{data['id']}")).json
            assert {**now, "url": ""} == {**data, "url": ""}
            assert (await client.request("GET", now["url"].removeprefix(client.sandbox.base_url))).raw == media(name)
        item = {"kind": "image", "name": "kite.png", "mimeType": "image/png"}
        for url, status in ((now["url"], 400), ("http://127.0.0.1:1/files/x.png", 400)):
            params = {"referenceMediaItems": [{**item, "url": url}]}
            assert (await client.submit(model="nano-banana-2", params=params)).status == status
        now = (await client.request("GET", f"/api/v1/files/{image['id']}")).json
        params = {"referenceMediaItems": [{**item, "url": now["url"]}]}
        assert (await client.submit(model="nano-banana-2", params=params)).status == 200
        assert (await upload_media(client, "kite.png", "image"))["id"] != image["id"]


async def test_upload_to_full_disk_is_internal_error(tmp_path: Path) -> None:
    async with open_sandbox(tmp_path / "s.db", FakeClock()) as client:
        form = aiohttp.FormData({"kind": "image"})
        form.add_field("file", media("png"), filename="kite.png")
        with limited_file_size(100):
            reply = await client.request("POST", "/api/v1/files", data=form)
        assert (reply.status, reply.code) == (500, "internal_error")
        assert list((tmp_path / "s.db-files").iterdir()) == []
        assert await upload_media(client, "kite.png", "image")


def test_keeps_other_files_in_folder(tmp_path: Path) -> None:
    (tmp_path / "photos-files" / "2026").mkdir(parents=True)
    (tmp_path / "photos-files" / "kite.jpg").write_bytes(b"of somebody else")
    for _ in range(2):
        sandbox = Sandbox(state=tmp_path / "photos")
        sandbox.service_state.store.close()
    assert {path.name for path in (tmp_path / "photos-files").iterdir()} == {"2026", "kite.jpg"}


@pytest.mark.parametrize("path", [CHAT, f"{CHAT}/stream"])
async def test_chat_session_continues_after_restart(tmp_path: Path, path: str) -> None:
    clock, body = FakeClock(), {"model": "gpt-5-2-chat", "message": "Three names for a kite shop"}
    headers = {"Idempotency-Key": "turn-1"}
    async with open_sandbox(tmp_path / "s.db", clock, speed=1e5, credits=100) as client:
        first = await client.request("POST", path, json=body, headers=headers)
        assert first.status == 200
        (session,) = await list_objects(client, "/api/v1/chat/sessions")
        whole = (await client.request("GET", f"/api/v1/chat/sessions/{session['id']}")).json
        stored_files = client.sandbox.credits
    async with open_sandbox(tmp_path / "s.db", clock, speed=1e5) as client:
        assert client.sandbox.credits == stored_files < 100
        assert (await client.request("GET", f"/api/v1/chat/sessions/{session['id']}")).json == whole
        assert [message["role"] for message in whole["messages"]] == ["user", "assistant"]
        assert (await client.request("POST", path, json=body, headers=headers)).raw == first.raw
        assert client.sandbox.request_log.purchases == 0
        assert (await client.request("POST", path, json={**body, "session_id": session["id"]})).status == 200
        assert len((await client.request("GET", f"/api/v1/chat/sessions/{session['id']}")).json["messages"]) == 4


async def test_interrupted_turn_is_not_charged(tmp_path: Path) -> None:
    """A kill before the reply charges nothing and releases the key."""
    clock, body = FakeClock(), {"model": "gpt-5-2-chat", "message": "Hello"}
    async with open_sandbox(tmp_path / "s.db", clock, speed=0.01, credits=100) as client:
        thinking = asyncio.create_task(client.request("POST", CHAT, json=body, headers={"Idempotency-Key": "turn-1"}))
        async with asyncio.timeout(5):
            while not client.sandbox.request_log.purchases:  # noqa: ASYNC110  the server keeps counts, not events
                await asyncio.sleep(0.001)
        assert client.sandbox.credits < 100
        await client.submit_task()  # writes the account while the turn reserves credits of it
    assert (await asyncio.gather(thinking, return_exceptions=True))[0].__class__ is not None
    async with open_sandbox(tmp_path / "s.db", clock, speed=1e5) as client:
        assert client.sandbox.credits == 99
        assert await list_objects(client, "/api/v1/chat/sessions") == []
        assert (await client.request("POST", CHAT, json=body, headers={"Idempotency-Key": "turn-1"})).status == 200


async def test_webhooks_continue_without_duplicates(tmp_path: Path) -> None:
    clock = FakeClock()
    options: dict[str, Any] = {"speed": 1e6, "allow_local_webhooks": True}
    async with run_receiver() as receiver:
        receiver.statuses = [204, 500]
        async with open_sandbox(tmp_path / "s.db", clock, **options) as client:
            endpoint = await create_endpoint(client, url=receiver.url)
            gone = await create_endpoint(client, url=receiver.url, name="Gone")
            await client.request("DELETE", f"/api/v1/webhooks/{gone['id']}")
            for _ in range(2):
                await client.submit_task()
            clock.now += 1
            first = await wait_for_deliveries(client, endpoint, 2)
            assert sorted(each["status"] for each in first) == ["failed", "pending", "succeeded"]
            waiting = await client.submit_task()
        clock.now += 1
        async with open_sandbox(tmp_path / "s.db", clock, **options) as client:
            now = await wait_for_deliveries(client, endpoint, 4)
            assert [each["status"] for each in now].count("succeeded") == 3
            assert len({each["id"] for each in now}) == len(now) == 4
            assert {each["id"] for each in now} > {each["id"] for each in first}
            events = await list_objects(client, "/api/v1/webhook-events")
            assert (len(events), events[0]["data"]["id"]) == (3, waiting)
            data = (await client.request("GET", f"/api/v1/webhooks/{endpoint['id']}")).json
            assert (data["failure_count"], data["status"]) == (0, "active")
            assert (await client.request("GET", f"/api/v1/webhooks/{gone['id']}")).json["status"] == "revoked"
            rotated = (await client.request("POST", f"/api/v1/webhooks/{endpoint['id']}/rotate-secret")).json
            assert rotated["signing_secret"] != endpoint["signing_secret"]
        async with open_sandbox(tmp_path / "s.db", clock, **options) as client:
            assert len(await list_objects(client, "/api/v1/webhook-events")) == 3
            now = (await client.request("GET", f"/api/v1/webhooks/{endpoint['id']}")).json
            assert now["secret_preview"] == rotated["secret_preview"]
        assert len(receiver.requests) == 4


async def test_unwritten_purchase_is_not_confirmed(tmp_path: Path) -> None:
    async with open_sandbox(tmp_path / "s.db", FakeClock()) as client:
        connection = client.sandbox._store._connection
        assert connection is not None
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        for bought in range(100):
            reply = await client.submit(idempotency_key=f"order-{bought}", prompt="x" * 900)
            if reply.status != 200:
                break
        assert reply.code == "internal_error"
        assert (await client.submit(idempotency_key="order-0", prompt="x" * 900)).code == "internal_error"
        connection.execute("PRAGMA max_page_count = 100000")
        first, again = [await client.submit(idempotency_key=f"order-{bought}", prompt="x" * 900) for _ in range(2)]
        assert (first.status, first.raw) == (200, again.raw)
        assert client.sandbox.request_log.purchases == bought + 1


# --- kill -------------------------------------------------------------------------------------------------------------


class SandboxProcess:
    """A process of `rivya sandbox --state`."""

    def __init__(self, process: asyncio.subprocess.Process, ready: dict[str, Any]) -> None:
        self.process = process
        self.ready = ready

    @classmethod
    async def start(cls, state: Path, *more: str) -> SandboxProcess:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", "rivya_async", "sandbox", "--json", "--credits", "10000"),
            *("--state", str(state), *more),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        return cls(process, json.loads(await process.stdout.readline()))

    async def end(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        await self.process.wait()

    @asynccontextmanager
    async def http(self) -> AsyncIterator[aiohttp.ClientSession]:
        headers = {"Authorization": f"Bearer {self.ready['api_key']}"}
        async with aiohttp.ClientSession(
            self.ready["base_url"], headers=headers, timeout=aiohttp.ClientTimeout(10)
        ) as session:
            yield session


async def submit(http: aiohttp.ClientSession, key: str) -> bytes | None:
    """Returns the response to a purchase; None without one."""
    body = {"model": "z-image", "prompt": f"A kite for {key}"}
    try:
        async with http.post("/api/v1/generations", json=body, headers={"Idempotency-Key": key}) as reply:
            return await reply.read() if reply.status == 200 else None
    except aiohttp.ClientError:
        return None


async def test_kill_loses_no_confirmed_purchase(tmp_path: Path) -> None:
    answered: dict[str, bytes] = {}
    keys: list[str] = []
    for after in (0, 40, 90):
        running = await SandboxProcess.start(tmp_path / "s.db")
        async with running.http() as http:
            batch = [f"order-{after}-{number}" for number in range(150)]
            keys += batch

            orders = [asyncio.create_task(submit(http, key), name=key) for key in batch]
            for number, order in enumerate(asyncio.as_completed(orders)):
                await order
                if number == after:
                    await running.end()
        answered |= {order.get_name(): response for order in orders if (response := order.result()) is not None}
    assert len(answered) >= 130
    running = await SandboxProcess.start(tmp_path / "s.db")
    async with running.http() as http:
        for key, response in answered.items():
            assert await submit(http, key) == response
        assert all(await asyncio.gather(*(submit(http, key) for key in keys)))
        async with http.get("/api/v1/credits") as reply:
            assert await reply.json() == {"current_credits": 10_000 - len(keys)}
    await running.end(signal.SIGTERM)


async def test_command_line_continues_after_kill(tmp_path: Path) -> None:
    more = ("--account", "team-b=500", "--key", "main=revoked", "--key", "team-b=credits:read")
    running = await SandboxProcess.start(tmp_path / "s.db", *more)
    async with running.http() as http:
        first = await submit(http, "order-42")
        assert first is not None
    await running.end()
    again = await SandboxProcess.start(tmp_path / "s.db", *more)
    assert again.ready["api_key"] == running.ready["api_key"]
    assert again.ready["keys"] == running.ready["keys"]
    assert [(key["account"], key["what"]) for key in again.ready["keys"]] == [
        ("team-b", "all"),
        ("main", "revoked"),
        ("team-b", "credits:read"),
    ]
    async with again.http() as http:
        assert await submit(http, "order-42") == first
        async with http.get(f"/api/v1/generations/{json.loads(first)['id']}") as reply:
            assert reply.status == 200
        statuses = []
        for data in again.ready["keys"]:
            async with http.get("/api/v1/credits", headers={"Authorization": f"Bearer {data['key']}"}) as reply:
                statuses.append((reply.status, (await reply.json()).get("current_credits")))
        assert statuses == [(200, 500), (401, None), (200, 500)]
        async with http.get("/api/v1/credits") as reply:
            assert await reply.json() == {"current_credits": 9_999}
    await again.end(signal.SIGTERM)
