"""The delivery queue, at given times and without a network."""

from __future__ import annotations

import json

import attrs
import pytest

from rivya_async.sandbox.service_state import ServiceState, Task
from rivya_async.sandbox.webhooks.delivery_queue import (
    MAX_DELIVERIES,
    MAX_EVENTS,
    RETRY_DELAYS,
    DeliveryQueue,
    WebhookDelivery,
)
from rivya_async.sandbox.webhooks.endpoints import FAILURES_TO_DISABLE, WebhookEndpoint
from tests.sandbox.sandbox_client import START_TIME
from tests.sandbox.webhook_kit import (
    ALL_EVENT_TYPES,
    URL,
)


def task(
    name: str = "1", *, ends_at: float = START_TIME + 10, failure: str | None = None, account: str = "acct_1"
) -> Task:
    return Task(
        id=f"task_{name}",
        account_id=account,
        model="z-image",
        category="image",
        prompt="A red kite",
        params={},
        seed=0,
        reserved_credits=5,
        created_at=START_TIME,
        starts_at=START_TIME,
        ends_at=ends_at,
        failure=failure,
    )


@attrs.define
class QueueHarness:
    """Endpoints and their delivery queue, at speed 1."""

    endpoints: dict[str, WebhookEndpoint]
    queue: DeliveryQueue

    def endpoint(self, *types: str, at: float = START_TIME, account: str = "acct_1") -> WebhookEndpoint:
        endpoint = WebhookEndpoint(
            id=f"whend_{len(self.endpoints)}",
            account_id=account,
            name="P",
            url=URL,
            event_types=types or ALL_EVENT_TYPES,
            secret="whsec_a1b2",
            created_at=at,
            updated_at=at,
        )
        self.endpoints[endpoint.id] = endpoint
        return endpoint

    def deliveries(self, endpoint: WebhookEndpoint) -> list[WebhookDelivery]:
        return [each for each in self.queue.deliveries if each.endpoint is endpoint]

    def pop_due(self, now: float) -> list[WebhookDelivery]:
        return list(self.queue.pop_due(now, 1000))


@pytest.fixture
def harness() -> QueueHarness:
    endpoints: dict[str, WebhookEndpoint] = {}
    return QueueHarness(endpoints, DeliveryQueue(ServiceState(), endpoints))


def test_nothing_is_due_before_task_ends(harness: QueueHarness) -> None:
    assert harness.queue.next_due_at() is None
    endpoint = harness.endpoint()
    harness.queue.add_task(task())
    assert harness.queue.next_due_at() == START_TIME + 10
    assert harness.pop_due(START_TIME + 9.99) == []
    (delivery,) = harness.pop_due(START_TIME + 10)
    assert (delivery.endpoint, delivery.event.type, delivery.attempt) == (endpoint, "generation.succeeded", 1)
    assert json.loads(delivery.event.body)["data"]["id"] == "task_1"
    assert harness.pop_due(START_TIME + 11) == []
    assert harness.queue.next_due_at() is None


def test_does_not_wait_without_endpoints(harness: QueueHarness) -> None:
    harness.queue.add_task(task())
    assert harness.queue.next_due_at() is None
    harness.queue.create_events(START_TIME + 20)
    assert len(harness.queue.events) == 1


def test_delivers_to_matching_endpoints(harness: QueueHarness) -> None:
    every, only_failed = harness.endpoint(), harness.endpoint("generation.failed")
    harness.endpoint(account="acct_2")
    paused = harness.endpoint()
    paused.disable(START_TIME)
    harness.endpoint(at=START_TIME + 15)
    harness.queue.add_task(task("well"))
    harness.queue.add_task(task("badly", failure="No."))
    data = [(delivery.endpoint, delivery.event.type) for delivery in harness.pop_due(START_TIME + 20)]
    assert sorted(data, key=lambda each: (each[1], each[0].id == only_failed.id)) == [
        (every, "generation.failed"),
        (only_failed, "generation.failed"),
        (every, "generation.succeeded"),
    ]


def test_retries_failed_delivery_five_times(harness: QueueHarness) -> None:
    endpoint = harness.endpoint()
    harness.queue.add_task(task())
    now, pauses = START_TIME + 10, []
    for attempt in range(1, 7):
        (delivery,) = harness.pop_due(now)
        assert delivery.attempt == attempt
        harness.queue.record_result(delivery, now, status=500)
        due = harness.queue.next_due_at()
        if due is not None:
            pauses.append(due - now)
            assert harness.pop_due(due - 0.01) == []
            now = due
    assert pauses == list(RETRY_DELAYS) == [30, 120, 600, 3600, 21_600]
    assert harness.queue.next_due_at() is None
    assert [each.status for each in harness.deliveries(endpoint)] == ["failed"] * 6
    assert len({each.event.id for each in harness.deliveries(endpoint)}) == 1
    assert len({each.id for each in harness.deliveries(endpoint)}) == 6
    assert endpoint.failure_count == 6


def test_success_resets_failure_count(harness: QueueHarness) -> None:
    endpoint = harness.endpoint()
    harness.queue.add_task(task())
    (first,) = harness.pop_due(START_TIME + 10)
    harness.queue.record_result(first, START_TIME + 11, status=None, error="It was slow.")
    assert (endpoint.failure_count, endpoint.last_failure_at, first.error) == (1, START_TIME + 11, "It was slow.")
    (second,) = harness.pop_due(START_TIME + 41)
    harness.queue.record_result(second, START_TIME + 42, status=204)
    assert (endpoint.failure_count, endpoint.last_success_at, second.delivered_at) == (
        0,
        START_TIME + 42,
        START_TIME + 42,
    )
    assert harness.queue.next_due_at() is None


@pytest.mark.parametrize(("status", "end"), [(200, "succeeded"), (299, "succeeded"), (199, "failed"), (301, "failed")])
def test_any_2xx_is_success(harness: QueueHarness, status: int, end: str) -> None:
    harness.endpoint()
    harness.queue.add_task(task())
    (delivery,) = harness.pop_due(START_TIME + 10)
    harness.queue.record_result(delivery, START_TIME + 10, status=status)
    assert delivery.status == end


def test_consecutive_failures_disable_endpoint(harness: QueueHarness) -> None:
    endpoint = harness.endpoint()
    for number in range(FAILURES_TO_DISABLE + 1):
        harness.queue.add_task(task(f"{number}"))
    sent = harness.pop_due(START_TIME + 10)
    for delivery in sent[:-2]:
        harness.queue.record_result(delivery, START_TIME + 11, status=500)
    assert endpoint.status == "active"
    harness.queue.record_result(sent[-2], START_TIME + 12, status=500)
    assert (endpoint.status, endpoint.disabled_at) == ("disabled", START_TIME + 12)
    assert harness.pop_due(START_TIME + 100) == []  # pending retries have failed
    assert {delivery.status for delivery in harness.deliveries(endpoint)} == {"failed", "pending"}
    harness.queue.record_result(sent[-1], START_TIME + 100, status=500)
    assert harness.queue.next_due_at() is None
    endpoint.update({"status": "active"}, START_TIME + 101)
    assert (endpoint.is_active, endpoint.failure_count) == (True, 0)


def test_pops_at_most_limit(harness: QueueHarness) -> None:
    harness.endpoint()
    for number in range(5):
        harness.queue.add_task(task(f"{number}"))
    assert [len(list(harness.queue.pop_due(START_TIME + 10, most))) for most in (0, 2, 2, 2)] == [0, 2, 2, 1]


def test_requeued_delivery_is_due_again(harness: QueueHarness) -> None:
    harness.endpoint()
    harness.queue.add_task(task())
    (delivery,) = harness.pop_due(START_TIME + 10)
    harness.queue.requeue(delivery)
    assert harness.pop_due(START_TIME + 10) == [delivery]


def test_test_delivery_is_not_retried_nor_counted(harness: QueueHarness) -> None:
    endpoint = harness.endpoint()
    delivery = harness.queue.create_test(endpoint, b'{"id": "task_test"}', START_TIME)
    harness.queue.record_result(delivery, START_TIME, status=500)
    assert (endpoint.failure_count, harness.queue.next_due_at(), delivery.status) == (0, None, "failed")
    interrupted = harness.queue.create_test(endpoint, b'{"id": "task_test"}', START_TIME)
    harness.queue.requeue(interrupted)
    assert (interrupted.status, harness.queue.next_due_at()) == ("failed", None)


def test_keeps_bounded_number_of_events(harness: QueueHarness) -> None:
    for number in range(MAX_EVENTS + 10):
        harness.queue.add_task(task(f"{number:06}"))
    harness.queue.create_events(START_TIME + 20)
    assert len(harness.queue.events) == MAX_EVENTS
    assert json.loads(harness.queue.events[-1].body)["data"]["id"] == f"task_{MAX_EVENTS + 9:06}"


def test_observed_tasks_outlive_deliveries(harness: QueueHarness) -> None:
    harness.endpoint()
    for number in range(MAX_DELIVERIES + 10):
        harness.queue.add_task(task(f"{number:06}"))
    *taken, rejected = harness.queue.pop_due(START_TIME + 20, MAX_DELIVERIES + 10)
    for delivery in taken:
        harness.queue.record_response(delivery, 200)
    harness.queue.record_response(rejected, 500)
    assert len(harness.queue.deliveries) == MAX_DELIVERIES
    assert harness.queue.observed_tasks == {f"task_{number:06}" for number in range(MAX_DELIVERIES + 9)}


def test_task_is_observed_while_sending_and_after_success(harness: QueueHarness) -> None:
    harness.endpoint()
    harness.endpoint()
    harness.queue.add_task(task())
    first, second = harness.pop_due(START_TIME + 10)
    with harness.queue.mark_sending(first):
        with harness.queue.mark_sending(second):
            harness.queue.record_response(second, 500)
        assert harness.queue.observed_tasks == {"task_1"}
    assert harness.queue.observed_tasks == set()
    with harness.queue.mark_sending(first):
        harness.queue.record_response(first, 204)
    assert harness.queue.observed_tasks == {"task_1"}
