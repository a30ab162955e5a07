"""The sandbox as a client sees it, over real sockets, on a clock that the test sets."""

from __future__ import annotations

import asyncio
import io
import math
import re
import socket
import struct
from typing import Any

import aiohttp
import pytest

from rivya_async.sandbox import ALL_SCOPES, FAIL_MARKER, Sandbox, results
from rivya_async.sandbox.media import Artifact, Brief
from rivya_async.sandbox.results import RenderCache
from tests.sandbox.sandbox_kit import SUBMIT, HttpReply, SandboxClient, running_sandbox, until

DAY = 24 * 3600.0


def painted(brief: Brief) -> Artifact:
    """A stand-in for the renderer: ten bytes, the same for the same brief."""
    return Artifact(f"{brief.index}:{brief.seed % 10**8:08d}".encode(), "image/png", ".png")


@pytest.fixture
def quick_paint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "render", painted)


async def finished(on: SandboxClient, **body: Any) -> HttpReply:
    """A new task, seen after its end."""
    task_id = await on.bought(**body)
    on.clock.now += 3600
    return await on.look(task_id)


async def fetch(on: SandboxClient, url: str, **headers: str) -> HttpReply:
    async with on.http.get(url, headers=headers) as response:
        return HttpReply(response.status, response.headers, await response.read())


# --- a life -----------------------------------------------------------------------------------------------------------


async def test_a_whole_life() -> None:
    async with running_sandbox() as on:
        first = await on.order(client_request_id="order-123-preview")
        task = on.sandbox.service_state.tasks[first.json["id"]]
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
        assert (await on.look(task.id)).raw == first.raw
        on.clock.now = task.starts_at
        assert (await on.look(task.id)).json["status"] == "processing"
        on.clock.now = task.ends_at
        done = (await on.look(task.id)).json
        assert (done["status"], done["final_credits"], done["error"]) == ("succeeded", 1, None)
        assert done["result"]["urls"] == [done["result"]["primary_url"]]
        assert done["result"]["primary_url"] == f"{on.sandbox.base_url}/results/{task.id}/0.png"
        assert (await on.look(task.id)).json == done


async def test_credits_are_held_kept_and_given_back() -> None:
    async with running_sandbox(credits=10) as on:
        await finished(on)
        await on.order(model="sora-2", prompt=f"A boat {FAIL_MARKER}")
        assert (await on.ask("GET", "/api/v1/credits")).json == {"current_credits": 3}
        refused = await on.order(model="sora-2")
        assert (refused.status, refused.code) == (402, "insufficient_credits")
        on.clock.now += 3600
        assert (await on.ask("GET", "/api/v1/credits")).json == {"current_credits": 9}
        assert on.sandbox.credits == 9
        assert on.sandbox.request_log.purchases == 2


async def test_a_job_with_the_marker_fails() -> None:
    async with running_sandbox() as on:
        failed = (await finished(on, prompt=f"A boat {FAIL_MARKER}")).json
        assert (failed["status"], failed["final_credits"], failed["result"]) == ("failed", 0, None)
        assert failed["error"]["code"] == "generation_failed"


# --- who may ----------------------------------------------------------------------------------------------------------


async def test_public_paths_need_no_key_and_the_others_do() -> None:
    async with running_sandbox() as on:
        for path in ("/api/v1/models", "/api/v1/openapi.json"):
            assert (await on.ask("GET", path, key="")).status == 200
        for path in ("/api/v1/credits", "/api/v1/generations/task_a"):
            refused = await on.ask("GET", path, key="")
            assert (refused.status, refused.code) == (401, "api_key_missing")


async def test_keys_that_may_not() -> None:
    async with running_sandbox() as on:
        keys = {
            "rvya_sk_unknown": (401, "api_key_invalid"),
            on.sandbox.add_key(revoked=True): (401, "api_key_revoked"),
            on.sandbox.add_key(expired=True): (401, "api_key_expired"),
            on.sandbox.add_key(scopes=ALL_SCOPES - {"generations:create"}): (403, "api_scope_denied"),
        }
        for key, expected in keys.items():
            refused = await on.order(key=key)
            assert (refused.status, refused.code) == expected
        assert on.sandbox.request_log.purchases == 0


async def test_keys_of_one_account_share_it_and_other_accounts_see_nothing() -> None:
    async with running_sandbox(credits=5) as on:
        second, stranger = on.sandbox.add_key(), on.sandbox.add_key(credits=3)
        task_id = await on.bought()
        assert (await on.look(task_id, key=second)).status == 200
        hidden, missing = await on.look(task_id, key=stranger), await on.look("task_missing", key=stranger)
        assert (hidden.status, hidden.code, missing.code) == (404, "not_found", "not_found")
        assert hidden.json["error"]["message"] == missing.json["error"]["message"]
        balances = [(await on.ask("GET", "/api/v1/credits", key=key)).json for key in (second, stranger)]
        assert balances == [{"current_credits": 4}, {"current_credits": 3}]


async def test_the_rate_limit_is_off_unless_asked_for() -> None:
    async with running_sandbox(rate_limit=2) as on:
        replies = [await on.ask("GET", "/api/v1/credits") for _ in range(3)]
        assert [reply.status for reply in replies] == [200, 200, 429]
        assert (replies[2].code, replies[2].headers["Retry-After"]) == ("rate_limited", "60")
        assert (await on.ask("GET", "/api/v1/credits", key=on.sandbox.add_key())).status == 200
        assert (await on.ask("GET", "/api/v1/models")).status == 200
        on.clock.now += 60
        assert (await on.ask("GET", "/api/v1/credits")).status == 200


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"\xff", b"[]", b'"x"', b"null", b'{"seed": NaN}', b'{"prompt": "\\ud800"}', b"[" * 100_000],
)
async def test_a_body_that_is_no_json_object(raw: bytes) -> None:
    async with running_sandbox() as on:
        refused = await on.ask("POST", "/api/v1/generations", data=raw)
        assert (refused.status, refused.code) == (400, "validation_failed")


async def test_a_body_that_is_too_large() -> None:
    async with running_sandbox() as on:
        refused = await on.ask("POST", "/api/v1/generations", data=io.BytesIO(b"x" * (1024 * 1024 + 1)))
        assert (refused.status, refused.code) == (413, "body_too_large")


async def test_validation_names_what_is_wrong_and_buys_nothing() -> None:
    async with running_sandbox() as on:
        refused = await on.order(params={"aspect_ratio": "7:1"}, files=[])
        assert (refused.status, refused.code) == (400, "validation_failed")
        assert "aspect_ratio" in refused.json["error"]["message"]
        assert "files" in refused.json["error"]["message"]
        assert on.sandbox.request_log.purchases == 0


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
async def test_unknown_paths_and_methods(method: str, path: str, status: int, code: str) -> None:
    async with running_sandbox() as on:
        refused = await on.ask(method, path)
        assert (refused.status, refused.code) == (status, code)
        assert ("Allow" in refused.headers) is (status == 405)


async def test_a_mistake_of_the_sandbox_is_an_internal_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rivya_async.sandbox.api.problems", lambda *_: 1 / 0)
    async with running_sandbox() as on:
        refused = await on.order()
        assert (refused.status, refused.code) == (500, "internal_error")
        assert "ZeroDivisionError" in caplog.text


async def test_every_refusal_has_its_own_request_id() -> None:
    async with running_sandbox() as on:
        replies = [await on.ask("GET", "/nowhere") for _ in range(3)]
        assert len({reply.json["error"]["requestId"] for reply in replies}) == 3


async def test_a_client_that_leaves_in_mid_body_buys_nothing() -> None:
    async with running_sandbox() as on:
        host, port = "127.0.0.1", int(on.sandbox.base_url.rpartition(":")[2])
        _, writer = await asyncio.open_connection(host, port)
        writer.write(
            b"POST /api/v1/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
            b"Authorization: Bearer " + on.sandbox.api_key.encode() + b"\r\n\r\n{"
        )
        await writer.drain()
        await until(lambda: on.sandbox.request_log.in_flight == 1)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        await until(lambda: on.sandbox.request_log.in_flight == 0)
        assert on.sandbox.request_log.purchases == 0
        assert [request.status for request in on.sandbox.request_log] == [400]


# --- idempotency ------------------------------------------------------------------------------------------------------


async def test_a_replay_is_the_first_answer_byte_for_byte() -> None:
    async with running_sandbox() as on:
        first = await on.order(idempotency_key="order-42", params={"aspect_ratio": "1:1", "x": {"a": 1, "b": 2}})
        on.clock.now += 3600
        body = '{"params":{"x":{"b":2,"a":1},"aspect_ratio":"1:1"},\n"prompt":"A lighthouse at dusk","model":"z-image"}'
        again = await on.ask("POST", "/api/v1/generations", data=body, headers={"Idempotency-Key": "order-42"})
        assert (again.status, again.raw) == (200, first.raw)
        assert on.sandbox.credits == 999_999


async def test_another_body_under_the_key_is_a_conflict_for_a_day() -> None:
    async with running_sandbox() as on:
        await on.order(idempotency_key="order-42")
        refused = await on.order(idempotency_key="order-42", prompt="Another")
        assert (refused.status, refused.code) == (409, "idempotency_conflict")
        on.clock.now += DAY
        assert (await on.order(idempotency_key="order-42", prompt="Another")).status == 200


async def test_keys_are_the_accounts_own() -> None:
    async with running_sandbox() as on:
        ids = {
            (await on.order(idempotency_key="order-42", key=key)).json["id"]
            for key in (on.sandbox.api_key, on.sandbox.add_key(), on.sandbox.add_key(credits=5))
        }
        assert len(ids) == 2


async def test_a_refusal_is_not_remembered() -> None:
    async with running_sandbox(credits=0) as on:
        assert (await on.order(idempotency_key="order-42", prompt="")).code == "validation_failed"
        assert (await on.order(idempotency_key="order-42")).code == "insufficient_credits"
        on.sandbox.service_state.accounts["main"].credits = 1
        assert (await on.order(idempotency_key="order-42")).status == 200


@pytest.mark.parametrize(("length", "status"), [(0, 400), (1, 200), (255, 200), (256, 400)])
async def test_how_long_a_key_may_be(length: int, status: int) -> None:
    async with running_sandbox() as on:
        assert (await on.order(idempotency_key="k" * length)).status == status


# --- the documents ----------------------------------------------------------------------------------------------------


async def test_the_models() -> None:
    async with running_sandbox() as on:
        listing = (await on.ask("GET", "/api/v1/models", key="")).json
        assert listing["object"] == "list"
        assert {"id", "params", "base_credits", "api_status"} <= set(listing["data"][0])
        assert "_meta" not in listing


# --- the files --------------------------------------------------------------------------------------------------------


async def test_a_real_picture_comes_out() -> None:
    async with running_sandbox() as on:
        done = (await finished(on)).json
        picture = await fetch(on, done["result"]["primary_url"])
        assert (picture.status, picture.headers["Content-Type"]) == (200, "image/png")
        assert picture.raw.startswith(b"\x89PNG\r\n\x1a\n")
        assert int(picture.headers["Content-Length"]) == len(picture.raw)


@pytest.mark.usefixtures("quick_paint")
async def test_several_images_are_several_files() -> None:
    async with running_sandbox() as on:
        done = (await finished(on, model="seedream-4-0", params={"max_images": 3, "seed": 7})).json
        urls = done["result"]["urls"]
        assert [url.rpartition("/")[2] for url in urls] == ["0.png", "1.png", "2.png"]
        assert [(await fetch(on, url)).raw for url in urls] == [b"0:00000007", b"1:00000007", b"2:00000007"]


@pytest.mark.usefixtures("quick_paint")
async def test_there_is_no_file_before_success_nor_under_another_name() -> None:
    async with running_sandbox() as on:
        task_id = await on.bought()
        assert (await fetch(on, f"/results/{task_id}/0.png")).code == "not_found"
        on.clock.now += 3600
        assert (await fetch(on, f"/results/{task_id}/0.png")).status == 200
        for name in ("1.png", "0.jpg", "0", "-1.png", "00.png"):
            assert (await fetch(on, f"/results/{task_id}/{name}")).code == "not_found"
        assert (await fetch(on, "/results/task_missing/0.png")).code == "not_found"
        failed = (await finished(on, prompt=FAIL_MARKER)).json
        assert (await fetch(on, f"/results/{failed['id']}/0.png")).code == "not_found"


@pytest.mark.usefixtures("quick_paint")
@pytest.mark.parametrize(
    ("headers", "status", "start", "stop"),
    [
        ({"Range": "bytes=0-3"}, 206, 0, 4),
        ({"Range": "bytes=4-"}, 206, 4, 10),
        ({"Range": "bytes=-3"}, 206, 7, 10),
        ({"Range": "bytes=8-99"}, 206, 8, 10),
        ({"Range": "bytes=10-"}, 416, 0, 0),
        ({"Range": "bytes=x"}, 200, 0, 10),
        ({"Range": "bytes=0-3", "If-Range": '"another file"'}, 200, 0, 10),
        ({}, 200, 0, 10),
    ],
)
async def test_parts_of_a_file(headers: dict[str, str], status: int, start: int, stop: int) -> None:
    async with running_sandbox() as on:
        url = (await finished(on, model="seedream-3-0", params={"seed": 5})).json["result"]["primary_url"]
        whole = b"0:00000005"
        part = await fetch(on, url, **headers)
        assert (part.status, part.raw) == (status, whole[start:stop])
        assert part.headers["Accept-Ranges"] == "bytes"
        assert part.headers.get("Content-Range") == {
            206: f"bytes {start}-{stop - 1}/10",
            416: "bytes */10",
        }.get(status)
        resumed = await fetch(on, url, Range="bytes=1-", **{"If-Range": part.headers["ETag"]})
        assert (resumed.status, resumed.raw) == (206, whole[1:])


@pytest.mark.usefixtures("quick_paint")
async def test_links_that_expire() -> None:
    async with running_sandbox(link_lifetime=60) as on:
        job = (await finished(on)).json
        url = job["result"]["primary_url"]
        assert (await fetch(on, url)).status == 200
        on.clock.now += 60
        expired = await fetch(on, url)
        assert (expired.status, expired.raw) == (403, b"The link has expired.\n")
        fresh = (await on.look(job["id"])).json["result"]["primary_url"]
        assert (await fetch(on, fresh)).status == 200
        for odd in ("", "?expires=", "?expires=never", "?expires=nan"):
            assert (await fetch(on, url.partition("?")[0] + odd)).status == 403


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_a_lifetime_that_makes_no_sense(seconds: float) -> None:
    with pytest.raises(ValueError, match="link_lifetime"):
        Sandbox(link_lifetime=seconds)


async def test_files_are_rendered_once_and_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[int] = []

    def counted(brief: Brief) -> Artifact:
        rendered.append(brief.index)
        return painted(brief)

    monkeypatch.setattr(results, "render", counted)
    async with running_sandbox() as on:
        done = (await finished(on, model="seedream-4-0", params={"max_images": 3})).json
        task, shelf = on.sandbox.service_state.tasks[done["id"]], RenderCache(room_bytes=20)
        for index in (0, 1, 0, 2, 0, 1):
            await shelf.fetch(task, f"{index}.png")
        assert rendered == [0, 1, 2, 1]


async def test_without_the_renderers_the_answer_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(brief: Brief) -> Artifact:
        raise ImportError("install rivya-async[sandbox]")

    monkeypatch.setattr(results, "render", broken)
    async with running_sandbox() as on:
        refused = await fetch(on, (await finished(on)).json["result"]["primary_url"])
        assert (refused.status, refused.code) == (500, "internal_error")
        assert "rivya-async[sandbox]" in refused.json["error"]["message"]


# --- the server -------------------------------------------------------------------------------------------------------


async def test_the_default_key_follows_the_seed() -> None:
    assert Sandbox(seed=1).api_key == Sandbox(seed=1).api_key != Sandbox(seed=2).api_key
    assert re.fullmatch(r"rvya_sk_[\w-]{32}", Sandbox().api_key)
    async with running_sandbox(api_key="rvya_sk_mine") as on:
        assert (await on.ask("GET", "/api/v1/credits", key="rvya_sk_mine")).status == 200


async def test_it_closes_at_once_with_open_connections_and_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    async with running_sandbox() as on:
        await asyncio.gather(*(on.ask("GET", "/api/v1/models") for _ in range(20)))
        started = asyncio.get_running_loop().time()
        await on.sandbox.aclose()
        assert asyncio.get_running_loop().time() - started < 0.5
        with pytest.raises(aiohttp.ClientConnectorError):
            await on.ask("GET", "/api/v1/models")
        await on.sandbox.aclose()
    assert asyncio.all_tasks() == before


async def test_it_can_go_down_and_come_back_on_its_port_with_all_it_knew() -> None:
    async with running_sandbox() as on:
        task_id, address = await on.bought(), on.sandbox.base_url
        await on.sandbox.aclose()
        await on.sandbox.start()
        assert on.sandbox.base_url == address
        assert (await on.look(task_id)).status == 200


async def test_starting_twice_or_on_a_taken_port_fails_and_leaves_it_usable() -> None:
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


async def test_an_ipv6_address_is_written_in_brackets() -> None:
    try:
        async with Sandbox(host="::1") as sandbox:
            assert sandbox.base_url.startswith("http://[::1]:")
    except OSError:
        pytest.skip("this machine has no IPv6")


async def test_a_client_may_wait_for_100_continue() -> None:
    async with running_sandbox() as on:
        headers = {"Authorization": f"Bearer {on.sandbox.api_key}"}
        body = {"model": "z-image", "prompt": "x"}
        async with on.http.post("/api/v1/generations", json=body, headers=headers, expect100=True) as response:
            assert response.status == 200


async def test_a_thousand_jobs_at_once_are_a_thousand_jobs() -> None:
    async with running_sandbox(speed=1_000_000) as on:
        replies = await asyncio.gather(*(on.order(idempotency_key=f"order-{n}") for n in range(1000)))
        on.clock.now += 1
        looks = await asyncio.gather(*(on.look(reply.json["id"]) for reply in replies))
        assert {look.json["status"] for look in looks} == {"succeeded"}
        assert on.sandbox.credits == 999_000
        assert set(on.sandbox.request_log.purchases_by_key.values()) == {1}
        assert on.sandbox.request_log.count(SUBMIT) == 1000
