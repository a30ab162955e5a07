"""Webhook deliveries over real sockets, and the faults that apply to them."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from rivya_async._core.errors import SignatureMismatchError
from rivya_async.sandbox import FAIL_MARKER, Fault
from rivya_async.sandbox.openapi import load_document
from rivya_async.sandbox.webhooks import sender
from rivya_async.sandbox.webhooks.endpoints import FAILURES_TO_DISABLE
from tests.sandbox.sandbox_client import running_sandbox, wait_until
from tests.sandbox.webhook_kit import (
    PATH,
    create_endpoint,
    list_objects,
    run_receiver,
    running_webhooks,
    wait_for_deliveries,
)

DELIVERY: Final = "webhook delivery"


@pytest.mark.parametrize(("prompt", "status"), [("A kite", "succeeded"), (f"A kite {FAIL_MARKER}", "failed")])
async def test_delivers_ended_generation(prompt: str, status: str) -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        task_id = await client.submit_task(prompt=prompt)
        await wait_until(lambda: bool(receiver.requests))
        (webhook,) = receiver.requests
        event = webhook.verify(endpoint)
        assert (event.type, event.api_version) == (f"generation.{status}", "2026-05-11")
        assert webhook.event["data"] == (await client.poll(task_id)).json
        (delivery,) = await wait_for_deliveries(client, endpoint, 1)
        assert {**delivery, "created_at": "", "delivered_at": ""} == {
            "id": webhook.headers["Rivya-Delivery-Id"],
            "object": "webhook_delivery",
            "endpoint_id": endpoint["id"],
            "event_id": event.id,
            "event_type": event.type,
            "status": "succeeded",
            "attempt": 1,
            "response_status": 204,
            "error": None,
            "created_at": "",
            "delivered_at": "",
        }
        assert set(delivery) == set(load_document()["components"]["schemas"]["WebhookDelivery"]["required"])
        assert webhook.headers["Content-Type"] == "application/json"
        assert webhook.headers["Rivya-Event-Id"] == event.id
        assert webhook.headers["Rivya-Event-Type"] == event.type
        assert webhook.headers["User-Agent"].startswith("Rivya-Webhooks/")
        assert "Authorization" not in webhook.headers
        assert await list_objects(client, "/api/v1/webhook-events") == [webhook.event]


async def test_retry_has_same_body_and_new_signature() -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        receiver.statuses = [500, 404, 307]
        await client.submit_task()
        newest, *older = await wait_for_deliveries(client, endpoint, 4)
        assert (newest["attempt"], newest["status"]) == (4, "succeeded")
        assert [each["response_status"] for each in older] == [307, 404, 500]
        assert older[0]["error"] == "The receiver answered 307."
        assert len(receiver.requests) == 4  # the redirect was not followed
        assert len({webhook.body for webhook in receiver.requests}) == 1
        assert len({webhook.headers["Rivya-Delivery-Id"] for webhook in receiver.requests}) == 4
        assert (await client.request("GET", f"{PATH}/{endpoint['id']}")).json["failure_count"] == 0


async def test_slow_or_unreachable_receiver_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "TIMEOUT", 0.05)
    async with running_webhooks() as (client, receiver, endpoint):
        receiver.delay = 0.5
        await client.submit_task()
        slow = (await wait_for_deliveries(client, endpoint, 1))[-1]
        assert slow["error"] == "The receiver did not answer within 0.05 seconds."
        gone = await create_endpoint(client, url="http://127.0.0.1:9/")
        await client.request("PATCH", f"{PATH}/{endpoint['id']}", json={"status": "disabled"})
        await client.submit_task()
        rejected = (await wait_for_deliveries(client, gone, 6))[-1]
        assert (rejected["response_status"], rejected["delivered_at"]) == (None, None)
        assert rejected["error"].startswith("The receiver could not be reached")


async def test_failing_endpoint_is_disabled() -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        receiver.statuses = [500] * 100
        for _ in range(4):
            await client.submit_task()
        path = f"{PATH}/{endpoint['id']}"
        async with asyncio.timeout(10):
            while (data := (await client.request("GET", path)).json)["status"] == "active":  # noqa: ASYNC110  it is asked
                await asyncio.sleep(0.005)
        assert data["failure_count"] >= FAILURES_TO_DISABLE
        assert data["disabled_at"]
        webhook = len(receiver.requests)
        await client.submit_task()
        await asyncio.sleep(0.05)
        assert len(receiver.requests) <= webhook + 4


async def test_rotated_secret_signs_next_delivery() -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        rotated = (await client.request("POST", f"{PATH}/{endpoint['id']}/rotate-secret")).json
        await client.submit_task()
        await wait_until(lambda: bool(receiver.requests))
        (webhook,) = receiver.requests
        assert webhook.verify(rotated).type == "generation.succeeded"
        with pytest.raises(SignatureMismatchError):
            webhook.verify(endpoint)


async def test_test_operation_sends_event_and_returns_result() -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        receiver.statuses = [500]
        await client.request("PATCH", f"{PATH}/{endpoint['id']}", json={"status": "disabled"})
        failed, well = [(await client.request("POST", f"{PATH}/{endpoint['id']}/test")).json for _ in range(2)]
        assert (failed["status"], failed["response_status"]) == ("failed", 500)
        assert (well["status"], well["event_type"]) == ("succeeded", "generation.succeeded")
        event = receiver.requests[1].verify(endpoint)
        assert event.generation is not None
        assert event.generation.succeeded
        assert len(receiver.requests) == 2
        assert await list_objects(client, f"{PATH}/{endpoint['id']}/deliveries") == [well, failed]
        assert (await client.poll(event.generation.id)).code == "not_found"


async def test_new_endpoint_does_not_receive_earlier_events() -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        await client.submit_task()
        await wait_until(lambda: len(receiver.requests) == 1)
        late = await create_endpoint(client, url=receiver.url)
        assert await list_objects(client, f"{PATH}/{late['id']}/deliveries") == []
        await client.request("DELETE", f"{PATH}/{endpoint['id']}")
        await client.submit_task()
        await wait_until(lambda: len(receiver.requests) == 2)
        assert len(await wait_for_deliveries(client, late, 1)) == 1


async def test_delivers_many_generations_once() -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        bought = {await client.submit_task() for _ in range(150)}
        await wait_until(lambda: len(receiver.requests) >= 150)
        assert {webhook.event["data"]["id"] for webhook in receiver.requests} == bought
        assert len(receiver.requests) == 150
        assert len(await list_objects(client, "/api/v1/webhook-events", limit=100)) == 100
        assert endpoint["id"]


async def test_restart_resends_interrupted_deliveries() -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        receiver.delay = 5.0
        await client.submit_task()
        await wait_until(lambda: bool(receiver.requests))
        began = asyncio.get_running_loop().time()
        await client.sandbox.aclose()
        assert asyncio.get_running_loop().time() - began < 2.0
        receiver.delay = 0.0
        await client.sandbox.start()
        (delivery,) = await wait_for_deliveries(client, endpoint, 1)
        assert delivery["status"] == "succeeded"
        assert len({webhook.headers["Rivya-Event-Id"] for webhook in receiver.requests}) == 1 < len(receiver.requests)


async def test_close_leaves_no_asyncio_task() -> None:
    before = asyncio.all_tasks()
    async with running_webhooks() as (client, receiver, _):
        receiver.delay = 5.0
        await client.submit_task()
        await wait_until(lambda: bool(receiver.requests))
    await wait_until(lambda: asyncio.all_tasks() == before)  # the receiver's own take a moment


async def test_events_are_private_to_account() -> None:
    async with running_sandbox() as client:
        task_id = await client.submit_task()
        assert await list_objects(client, "/api/v1/webhook-events") == []
        client.clock.now += 3600
        (event,) = await list_objects(client, "/api/v1/webhook-events")
        assert event["data"]["id"] == task_id
        assert set(event) == set(load_document()["components"]["schemas"]["WebhookEvent"]["required"])
        stranger = client.sandbox.add_key(credits=10)
        assert (await client.request("GET", "/api/v1/webhook-events", key=stranger)).json["data"] == []


# --- deliveries with faults -------------------------------------------------------------------------------------------


async def test_sends_to_loopback_only() -> None:
    async with running_webhooks() as (client, _, __):
        endpoint = await create_endpoint(client, url="https://hooks.example.org/rivya")
        delivery = (await client.request("POST", f"{PATH}/{endpoint['id']}/test")).json
        assert (delivery["status"], delivery["response_status"]) == ("failed", None)
        assert delivery["error"] == "The sandbox sends to this machine only."


async def test_retries_lost_delivery() -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        fault = client.sandbox.faults.add(route=DELIVERY, nth=[1, 2], drop=True)
        await client.submit_task()
        found = await wait_for_deliveries(client, endpoint, 3)
        assert [each["status"] for each in found] == ["succeeded", "failed", "failed"]
        assert [each["error"] for each in found[1:]] == [sender.LOST] * 2
        assert client.sandbox.faults.hits(fault) == 2
        assert len(receiver.requests) == 1


async def test_fault_can_lose_all_attempts_of_event() -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        await client.submit_task()
        await wait_for_deliveries(client, endpoint, 1)
        client.sandbox.faults.add(route=DELIVERY, drop=True)
        await client.submit_task()
        await wait_for_deliveries(client, endpoint, 7)
        assert len(receiver.requests) == 1


async def test_lost_response_repeats_event() -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        client.sandbox.faults.add(route=DELIVERY, nth=1, drop=True, act=True)
        await client.submit_task()
        await wait_for_deliveries(client, endpoint, 2)
        first, second = receiver.requests
        assert first.body == second.body
        assert first.headers["Rivya-Delivery-Id"] != second.headers["Rivya-Delivery-Id"]


async def test_delayed_delivery_is_overtaken() -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        fault = client.sandbox.faults.add(route=DELIVERY, nth=1, delay=0.1)
        first = await client.submit_task()
        await wait_until(lambda: client.sandbox.faults.hits(fault) == 1)
        second = await client.submit_task()
        await wait_for_deliveries(client, endpoint, 2)
        assert [webhook.event["data"]["id"] for webhook in receiver.requests] == [second, first]


async def test_fault_changes_signature_and_body() -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        client.sandbox.faults.add(route=DELIVERY, nth=1, headers={"Rivya-Signature": f"t=1,v1={'0' * 64}"})
        client.sandbox.faults.add(route=DELIVERY, nth=2, body=b"{}")
        for _ in range(2):
            await client.request("POST", f"{PATH}/{endpoint['id']}/test")
        for webhook in receiver.requests:
            with pytest.raises(SignatureMismatchError):
                webhook.verify(endpoint)
        assert receiver.requests[1].body == b"{}"


async def test_fault_by_key_applies_to_all_attempts_of_event() -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        receiver.statuses = [500]
        late = client.sandbox.faults.add(route=DELIVERY, nth=1, delay=0.1)
        await client.submit_task()
        await wait_until(lambda: client.sandbox.faults.hits(late) == 1)
        (event,) = await list_objects(client, "/api/v1/webhook-events")
        lost = client.sandbox.faults.add(route=DELIVERY, key=event["id"], drop=True)
        await wait_for_deliveries(client, endpoint, 6)
        assert client.sandbox.faults.hits(lost) == 5
        await client.submit_task()
        await wait_for_deliveries(client, endpoint, 7)
        assert len(receiver.requests) == 2


async def test_request_fault_does_not_apply_to_deliveries() -> None:
    async with running_webhooks() as (client, receiver, _):
        await client.submit_task()
        client.sandbox.faults.add(drop=True)
        await wait_until(lambda: len(receiver.requests) == 1)


@pytest.mark.parametrize(
    "fields", [{"status": 500}, {"truncate": 5}, {"drop": True, "receive": 5}, {"retry_after": 1}, {"shape": "done"}]
)
def test_rejects_response_fields_for_deliveries(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a delivery is not a response"):
        Fault(route=DELIVERY, **fields)


async def test_stopped_clock_causes_no_busy_loop() -> None:
    async with run_receiver() as receiver, running_sandbox(speed=1e6, allow_local_webhooks=True) as client:
        await create_endpoint(client, url=receiver.url)
        polls = 0

        def count_clock_reads() -> float:
            nonlocal polls
            polls += 1
            return client.clock.now

        assert client.sandbox._api.webhooks._sender is not None
        client.sandbox._api.webhooks._sender._clock = count_clock_reads
        await client.submit_task()
        await asyncio.sleep(0.05)
        assert polls < 200
        assert receiver.requests == []
        client.clock.now += 1
        await wait_until(lambda: len(receiver.requests) == 1)


async def test_close_propagates_cancellation() -> None:
    async with running_webhooks() as (client, receiver, _):
        receiver.delay = 5.0
        await client.submit_task()
        await wait_until(lambda: bool(receiver.requests))
        sender_task = client.sandbox._api.webhooks._sender
        assert sender_task is not None
        closing = asyncio.create_task(sender_task.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert sender_task._http.closed
