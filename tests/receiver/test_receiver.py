"""`WebhookReceiver` without a server, on virtual time: dispatch, deduplication, failures and response times."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import Any

import pytest

from rivya_async import ConfigurationError, WebhookEvent
from rivya_async.receiver import WebhookReceiver
from tests.receiver.receiver_kit import (
    FAILED,
    NOW,
    SECRET,
    SUCCEEDED,
    RecordingHandler,
    deliver,
    gather_statuses,
    make_receiver,
    sleeping_handler,
)


def log_text(caplog: pytest.LogCaptureFixture, level: int = logging.ERROR) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno == level)


# --- dispatch ---------------------------------------------------------------------------------------------------------


async def test_dispatches_by_event_type() -> None:
    on_succeeded, on_failed, on_other = RecordingHandler(), RecordingHandler(), RecordingHandler()
    receiver = WebhookReceiver(SECRET, clock=lambda: NOW)
    assert receiver.on(SUCCEEDED)(on_succeeded) is on_succeeded
    assert receiver.on(FAILED, on_failed) is on_failed
    receiver.on("*", on_other)
    for number, event_type in enumerate([SUCCEEDED, FAILED, "chat.answered", ""]):
        assert (await deliver(receiver, f"evt_{number}", event_type)).status == 200
    assert (on_succeeded.finished, on_failed.finished, on_other.finished) == (["evt_0"], ["evt_1"], ["evt_2", "evt_3"])


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
    on_succeeded = RecordingHandler()
    receiver = WebhookReceiver(SECRET, clock=lambda: NOW)
    assert (await deliver(receiver)).text == "no handler for this type"
    receiver.on(SUCCEEDED, on_succeeded)
    assert (await deliver(receiver)).text == "handled"
    assert on_succeeded.finished == ["evt_1"]


@pytest.mark.parametrize("handler", [5, print, lambda event: None, len], ids=["number", "print", "lambda", "len"])
def test_rejects_sync_handler(handler: Any) -> None:
    receiver = WebhookReceiver(SECRET)
    with pytest.raises(ConfigurationError, match="an async function"):
        receiver.on(SUCCEEDED)(handler)


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

        async def on_succeeded(self, event: WebhookEvent) -> None:
            self.seen.append(event.id)

        async def on_failed(self, mark: str, event: WebhookEvent) -> None:
            self.seen.append(mark + event.id)

    app = App()
    receiver = WebhookReceiver(SECRET, clock=lambda: NOW)
    receiver.on(SUCCEEDED, app.on_succeeded)
    receiver.on(FAILED, functools.partial(app.on_failed, "!"))
    await deliver(receiver, "evt_1", SUCCEEDED)
    await deliver(receiver, "evt_2", FAILED)
    assert app.seen == ["evt_1", "!evt_2"]


# --- deduplication ----------------------------------------------------------------------------------------------------


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
    assert log_text(caplog).count("'evt_1'") == 2
    assert "no such customer" in caplog.text
    assert "the database is slow" in caplog.text


class Empty(Exception):
    """A falsy error."""

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
        assert f"'evt_{number}'" in log_text(caplog)


async def test_sync_callable_object_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    class Plain:
        def __call__(self, event: WebhookEvent) -> None: ...

    assert (await deliver(make_receiver(Plain()))).status == 500
    assert "'evt_1'" in log_text(caplog)


async def test_log_escapes_event_names(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(event: WebhookEvent) -> None:
        raise LookupError

    await deliver(make_receiver(RecordingHandler(fail)), "evt\n1\ud800" + "x" * 500, "a\nb")
    assert "\n" not in log_text(caplog)
    assert len(log_text(caplog)) < 250


# --- response times ---------------------------------------------------------------------------------------------------


async def test_slow_handler_gets_202(caplog: pytest.LogCaptureFixture) -> None:
    handler = sleeping_handler(30.0)
    receiver = make_receiver(handler)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    assert (await deliver(receiver)).status == 202
    assert loop.time() - started_at == pytest.approx(1.0)
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
    assert "'evt_1'" in log_text(caplog)
    assert "late" in caplog.text
    handler.action = None
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
