"""The record of what was request_log: what can be asserted, and that it stays true under drops, shutdown and load."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from rivya_async.sandbox import LoggedRequest, RequestLog, request_log
from tests.sandbox.sandbox_kit import POLL, SUBMIT, running_sandbox, until


def note(log: RequestLog, path: str, *, route: str | None = None, method: str = "GET") -> None:
    log.record_arrival(route, method, None)
    log.record_response(LoggedRequest(method, path, route, None, 0.0, 200, None, None, has_authorization=False))


def test_the_log_is_bounded_and_the_counters_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "LOG_LENGTH", 3)
    log = RequestLog()
    for number in range(5):
        note(log, f"/{number}", route=POLL)
    note(log, "/x", method="DELETE")
    assert [request.path for request in log] == ["/3", "/4", "/x"]
    assert len(log) == 3
    assert (log.count(), log.count(POLL), log.count(method="DELETE"), log.count(SUBMIT)) == (6, 5, 1, 0)
    assert log.count(POLL, "DELETE") == 0


def test_requests_in_flight_survive_a_clear() -> None:
    log = RequestLog()
    log.record_arrival(POLL, "GET", None)
    log.record_arrival(POLL, "GET", None)
    log.record_response(LoggedRequest("GET", "/", POLL, None, 0.0, 200, None, None, has_authorization=False))
    assert (log.in_flight, log.peak_in_flight) == (1, 2)
    log.clear()
    assert (log.in_flight, log.peak_in_flight, log.count(), len(log)) == (1, 1, 0, 0)


def test_purchases_by_key_cannot_be_written_by_a_reader() -> None:
    log = RequestLog()
    log.record_purchase("a")
    log.record_purchase(None)
    assert (log.purchases, dict(log.purchases_by_key)) == (2, {"a": 1})
    with pytest.raises(TypeError):
        log.purchases_by_key["a"] = 2  # type: ignore[index]


async def test_a_purchase_and_its_look_are_on_record() -> None:
    async with running_sandbox() as on:
        task_id = (await on.order(idempotency_key="order-42")).json["id"]
        await on.look(task_id)
        await on.ask("GET", "/api/v1/models", key="")
        await on.ask("GET", "/nowhere")
        bought, looked, listed, lost = on.sandbox.request_log
        assert (bought.method, bought.route, bought.idempotency_key) == ("POST", SUBMIT, "order-42")
        assert (bought.task_id, bought.status, bought.has_authorization) == (task_id, 200, True)
        assert b"lighthouse" in (bought.body or b"")
        assert (looked.route, looked.path) == (POLL, f"/api/v1/generations/{task_id}")
        assert (looked.task_id, looked.body) == (task_id, None)
        assert (listed.has_authorization, listed.task_id) == (False, None)
        assert (lost.route, lost.status) == (None, 404)
        assert bought.at <= looked.at <= asyncio.get_running_loop().time()
        assert on.sandbox.request_log.idempotency_keys == {"order-42"}


async def test_dropped_requests_are_on_record_too() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(route=SUBMIT, drop=True, act=True, times=1)
        with pytest.raises(aiohttp.ClientError):
            await on.order(idempotency_key="order-42")
        (dropped,) = on.sandbox.request_log
        assert dropped.status is None
        assert dropped.task_id in on.sandbox.service_state.tasks
        assert on.sandbox.request_log.count(SUBMIT) == on.sandbox.request_log.attempts("order-42") == 1


async def test_a_replay_is_an_attempt_and_no_purchase() -> None:
    async with running_sandbox() as on:
        for _ in range(3):
            await on.order(idempotency_key="order-42")
        await on.order()
        assert on.sandbox.request_log.attempts("order-42") == 3
        assert on.sandbox.request_log.attempts("other") == 0
        assert on.sandbox.request_log.purchases_by_key == {"order-42": 1}
        assert on.sandbox.request_log.purchases == 2
        assert len({request.task_id for request in on.sandbox.request_log}) == 2


async def test_the_peak_in_flight_is_what_was_open_at_once() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(delay=0.05)
        await asyncio.gather(*(on.ask("GET", "/api/v1/models") for _ in range(7)))
        assert on.sandbox.request_log.peak_in_flight == 7
        assert on.sandbox.request_log.in_flight == 0


async def test_a_request_cut_off_by_the_end_of_the_sandbox_is_on_record() -> None:
    async with running_sandbox() as on:
        on.sandbox.faults.add(delay=3600)
        waiting = asyncio.create_task(on.ask("GET", "/api/v1/models"))
        await until(lambda: on.sandbox.request_log.in_flight > 0)
        await on.sandbox.aclose()
        with pytest.raises(aiohttp.ClientError):
            await waiting
        (cut,) = on.sandbox.request_log
        assert (cut.status, on.sandbox.request_log.in_flight) == (None, 0)
