"""WebhookReceiver without a server, on virtual time: once, in time, within bounds, and nothing lost silently."""

from __future__ import annotations

import asyncio
import functools
import logging
import pickle
from typing import Any

import pytest

from rivya_async import ConfigurationError, SessionClosed, WebhookEvent
from rivya_async.receiver import STANDARD_WEBHOOKS, WebhookReceiver
from tests.receiver.receiver_kit import (
    FAILED,
    NOW,
    SECRET,
    SUCCEEDED,
    FakeSession,
    RecordingHandler,
    deliver,
    gather_statuses,
    make_body,
    make_receiver,
    sign,
    sleeping_handler,
)


def logged(caplog: pytest.LogCaptureFixture, level: int = logging.ERROR) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno == level)


# --- who handles what -------------------------------------------------------------------------------------------------


async def test_dispatches_by_event_type() -> None:
    made, lost, rest = RecordingHandler(), RecordingHandler(), RecordingHandler()
    receiver = WebhookReceiver(SECRET, clock=lambda: NOW)
    assert receiver.on(SUCCEEDED)(made) is made
    assert receiver.on(FAILED, lost) is lost
    receiver.on("*", rest)
    for number, event_type in enumerate([SUCCEEDED, FAILED, "chat.answered", ""]):
        assert (await deliver(receiver, f"evt_{number}", event_type)).status == 200
    assert (made.finished, lost.finished, rest.finished) == (["evt_0"], ["evt_1"], ["evt_2", "evt_3"])


async def test_falsy_handler_is_called() -> None:
    class Inbox(list[str]):
        async def __call__(self, event: WebhookEvent) -> None:
            self.append(event.id)

    inbox = Inbox()
    receiver = WebhookReceiver(SECRET, clock=lambda: NOW)
    receiver.on(SUCCEEDED, inbox)
    assert (await deliver(receiver)).text == "handled"
    assert inbox == ["evt_1"]


async def test_event_without_handler_is_accepted() -> None:
    made = RecordingHandler()
    receiver = WebhookReceiver(SECRET, clock=lambda: NOW)
    assert (await deliver(receiver)).text == "no handler for this type"
    receiver.on(SUCCEEDED, made)
    assert (await deliver(receiver)).text == "handled"
    assert made.finished == ["evt_1"]


@pytest.mark.parametrize("wrong", [5, print, lambda event: None, len], ids=["number", "print", "lambda", "len"])
def test_rejects_sync_handler(wrong: Any) -> None:
    receiver = WebhookReceiver(SECRET)
    with pytest.raises(ConfigurationError, match="an async function"):
        receiver.on(SUCCEEDED)(wrong)


def test_rejects_decorator_without_type() -> None:
    async def handle(event: WebhookEvent) -> None: ...

    with pytest.raises(ConfigurationError, match="event type is missing"):
        make_receiver().on(handle)  # type: ignore[call-overload]


def test_rejects_second_handler_of_a_type() -> None:
    receiver = make_receiver(RecordingHandler())
    with pytest.raises(ConfigurationError, match="already has a handler"):
        receiver.on("*", RecordingHandler())


async def test_accepts_wrapped_handler() -> None:
    handler = RecordingHandler()

    async def handle(event: WebhookEvent) -> None:
        await handler(event)

    @functools.wraps(handle)
    def traced(event: WebhookEvent) -> Any:
        return handle(event)

    assert (await deliver(make_receiver(traced))).status == 200
    assert handler.finished == ["evt_1"]


async def test_accepts_methods_and_partials() -> None:
    class App:
        def __init__(self) -> None:
            self.seen: list[str] = []

        async def made(self, event: WebhookEvent) -> None:
            self.seen.append(event.id)

        async def lost(self, mark: str, event: WebhookEvent) -> None:
            self.seen.append(mark + event.id)

    app = App()
    receiver = WebhookReceiver(SECRET, clock=lambda: NOW)
    receiver.on(SUCCEEDED, app.made)
    receiver.on(FAILED, functools.partial(app.lost, "!"))
    await deliver(receiver, "evt_1", SUCCEEDED)
    await deliver(receiver, "evt_2", FAILED)
    assert app.seen == ["evt_1", "!evt_2"]


# --- once -------------------------------------------------------------------------------------------------------------


async def test_handles_an_event_once() -> None:
    handler = RecordingHandler()
    receiver = make_receiver(handler)
    assert [(await deliver(receiver)).text for _ in range(3)] == ["handled", "handled before", "handled before"]
    assert handler.started == ["evt_1"]


async def test_concurrent_duplicates_share_one_handler() -> None:
    handler = sleeping_handler(0.5)
    receiver = make_receiver(handler)
    assert await gather_statuses(*(deliver(receiver) for _ in range(10))) == [200] * 10
    assert handler.started == ["evt_1"]


async def test_concurrent_duplicates_share_the_failure() -> None:
    async def fail(event: WebhookEvent) -> None:
        await asyncio.sleep(0.5)
        raise LookupError

    handler = RecordingHandler(fail)
    receiver = make_receiver(handler)
    assert await gather_statuses(*(deliver(receiver) for _ in range(3))) == [500] * 3
    assert handler.started == ["evt_1"]


async def test_dedup_window_is_configurable() -> None:
    handler = RecordingHandler()
    receiver = make_receiver(handler, dedup_window=60.0)
    await deliver(receiver)
    await asyncio.sleep(59.0)
    assert (await deliver(receiver)).text == "handled before"
    await asyncio.sleep(2.0)
    assert (await deliver(receiver)).text == "handled"
    assert handler.started == ["evt_1", "evt_1"]


async def test_zero_dedup_window_covers_running_events_only() -> None:
    handler = sleeping_handler(0.1)
    receiver = make_receiver(handler, dedup_window=0.0)
    assert await gather_statuses(deliver(receiver), deliver(receiver)) == [200, 200]
    assert handler.started == ["evt_1"]
    await asyncio.sleep(0.1)
    await deliver(receiver)
    assert handler.started == ["evt_1"] * 2


# --- failure ----------------------------------------------------------------------------------------------------------


async def test_failed_event_is_handled_again(caplog: pytest.LogCaptureFixture) -> None:
    faults = [LookupError("no such customer"), TimeoutError("the database is slow")]

    async def fail(event: WebhookEvent) -> None:
        if faults:
            raise faults.pop(0)

    handler = RecordingHandler(fail)
    receiver = make_receiver(handler)
    assert [int((await deliver(receiver)).status) for _ in range(4)] == [500, 500, 200, 200]
    assert (handler.started, handler.finished) == (["evt_1"] * 3, ["evt_1"])
    assert logged(caplog).count("'evt_1'") == 2
    assert "no such customer" in caplog.text
    assert "the database is slow" in caplog.text


class Empty(Exception):
    """An error that is false in a boolean sense."""

    def __len__(self) -> int:
        return 0


async def test_any_error_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def cancelled(event: WebhookEvent) -> None:
        asyncio.get_running_loop().call_soon(future.cancel)
        await future

    async def grouped(event: WebhookEvent) -> None:
        raise ExceptionGroup("two", [OSError(), ValueError()])

    async def empty(event: WebhookEvent) -> None:
        raise Empty

    for number, fail in enumerate([cancelled, grouped, empty]):
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        receiver = make_receiver(RecordingHandler(fail))
        assert (await deliver(receiver, f"evt_{number}")).status == 500
        assert f"'evt_{number}'" in logged(caplog)


async def test_sync_callable_object_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    class Plain:
        def __call__(self, event: WebhookEvent) -> None: ...

    assert (await deliver(make_receiver(Plain()))).status == 500
    assert "'evt_1'" in logged(caplog)


async def test_log_escapes_event_names(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(event: WebhookEvent) -> None:
        raise LookupError

    await deliver(make_receiver(RecordingHandler(fail)), "evt\n1\ud800" + "x" * 500, "a\nb")
    assert "\n" not in logged(caplog)
    assert len(logged(caplog)) < 250


# --- in time ----------------------------------------------------------------------------------------------------------


async def test_slow_handler_gets_202(caplog: pytest.LogCaptureFixture) -> None:
    handler = sleeping_handler(30.0)
    receiver = make_receiver(handler)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await deliver(receiver)).status == 202
    assert loop.time() - began == pytest.approx(1.0)
    assert (await deliver(receiver)).status == 202
    await asyncio.sleep(30.0)
    assert (await deliver(receiver)).text == "handled before"
    assert (handler.started, handler.finished) == (["evt_1"], ["evt_1"])
    assert not caplog.records


async def test_failure_after_response_is_logged_and_redeliverable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(event: WebhookEvent) -> None:
        await asyncio.sleep(5.0)
        raise LookupError("late")

    handler = RecordingHandler(fail)
    receiver = make_receiver(handler)
    assert (await deliver(receiver)).status == 202
    await asyncio.sleep(5.0)
    assert "'evt_1'" in logged(caplog)
    assert "late" in caplog.text
    handler.then = None
    assert (await deliver(receiver)).text == "handled"


async def test_zero_response_timeout_responds_before_handling() -> None:
    handler = sleeping_handler(0.1)
    receiver = make_receiver(handler, response_timeout=0)
    assert (await deliver(receiver)).status == 202
    await asyncio.sleep(0.2)
    assert handler.finished == ["evt_1"]
    assert (await deliver(receiver)).status == 200


async def test_cancelled_request_keeps_handler_running() -> None:
    handler = sleeping_handler(0.5)
    receiver = make_receiver(handler)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(deliver(receiver), 0.1)
    await asyncio.sleep(0.5)
    assert handler.finished == ["evt_1"]
    assert (await deliver(receiver)).text == "handled before"


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_limits_running_and_waiting_handlers() -> None:
    most = 0
    running = 0

    async def count(event: WebhookEvent) -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(10.0)
        running -= 1

    handler = RecordingHandler(count)
    receiver = make_receiver(handler, max_running=3, max_waiting=5)
    came = [f"evt_{number}" for number in range(20)]
    assert await gather_statuses(*(deliver(receiver, each) for each in came)) == [202] * 8 + [503] * 12
    assert await gather_statuses(*(deliver(receiver, each) for each in came)) == [202] * 8 + [503] * 12
    await asyncio.sleep(30.0)
    assert (most, sorted(handler.finished)) == (3, sorted(came[:8]))
    assert await gather_statuses(*(deliver(receiver, each) for each in came[8:16])) == [202] * 8
    await asyncio.sleep(30.0)
    assert await gather_statuses(*(deliver(receiver, each) for each in came[16:])) == [202] * 4
    await asyncio.sleep(30.0)
    assert sorted(handler.finished) == sorted(came)


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


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_unsigned_delivery_is_not_handled(caplog: pytest.LogCaptureFixture) -> None:
    handler, waits = RecordingHandler(), FakeSession()
    receiver = make_receiver(handler, session=waits)
    body = make_body()
    for headers in ({}, sign(body, secret="whsec_other"), sign(body, at=NOW - 301), sign(body + b" ")):
        answer = await receiver.receive(body, headers)
        assert answer.status == 400
        assert answer.text
        assert "c0ffee" not in answer.text
    assert (handler.started, waits.settled) == ([], [])
    assert logged(caplog, logging.WARNING).count("a delivery was rejected") == 4
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
    body = b'{"id": "\\ud800", "type": ["\\udcff"], "data": {"\\ud800": 1}, "created_at": "\\ud800"}'
    answer = await make_receiver(RecordingHandler()).receive(body, sign(body))
    assert answer.status == 400
    assert answer.text.encode()


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
    waits = FakeSession()
    settled: list[int] = []
    assert not waits.expects_deliveries

    async def look(event: WebhookEvent) -> None:
        settled.append(len(waits.settled))

    receiver = make_receiver(look, session=waits)
    for _ in range(3):
        await deliver(receiver)
    assert waits.expects_deliveries
    assert [(job.id, job.status) for job in waits.settled] == [("task_1", "succeeded")]
    assert settled == [1]


async def test_settles_waits_without_handler_and_when_full() -> None:
    waits = FakeSession()
    await deliver(make_receiver(session=waits))
    receiver = make_receiver(sleeping_handler(2.0), session=waits, max_running=1, max_waiting=0)
    assert await gather_statuses(deliver(receiver, "evt_2"), deliver(receiver, "evt_3")) == [202, 503]
    assert len(waits.settled) == 3
    await receiver.aclose()


async def test_event_without_job_settles_nothing() -> None:
    waits = FakeSession()
    body = b'{"id": "evt_1", "type": "chat.answered", "data": {"text": "Hello"}}'
    assert (await make_receiver(RecordingHandler(), session=waits).receive(body, sign(body))).status == 200
    assert waits.settled == []


async def test_failed_settle_is_logged_and_handler_runs(caplog: pytest.LogCaptureFixture) -> None:
    handler = RecordingHandler()
    receiver = make_receiver(handler, session=FakeSession(SessionClosed("the session was closed")))
    assert (await deliver(receiver)).status == 200
    assert handler.finished == ["evt_1"]
    assert "'evt_1'" in logged(caplog)


# --- the end ----------------------------------------------------------------------------------------------------------


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
    began = loop.time()
    waiting = asyncio.create_task(deliver(receiver, "evt_3"))
    await asyncio.sleep(0)
    await receiver.aclose()
    assert loop.time() - began == pytest.approx(10.0)
    assert (await waiting).status == 202
    assert (handler.started, handler.finished) == (["evt_1"], [])
    assert all(f"'evt_{number}'" in logged(caplog) for number in (1, 2, 3))


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
    async def cling(event: WebhookEvent) -> None:
        try:
            await asyncio.sleep(1_000.0)
        except asyncio.CancelledError:
            await asyncio.sleep(50.0)

    receiver = make_receiver(RecordingHandler(cling), close_timeout=1.0)
    await deliver(receiver)
    began = asyncio.get_running_loop().time()
    await receiver.aclose()
    assert asyncio.get_running_loop().time() - began == pytest.approx(2.0)
    assert "1 handlers were cancelled" in logged(caplog)
    await asyncio.sleep(60.0)


async def test_close_when_idle() -> None:
    receiver = make_receiver(RecordingHandler())
    await receiver.aclose()
    await receiver.aclose()
    async with receiver:
        assert (await deliver(receiver)).status == 200
