"""`WebhookReceiver` without a server, on virtual time: limits, rejected deliveries, the session and closing."""

from __future__ import annotations

import asyncio
import logging
import pickle
from typing import Any

import pytest

from rivya_async import ConfigurationError, SessionClosedError, WebhookEvent
from rivya_async.receiver import STANDARD_WEBHOOKS, WebhookReceiver
from tests.receiver.receiver_kit import (
    NOW,
    SECRET,
    FakeSession,
    RecordingHandler,
    deliver,
    gather_statuses,
    make_body,
    make_receiver,
    sign,
    sleeping_handler,
)


def log_text(caplog: pytest.LogCaptureFixture, level: int = logging.ERROR) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno == level)


# --- limits and options -----------------------------------------------------------------------------------------------


async def test_limits_running_and_waiting_handlers() -> None:
    peak = 0
    running = 0

    async def count(event: WebhookEvent) -> None:
        nonlocal peak, running
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(10.0)
        running -= 1

    handler = RecordingHandler(count)
    receiver = make_receiver(handler, max_running=3, max_waiting=5)
    event_ids = [f"evt_{number}" for number in range(20)]
    assert await gather_statuses(*(deliver(receiver, each) for each in event_ids)) == [202] * 8 + [503] * 12
    assert await gather_statuses(*(deliver(receiver, each) for each in event_ids)) == [202] * 8 + [503] * 12
    await asyncio.sleep(30.0)
    assert (peak, sorted(handler.finished)) == (3, sorted(event_ids[:8]))
    assert await gather_statuses(*(deliver(receiver, each) for each in event_ids[8:16])) == [202] * 8
    await asyncio.sleep(30.0)
    assert await gather_statuses(*(deliver(receiver, each) for each in event_ids[16:])) == [202] * 4
    await asyncio.sleep(30.0)
    assert sorted(handler.finished) == sorted(event_ids)


async def test_limits_body_size() -> None:
    handler = RecordingHandler()
    body = make_body()
    assert (await make_receiver(handler, max_body_size=len(body)).receive(body, sign(body))).status == 200
    assert (await make_receiver(handler, max_body_size=len(body) - 1).receive(body, sign(body))).status == 413
    assert handler.started == ["evt_1"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, value)
            for name in ("response_timeout", "dedup_window", "close_timeout")
            for value in (-1, float("nan"), "1")
        ),
        *((name, value) for name in ("max_body_size", "max_running") for value in (0, 1.5, True)),
        ("max_waiting", -1),
        ("dedup_window", float("inf")),
        ("tolerance", -1),
    ],
)
def test_rejects_invalid_options(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        WebhookReceiver(SECRET, **{name: value})


@pytest.mark.parametrize("secret", ["", " ", None, [], ["whsec_1", ""]])
def test_rejects_missing_secret(secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="missing or blank"):
        WebhookReceiver(secret)


# --- rejected deliveries ----------------------------------------------------------------------------------------------


async def test_unsigned_delivery_is_not_handled(caplog: pytest.LogCaptureFixture) -> None:
    handler, session = RecordingHandler(), FakeSession()
    receiver = make_receiver(handler, session=session)
    body = make_body()
    for headers in ({}, sign(body, secret="whsec_other"), sign(body, at=NOW - 301), sign(body + b" ")):
        response = await receiver.receive(body, headers)
        assert response.status == 400
        assert response.text
        assert "c0ffee" not in response.text
    assert (handler.started, session.settled) == ([], [])
    assert log_text(caplog, logging.WARNING).count("a delivery was rejected") == 4
    assert "c0ffee" not in caplog.text


async def test_other_scheme_with_rotated_secrets() -> None:
    old, new = "whsec_b2xkLW9sZC1vbGQ=", "whsec_bmV3LW5ldy1uZXc="
    handler = RecordingHandler()
    receiver = WebhookReceiver([new, old], scheme=STANDARD_WEBHOOKS, clock=lambda: NOW, tolerance=10)
    receiver.on("*", handler)
    for number, secret in enumerate((old, new)):
        body = make_body(f"evt_{number}")
        headers = STANDARD_WEBHOOKS.sign(body, secret, message_id=f"evt_{number}", timestamp=NOW + 9)
        assert (await receiver.receive(body, headers)).status == 200
    assert handler.finished == ["evt_0", "evt_1"]


async def test_rejection_reason_is_encodable() -> None:
    body = b'{"id": ["\\ud800"], "type": ["\\udcff"], "data": {"\\ud800": 1}, "created_at": "\\ud800"}'
    response = await make_receiver(RecordingHandler()).receive(body, sign(body))
    assert response.status == 400
    assert response.text.encode()


@pytest.mark.parametrize("body", [{"id": "evt_1"}, "text", None, 5])
async def test_rejects_body_that_is_not_bytes(body: Any) -> None:
    with pytest.raises(ConfigurationError, match="raw bytes"):
        await make_receiver().receive(body, sign(make_body()))


def test_repr_has_no_secret_and_pickling_fails() -> None:
    assert "c0ffee" not in repr(make_receiver())
    with pytest.raises(TypeError):
        pickle.dumps(make_receiver())


# --- the session ------------------------------------------------------------------------------------------------------


async def test_settles_waits_once_before_the_handler() -> None:
    session = FakeSession()
    settled: list[int] = []
    assert not session.expects_deliveries

    async def record_settled(event: WebhookEvent) -> None:
        settled.append(len(session.settled))

    receiver = make_receiver(record_settled, session=session)
    for _ in range(3):
        await deliver(receiver)
    assert session.expects_deliveries
    assert [(job.id, job.status) for job in session.settled] == [("task_1", "succeeded")]
    assert settled == [1]


async def test_settles_waits_without_handler_and_when_full() -> None:
    session = FakeSession()
    await deliver(make_receiver(session=session))
    receiver = make_receiver(sleeping_handler(2.0), session=session, max_running=1, max_waiting=0)
    assert await gather_statuses(deliver(receiver, "evt_2"), deliver(receiver, "evt_3")) == [202, 503]
    assert len(session.settled) == 3
    await receiver.aclose()


async def test_event_without_job_settles_nothing() -> None:
    session = FakeSession()
    body = b'{"id": "evt_1", "type": "chat.answered", "data": {"text": "Hello"}}'
    assert (await make_receiver(RecordingHandler(), session=session).receive(body, sign(body))).status == 200
    assert session.settled == []


async def test_failed_settle_is_logged_and_handler_runs(caplog: pytest.LogCaptureFixture) -> None:
    handler = RecordingHandler()
    receiver = make_receiver(handler, session=FakeSession(SessionClosedError("the session was closed")))
    assert (await deliver(receiver)).status == 200
    assert handler.finished == ["evt_1"]
    assert "'evt_1'" in log_text(caplog)


# --- close ------------------------------------------------------------------------------------------------------------


async def test_close_waits_for_handlers() -> None:
    handler = sleeping_handler(5.0)
    async with make_receiver(handler) as receiver:
        assert await gather_statuses(deliver(receiver, "evt_1"), deliver(receiver, "evt_2")) == [202, 202]
    assert sorted(handler.finished) == ["evt_1", "evt_2"]
    assert (await deliver(receiver)).status == 503
    receiver.open()
    assert (await deliver(receiver)).text == "handled before"


async def test_concurrent_close_waits_too() -> None:
    handler = sleeping_handler(5.0)
    receiver = make_receiver(handler)
    await deliver(receiver)
    first = asyncio.create_task(receiver.aclose())
    await asyncio.sleep(0)
    await receiver.aclose()
    assert handler.finished == ["evt_1"]
    await first


async def test_reopen_during_close_handles_once() -> None:
    handler = sleeping_handler(5.0)
    receiver = make_receiver(handler)
    await deliver(receiver)
    closing = asyncio.create_task(receiver.aclose())
    await asyncio.sleep(0)
    receiver.open()
    assert await gather_statuses(deliver(receiver), deliver(receiver, "evt_2")) == [202, 202]
    await closing
    assert handler.started == ["evt_1", "evt_2"]
    await receiver.aclose()
    assert handler.finished == ["evt_1", "evt_2"]


async def test_close_cancels_handlers_after_timeout(caplog: pytest.LogCaptureFixture) -> None:
    handler = sleeping_handler(1_000.0)
    receiver = make_receiver(handler, max_running=1, close_timeout=10.0)
    loop = asyncio.get_running_loop()
    await gather_statuses(deliver(receiver, "evt_1"), deliver(receiver, "evt_2"))
    started_at = loop.time()
    waiting = asyncio.create_task(deliver(receiver, "evt_3"))
    await asyncio.sleep(0)
    await receiver.aclose()
    assert loop.time() - started_at == pytest.approx(10.0)
    assert (await waiting).status == 202
    assert (handler.started, handler.finished) == (["evt_1"], [])
    assert all(f"'evt_{number}'" in log_text(caplog) for number in (1, 2, 3))


async def test_request_waiting_for_cancelled_handler_gets_500() -> None:
    receiver = make_receiver(sleeping_handler(1_000.0), close_timeout=0.1, response_timeout=5.0)
    waiting = asyncio.create_task(deliver(receiver))
    await asyncio.sleep(0)
    await receiver.aclose()
    assert (await waiting).status == 500


async def test_cancelled_close_cancels_handlers() -> None:
    handler = sleeping_handler(1_000.0)
    receiver = make_receiver(handler)
    await deliver(receiver)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(receiver.aclose(), 0.1)
    await asyncio.sleep(0)
    assert handler.finished == []


async def test_stubborn_handler_does_not_block_close(caplog: pytest.LogCaptureFixture) -> None:
    async def ignore_cancellation(event: WebhookEvent) -> None:
        try:
            await asyncio.sleep(1_000.0)
        except asyncio.CancelledError:
            await asyncio.sleep(50.0)

    receiver = make_receiver(RecordingHandler(ignore_cancellation), close_timeout=1.0)
    await deliver(receiver)
    started_at = asyncio.get_running_loop().time()
    await receiver.aclose()
    assert asyncio.get_running_loop().time() - started_at == pytest.approx(2.0)
    assert "1 handlers were cancelled" in log_text(caplog)
    await asyncio.sleep(60.0)


async def test_close_when_idle() -> None:
    receiver = make_receiver(RecordingHandler())
    await receiver.aclose()
    await receiver.aclose()
    async with receiver:
        assert (await deliver(receiver)).status == 200
