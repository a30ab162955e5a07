"""Properties of the receiver, on virtual time, and of its cache of handled events."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from rivya_async import WebhookEvent
from rivya_async.receiver import WebhookReceiver, WebhookResponse
from rivya_async.receiver.handler_pool import DedupCache
from tests.engine.virtual_time import run
from tests.receiver.receiver_kit import deliver, make_receiver, sign

IDS = ["evt_a", "evt_b", "evt_c", "evt_d", "evt_e"]


@attrs.frozen
class Step:
    """A delivery after a pause, and the duration and result of its handler."""

    pause: float
    event_id: str
    duration: float
    fails: bool


steps = st.lists(
    st.builds(
        Step,
        pause=st.sampled_from([0.0, 0.0, 0.3, 1.5, 20.0]),
        event_id=st.sampled_from(IDS),
        duration=st.sampled_from([0.0, 0.2, 0.9, 3.0, 50.0]),
        fails=st.booleans(),
    ),
    max_size=25,
)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "status", "model", "object"]), inner),
)
envelopes = st.fixed_dictionaries(
    {}, optional={"id": st.just("evt_1") | values, "type": st.text() | values, "data": values, "created_at": values}
)


@given(
    body=st.binary() | envelopes.map(lambda value: json.dumps(value).encode()),
    headers=st.dictionaries(st.sampled_from(["Rivya-Signature", "rivya-signature"]) | st.text(), st.text()),
    is_signed=st.booleans(),
)
def test_any_delivery_gets_a_response(body: bytes, headers: dict[str, str], is_signed: bool) -> None:
    handled: list[WebhookEvent] = []

    async def handle(event: WebhookEvent) -> None:
        handled.append(event)

    async def receive() -> WebhookResponse:
        return await make_receiver(handle).receive(body, sign(body) if is_signed else headers)

    logging.disable()
    try:
        response = run(receive())
    finally:
        logging.disable(logging.NOTSET)
    assert response.text.encode()
    assert response.status == (200 if handled else 400)
    assert is_signed or not handled
    assert all(isinstance(event.id, str) and event.id.strip() for event in handled)


@settings(max_examples=150)
@given(steps=steps, max_running=st.integers(1, 3), max_waiting=st.integers(0, 2), closes=st.booleans())
def test_invariants_hold(steps: list[Step], max_running: int, max_waiting: int, closes: bool) -> None:
    logging.disable()
    try:
        run(_check_invariants(steps, max_running, max_waiting, closes=closes))
    finally:
        logging.disable(logging.NOTSET)


@attrs.define
class HandlerModel:
    """Handlers that follow the steps and record violations; an assertion in them would count as a failed handler."""

    max_running: int
    plans: dict[str, Step] = attrs.field(factory=dict)
    running_events: Counter[str] = attrs.field(factory=Counter)
    succeeded: Counter[str] = attrs.field(factory=Counter)
    violations: list[object] = attrs.field(factory=list)

    async def handle(self, event: WebhookEvent) -> None:
        step = self.plans[event.id]
        self.running_events[event.id] += 1
        if (
            self.running_events.total() > self.max_running
            or self.running_events[event.id] > 1
            or self.succeeded[event.id]
        ):
            self.violations.append((event.id, self.running_events.copy(), self.succeeded.copy()))
        try:
            await asyncio.sleep(step.duration)
            if step.fails:
                raise LookupError
            self.succeeded[event.id] += 1
        finally:
            self.running_events[event.id] -= 1

    async def deliver(self, receiver: WebhookReceiver, step: Step) -> None:
        started_at = asyncio.get_running_loop().time()
        response = await deliver(receiver, step.event_id)
        assert asyncio.get_running_loop().time() - started_at <= 1.0
        assert response.status in {200, 202, 500, 503}
        if response.status == 200:
            assert self.succeeded[step.event_id] == 1
        if response.status == 202:
            is_waiting = self.running_events.total() == self.max_running
            assert self.running_events[step.event_id] or self.succeeded[step.event_id] or is_waiting


async def _check_invariants(steps: list[Step], max_running: int, max_waiting: int, *, closes: bool) -> None:
    model = HandlerModel(max_running)
    receiver = make_receiver(model.handle, max_running=max_running, max_waiting=max_waiting, close_timeout=5.0)
    async with asyncio.TaskGroup() as group:
        for step in steps:
            await asyncio.sleep(step.pause)
            if not model.running_events[step.event_id]:
                model.plans[step.event_id] = step
            group.create_task(model.deliver(receiver, step))
    if not closes:
        await asyncio.sleep(1_000.0)
        assert not model.running_events.total()
        for event_id in IDS:  # failed events can be delivered again
            model.plans[event_id] = Step(0.0, event_id, 0.0, fails=False)
            assert (await deliver(receiver, event_id)).status == 200
        assert set(model.succeeded.values()) == {1}
    await receiver.aclose()
    assert not model.running_events.total()
    assert (await deliver(receiver)).status == 503
    assert not model.violations


# --- the cache of handled events --------------------------------------------------------------------------------------


additions = st.lists(st.tuples(st.floats(0, 20), st.sampled_from(["a", "b", "c", "d", "e"])), max_size=40)


@given(additions=additions, window=st.floats(0, 30), max_ids=st.integers(1, 4))
def test_keeps_the_latest_ids(additions: list[tuple[float, str]], window: float, max_ids: int) -> None:
    cache, now = DedupCache(window, max_ids), 0.0
    model: list[tuple[float, str]] = []
    for elapsed, event_id in additions:
        now += elapsed
        latest = [name for at, name in model if now - at <= window]
        for name in "abcde":
            assert cache.contains(name, now) is (name in latest)
        cache.add(event_id, now)
        model = [*((at, name) for at, name in model if name != event_id), (now, event_id)][-max_ids:]
        assert len(cache) <= max_ids


def test_cache_size_is_limited() -> None:
    cache = DedupCache(1e9)
    for number in range(100_010):
        cache.add(f"evt_{number}", 0.0)
    assert len(cache) == 100_000
    assert not cache.contains("evt_9", 0.0)
    assert cache.contains("evt_10", 0.0)


def test_drops_expired_ids() -> None:
    cache = DedupCache(10.0)
    for number in range(100):
        cache.add(f"evt_{number}", float(number))
    assert len(cache) == 11
