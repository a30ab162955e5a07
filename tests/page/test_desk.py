"""The page's own paths, without a browser: what is served to whom, what a watcher is told, who may switch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rivya_async.sandbox import Fault, Sandbox
from rivya_async.sandbox.dashboard import handlers as desk
from rivya_async.sandbox.dashboard.fault_toggles import MOST_SWITCHES, READY, FaultToggles, described
from rivya_async.sandbox.dashboard.task_feed import MOST_TASKS, TaskFeed
from tests.sandbox.sandbox_kit import POLL, START, SUBMIT, SandboxClient, running_sandbox, until

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@asynccontextmanager
async def watching(on: SandboxClient) -> AsyncIterator[aiohttp.ClientResponse]:
    async with on.http.get("/sandbox/events") as stream:
        assert stream.status == 200
        assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        yield stream


async def told(stream: aiohttp.ClientResponse) -> Any:
    """The next message."""
    async with asyncio.timeout(10):
        while not (line := await stream.content.readline()).startswith(b"data: "):
            assert line, "the stream has ended"
    return json.loads(line[6:])


def origin(on: SandboxClient) -> dict[str, str]:
    return {"Origin": on.sandbox.base_url}


async def turn(on: SandboxClient, switch_id: Any, switched_on: Any, **headers: str) -> int:
    async with on.http.post(
        "/sandbox/faults", json={"id": switch_id, "on": switched_on}, headers={**origin(on), **headers}
    ) as answer:
        return answer.status


# --- the page and its parts -------------------------------------------------------------------------------------------


async def test_a_browser_at_the_root_gets_the_page_and_every_part_of_it() -> None:
    async with running_sandbox() as on:
        page = await on.ask("GET", "/", headers=HTML)
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        for path, (name, content_type) in desk.PARTS.items():
            part = await on.ask("GET", path, headers=HTML)
            assert (part.status, part.headers["Content-Type"]) == (200, content_type)
            assert part.raw == (desk.FOLDER / name).read_bytes()
            assert "default-src 'none'" in part.headers["Content-Security-Policy"]
            assert "unsafe" not in part.headers["Content-Security-Policy"]
        assert len(on.sandbox.request_log) == 0, "looking is not counted"


def test_every_file_beside_the_code_is_a_part_of_the_page_and_nothing_comes_from_elsewhere() -> None:
    files = {path.name for path in desk.FOLDER.iterdir() if path.suffix not in {".py", ""}}
    assert files == {name for name, _ in desk.PARTS.values()}
    for name in files:
        text = (desk.FOLDER / name).read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text
    assert "innerHTML" not in (desk.FOLDER / "page.js").read_text()


async def test_who_does_not_ask_for_a_page_at_the_root_is_answered_as_the_api_answers() -> None:
    async with running_sandbox() as on:
        assert (await on.ask("GET", "/")).code == "not_found"
        assert on.sandbox.request_log.count() == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sandbox/page.py", 404),
        ("GET", "/sandbox/../pyproject.toml", 404),
        ("GET", "/sandbox/results/task_0/0.png", 404),
        ("GET", "/sandbox/x/task_0/0.png", 404),
        ("DELETE", "/sandbox/events", 405),
        ("POST", "/sandbox/events", 404),
    ],
)
async def test_a_path_that_is_none_of_the_page(method: str, path: str, status: int) -> None:
    async with running_sandbox() as on:
        assert (await on.ask(method, path)).status in {status, 404 if ".." in path else status}


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1:80", "[::1]:8000", "192.168.1.4"])
async def test_an_address_or_localhost_is_let_in(name: str) -> None:
    async with running_sandbox() as on:
        assert (await on.ask("GET", "/", headers={**HTML, "Host": name})).status == 200


@pytest.mark.parametrize(
    "name", ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "[::1", "a:b:c"]
)
@pytest.mark.parametrize("path", ["/", "/sandbox/events", "/sandbox/results/task_0/0.png"])
async def test_a_foreign_name_that_leads_here_is_not_let_in(name: str, path: str) -> None:
    async with running_sandbox() as on:
        assert (await on.ask("GET", path, headers={**HTML, "Host": name})).status == 403


# --- the files --------------------------------------------------------------------------------------------------------


async def test_a_file_is_shown_whole_or_in_part_once_it_is_there_uncounted_and_past_all_faults() -> None:
    async with running_sandbox() as on:
        task_id = await on.bought()
        path = f"/sandbox/results/{task_id}/0.png"
        assert (await on.ask("GET", path)).status == 404
        on.clock.now += 1000
        on.sandbox.faults.add(route="GET /results/{task_id}/{name}", status=503)
        seen = on.sandbox.request_log.count()
        whole = await on.ask("GET", path)
        part = await on.ask("GET", path, headers={"Range": "bytes=1-3"})
        assert (whole.status, whole.headers["Content-Type"], whole.raw[:4]) == (200, "image/png", b"\x89PNG")
        assert (part.status, part.raw) == (206, b"PNG")
        assert (await on.ask("GET", path.replace("0.png", "1.png"))).status == 404
        assert on.sandbox.request_log.count() == seen


# --- the news ---------------------------------------------------------------------------------------------------------


async def test_a_watcher_is_told_everything_once_and_then_what_is_new() -> None:
    async with running_sandbox() as on, watching(on) as stream:
        first = await told(stream)
        assert first["tasks"] == []
        assert first["counts"] == {"queued": 0, "processing": 0, "succeeded": 0, "failed": 0}
        assert first["credits"] == on.sandbox.credits
        assert first["sandbox"]["base_url"] == on.sandbox.base_url
        assert [fault["on"] for fault in first["faults"]] == [False] * len(READY)

        prompt = "<img src=x onerror=alert(1)>\n\n" + "x" * 600
        task_id = await on.bought(prompt=prompt)
        second = await told(stream)
        (task,) = second["tasks"]
        assert (task["id"], task["status"], task["files"]) == (task_id, "queued", [])
        assert prompt.startswith(task["prompt"])
        assert "faults" not in second, "what has not changed is not told again"
        assert second["received"]["routes"] == [{"route": SUBMIT, "count": 1, "failed": 0}]

        on.clock.now += 1000
        third = await told(stream)
        (task,) = third["tasks"]
        assert (task["status"], task["files"]) == ("succeeded", [f"/sandbox/results/{task_id}/0.png"])
        assert third["counts"]["succeeded"] == 1


async def test_replays_refusals_and_drops_are_told_of() -> None:
    async with running_sandbox() as on:
        await on.order(idempotency_key="order-42")
        await on.order(idempotency_key="order-42")
        on.sandbox.faults.add(route=POLL, nth=1, status=429)
        on.sandbox.faults.add(route=POLL, nth=2, drop=True)
        await on.look("task_0")
        with suppress(aiohttp.ClientError):  # who asks again by himself meets a 404
            await on.look("task_0")
        async with watching(on) as stream:
            received = (await told(stream))["received"]
        assert (received["purchases"], received["replays"], received["rate_limited"]) == (1, 1, 1)
        polls = next(each for each in received["routes"] if each["route"] == POLL)
        assert polls["failed"] == polls["count"] >= 2
        assert [request.is_replay for request in on.sandbox.request_log][:2] == [False, True]
        assert on.sandbox.request_log.count_status(None) == 1


async def test_a_webhook_delivery_is_told_of() -> None:
    async with running_sandbox(allow_local_webhooks=True) as on:
        body = {"name": "x", "url": "http://127.0.0.1:9/hook", "event_types": ["generation.failed"]}
        endpoint = (await on.ask("POST", "/api/v1/webhooks", json=body)).json
        await on.ask("POST", f"/api/v1/webhooks/{endpoint['id']}/test")
        async with watching(on) as stream:
            (delivery,) = (await told(stream))["deliveries"]
    assert (delivery["status"], delivery["url"]) == ("failed", body["url"])
    assert "could not be reached" in delivery["error"]
    assert endpoint["signing_secret"] not in json.dumps(delivery)


def test_of_many_tasks_the_newest_are_told_and_all_are_counted() -> None:
    sandbox = Sandbox(failure_rate=0.5)
    world, board = sandbox.service_state, TaskFeed(sandbox.service_state)
    account = world.open_account("order-desk", 1_000_000)
    model = sandbox._api.catalogue.models["z-image"]
    tasks = [world.create(account.id, model, f"{number}", {}, START) for number in range(5000)]
    told = board.changed(START)
    assert [each["id"] for each in told] == [task.id for task in tasks[-MOST_TASKS:]]
    assert sum(board.counts.values()) == 5000
    assert board.changed(START) == []
    changed = board.changed(START + 99_999)
    assert {each["status"] for each in changed} == {"succeeded", "failed"}
    assert {each["id"] for each in changed} <= {each["id"] for each in told}
    assert board.counts["failed"] == sum(task.failure is not None for task in tasks)
    assert all(each["credits"] == 0 and each["failure"] for each in changed if each["status"] == "failed")


# --- who reads slowly, who leaves -------------------------------------------------------------------------------------


async def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "PATIENCE", 0.05)
    monkeypatch.setattr(desk, "PERIOD", 0.001)
    async with running_sandbox() as on:
        page = on.sandbox._page
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(on.sandbox.base_url.rpartition(":")[2]), limit=1
        )
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(f"GET /sandbox/events HTTP/1.1\r\nHost: {on.sandbox.base_url[7:]}\r\n\r\n".encode())
        await until(lambda: page._watchers == 1)
        monkeypatch.setattr("rivya_async.sandbox.dashboard.fault_toggles._clipped", lambda text: text)

        def is_cut() -> bool:
            on.sandbox.faults.add(route="GET /api/v1/models", headers={"x": "y" * 300_000})
            return page._watchers == 0

        await until(is_cut)
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_watcher_that_left_costs_nothing_any_more_and_too_many_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(desk, "MOST_WATCHERS", 1)
    monkeypatch.setattr(desk, "PERIOD", 0.001)
    monkeypatch.setattr(desk, "SIGN_OF_LIFE", 0.01)
    async with running_sandbox() as on:
        async with watching(on) as stream:
            await told(stream)
            assert (await on.ask("GET", "/sandbox/events")).status == 503
            async with asyncio.timeout(5):
                while await stream.content.readline() != b": still here\n":
                    pass
            stream.close()
        await until(lambda: on.sandbox._page._watchers == 0)


async def test_a_sandbox_closes_under_its_watchers() -> None:
    async with aiohttp.ClientSession() as http:
        async with Sandbox() as sandbox:
            stream = await http.get(f"{sandbox.base_url}/sandbox/events")
            await told(stream)
        with suppress(aiohttp.ClientError):
            assert not (await stream.content.read()).startswith(b"data")
        stream.close()


# --- the switches -----------------------------------------------------------------------------------------------------


async def test_a_switch_puts_a_fault_in_force_and_ends_it() -> None:
    async with running_sandbox() as on:
        down = next(f"fault-{number}" for number, (name, *_) in enumerate(READY, 1) if name == "Be down")
        assert await turn(on, down, True) == 204
        assert await turn(on, down, True) == 204
        assert (await on.ask("GET", "/api/v1/credits")).status == 503
        assert len(list(on.sandbox.faults)) == 1
        async with watching(on) as stream:
            switches = {each["id"]: each for each in (await told(stream))["faults"]}
        assert (switches[down]["on"], switches[down]["hits"]) == (True, 1)
        assert await turn(on, down, False) == 204
        assert await turn(on, down, False) == 204
        assert (await on.ask("GET", "/api/v1/credits")).status == 200


async def test_a_fault_from_code_has_a_switch_and_stays_known_when_it_is_off() -> None:
    async with running_sandbox() as on:
        fault = on.sandbox.faults.add(route=SUBMIT, nth=[1, 3], status=502, delay=0.5)
        async with watching(on) as stream:
            switch = (await told(stream))["faults"][-1]
            assert (switch["name"], switch["detail"]) == (SUBMIT, "nth=[1, 3], status=502, delay=0.5")
            assert await turn(on, switch["id"], False) == 204
            assert list(on.sandbox.faults) == []
            assert (await told(stream))["faults"][-1]["on"] is False
            assert await turn(on, switch["id"], True) == 204
            assert list(on.sandbox.faults) == [fault]


def test_what_a_fault_is_called() -> None:
    assert described(Fault(rate=0.25, status=503)) == ("Every request to the API", "rate=0.25, status=503")
    assert described(Fault(nth=2, drop=True)) == ("Every request to the API", "nth=2, drop=True")
    assert len(described(Fault(body="x" * 5000))[1]) < 100


def test_faults_of_a_long_test_run_do_not_pile_up() -> None:
    sandbox = Sandbox()
    switches = FaultToggles(sandbox.faults)
    kept = sandbox.faults.add(status=500)
    for _ in range(100):
        fault = sandbox.faults.add(drop=True)
        switches.to_wire()
        sandbox.faults.remove(fault)
    rows = switches.to_wire()
    assert len(rows) == MOST_SWITCHES
    assert [row["id"] for row in rows if row["on"]] == [f"fault-{len(READY) + 1}"]
    assert list(sandbox.faults) == [kept]
    assert [row["name"] for row in rows[: len(READY)]] == [name for name, *_ in READY]


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
async def test_another_site_cannot_switch(headers: dict[str, str]) -> None:
    async with running_sandbox() as on:
        assert await turn(on, "fault-1", True, **headers) == 403
        assert list(on.sandbox.faults) == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"id": "fault-1"}', b"1", b"x" * 900_000])
async def test_nonsense_switches_nothing(body: bytes) -> None:
    async with running_sandbox() as on:
        headers = {**origin(on), "Content-Type": "application/json"}
        reply = await on.ask("POST", "/sandbox/faults", data=body, headers=headers)
        assert reply.status == 400
        assert await turn(on, "fault-999", True) == 404
        assert await turn(on, ["fault-1"], True) == 404
        assert list(on.sandbox.faults) == []


def test_the_page_is_in_the_package() -> None:
    assert Path(desk.__file__).with_name("page.html").is_file()
