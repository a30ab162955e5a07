"""The assertions pass for settled sandboxes and name the problem otherwise."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from rivya_async import RivyaSession, WebhookEvent
from rivya_async.receiver import WebhookReceiver
from rivya_async.sandbox import Sandbox
from rivya_async.sandbox.service_state import Task
from rivya_async.testing import assert_all_settled, assert_no_double_purchase, spent_credits
from rivya_async.testing.sandbox_thread import run_in_thread


async def test_assertions_after_complete_jobs() -> None:
    async with Sandbox(speed=1000) as sandbox:
        async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
            jobs = await asyncio.gather(*(session.generate("z-image", f"Kite {n}") for n in range(3)))
            failed = await session.submit("z-image", "[fail]")
            await session.wait_for(failed, raise_on_failure=False)
            assert_all_settled(sandbox)
            assert_no_double_purchase(sandbox)
            assert spent_credits(sandbox) == sum(job.final_credits or 0 for job in jobs)
            left = [(await session.submit("z-image", f"Kite {n}")).id for n in range(12)]
        with pytest.raises(AssertionError, match="12 purchased, end not reported") as raised:
            assert_all_settled(sandbox)
        assert str(raised.value).endswith("and 2 more")
        assert left[0] in str(raised.value)


async def test_double_purchase_names_key() -> None:
    async with Sandbox() as sandbox:
        for key in ("order-1", "order-1", "order-2"):
            sandbox.request_log.record_purchase(key)
        with pytest.raises(AssertionError, match="1 purchased more than once: 'order-1' 2 times"):
            assert_no_double_purchase(sandbox)


async def test_key_is_scoped_to_account_and_route() -> None:
    async with Sandbox(speed=1000) as sandbox:
        for key in (sandbox.api_key, sandbox.add_key("team-b")):
            async with RivyaSession(key, base_url=sandbox.base_url) as session:
                await session.submit("z-image", "A kite", idempotency_key="order-1")
                await session.chat.completions.create("gpt-5-2-chat", "A kite?", idempotency_key="order-1")
        assert sandbox.request_log.purchases_by_key["order-1"] == 4
        assert_no_double_purchase(sandbox)


async def test_lost_poll_response_does_not_settle() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
            job = await session.submit("z-image", "A kite")
            sandbox.faults.add(route="GET /api/v1/generations/{task_id}", drop=True, act=True)
            with pytest.raises(TimeoutError):
                await session.wait_for(job, timeout=0.05)
        assert sandbox.unobserved_tasks == [job.id]


@pytest.mark.parametrize("fault", [None, {"drop": True, "act": True}], ids=["answered late", "answer lost"])
async def test_webhook_delivery_settles_before_its_response(
    fault: dict[str, Any] | None,
) -> None:
    stopped = asyncio.Event()

    async def slow(_: WebhookEvent) -> None:
        await stopped.wait()

    with socket.create_server(("127.0.0.1", 0)) as here:
        url = f"http://127.0.0.1:{here.getsockname()[1]}/"
        async with (
            Sandbox(speed=1000, allow_local_webhooks=True) as sandbox,
            RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
        ):
            endpoint = await session.webhooks.create("Mine", url, ["generation.succeeded"])
            if fault is not None:
                sandbox.faults.add(route="webhook delivery", **fault)
            receiver = WebhookReceiver(endpoint.signing_secret or "", session=session)
            receiver.on("*", slow)
            runner = web.AppRunner(receiver.aiohttp_app())
            await runner.setup()
            await web.SockSite(runner, here).start()
            await session.generate("z-image", "A kite")
            assert sandbox.request_log.count("GET /api/v1/generations/{task_id}") == 0
            assert_all_settled(sandbox)
            stopped.set()
            await runner.cleanup()
            assert_all_settled(sandbox)


def test_assertions_are_thread_safe() -> None:
    sandbox = Sandbox()
    task = Task(id="", account_id="main", model="z-image", category="image", created_at=0.0, starts_at=0.0, ends_at=0.0)
    stopped = threading.Event()

    def work() -> None:
        for number in itertools.count():
            if stopped.is_set():
                return
            name = f"{number % 5000}"
            sandbox.request_log.record_arrival(name, "POST", name)
            sandbox.request_log.record_purchase(name)
            sandbox.request_log.record_observed(name)
            sandbox.service_state.tasks[name] = task
            if number % 5000 == 0:
                sandbox.request_log.clear()
                sandbox.service_state.tasks.clear()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(300):
            with suppress(AssertionError):
                assert_no_double_purchase(sandbox)
            assert sandbox.unobserved_tasks is not None
            assert sandbox.request_log.count() >= 0
            assert sandbox.request_log.count_status(200) == 0
            assert sandbox.request_log.route_counts() is not None
    finally:
        stopped.set()
        worker.join()
        sys.setswitchinterval(interval)


def test_run_in_thread_raises_errors(tmp_path: Path) -> None:
    with run_in_thread(Sandbox()) as first, pytest.raises(OSError, match="in use"):  # noqa: SIM117
        with run_in_thread(Sandbox(port=int(first.base_url.rpartition(":")[2]))):
            pass
    with pytest.raises(ZeroDivisionError), run_in_thread(Sandbox()):
        raise ZeroDivisionError
