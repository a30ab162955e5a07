"""The selection of requests by faults, and their effect on responses."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import aiohttp
import pytest

from rivya_async.sandbox import Fault, FaultRegistry
from rivya_async.sandbox.faults.fault import inject_fault
from rivya_async.sandbox.responses import ApiResponse
from tests.sandbox.sandbox_client import POLL, SUBMIT, SandboxClient, running_sandbox, wait_until

CREDITS = "GET /api/v1/credits"
ROUTES = [SUBMIT, POLL, CREDITS]


def match_requests(
    faults: FaultRegistry, count: int, route: str | None = SUBMIT, key: str | None = None
) -> list[Fault | None]:
    path = "/api/v1/x" if route is None else route.partition(" ")[2]
    return [faults.match(route, path, key) for _ in range(count)]


def matched_numbers(count: int, **fields: Any) -> list[int]:
    """Returns the numbers, from 1, of the requests to which a fault with these fields is applied."""
    faults = FaultRegistry(ROUTES)
    faults.add(drop=True, **fields)
    return [number for number, fault in enumerate(match_requests(faults, count), start=1) if fault is not None]


async def get_balance(client: SandboxClient) -> Any:
    return await client.request("GET", "/api/v1/credits")


# --- selection --------------------------------------------------------------------------------------------------------


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
def test_selectors_choose_requests(fields: dict[str, Any], numbers: list[int]) -> None:
    assert matched_numbers(4, **fields) == numbers


def test_rate_selects_share_of_requests_by_seed() -> None:
    hits = matched_numbers(2000, rate=0.2)
    assert 330 <= len(hits) <= 470
    assert hits == matched_numbers(2000, rate=0.2)
    other = FaultRegistry(ROUTES, seed=1)
    other.add(drop=True, rate=0.2)
    assert [number for number, fault in enumerate(match_requests(other, 2000), start=1) if fault] != hits


def test_no_route_covers_api_routes_only() -> None:
    faults = FaultRegistry(ROUTES)
    fault = faults.add(drop=True)
    assert match_requests(faults, 1, None) == [fault]
    assert faults.match("GET /results/{task_id}/{name}", "/results/task_a/0.png", None) is None


def test_key_is_counted_separately() -> None:
    faults = FaultRegistry(ROUTES)
    fault = faults.add(drop=True, key="a", nth=2)
    seen = [faults.match(SUBMIT, "/api/v1/generations", key) for key in ("a", "b", None, "a")]
    assert seen == [None, None, None, fault]


def test_first_match_applies_and_all_count() -> None:
    faults = FaultRegistry(ROUTES)
    first = faults.add(status=500, nth=1)
    second = faults.add(status=503, nth=2)
    last = faults.add(status=429)
    assert match_requests(faults, 3) == [first, second, last]
    assert [faults.hits(fault) for fault in (first, second, last)] == [1, 1, 1]


def test_faults_can_be_removed() -> None:
    faults = FaultRegistry(ROUTES)
    fault = Fault(drop=True)
    assert faults.add(fault) is fault
    faults.add(drop=True, nth=99)
    faults.remove(fault)
    assert match_requests(faults, 2) == [None, None]
    assert faults.hits(fault) == 0
    with pytest.raises(ValueError, match="not active"):
        faults.remove(fault)
    faults.clear()
    assert match_requests(faults, 100) == [None] * 100


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
def test_rejects_invalid_faults(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        FaultRegistry(ROUTES).add(**fields)


def test_rejects_fault_with_fields() -> None:
    with pytest.raises(ValueError, match="not both"):
        FaultRegistry(ROUTES).add(Fault(drop=True), nth=1)


def test_repr_abbreviates_body() -> None:
    assert len(repr(Fault(body=b"x" * 1_000_000))) < 500


# --- effect on a response ---------------------------------------------------------------------------------------------


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
def test_fault_alters_response(fields: dict[str, Any], status: int, content_type: str, body: bytes) -> None:
    response = inject_fault(ApiResponse(b"true"), Fault(**fields), "req_1")
    assert (response.status, response.content_type, response.body) == (status, content_type, body)


@pytest.mark.parametrize(
    ("given", "sent"), [(2, "2"), (1.5, "1.5"), (0, "0"), ("+1", "+1"), (" 1\t", " 1\t"), (-1, "-1"), (math.inf, "inf")]
)
def test_retry_after_is_sent_unchanged(given: float | str, sent: str) -> None:
    assert inject_fault(ApiResponse(b""), Fault(status=429, retry_after=given), "req_1").headers == {
        "Retry-After": sent
    }


def test_header_replacement_is_case_insensitive() -> None:
    response = inject_fault(ApiResponse(b"", headers={"ETag": "a", "X": "1"}), Fault(headers={"etag": "b"}), "req_1")
    assert response.headers == {"X": "1", "etag": "b"}


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
async def test_error_status_has_error_body_and_no_purchase(fields: dict[str, Any], status: int, code: str) -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(route=SUBMIT, times=1, **fields)
        reply = await client.submit(idempotency_key="order-42")
        assert (reply.status, reply.code) == (status, code)
        assert reply.headers.get("Retry-After") == ("3" if "retry_after" in fields else None)
        assert client.sandbox.request_log.purchases == 0
        assert (await client.submit(idempotency_key="order-42")).status == 200
        assert client.sandbox.request_log.purchases_by_key == {"order-42": 1}


async def test_429_can_have_empty_body() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(status=429, body=b"")
        reply = await get_balance(client)
        assert (reply.status, reply.raw) == (429, b"")


@pytest.mark.parametrize(("act", "bought"), [(True, 1), (False, 0)])
async def test_dropped_submit_is_purchased_at_most_once(*, act: bool, bought: int) -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(route=SUBMIT, nth=1, drop=True, act=act)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.submit(idempotency_key="order-42")
        assert client.sandbox.request_log.purchases == bought
        first, again = await client.submit(idempotency_key="order-42"), await client.submit(idempotency_key="order-42")
        assert first.raw == again.raw
        assert client.sandbox.request_log.attempts("order-42") == 3
        assert client.sandbox.request_log.purchases_by_key == {"order-42": 1}


async def test_replaced_response_can_hide_purchase() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(route=SUBMIT, status=502, body="<html>", act=True, nth=1)
        reply = await client.submit(idempotency_key="order-42")
        assert (reply.status, reply.headers["Content-Type"]) == (502, "text/html; charset=utf-8")
        assert client.sandbox.request_log.purchases == 1


async def test_success_status_keeps_true_body() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(route=SUBMIT, status=201)
        reply = await client.submit()
        assert (reply.status, reply.json["status"]) == (201, "queued")


@pytest.mark.parametrize("length", [0, 1, 10, 10_000])
async def test_truncated_response_has_full_content_length(length: int) -> None:
    async with running_sandbox() as client:
        whole = (await get_balance(client)).raw
        client.sandbox.faults.add(route=CREDITS, truncate=length)
        headers = {"Authorization": f"Bearer {client.sandbox.api_key}"}
        async with client.http.get("/api/v1/credits", headers=headers) as response:
            assert (response.status, response.content_length) == (200, len(whole))
            if length >= len(whole):
                assert await response.read() == whole
            else:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.read()
        client.sandbox.faults.clear()
        assert (await get_balance(client)).raw == whole


async def test_stalled_response_lasts_until_client_disconnects() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(route=CREDITS, truncate=3, stall=True, times=1)
        headers = {"Authorization": f"Bearer {client.sandbox.api_key}"}
        async with client.http.get("/api/v1/credits", headers=headers) as response:
            assert await response.content.readexactly(3) == b'{"c'
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await response.content.read()
        assert (await get_balance(client)).status == 200


async def test_unusual_status_can_be_truncated() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(status=599, truncate=5)
        async with client.http.get("/api/v1/models") as response:
            assert (response.status, response.reason) == (599, "Unknown")
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()


async def test_delayed_response_keeps_key_claimed() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(route=SUBMIT, nth=1, delay=0.2, act=True)
        slow = asyncio.create_task(client.submit(idempotency_key="order-42"))
        await wait_until(lambda: client.sandbox.request_log.purchases > 0)
        assert (await client.submit(idempotency_key="order-42")).code == "idempotency_conflict"
        first = await slow
        assert (await client.submit(idempotency_key="order-42")).raw == first.raw
        assert client.sandbox.request_log.purchases == 1


async def test_cancelled_slow_submit_is_purchased() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(route=SUBMIT, nth=1, delay=0.1, act=True)
        slow = asyncio.create_task(client.submit(idempotency_key="order-42"))
        await wait_until(lambda: client.sandbox.request_log.purchases > 0)
        slow.cancel()
        await asyncio.wait({slow})
        await wait_until(lambda: client.sandbox.request_log.in_flight == 0)
        assert (await client.submit(idempotency_key="order-42")).status == 200
        assert client.sandbox.request_log.purchases == 1


async def test_delay_precedes_processing() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(route=SUBMIT, delay=0.05)
        slow = asyncio.create_task(client.submit())
        await wait_until(lambda: client.sandbox.request_log.in_flight > 0)
        client.clock.now += 3600
        assert (await slow).json["created_at"] == "2026-05-11T09:00:00.000Z"


async def test_redirect_has_location() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(route=CREDITS, status=307, headers={"Location": "/api/v1/models"})
        reply = await client.request("GET", "/api/v1/credits", allow_redirects=False)
        assert (reply.status, reply.headers["Location"], reply.raw) == (307, "/api/v1/models", b"")


async def test_faults_apply_to_unknown_paths_and_invalid_keys() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(status=503)
        assert (await client.request("GET", "/api/v1/nothing")).status == 503
        assert (await client.request("GET", "/api/v1/credits", key="")).status == 503
        assert (await client.request("GET", "/elsewhere")).status == 404


async def test_body_can_be_huge() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(route=CREDITS, body=b'{"x": "' + b"x" * 5_000_000 + b'"}')
        assert len((await get_balance(client)).raw) == 5_000_009
