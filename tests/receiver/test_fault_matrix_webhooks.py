"""The webhook column of the fault matrix: the effect of each fault on a delivery, over real sockets.

Each row states the response to every attempt, and how often the handler starts and finishes.
`test_fault_matrix_coverage.py` names the test of each case.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, Final

import aiohttp
import attrs
import pytest

from rivya_async import RivyaSession, WebhookDelivery, WebhookEndpoint, WebhookEvent
from rivya_async.receiver import WebhookReceiver
from rivya_async.sandbox import Sandbox
from tests.receiver.receiver_kit import NOW, RecordingHandler, make_body, make_receiver, receiver_server, sign
from tests.session.session_kit import FAST, duplicate_purchases, open_session, wait_until

DELIVERY: Final = "webhook delivery"
HANDLED: Final = 200
REJECTED: Final = 400
LOST: Final = None
MAX_ATTEMPTS: Final = 6


async def finished_deliveries(
    session: RivyaSession, endpoint: WebhookEndpoint, count: int
) -> Sequence[WebhookDelivery]:
    """Waits for `count` deliveries, none of them pending, and returns them in order."""
    async with asyncio.timeout(10):
        while True:
            deliveries = await session.webhooks.deliveries(endpoint.id, limit=100)
            if len(deliveries) >= count and not any(each.status == "pending" for each in deliveries):
                return deliveries[::-1]
            await asyncio.sleep(0.01)


async def wait_for_failure(session: RivyaSession, endpoint: WebhookEndpoint) -> None:
    """Waits until a delivery has failed."""
    async with asyncio.timeout(10):
        while True:
            if (await session.webhooks.retrieve(endpoint.id)).failure_count:
                return
            await asyncio.sleep(0.01)


# --- deliveries of the sandbox ----------------------------------------------------------------------------------------


def failing_handler(times: int) -> RecordingHandler:
    """A handler that raises `times` times, then succeeds."""
    errors = [LookupError("no such customer")] * times

    async def fail(event: WebhookEvent) -> None:
        if errors:
            raise errors.pop()

    return RecordingHandler(fail)


@attrs.frozen
class Row:
    """A fault of a delivery, the responses to all attempts, and the number of handler calls."""

    name: str
    responses: Sequence[int | None]
    fault: dict[str, Any] = attrs.field(factory=dict)
    started: int = 1
    receiver: dict[str, Any] = attrs.field(factory=dict)
    handler: Callable[[], RecordingHandler] = RecordingHandler
    clock_offset: float = 0.0
    secret: Callable[[str], Any] = lambda secret: secret


def fails_once(name: str, response: int, **fault: Any) -> Row:
    """The first attempt has the fault, the second succeeds."""
    return Row(name, [response, HANDLED], {**fault, "times": 1})


def always_rejected(name: str, **options: Any) -> Row:
    """All attempts are rejected; the handler is not called."""
    return Row(name, [REJECTED] * MAX_ATTEMPTS, started=0, **options)


ROWS: Final = [
    Row("no fault", [HANDLED]),
    always_rejected("wrong secret", secret=lambda _: "whsec_of_another"),
    Row("rotated secret", [HANDLED], secret=lambda secret: ["whsec_the_new_one", secret]),
    fails_once("missing signature", REJECTED, headers={"Rivya-Signature": ""}),
    fails_once("malformed signature", REJECTED, headers={"Rivya-Signature": "t=soon,v1=xyz"}),
    fails_once("signature of another body", REJECTED, headers={"Rivya-Signature": f"t={NOW},v1={'0' * 64}"}),
    always_rejected("expired timestamp", clock_offset=-400.0),
    always_rejected("timestamp in the future", clock_offset=400.0),
    Row("clock offset within the tolerance", [HANDLED], clock_offset=-400.0, receiver={"tolerance": 500.0}),
    fails_once("empty body", REJECTED, body=""),
    fails_once("HTML", REJECTED, body="<html>Welcome</html>"),
    fails_once("another event", REJECTED, body=make_body("evt_another")),
    fails_once("invalid UTF-8", REJECTED, body=b"\xff\xfe\x00"),
    fails_once("huge body", 413, body=b"x" * 1_048_577),
    Row("connection lost once", [LOST, HANDLED], {"drop": True, "times": 1}),
    Row("connection lost four times", [LOST] * 4 + [HANDLED], {"drop": True, "times": 4}),
    Row("the response is lost: a duplicate", [LOST, HANDLED], {"drop": True, "act": True, "times": 1}),
    Row("delayed", [HANDLED], {"delay": 0.1, "times": 1}),
    Row("handler raises", [500, HANDLED], started=2, handler=lambda: failing_handler(1)),
    Row("handler always raises", [500] * MAX_ATTEMPTS, started=6, handler=lambda: failing_handler(99)),
    Row(
        "handler is slow",
        [202],
        receiver={"response_timeout": 0.01},
        handler=lambda: RecordingHandler(lambda _: asyncio.sleep(0.1)),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_delivery(row: Row) -> None:
    handler = row.handler()
    clock = lambda: time.time() + row.clock_offset  # noqa: TID251, E731
    async with (
        receiver_server() as server,
        Sandbox(speed=FAST, allow_local_webhooks=True, clock=clock) as sandbox,
        open_session(sandbox) as session,
    ):
        endpoint = await server.register(session)
        receiver = WebhookReceiver(row.secret(endpoint.signing_secret or ""), **row.receiver)
        receiver.on("*", handler)
        await server.open(receiver)
        if row.fault:
            sandbox.faults.add(route=DELIVERY, **row.fault)
        job = await session.generate("z-image", "A red kite")
        deliveries = await finished_deliveries(session, endpoint, len(row.responses))
        assert [each.response_status for each in deliveries] == row.responses
        await server.close()
        (event,) = await session.webhook_events.list()
        assert event.generation == job
        assert handler.started == [event.id] * row.started
        assert len(handler.finished) == (row.responses[-1] in {HANDLED, 202})
        assert not duplicate_purchases(sandbox)


async def test_secret_rotation_during_deliveries() -> None:
    handler = RecordingHandler()
    async with (
        receiver_server() as server,
        Sandbox(speed=FAST, allow_local_webhooks=True) as sandbox,
        open_session(sandbox) as session,
    ):
        old = await server.register(session)
        new = await session.webhooks.rotate_secret(old.id)
        for secrets, responses in (
            ([old.signing_secret], [REJECTED] * MAX_ATTEMPTS),
            ([old.signing_secret, new.signing_secret], [HANDLED]),
            ([new.signing_secret], [HANDLED]),
        ):
            receiver = WebhookReceiver([secret or "" for secret in secrets])
            receiver.on("*", handler)
            await server.open(receiver)
            before = len(await session.webhooks.deliveries(old.id, limit=100))
            await session.generate("z-image", "A red kite")
            deliveries = await finished_deliveries(session, old, before + len(responses))
            assert [each.response_status for each in deliveries[before:]] == responses
            await server.close()
    assert len(handler.finished) == 2


async def test_receiver_is_down_then_recovers() -> None:
    handler = RecordingHandler()
    async with (
        receiver_server() as server,
        Sandbox(speed=600.0, allow_local_webhooks=True) as sandbox,  # retries after 0.05 s, 0.2 s, 1 s
        open_session(sandbox) as session,
    ):
        endpoint = await server.register(session)
        await session.generate("z-image", "A red kite")
        receiver = WebhookReceiver(endpoint.signing_secret or "")
        receiver.on("*", handler)
        await wait_for_failure(session, endpoint)
        await server.open(receiver)
        await wait_until(lambda: len(handler.finished) == 1)
        await server.close()
        *failures, last = await finished_deliveries(session, endpoint, 2)
    assert {each.response_status for each in failures} == {LOST}
    assert last.response_status == HANDLED


async def test_events_out_of_order() -> None:
    handler = RecordingHandler()
    async with (
        receiver_server() as server,
        Sandbox(speed=FAST, allow_local_webhooks=True) as sandbox,
        open_session(sandbox) as session,
    ):
        endpoint = await server.serve(session, handler)
        sandbox.faults.add(route=DELIVERY, nth=1, delay=0.2)
        for prompt in ("A red kite", "A blue whale", "A grey seal"):
            await session.generate("z-image", prompt)
        await finished_deliveries(session, endpoint, 3)
        await server.close()
        in_order = [event.id for event in reversed(await session.webhook_events.list())]
    assert handler.finished == [*in_order[1:], in_order[0]]


async def test_overload_is_redelivered() -> None:
    peak = running = 0

    async def count(event: WebhookEvent) -> None:
        nonlocal peak, running
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.02)
        running -= 1

    handler = RecordingHandler(count)
    async with (
        receiver_server() as server,
        Sandbox(speed=2_000.0, allow_local_webhooks=True) as sandbox,
        open_session(sandbox) as session,
    ):
        endpoint = await server.serve(session, handler, max_running=2, max_waiting=4, response_timeout=0.0)
        jobs = await asyncio.gather(*(session.generate("z-image", f"Kite {number}") for number in range(12)))
        await wait_until(lambda: len(handler.finished) == len(jobs))
        deliveries = await finished_deliveries(session, endpoint, len(jobs))
        await server.close()
    assert peak == 2
    assert len(set(handler.started)) == len(handler.started) == 12
    assert {each.response_status for each in deliveries} == {202, 503}


# --- signed bodies without sense --------------------------------------------------------------------------------------

JOB: Final = {"id": "task_1", "status": "succeeded", "model": "z-image"}


def make_event(**members: Any) -> bytes:
    return json.dumps({"id": "evt_1", "type": "generation.succeeded", "data": JOB, **members}).encode()


BODIES: Final = {
    "empty": (b"", 400),
    "HTML": (b"<html>", 400),
    "truncated JSON": (make_event()[:-2], 400),
    "a list": (b"[]", 400),
    "null": (b"null", 400),
    "deep JSON": (b"[" * 100_000, 400),
    "invalid UTF-8": (make_event().replace(b"task_1", b"task_\xff"), 400),
    "UTF-16": (make_event().decode().encode("utf-16"), 400),
    "no id": (make_event(id=None), 400),
    "blank id": (make_event(id=" "), 400),
    "wrong type": (make_event(id=5), 400),
    "data of a wrong type": (make_event(data="none"), 200),
    "NaN": (make_event(created_at=float("nan")), 400),
    "unknown type": (make_event(type="chat.answered", data={"text": "Hello"}), 200),
    "no type": (make_event(type=""), 200),
    "no job": (make_event(data={}), 200),
    "a malformed job": (make_event(data={"id": 5, "status": []}), 200),
    "unknown status": (make_event(data={**JOB, "status": "paused"}), 200),
    "unknown fields": (make_event(mood="calm", data={**JOB, "mood": "calm"}), 200),
    "the job in data.object": (make_event(data={"object": JOB}), 200),
    "the largest body": (make_event(junk="x" * (1_048_576 - len(make_event(junk="")))), 200),
    "huge body": (make_event(junk="x" * 1_048_576), 413),
}


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES.keys())
async def test_signed_body(body: bytes, status: int) -> None:
    handler = RecordingHandler()
    async with receiver_server() as server, aiohttp.ClientSession() as http:
        url = await server.open(make_receiver(handler))
        async with http.post(url, data=BytesIO(body), headers=sign(body)) as response:
            assert response.status == status
            text = await response.text()
    assert (len(handler.finished), bool(text)) == (status == HANDLED, True)
    assert "c0ffee" not in text


async def test_replay() -> None:
    handler, now = RecordingHandler(), float(NOW)
    body = make_body()
    async with receiver_server() as server, aiohttp.ClientSession() as http:
        url = await server.open(make_receiver(handler, clock=lambda: now))

        async def replay() -> int:
            async with http.post(url, data=body, headers=sign(body)) as response:
                return response.status

        assert [await replay() for _ in range(3)] == [200] * 3
        now += 301.0
        assert await replay() == 400
        now -= 602.0  # the wall clock steps back
        assert await replay() == 400
    assert handler.finished == ["evt_1"]
