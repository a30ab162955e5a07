"""Faults: which requests they hit, as a table; what the client then sees, over real sockets."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import aiohttp
import pytest

from rivya_async.sandbox import Fault, FaultRegistry
from rivya_async.sandbox.faults.injection import inject_fault
from rivya_async.sandbox.responses import ApiResponse
from tests.sandbox.sandbox_kit import POLL, SUBMIT, SandboxClient, running_sandbox, until

CREDITS = "GET /api/v1/credits"
ROUTES = [SUBMIT, POLL, CREDITS]


def struck(faults: FaultRegistry, count: int, route: str | None = SUBMIT, key: str | None = None) -> list[Fault | None]:
    path = "/api/v1/x" if route is None else route.partition(" ")[2]
    return [faults.match(route, path, key) for _ in range(count)]


def hit_numbers(count: int, **fields: Any) -> list[int]:
    """Which of `count` requests a fault with these fields hits, counted from 1."""
    faults = FaultRegistry(ROUTES)
    faults.add(drop=True, **fields)
    return [number for number, fault in enumerate(struck(faults, count), start=1) if fault is not None]


async def balance(on: SandboxClient) -> Any:
    return await on.ask("GET", "/api/v1/credits")


# --- which requests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        ({}, [1, 2, 3, 4]),
        ({"nth": 2}, [2]),
        ({"nth": [1, 4]}, [1, 4]),
        ({"nth": range(2, 99)}, [2, 3, 4]),
        ({"times": 2}, [1, 2]),
        ({"nth": {2, 3, 4}, "times": 2}, [2, 3]),
        ({"rate": 0.0}, []),
        ({"rate": 1.0}, [1, 2, 3, 4]),
        ({"route": SUBMIT}, [1, 2, 3, 4]),
        ({"route": POLL}, []),
        ({"key": "order-42"}, []),
    ],
)
def test_which_of_four_submits_are_hit(fields: dict[str, Any], numbers: list[int]) -> None:
    assert hit_numbers(4, **fields) == numbers


def test_a_rate_is_met_and_follows_the_seed() -> None:
    hits = hit_numbers(2000, rate=0.2)
    assert 330 <= len(hits) <= 470
    assert hits == hit_numbers(2000, rate=0.2)
    other = FaultRegistry(ROUTES, seed=1)
    other.add(drop=True, rate=0.2)
    assert [number for number, fault in enumerate(struck(other, 2000), start=1) if fault] != hits


def test_no_route_means_every_api_route_and_no_file() -> None:
    faults = FaultRegistry(ROUTES)
    fault = faults.add(drop=True)
    assert struck(faults, 1, None) == [fault]
    assert faults.match("GET /results/{task_id}/{name}", "/results/task_a/0.png", None) is None


def test_a_key_narrows_and_is_counted_alone() -> None:
    faults = FaultRegistry(ROUTES)
    fault = faults.add(drop=True, key="a", nth=2)
    seen = [faults.match(SUBMIT, "/api/v1/generations", key) for key in ("a", "b", None, "a")]
    assert seen == [None, None, None, fault]


def test_the_first_fault_that_hits_wins_and_all_count() -> None:
    faults = FaultRegistry(ROUTES)
    first = faults.add(status=500, nth=1)
    second = faults.add(status=503, nth=2)
    last = faults.add(status=429)
    assert struck(faults, 3) == [first, second, last]
    assert [faults.hits(fault) for fault in (first, second, last)] == [1, 1, 1]


def test_faults_come_and_go() -> None:
    faults = FaultRegistry(ROUTES)
    fault = Fault(drop=True)
    assert faults.add(fault) is fault
    faults.add(drop=True, nth=99)
    faults.remove(fault)
    assert struck(faults, 2) == [None, None]
    assert faults.hits(fault) == 0
    with pytest.raises(ValueError, match="not in force"):
        faults.remove(fault)
    faults.clear()
    assert struck(faults, 100) == [None] * 100


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"act": True},
        {"rate": 0.5},
        {"drop": True, "nth": 0},
        {"drop": True, "nth": []},
        {"drop": True, "nth": [0, 1]},
        {"drop": True, "rate": 1.5},
        {"drop": True, "rate": math.nan},
        {"drop": True, "times": 0},
        {"status": 600},
        {"status": 100},
        {"code": "rate_limited"},
        {"code": "rate_limited", "status": 200},
        {"code": "rate_limited", "status": 429, "body": "x"},
        {"delay": -1},
        {"delay": math.inf},
        {"delay": math.nan},
        {"truncate": -1},
        {"stall": True},
        {"drop": True, "status": 500},
        {"drop": True, "body": ""},
        {"drop": True, "headers": {"X": "1"}},
        {"drop": True, "retry_after": 1},
        {"drop": True, "truncate": 1},
        {"headers": {"X": "1\r\nY: 2"}},
        {"headers": {"X\n": "1"}},
        {"retry_after": "1\n"},
        {"drop": True, "route": "POST /generations"},
    ],
)
def test_nonsense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        FaultRegistry(ROUTES).add(**fields)


def test_a_fault_and_fields_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="not both"):
        FaultRegistry(ROUTES).add(Fault(drop=True), nth=1)


def test_a_huge_body_does_not_fill_the_repr() -> None:
    assert len(repr(Fault(body=b"x" * 1_000_000))) < 500


# --- what becomes of an answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status", "content_type", "body"),
    [
        (
            {"status": 502, "body": "<html>Bad gateway</html>"},
            502,
            "text/html; charset=utf-8",
            b"<html>Bad gateway</html>",
        ),
        ({"body": b"{"}, 200, "application/json", b"{"),
        ({"body": b""}, 200, "application/json", b""),
        ({"status": 202}, 202, "application/json", b"true"),
        ({"status": 302, "headers": {"Location": "http://x/"}}, 302, "application/json", b""),
        ({"headers": {"content-type": "text/plain"}}, 200, "text/plain", b"true"),
        ({"retry_after": 2}, 200, "application/json", b"true"),
    ],
)
def test_altered_answers(fields: dict[str, Any], status: int, content_type: str, body: bytes) -> None:
    answer = inject_fault(ApiResponse(b"true"), Fault(**fields), "req_1")
    assert (answer.status, answer.content_type, answer.body) == (status, content_type, body)


@pytest.mark.parametrize(
    ("given", "sent"), [(2, "2"), (1.5, "1.5"), (0, "0"), ("+1", "+1"), (" 1\t", " 1\t"), (-1, "-1"), (math.inf, "inf")]
)
def test_retry_after_is_sent_as_told(given: float | str, sent: str) -> None:
    assert inject_fault(ApiResponse(b""), Fault(status=429, retry_after=given), "req_1").headers == {
        "Retry-After": sent
    }


def test_a_header_replaces_one_of_its_name_in_any_case() -> None:
    answer = ApiResponse(b"", headers={"ETag": "a", "X": "1"}).with_headers({"etag": "b"})
    assert answer.headers == {"X": "1", "etag": "b"}


# --- over sockets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"status": 429, "retry_after": 3}, 429, "rate_limited"),
        ({"status": 503}, 503, "public_api_disabled"),
        ({"status": 503, "code": "internal_error"}, 503, "internal_error"),
        ({"status": 500}, 500, "internal_error"),
        ({"status": 425}, 425, "validation_failed"),
    ],
)
async def test_a_status_comes_with_the_envelope_and_nothing_is_bought(
    fields: dict[str, Any], status: int, code: str
) -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(route=SUBMIT, times=1, **fields)
        reply = await on.order(idempotency_key="order-42")
        assert (reply.status, reply.code) == (status, code)
        assert reply.headers.get("Retry-After") == ("3" if "retry_after" in fields else None)
        assert on.sandbox.request_log.purchases == 0
        assert (await on.order(idempotency_key="order-42")).status == 200
        assert on.sandbox.request_log.purchases_by_key == {"order-42": 1}


async def test_a_bare_429() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(status=429, body=b"")
        reply = await balance(on)
        assert (reply.status, reply.raw) == (429, b"")


@pytest.mark.parametrize(("act", "bought"), [(True, 1), (False, 0)])
async def test_a_dropped_submit_is_bought_or_not_as_told_and_never_twice(*, act: bool, bought: int) -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(route=SUBMIT, nth=1, drop=True, act=act)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await on.order(idempotency_key="order-42")
        assert on.sandbox.request_log.purchases == bought
        first, again = await on.order(idempotency_key="order-42"), await on.order(idempotency_key="order-42")
        assert first.raw == again.raw
        assert on.sandbox.request_log.attempts("order-42") == 3
        assert on.sandbox.request_log.purchases_by_key == {"order-42": 1}


async def test_a_status_in_place_of_an_answer_may_hide_a_purchase() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(route=SUBMIT, status=502, body="<html>", act=True, nth=1)
        reply = await on.order(idempotency_key="order-42")
        assert (reply.status, reply.headers["Content-Type"]) == (502, "text/html; charset=utf-8")
        assert on.sandbox.request_log.purchases == 1


async def test_another_success_status_keeps_the_true_answer() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(route=SUBMIT, status=201)
        reply = await on.order()
        assert (reply.status, reply.json["status"]) == (201, "queued")


@pytest.mark.parametrize("length", [0, 1, 10, 10_000])
async def test_a_truncated_answer_promises_more_than_it_holds(length: int) -> None:
    async with running_sandbox() as on:
        whole = (await balance(on)).raw
        on.sandbox.faults.add(route=CREDITS, truncate=length)
        headers = {"Authorization": f"Bearer {on.sandbox.api_key}"}
        async with on.http.get("/api/v1/credits", headers=headers) as response:
            assert (response.status, response.content_length) == (200, len(whole))
            if length >= len(whole):
                assert await response.read() == whole
            else:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.read()
        on.sandbox.faults.clear()
        assert (await balance(on)).raw == whole


async def test_an_answer_that_stalls_goes_on_until_the_client_goes_away() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(route=CREDITS, truncate=3, stall=True, times=1)
        headers = {"Authorization": f"Bearer {on.sandbox.api_key}"}
        async with on.http.get("/api/v1/credits", headers=headers) as response:
            assert await response.content.readexactly(3) == b'{"c'
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await response.content.read()
        assert (await balance(on)).status == 200


async def test_an_unusual_status_can_be_truncated_too() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(status=599, truncate=5)
        async with on.http.get("/api/v1/models") as response:
            assert (response.status, response.reason) == (599, "Unknown")
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()


async def test_a_slow_answer_after_the_purchase_holds_the_key_until_it_is_out() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(route=SUBMIT, nth=1, delay=0.2, act=True)
        slow = asyncio.create_task(on.order(idempotency_key="order-42"))
        await until(lambda: on.sandbox.request_log.purchases > 0)
        assert (await on.order(idempotency_key="order-42")).code == "idempotency_conflict"
        first = await slow
        assert (await on.order(idempotency_key="order-42")).raw == first.raw
        assert on.sandbox.request_log.purchases == 1


async def test_a_client_that_gives_up_on_a_slow_answer_has_bought() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(route=SUBMIT, nth=1, delay=0.1, act=True)
        slow = asyncio.create_task(on.order(idempotency_key="order-42"))
        await until(lambda: on.sandbox.request_log.purchases > 0)
        slow.cancel()
        await asyncio.wait({slow})
        await until(lambda: on.sandbox.request_log.in_flight == 0)
        assert (await on.order(idempotency_key="order-42")).status == 200
        assert on.sandbox.request_log.purchases == 1


async def test_a_delay_before_acting_acts_at_the_later_time() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(route=SUBMIT, delay=0.05)
        slow = asyncio.create_task(on.order())
        await until(lambda: on.sandbox.request_log.in_flight > 0)
        on.clock.now += 3600
        assert (await slow).json["created_at"] == "2026-05-11T09:00:00.000Z"


async def test_a_redirect_leads_where_it_is_told() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(route=CREDITS, status=307, headers={"Location": "/api/v1/models"})
        reply = await on.ask("GET", "/api/v1/credits", allow_redirects=False)
        assert (reply.status, reply.headers["Location"], reply.raw) == (307, "/api/v1/models", b"")


async def test_faults_also_strike_unknown_paths_and_refused_keys() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(status=503)
        assert (await on.ask("GET", "/api/v1/nothing")).status == 503
        assert (await on.ask("GET", "/api/v1/credits", key="")).status == 503
        assert (await on.ask("GET", "/elsewhere")).status == 404


async def test_an_answer_may_be_far_too_long() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(route=CREDITS, body=b'{"x": "' + b"x" * 5_000_000 + b'"}')
        assert len((await balance(on)).raw) == 5_000_009
