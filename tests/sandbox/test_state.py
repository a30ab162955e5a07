"""What outlives the process: everything that was answered, whenever the sandbox is killed."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from rivya_async.sandbox import FAIL_MARKER, Sandbox
from rivya_async.sandbox.api_keys import ApiKey
from rivya_async.sandbox.idempotency import MEMORY, StoredResponse
from rivya_async.sandbox.store import StateStore
from tests.media_kit import media
from tests.sandbox.sandbox_kit import Clock, SandboxClient, running_sandbox
from tests.sandbox.test_webhooks import created, ended, listed, receiver

CHAT: Final = "/api/v1/chat/completions"


# --- the store --------------------------------------------------------------------------------------------------------


def key(name: str) -> ApiKey:
    return ApiKey(name, "main")


async def test_what_was_put_is_found_in_its_order_and_at_its_newest(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "s.db")
    for name in ("b", "a", "c"):
        store.put(name, key(name))
    await store.written()
    store.put("b", ApiKey("b", "other"))
    store.drop("a", ApiKey)
    await store.aclose()
    again = StateStore(tmp_path / "s.db")
    assert list(again.load(ApiKey)) == [ApiKey("b", "other"), key("c")]
    assert (store.life, again.life) == (1, 2)
    again.close()


async def test_who_waits_meanwhile_is_written_together(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "s.db")
    commits, go_on = [], threading.Event()

    def slow_disk(line: str) -> None:
        if line == "BEGIN":
            commits.append(line)
            assert go_on.wait(5)

    assert store._connection is not None
    store._connection.set_trace_callback(slow_disk)
    waiting = []
    for number in range(50):
        store.put(f"{number}", key(f"{number}"))
        waiting.append(asyncio.create_task(store.written()))
        await asyncio.sleep(0)
    assert store.is_behind
    assert not any(task.done() for task in waiting)
    go_on.set()
    await asyncio.gather(*waiting)
    assert not store.is_behind
    assert len(commits) == 2
    await store.aclose()
    again = StateStore(tmp_path / "s.db")
    assert len(list(again.load(ApiKey))) == 50
    again.close()


async def test_a_waiter_that_is_cancelled_takes_nothing_with_it(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "s.db")
    store.put("a", key("a"))
    first = asyncio.create_task(store.written())
    await asyncio.sleep(0)
    store.put("b", key("b"))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await store.written()
    assert not store.is_behind
    await store.aclose()
    again = StateStore(tmp_path / "s.db")
    assert list(again.load(ApiKey)) == [key("a"), key("b")]
    again.close()


async def test_what_could_not_be_written_is_written_with_the_next(tmp_path: Path) -> None:
    store = StateStore(tmp_path / "s.db")
    assert store._connection is not None
    store._connection.execute("PRAGMA max_page_count = 1")
    store.put("big", ApiKey("x" * 100_000, "main"))
    with pytest.raises(OSError, match=r"s\.db: database or disk is full"):
        await store.written()
    assert store.is_behind
    store._connection.execute("PRAGMA max_page_count = 100000")
    await store.written()
    assert not store.is_behind
    await store.aclose()


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file grows beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_told_when_a_sandbox_is_made_and_when_it_is_closed(tmp_path: Path) -> None:
    async with Sandbox(state=tmp_path / "s.db"):
        pass
    with full_disk(1000), pytest.raises(OSError, match=r"s\.db: disk I/O error"):
        Sandbox(state=tmp_path / "s.db")
    sandbox = Sandbox(state=tmp_path / "s.db")
    await sandbox.start()
    sandbox.add_key("team-b")
    with full_disk(1000), pytest.raises(OSError, match=r"s\.db: disk I/O error"):
        await sandbox.aclose()
    assert "team-b" not in Sandbox(state=tmp_path / "s.db").service_state.accounts, "the file was let go of"


def test_a_store_without_a_path_keeps_nothing(tmp_path: Path) -> None:
    store = StateStore()
    store.put("a", key("a"))
    store.drop("b", ApiKey)
    assert not store.is_behind
    assert list(store.load(ApiKey)) == []
    assert list(tmp_path.iterdir()) == []


def test_one_sandbox_at_a_time_has_a_state(tmp_path: Path) -> None:
    first = StateStore(tmp_path / "s.db")
    with pytest.raises(ValueError, match=r"s\.db: database is locked"):
        StateStore(tmp_path / "s.db")
    first.close()
    second = StateStore(tmp_path / "s.db")
    second.close()
    with pytest.raises(ValueError, match="another sandbox has gone on with this state"):
        first.open()
    second.open()
    second.close()


@pytest.mark.parametrize("content", ["text", "other database", "other version", "folder"])
def test_what_is_no_state_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "s.db"
    if content == "text":
        path.write_text("Dear diary, " * 1000)
    elif content == "folder":
        path.mkdir()
    else:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE stored (x)")
        connection.execute("PRAGMA user_version = 99")
        if content == "other database":
            connection.execute("PRAGMA user_version = 0")
        connection.commit()
        connection.close()
    before = None if path.is_dir() else path.read_bytes()
    with pytest.raises(ValueError, match=r"s\.db: \w"):
        Sandbox(state=path)
    assert path.is_dir() or path.read_bytes() == before


# --- a world that goes on ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def life(state: Path, clock: Clock, **options: Any) -> AsyncIterator[SandboxClient]:
    """One life of a sandbox with this state, on a clock that goes on."""
    async with (
        Sandbox(state=state, clock=clock, **options) as sandbox,
        aiohttp.ClientSession(sandbox.base_url, timeout=aiohttp.ClientTimeout(10)) as http,
    ):
        yield SandboxClient(sandbox, clock, http)


async def test_a_job_goes_on_by_its_timetable(tmp_path: Path) -> None:
    clock = Clock()
    async with life(tmp_path / "s.db", clock, speed=1.0, credits=100) as on:
        first = await on.order(idempotency_key="order-42")
        task_id, secret = first.json["id"], on.sandbox.api_key
        key = on.sandbox.add_key()
    async with life(tmp_path / "s.db", clock, speed=1.0) as on:
        assert (on.sandbox.api_key, on.sandbox.add_key(), on.sandbox.credits) == (secret, key, 99)
        assert (await on.look(task_id)).json["status"] == "queued"
        again = await on.order(idempotency_key="order-42")
        assert again.raw == first.raw
        assert (await on.order(idempotency_key="order-42", prompt="Other")).code == "idempotency_conflict"
        assert on.sandbox.request_log.purchases == 0
        assert await on.bought() != task_id
        clock.now += 3600
        ended_job = (await on.look(task_id)).json
        assert ended_job["status"] == "succeeded"
        assert ended_job["result"]["primary_url"].startswith(on.sandbox.base_url)
        assert (on.sandbox.credits, len(on.sandbox.service_state.tasks)) == (98, 2)


async def test_a_failed_job_gives_back_once(tmp_path: Path) -> None:
    clock = Clock()
    async with life(tmp_path / "s.db", clock, credits=10) as on:
        await on.bought(prompt=FAIL_MARKER)
        clock.now += 3600
        await on.bought(prompt=FAIL_MARKER)
        assert on.sandbox.credits == 9
    for left, later in ((9, 0), (10, 3600), (10, 0)):
        clock.now += later
        async with life(tmp_path / "s.db", clock) as on:
            assert on.sandbox.credits == left


async def test_an_answer_is_forgotten_after_its_day(tmp_path: Path) -> None:
    clock = Clock()
    async with life(tmp_path / "s.db", clock) as on:
        first = await on.order(idempotency_key="order-42")
    clock.now += MEMORY + 1
    async with life(tmp_path / "s.db", clock) as on:
        assert (await on.order(idempotency_key="order-42")).json["id"] != first.json["id"]
        assert len(list(on.sandbox._store.load(StoredResponse))) == 1


async def upload(on: SandboxClient, name: str, kind: str) -> dict[str, Any]:
    form = aiohttp.FormData({"kind": kind})
    form.add_field("file", media(name.rpartition(".")[2]), filename=name)
    reply = await on.ask("POST", "/api/v1/files", data=form)
    assert reply.status == 200, reply.raw
    told: dict[str, Any] = reply.json
    return told


async def test_files_lie_beside_the_state(tmp_path: Path) -> None:
    clock = Clock()
    async with life(tmp_path / "s.db", clock) as on:
        image, sound = await upload(on, "kite.png", "image"), await upload(on, "kite.wav", "audio")
        assert (await on.ask("POST", "/api/v1/files", data={"kind": "image"})).status == 400
    (tmp_path / "s.db-files" / "upload-half").write_bytes(b"an upload that was cut")
    async with life(tmp_path / "s.db", clock) as on:
        assert len(list((tmp_path / "s.db-files").iterdir())) == 2
        for told, name in ((image, "png"), (sound, "wav")):
            now = (await on.ask("GET", f"/api/v1/files/{told['id']}")).json
            assert {**now, "url": ""} == {**told, "url": ""}
            assert (await on.ask("GET", now["url"].removeprefix(on.sandbox.base_url))).raw == media(name)
        item = {"kind": "image", "name": "kite.png", "mimeType": "image/png"}
        for url, status in ((now["url"], 400), ("http://127.0.0.1:1/files/x.png", 400)):
            params = {"referenceMediaItems": [{**item, "url": url}]}
            assert (await on.order(model="nano-banana-2", params=params)).status == status
        now = (await on.ask("GET", f"/api/v1/files/{image['id']}")).json
        params = {"referenceMediaItems": [{**item, "url": now["url"]}]}
        assert (await on.order(model="nano-banana-2", params=params)).status == 200
        assert (await upload(on, "kite.png", "image"))["id"] != image["id"]


async def test_an_upload_that_the_disk_does_not_take_is_no_fault_of_the_form(tmp_path: Path) -> None:
    async with life(tmp_path / "s.db", Clock()) as on:
        form = aiohttp.FormData({"kind": "image"})
        form.add_field("file", media("png"), filename="kite.png")
        with full_disk(100):
            reply = await on.ask("POST", "/api/v1/files", data=form)
        assert (reply.status, reply.code) == (500, "internal_error")
        assert list((tmp_path / "s.db-files").iterdir()) == []
        assert await upload(on, "kite.png", "image")


def test_what_lay_in_the_folder_before_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos-files" / "2026").mkdir(parents=True)
    (tmp_path / "photos-files" / "kite.jpg").write_bytes(b"of somebody else")
    for _ in range(2):
        sandbox = Sandbox(state=tmp_path / "photos")
        sandbox.service_state.store.close()
    assert {path.name for path in (tmp_path / "photos-files").iterdir()} == {"2026", "kite.jpg"}


@pytest.mark.parametrize("path", [CHAT, f"{CHAT}/stream"])
async def test_a_conversation_goes_on(tmp_path: Path, path: str) -> None:
    clock, body = Clock(), {"model": "gpt-5-2-chat", "message": "Three names for a kite shop"}
    headers = {"Idempotency-Key": "turn-1"}
    async with life(tmp_path / "s.db", clock, speed=1e5, credits=100) as on:
        first = await on.ask("POST", path, json=body, headers=headers)
        assert first.status == 200
        (session,) = await listed(on, "/api/v1/chat/sessions")
        whole = (await on.ask("GET", f"/api/v1/chat/sessions/{session['id']}")).json
        left = on.sandbox.credits
    async with life(tmp_path / "s.db", clock, speed=1e5) as on:
        assert on.sandbox.credits == left < 100
        assert (await on.ask("GET", f"/api/v1/chat/sessions/{session['id']}")).json == whole
        assert [message["role"] for message in whole["messages"]] == ["user", "assistant"]
        assert (await on.ask("POST", path, json=body, headers=headers)).raw == first.raw
        assert on.sandbox.request_log.purchases == 0
        assert (await on.ask("POST", path, json={**body, "session_id": session["id"]})).status == 200
        assert len((await on.ask("GET", f"/api/v1/chat/sessions/{session['id']}")).json["messages"]) == 4


async def test_a_turn_that_nobody_was_answered_was_not_bought(tmp_path: Path) -> None:
    """Killed while the model thinks: nothing is paid, and the key is free."""
    clock, body = Clock(), {"model": "gpt-5-2-chat", "message": "Hello"}
    async with life(tmp_path / "s.db", clock, speed=0.01, credits=100) as on:
        thinking = asyncio.create_task(on.ask("POST", CHAT, json=body, headers={"Idempotency-Key": "turn-1"}))
        async with asyncio.timeout(5):
            while not on.sandbox.request_log.purchases:  # noqa: ASYNC110  the server keeps counts, not events
                await asyncio.sleep(0.001)
        assert on.sandbox.credits < 100
        await on.bought()  # writes the account while the turn holds a part of it
    assert (await asyncio.gather(thinking, return_exceptions=True))[0].__class__ is not None
    async with life(tmp_path / "s.db", clock, speed=1e5) as on:
        assert on.sandbox.credits == 99
        assert await listed(on, "/api/v1/chat/sessions") == []
        assert (await on.ask("POST", CHAT, json=body, headers={"Idempotency-Key": "turn-1"})).status == 200


async def test_webhooks_go_on_and_nothing_is_told_twice(tmp_path: Path) -> None:
    clock = Clock()
    options: dict[str, Any] = {"speed": 1e6, "allow_local_webhooks": True}
    async with receiver() as there:
        there.answers = [204, 500]
        async with life(tmp_path / "s.db", clock, **options) as on:
            endpoint = await created(on, url=there.url)
            gone = await created(on, url=there.url, name="Gone")
            await on.ask("DELETE", f"/api/v1/webhooks/{gone['id']}")
            for _ in range(2):
                await on.bought()
            clock.now += 1
            first = await ended(on, endpoint, 2)
            assert sorted(each["status"] for each in first) == ["failed", "pending", "succeeded"]
            waiting = await on.bought()
        clock.now += 1
        async with life(tmp_path / "s.db", clock, **options) as on:
            now = await ended(on, endpoint, 4)
            assert [each["status"] for each in now].count("succeeded") == 3
            assert len({each["id"] for each in now}) == len(now) == 4
            assert {each["id"] for each in now} > {each["id"] for each in first}
            events = await listed(on, "/api/v1/webhook-events")
            assert (len(events), events[0]["data"]["id"]) == (3, waiting)
            told = (await on.ask("GET", f"/api/v1/webhooks/{endpoint['id']}")).json
            assert (told["failure_count"], told["status"]) == (0, "active")
            assert (await on.ask("GET", f"/api/v1/webhooks/{gone['id']}")).json["status"] == "revoked"
            rotated = (await on.ask("POST", f"/api/v1/webhooks/{endpoint['id']}/rotate-secret")).json
            assert rotated["signing_secret"] != endpoint["signing_secret"]
        async with life(tmp_path / "s.db", clock, **options) as on:
            assert len(await listed(on, "/api/v1/webhook-events")) == 3
            now = (await on.ask("GET", f"/api/v1/webhooks/{endpoint['id']}")).json
            assert now["secret_preview"] == rotated["secret_preview"]
        assert len(there.seen) == 4


async def test_a_purchase_that_cannot_be_written_is_not_answered(tmp_path: Path) -> None:
    async with life(tmp_path / "s.db", Clock()) as on:
        connection = on.sandbox._store._connection
        assert connection is not None
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        for bought in range(100):
            reply = await on.order(idempotency_key=f"order-{bought}", prompt="x" * 900)
            if reply.status != 200:
                break
        assert reply.code == "internal_error"
        assert (await on.order(idempotency_key="order-0", prompt="x" * 900)).code == "internal_error"
        connection.execute("PRAGMA max_page_count = 100000")
        first, again = [await on.order(idempotency_key=f"order-{bought}", prompt="x" * 900) for _ in range(2)]
        assert (first.status, first.raw) == (200, again.raw)
        assert on.sandbox.request_log.purchases == bought + 1


# --- killed -----------------------------------------------------------------------------------------------------------


class Process:
    """`rivya sandbox --state`, which can be killed."""

    def __init__(self, process: asyncio.subprocess.Process, told: dict[str, Any]) -> None:
        self.process = process
        self.told = told

    @classmethod
    async def start(cls, state: Path, *more: str) -> Process:
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
        headers = {"Authorization": f"Bearer {self.told['api_key']}"}
        async with aiohttp.ClientSession(
            self.told["base_url"], headers=headers, timeout=aiohttp.ClientTimeout(10)
        ) as session:
            yield session


async def buy(http: aiohttp.ClientSession, key: str) -> bytes | None:
    """What was answered; None if nothing was."""
    body = {"model": "z-image", "prompt": f"A kite for {key}"}
    try:
        async with http.post("/api/v1/generations", json=body, headers={"Idempotency-Key": key}) as reply:
            return await reply.read() if reply.status == 200 else None
    except aiohttp.ClientError:
        return None


async def test_killed_at_any_point_it_loses_no_purchase_that_was_answered(tmp_path: Path) -> None:
    answered: dict[str, bytes] = {}
    keys: list[str] = []
    for after in (0, 40, 90):
        running = await Process.start(tmp_path / "s.db")
        async with running.http() as http:
            batch = [f"order-{after}-{number}" for number in range(150)]
            keys += batch

            orders = [asyncio.create_task(buy(http, key), name=key) for key in batch]
            for number, order in enumerate(asyncio.as_completed(orders)):
                await order
                if number == after:
                    await running.end()
        answered |= {order.get_name(): answer for order in orders if (answer := order.result()) is not None}
    assert len(answered) >= 130
    running = await Process.start(tmp_path / "s.db")
    async with running.http() as http:
        for key, answer in answered.items():
            assert await buy(http, key) == answer
        assert all(await asyncio.gather(*(buy(http, key) for key in keys)))
        async with http.get("/api/v1/credits") as reply:
            assert await reply.json() == {"current_credits": 10_000 - len(keys)}
    await running.end(signal.SIGTERM)


async def test_the_command_line_goes_on_after_kill_9(tmp_path: Path) -> None:
    more = ("--account", "team-b=500", "--key", "main=revoked", "--key", "team-b=credits:read")
    running = await Process.start(tmp_path / "s.db", *more)
    async with running.http() as http:
        first = await buy(http, "order-42")
        assert first is not None
    await running.end()
    again = await Process.start(tmp_path / "s.db", *more)
    assert again.told["api_key"] == running.told["api_key"]
    assert again.told["keys"] == running.told["keys"]
    assert [(key["account"], key["what"]) for key in again.told["keys"]] == [
        ("team-b", "all"),
        ("main", "revoked"),
        ("team-b", "credits:read"),
    ]
    async with again.http() as http:
        assert await buy(http, "order-42") == first
        async with http.get(f"/api/v1/generations/{json.loads(first)['id']}") as reply:
            assert reply.status == 200
        statuses = []
        for told in again.told["keys"]:
            async with http.get("/api/v1/credits", headers={"Authorization": f"Bearer {told['key']}"}) as reply:
                statuses.append((reply.status, (await reply.json()).get("current_credits")))
        assert statuses == [(200, 500), (401, None), (200, 500)]
        async with http.get("/api/v1/credits") as reply:
            assert await reply.json() == {"current_credits": 9_999}
    await again.end(signal.SIGTERM)


# --- accounts ---------------------------------------------------------------------------------------------------------


async def test_accounts_see_nothing_of_each_other() -> None:
    async with running_sandbox(credits=50, rate_limit=20, rate_window=1e9, speed=1e5) as on:
        sandbox = on.sandbox
        theirs = sandbox.add_key("team-b", credits=5)
        task_id = await on.bought()
        file = await upload(on, "kite.png", "image")
        hook = await created(on)
        await on.ask("POST", CHAT, json={"model": "gpt-5-2-chat", "message": "Hello"})
        (session,) = await listed(on, "/api/v1/chat/sessions")
        for path in (
            f"/api/v1/generations/{task_id}",
            f"/api/v1/files/{file['id']}",
            f"/api/v1/chat/sessions/{session['id']}",
            f"/api/v1/webhooks/{hook['id']}",
            f"/api/v1/webhooks/{hook['id']}/deliveries",
        ):
            assert (await on.ask("GET", path)).status == 200
            assert (await on.ask("GET", path, key=theirs)).code == "not_found"
        for path in ("/api/v1/chat/sessions", "/api/v1/webhooks", "/api/v1/webhook-events"):
            assert (await on.ask("GET", path, key=theirs)).json["data"] == []
        first = await on.order(idempotency_key="order-42")
        other = await on.order(idempotency_key="order-42", key=theirs, prompt="Another")
        assert other.status == 200
        assert other.json["id"] != first.json["id"]
        assert (sandbox.credits_of(theirs), sandbox.credits_of(sandbox.add_key("team-b"))) == (4, 4)
        while (await on.ask("GET", "/api/v1/credits")).status == 200:
            pass
        assert (await on.ask("GET", "/api/v1/credits")).code == "rate_limited"
        assert (await on.ask("GET", "/api/v1/credits", key=theirs)).json == {"current_credits": 4}


async def test_a_key_ends_while_it_is_used() -> None:
    async with running_sandbox() as on:
        sandbox = on.sandbox
        old, late = sandbox.add_key(), sandbox.add_key("team-b")
        assert len({old, late, sandbox.api_key, sandbox.add_key()}) == 4
        assert (await on.ask("GET", "/api/v1/credits", key=old)).status == 200
        sandbox.revoke_key(old)
        sandbox.expire_key(late)
        assert (await on.ask("GET", "/api/v1/credits", key=old)).code == "api_key_revoked"
        assert (await on.ask("GET", "/api/v1/credits", key=late)).code == "api_key_expired"
        assert sandbox.credits_of(late) == 1_000_000
        for ask in (sandbox.revoke_key, sandbox.expire_key, sandbox.credits_of):
            with pytest.raises(ValueError, match="no API key of the sandbox"):
                ask("rvya_sk_other")
        with pytest.raises(ValueError, match="there is no scope 'credit:read'; the scopes are chat:create"):
            sandbox.add_key(scopes={"credit:read"})
