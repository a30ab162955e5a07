"""Whatever is delivered, in whatever order and however its handlers fare, on virtual time."""

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
from tests.engine.virtual_time import run
from tests.receiver.receiver_kit import deliver, make_receiver, sign

IDS = ["evt_a", "evt_b", "evt_c", "evt_d", "evt_e"]


@attrs.frozen
class Step:
    """After a pause an event is delivered, whose handler lasts so long, and fails or does not."""

    pause: float
    event_id: str
    lasts: float
    fails: bool


steps = st.lists(
    st.builds(
        Step,
        pause=st.sampled_from([0.0, 0.0, 0.3, 1.5, 20.0]),
        event_id=st.sampled_from(IDS),
        lasts=st.sampled_from([0.0, 0.2, 0.9, 3.0, 50.0]),
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

    async def deliver() -> WebhookResponse:
        return await make_receiver(handle).receive(body, sign(body) if is_signed else headers)

    logging.disable()
    try:
        answer = run(deliver())
    finally:
        logging.disable(logging.NOTSET)
    assert answer.text.encode()
    assert answer.status == (200 if handled else 400)
    assert is_signed or not handled
    assert all(isinstance(event.id, str) and event.id.strip() for event in handled)


@settings(max_examples=150)
@given(steps=steps, running=st.integers(1, 3), waiting=st.integers(0, 2), closes=st.booleans())
def test_invariants_hold(steps: list[Step], running: int, waiting: int, closes: bool) -> None:
    logging.disable()
    try:
        run(_kept(steps, running, waiting, closes=closes))
    finally:
        logging.disable(logging.NOTSET)


@attrs.define
class Work:
    """Handlers that do as they are told; notes what must not be. An assertion in them would pass for a failure."""

    running: int
    plans: dict[str, Step] = attrs.field(factory=dict)
    at_work: Counter[str] = attrs.field(factory=Counter)
    well: Counter[str] = attrs.field(factory=Counter)
    broken: list[object] = attrs.field(factory=list)

    async def handle(self, event: WebhookEvent) -> None:
        plan = self.plans[event.id]
        self.at_work[event.id] += 1
        if self.at_work.total() > self.running or self.at_work[event.id] > 1 or self.well[event.id]:
            self.broken.append((event.id, self.at_work.copy(), self.well.copy()))
        try:
            await asyncio.sleep(plan.lasts)
            if plan.fails:
                raise LookupError
            self.well[event.id] += 1
        finally:
            self.at_work[event.id] -= 1

    async def deliver(self, receiver: WebhookReceiver, step: Step) -> None:
        began = asyncio.get_running_loop().time()
        answer = await deliver(receiver, step.event_id)
        assert asyncio.get_running_loop().time() - began <= 1.0  # in time
        assert answer.status in {200, 202, 500, 503}
        if answer.status == 200:
            assert self.well[step.event_id] == 1
        if answer.status == 202:
            is_waiting = self.at_work.total() == self.running
            assert self.at_work[step.event_id] or self.well[step.event_id] or is_waiting


async def _kept(steps: list[Step], running: int, waiting: int, *, closes: bool) -> None:
    work = Work(running)
    receiver = make_receiver(work.handle, max_running=running, max_waiting=waiting, close_timeout=5.0)
    async with asyncio.TaskGroup() as group:
        for step in steps:
            await asyncio.sleep(step.pause)
            if not work.at_work[step.event_id]:
                work.plans[step.event_id] = step
            group.create_task(work.deliver(receiver, step))
    if not closes:
        await asyncio.sleep(1_000.0)
        assert not work.at_work.total()
        for event_id in IDS:  # whatever failed can still be delivered
            work.plans[event_id] = Step(0.0, event_id, 0.0, fails=False)
            assert (await deliver(receiver, event_id)).status == 200
        assert set(work.well.values()) == {1}
    await receiver.aclose()
    assert not work.at_work.total()
    assert (await deliver(receiver)).status == 503
    assert not work.broken
