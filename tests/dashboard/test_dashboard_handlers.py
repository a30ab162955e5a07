"""The handlers of the dashboard, without a browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from rivya_async.sandbox import Fault, Sandbox
from rivya_async.sandbox.dashboard import handlers
from rivya_async.sandbox.dashboard.feed import (
    MAX_TASKS,
    MAX_TOGGLES,
    PREDEFINED,
    FaultToggles,
    TaskFeed,
    describe_fault,
)
from tests.sandbox.sandbox_client import POLL, START_TIME, SUBMIT, SandboxClient, running_sandbox, wait_until

HTML_HEADERS = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@asynccontextmanager
async def open_stream(client: SandboxClient) -> AsyncIterator[aiohttp.ClientResponse]:
    async with client.http.get("/sandbox/events") as stream:
        assert stream.status == 200
        assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        yield stream


async def next_message(stream: aiohttp.ClientResponse) -> Any:
    """Returns the next message."""
    async with asyncio.timeout(10):
        while not (line := await stream.content.readline()).startswith(b"data: "):
            assert line, "the stream has ended"
    return json.loads(line[6:])


def origin_header(client: SandboxClient) -> dict[str, str]:
    return {"Origin": client.sandbox.base_url}


async def set_toggle(client: SandboxClient, toggle_id: Any, active: Any, **headers: str) -> int:
    async with client.http.post(
        "/sandbox/faults", json={"id": toggle_id, "on": active}, headers={**origin_header(client), **headers}
    ) as response:
        return response.status


# --- static files -----------------------------------------------------------------------------------------------------


async def test_serves_static_files() -> None:
    async with running_sandbox() as client:
        page = await client.request("GET", "/", headers=HTML_HEADERS)
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        for path, (name, content_type) in handlers.STATIC_FILES.items():
            part = await client.request("GET", path, headers=HTML_HEADERS)
            assert (part.status, part.headers["Content-Type"]) == (200, content_type)
            assert part.raw == (handlers.STATIC_FOLDER / name).read_bytes()
            assert "default-src 'none'" in part.headers["Content-Security-Policy"]
            assert "unsafe" not in part.headers["Content-Security-Policy"]
        assert len(client.sandbox.request_log) == 0, "the dashboard is not logged"


def test_static_files_are_complete_and_self_contained() -> None:
    files = {path.name for path in handlers.STATIC_FOLDER.iterdir() if path.suffix not in {".py", ""}}
    assert files == {name for name, _ in handlers.STATIC_FILES.values()}
    for name in files:
        text = (handlers.STATIC_FOLDER / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text
    assert "innerHTML" not in (handlers.STATIC_FOLDER / "dashboard.js").read_text()


async def test_root_without_html_is_api_error() -> None:
    async with running_sandbox() as client:
        assert (await client.request("GET", "/")).code == "not_found"
        assert client.sandbox.request_log.count() == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sandbox/dashboard.py", 404),
        ("GET", "/sandbox/../pyproject.toml", 404),
        ("GET", "/sandbox/results/task_0/0.png", 404),
        ("GET", "/sandbox/x/task_0/0.png", 404),
        ("DELETE", "/sandbox/events", 405),
        ("POST", "/sandbox/events", 404),
    ],
)
async def test_rejects_unknown_paths(method: str, path: str, status: int) -> None:
    async with running_sandbox() as client:
        assert (await client.request(method, path)).status in {status, 404 if ".." in path else status}


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1:80", "[::1]:8000", "192.168.1.4"])
async def test_accepts_ip_addresses_and_localhost(name: str) -> None:
    async with running_sandbox() as client:
        assert (await client.request("GET", "/", headers={**HTML_HEADERS, "Host": name})).status == 200


@pytest.mark.parametrize(
    "name", ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "[::1", "a:b:c"]
)
@pytest.mark.parametrize("path", ["/", "/sandbox/events", "/sandbox/results/task_0/0.png"])
async def test_rejects_other_host_names(name: str, path: str) -> None:
    async with running_sandbox() as client:
        assert (await client.request("GET", path, headers={**HTML_HEADERS, "Host": name})).status == 403


# --- result files -----------------------------------------------------------------------------------------------------


async def test_serves_results_unlogged_and_without_faults() -> None:
    async with running_sandbox() as client:
        task_id = await client.submit_task()
        path = f"/sandbox/results/{task_id}/0.png"
        assert (await client.request("GET", path)).status == 404
        client.clock.now += 1000
        client.sandbox.faults.add(route="GET /results/{task_id}/{name}", status=503)
        seen = client.sandbox.request_log.count()
        full = await client.request("GET", path)
        part = await client.request("GET", path, headers={"Range": "bytes=1-3"})
        assert (full.status, full.headers["Content-Type"], full.raw[:4]) == (200, "image/png", b"\x89PNG")
        assert (part.status, part.raw) == (206, b"PNG")
        assert (await client.request("GET", path.replace("0.png", "1.png"))).status == 404
        assert client.sandbox.request_log.count() == seen


# --- event stream -----------------------------------------------------------------------------------------------------


async def test_stream_sends_state_then_changes() -> None:
    async with running_sandbox() as client, open_stream(client) as stream:
        first = await next_message(stream)
        assert first["tasks"] == []
        assert first["counts"] == {"queued": 0, "processing": 0, "succeeded": 0, "failed": 0}
        assert first["credits"] == client.sandbox.credits
        assert first["sandbox"]["base_url"] == client.sandbox.base_url
        assert [fault["on"] for fault in first["faults"]] == [False] * len(PREDEFINED)

        prompt = "<img src=x onerror=alert(1)>\n\n" + "x" * 600
        task_id = await client.submit_task(prompt=prompt)
        second = await next_message(stream)
        (task,) = second["tasks"]
        assert (task["id"], task["status"], task["files"]) == (task_id, "queued", [])
        assert prompt.startswith(task["prompt"])
        assert "faults" not in second, "unchanged parts are not sent again"
        assert second["requests"]["routes"] == [{"route": SUBMIT, "count": 1, "failed": 0}]

        client.clock.now += 1000
        third = await next_message(stream)
        (task,) = third["tasks"]
        assert (task["status"], task["files"]) == ("succeeded", [f"/sandbox/results/{task_id}/0.png"])
        assert third["counts"]["succeeded"] == 1


async def test_stream_counts_replays_errors_and_drops() -> None:
    async with running_sandbox() as client:
        await client.submit(idempotency_key="order-42")
        await client.submit(idempotency_key="order-42")
        client.sandbox.faults.add(route=POLL, nth=1, status=429)
        client.sandbox.faults.add(route=POLL, nth=2, drop=True)
        await client.poll("task_0")
        with suppress(aiohttp.ClientError):  # aiohttp retries, and the second response is a 404
            await client.poll("task_0")
        async with open_stream(client) as stream:
            received = (await next_message(stream))["requests"]
        assert (received["purchases"], received["replays"], received["rate_limited"]) == (1, 1, 1)
        polls = next(each for each in received["routes"] if each["route"] == POLL)
        assert polls["failed"] == polls["count"] >= 2
        assert [request.is_replay for request in client.sandbox.request_log][:2] == [False, True]
        assert client.sandbox.request_log.count_status(None) == 1


async def test_stream_has_webhook_deliveries() -> None:
    async with running_sandbox(allow_local_webhooks=True) as client:
        body = {"name": "x", "url": "http://127.0.0.1:9/hook", "event_types": ["generation.failed"]}
        endpoint = (await client.request("POST", "/api/v1/webhooks", json=body)).json
        await client.request("POST", f"/api/v1/webhooks/{endpoint['id']}/test")
        async with open_stream(client) as stream:
            (delivery,) = (await next_message(stream))["deliveries"]
    assert (delivery["status"], delivery["url"]) == ("failed", body["url"])
    assert "could not be reached" in delivery["error"]
    assert endpoint["signing_secret"] not in json.dumps(delivery)


def test_feed_sends_newest_tasks_and_counts_all() -> None:
    sandbox = Sandbox(failure_rate=0.5)
    state, feed = sandbox.service_state, TaskFeed(sandbox.service_state)
    account = state.create_account("orders", 1_000_000)
    model = sandbox._api.catalogue.models["z-image"]
    tasks = [state.create_task(account.id, model, f"{number}", {}, START_TIME) for number in range(5000)]
    next_message = feed.poll_changes(START_TIME)
    assert [each["id"] for each in next_message] == [task.id for task in tasks[-MAX_TASKS:]]
    assert sum(feed.counts.values()) == 5000
    assert feed.poll_changes(START_TIME) == []
    changed = feed.poll_changes(START_TIME + 99_999)
    assert {each["status"] for each in changed} == {"succeeded", "failed"}
    assert {each["id"] for each in changed} <= {each["id"] for each in next_message}
    assert feed.counts["failed"] == sum(task.failure is not None for task in tasks)
    assert all(each["credits"] == 0 and each["failure"] for each in changed if each["status"] == "failed")


# --- slow and closed streams ------------------------------------------------------------------------------------------


async def test_aborts_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "WRITE_TIMEOUT", 0.05)
    monkeypatch.setattr(handlers, "UPDATE_INTERVAL", 0.001)
    async with running_sandbox() as client:
        page = client.sandbox._dashboard
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(client.sandbox.base_url.rpartition(":")[2]), limit=1
        )
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(f"GET /sandbox/events HTTP/1.1\r\nHost: {client.sandbox.base_url[7:]}\r\n\r\n".encode())
        await wait_until(lambda: page._open_streams == 1)
        monkeypatch.setattr("rivya_async.sandbox.dashboard.feed._shorten", lambda text: text)

        def is_cut() -> bool:
            client.sandbox.faults.add(route="GET /api/v1/models", headers={"x": "y" * 300_000})
            return page._open_streams == 0

        await wait_until(is_cut)
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_closed_streams_are_released_and_number_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handlers, "MAX_STREAMS", 1)
    monkeypatch.setattr(handlers, "UPDATE_INTERVAL", 0.001)
    monkeypatch.setattr(handlers, "KEEP_ALIVE_INTERVAL", 0.01)
    async with running_sandbox() as client:
        async with open_stream(client) as stream:
            await next_message(stream)
            assert (await client.request("GET", "/sandbox/events")).status == 503
            async with asyncio.timeout(5):
                while await stream.content.readline() != b": keep-alive\n":
                    pass
            stream.close()
        await wait_until(lambda: client.sandbox._dashboard._open_streams == 0)


async def test_close_ends_open_streams() -> None:
    async with aiohttp.ClientSession() as http:
        async with Sandbox() as sandbox:
            stream = await http.get(f"{sandbox.base_url}/sandbox/events")
            await next_message(stream)
        with suppress(aiohttp.ClientError):
            assert not (await stream.content.read()).startswith(b"data")
        stream.close()


# --- toggles ----------------------------------------------------------------------------------------------------------


async def test_toggle_activates_and_deactivates_fault() -> None:
    async with running_sandbox() as client:
        outage = next(f"fault-{number}" for number, (name, *_) in enumerate(PREDEFINED, 1) if name == "Service outage")
        assert await set_toggle(client, outage, True) == 204
        assert await set_toggle(client, outage, True) == 204
        assert (await client.request("GET", "/api/v1/credits")).status == 503
        assert len(list(client.sandbox.faults)) == 1
        async with open_stream(client) as stream:
            toggles = {each["id"]: each for each in (await next_message(stream))["faults"]}
        assert (toggles[outage]["on"], toggles[outage]["hits"]) == (True, 1)
        assert await set_toggle(client, outage, False) == 204
        assert await set_toggle(client, outage, False) == 204
        assert (await client.request("GET", "/api/v1/credits")).status == 200


async def test_fault_from_code_has_toggle() -> None:
    async with running_sandbox() as client:
        fault = client.sandbox.faults.add(route=SUBMIT, nth=[1, 3], status=502, delay=0.5)
        async with open_stream(client) as stream:
            toggle = (await next_message(stream))["faults"][-1]
            assert (toggle["name"], toggle["detail"]) == (SUBMIT, "nth=[1, 3], status=502, delay=0.5")
            assert await set_toggle(client, toggle["id"], False) == 204
            assert list(client.sandbox.faults) == []
            assert (await next_message(stream))["faults"][-1]["on"] is False
            assert await set_toggle(client, toggle["id"], True) == 204
            assert list(client.sandbox.faults) == [fault]


def test_describes_faults() -> None:
    assert describe_fault(Fault(rate=0.25, status=503)) == ("Every request to the API", "rate=0.25, status=503")
    assert describe_fault(Fault(nth=2, drop=True)) == ("Every request to the API", "nth=2, drop=True")
    assert len(describe_fault(Fault(body="x" * 5000))[1]) < 100


def test_number_of_toggles_is_bounded() -> None:
    sandbox = Sandbox()
    toggles = FaultToggles(sandbox.faults)
    upload = sandbox.faults.add(status=500)
    for _ in range(100):
        fault = sandbox.faults.add(drop=True)
        toggles.to_json()
        sandbox.faults.remove(fault)
    rows = toggles.to_json()
    assert len(rows) == MAX_TOGGLES
    assert [row["id"] for row in rows if row["on"]] == [f"fault-{len(PREDEFINED) + 1}"]
    assert list(sandbox.faults) == [upload]
    assert [row["name"] for row in rows[: len(PREDEFINED)]] == [name for name, *_ in PREDEFINED]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Content-Type": "text/plain"},
    ],
)
async def test_rejects_toggle_from_other_sites(headers: dict[str, str]) -> None:
    async with running_sandbox() as client:
        assert await set_toggle(client, "fault-1", True, **headers) == 403
        assert list(client.sandbox.faults) == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"id": "fault-1"}', b"1", b"x" * 900_000])
async def test_rejects_invalid_toggle_requests(body: bytes) -> None:
    async with running_sandbox() as client:
        headers = {**origin_header(client), "Content-Type": "application/json"}
        reply = await client.request("POST", "/sandbox/faults", data=body, headers=headers)
        assert reply.status == 400
        assert await set_toggle(client, "fault-999", True) == 404
        assert await set_toggle(client, ["fault-1"], True) == 404
        assert list(client.sandbox.faults) == []


def test_html_is_in_package() -> None:
    assert (handlers.STATIC_FOLDER / "dashboard.html").is_file()
