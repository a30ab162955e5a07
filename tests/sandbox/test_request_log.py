"""The request log, also under drops, shutdown and load."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from rivya_async.sandbox import LoggedRequest, RequestLog, request_log
from tests.sandbox.sandbox_client import POLL, SUBMIT, running_sandbox, wait_until


def record(log: RequestLog, path: str, *, route: str | None = None, method: str = "GET") -> None:
    log.record_arrival(route, method, None)
    log.record_response(LoggedRequest(method, path, route, None, 0.0, 200, None, None, has_authorization=False))


def test_log_is_bounded_and_counters_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "LOG_LENGTH", 3)
    log = RequestLog()
    for number in range(5):
        record(log, f"/{number}", route=POLL)
    record(log, "/x", method="DELETE")
    assert [request.path for request in log] == ["/3", "/4", "/x"]
    assert len(log) == 3
    assert (log.count(), log.count(POLL), log.count(method="DELETE"), log.count(SUBMIT)) == (6, 5, 1, 0)
    assert log.count(POLL, "DELETE") == 0


def test_clear_keeps_requests_in_flight() -> None:
    log = RequestLog()
    log.record_arrival(POLL, "GET", None)
    log.record_arrival(POLL, "GET", None)
    log.record_response(LoggedRequest("GET", "/", POLL, None, 0.0, 200, None, None, has_authorization=False))
    assert (log.in_flight, log.peak_in_flight) == (1, 2)
    log.clear()
    assert (log.in_flight, log.peak_in_flight, log.count(), len(log)) == (1, 1, 0, 0)


def test_purchases_by_key_is_read_only() -> None:
    log = RequestLog()
    log.record_purchase("a")
    log.record_purchase(None)
    assert (log.purchases, dict(log.purchases_by_key)) == (2, {"a": 1})
    with pytest.raises(TypeError):
        log.purchases_by_key["a"] = 2  # type: ignore[index]


async def test_logs_purchase_and_poll() -> None:
    async with running_sandbox() as client:
        task_id = (await client.submit(idempotency_key="order-42")).json["id"]
        await client.poll(task_id)
        await client.request("GET", "/api/v1/models", key="")
        await client.request("GET", "/nowhere")
        bought, looked, list_objects, lost = client.sandbox.request_log
        assert (bought.method, bought.route, bought.idempotency_key) == ("POST", SUBMIT, "order-42")
        assert (bought.task_id, bought.status, bought.has_authorization) == (task_id, 200, True)
        assert b"lighthouse" in (bought.body or b"")
        assert (looked.route, looked.path) == (POLL, f"/api/v1/generations/{task_id}")
        assert (looked.task_id, looked.body) == (task_id, None)
        assert (list_objects.has_authorization, list_objects.task_id) == (False, None)
        assert (lost.route, lost.status) == (None, 404)
        assert bought.at <= looked.at <= asyncio.get_running_loop().time()
        assert client.sandbox.request_log.idempotency_keys == {"order-42"}


async def test_logs_dropped_requests() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(route=SUBMIT, drop=True, act=True, times=1)
        with pytest.raises(aiohttp.ClientError):
            await client.submit(idempotency_key="order-42")
        (dropped,) = client.sandbox.request_log
        assert dropped.status is None
        assert dropped.task_id in client.sandbox.service_state.tasks
        assert client.sandbox.request_log.count(SUBMIT) == client.sandbox.request_log.attempts("order-42") == 1


async def test_replay_is_attempt_without_purchase() -> None:
    async with running_sandbox() as client:
        for _ in range(3):
            await client.submit(idempotency_key="order-42")
        await client.submit()
        assert client.sandbox.request_log.attempts("order-42") == 3
        assert client.sandbox.request_log.attempts("other") == 0
        assert client.sandbox.request_log.purchases_by_key == {"order-42": 1}
        assert client.sandbox.request_log.purchases == 2
        assert len({request.task_id for request in client.sandbox.request_log}) == 2


async def test_peak_in_flight_counts_concurrent_requests() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(delay=0.05)
        await asyncio.gather(*(client.request("GET", "/api/v1/models") for _ in range(7)))
        assert client.sandbox.request_log.peak_in_flight == 7
        assert client.sandbox.request_log.in_flight == 0


async def test_logs_requests_interrupted_by_close() -> None:
    async with running_sandbox() as client:
        client.sandbox.faults.add(delay=3600)
        waiting = asyncio.create_task(client.request("GET", "/api/v1/models"))
        await wait_until(lambda: client.sandbox.request_log.in_flight > 0)
        await client.sandbox.aclose()
        with pytest.raises(aiohttp.ClientError):
            await waiting
        (cut,) = client.sandbox.request_log
        assert (cut.status, client.sandbox.request_log.in_flight) == (None, 0)
