"""The assertions name what is wrong."""

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
from rivya_async.sandbox.task import Task
from rivya_async.testing import assert_all_settled, assert_no_double_purchase, spent_credits
from rivya_async.testing.background import running


async def test_what_was_bought_and_settled() -> None:
    async with Sandbox(speed=1000) as sandbox:
        async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
            jobs = await asyncio.gather(*(session.generate("z-image", f"Kite {n}") for n in range(3)))
            failed = await session.submit("z-image", "[fail]")
            await session.wait_for(failed, raise_on_failure=False)
            assert_all_settled(sandbox)
            assert_no_double_purchase(sandbox)
            assert spent_credits(sandbox) == sum(job.final_credits or 0 for job in jobs)
            left = [(await session.submit("z-image", f"Kite {n}")).id for n in range(12)]
        with pytest.raises(AssertionError, match="12 bought, and its end told to nobody") as raised:
            assert_all_settled(sandbox)
        assert str(raised.value).endswith("and 2 more")
        assert left[0] in str(raised.value)


async def test_a_key_that_bought_twice_is_named() -> None:
    async with Sandbox() as sandbox:
        for key in ("order-1", "order-1", "order-2"):
            sandbox.request_log.record_purchase(key)
        with pytest.raises(AssertionError, match="1 bought more than once: 'order-1' 2 times"):
            assert_no_double_purchase(sandbox)


async def test_a_key_is_another_one_in_another_account_and_for_another_noun() -> None:
    async with Sandbox(speed=1000) as sandbox:
        for key in (sandbox.api_key, sandbox.add_key("team-b")):
            async with RivyaSession(key, base_url=sandbox.base_url) as session:
                await session.submit("z-image", "A kite", idempotency_key="order-1")
                await session.chat.completions.create("gpt-5-2-chat", "A kite?", idempotency_key="order-1")
        assert sandbox.request_log.purchases_by_key["order-1"] == 4
        assert_no_double_purchase(sandbox)


async def test_an_end_whose_answer_was_lost_is_not_told() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
            job = await session.submit("z-image", "A kite")
            sandbox.faults.add(route="GET /api/v1/generations/{task_id}", drop=True, act=True)
            with pytest.raises(TimeoutError):
                await session.wait_for(job, timeout=0.05)
        assert sandbox.unobserved_tasks == [job.id]


@pytest.mark.parametrize("fault", [None, {"drop": True, "act": True}], ids=["answered late", "answer lost"])
async def test_an_end_that_a_delivery_has_told_of_is_told_before_the_delivery_is_answered(
    fault: dict[str, Any] | None,
) -> None:
    is_over = asyncio.Event()

    async def slow(_: WebhookEvent) -> None:
        await is_over.wait()

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
            is_over.set()
            await runner.cleanup()
            assert_all_settled(sandbox)


def test_a_sandbox_in_the_background_is_looked_at_while_it_works() -> None:
    """As the fixture's is, from a plain test whose code still runs."""
    sandbox = Sandbox()
    task = Task("", "main", "z-image", "image", "", {}, 0, 1, 0.0, 0.0, 0.0, None)
    is_over = threading.Event()

    def work() -> None:
        for number in itertools.count():
            if is_over.is_set():
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
        is_over.set()
        worker.join()
        sys.setswitchinterval(interval)


def test_a_sandbox_in_the_background_says_what_is_wrong(tmp_path: Path) -> None:
    with running(Sandbox()) as first, pytest.raises(OSError, match="in use"):  # noqa: SIM117
        with running(Sandbox(port=int(first.base_url.rpartition(":")[2]))):
            pass
    with pytest.raises(ZeroDivisionError), running(Sandbox()):
        raise ZeroDivisionError
