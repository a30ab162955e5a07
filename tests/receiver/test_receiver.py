"""WebhookReceiver without a server, on virtual time: once, in time, within bounds, and nothing lost silently."""

from __future__ import annotations

import asyncio
import functools
import logging
import pickle
from typing import Any

import pytest

from rivya_async import ConfigurationError, SessionClosedError, WebhookEvent
from rivya_async.receiver import STANDARD_WEBHOOKS, WebhookReceiver
from tests.receiver.receiver_kit import (
    FAILED,
    NOW,
    SECRET,
    SUCCEEDED,
    Handler,
    Waits,
    body_of,
    delivered,
    lasting,
    receiver_of,
    signed,
    statuses,
)


def logged(caplog: pytest.LogCaptureFixture, level: int = logging.ERROR) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno == level)


# --- who handles what -------------------------------------------------------------------------------------------------


async def test_an_event_goes_to_the_handler_of_its_type() -> None:
    made, lost, rest = Handler(), Handler(), Handler()
    receiver = WebhookReceiver(SECRET, clock=lambda: NOW)
    assert receiver.on(SUCCEEDED)(made) is made
    assert receiver.on(FAILED, lost) is lost
    receiver.on("*", rest)
    for number, event_type in enumerate([SUCCEEDED, FAILED, "chat.answered", ""]):
        assert (await delivered(receiver, f"evt_{number}", event_type)).status == 200
    assert (made.ended, lost.ended, rest.ended) == (["evt_0"], ["evt_1"], ["evt_2", "evt_3"])


async def test_a_handler_may_be_false_in_a_boolean_sense() -> None:
    class Inbox(list[str]):
        async def __call__(self, event: WebhookEvent) -> None:
            self.append(event.id)

    inbox = Inbox()
    receiver = WebhookReceiver(SECRET, clock=lambda: NOW)
    receiver.on(SUCCEEDED, inbox)
    assert (await delivered(receiver)).text == "handled"
    assert inbox == ["evt_1"]


async def test_what_nobody_handles_is_taken() -> None:
    made = Handler()
    receiver = WebhookReceiver(SECRET, clock=lambda: NOW)
    assert (await delivered(receiver)).text == "nobody handles this type"
    receiver.on(SUCCEEDED, made)
    assert (await delivered(receiver)).text == "handled"
    assert made.ended == ["evt_1"]


@pytest.mark.parametrize("wrong", [5, print, lambda event: None, len], ids=["number", "print", "lambda", "len"])
def test_a_handler_is_async(wrong: Any) -> None:
    receiver = WebhookReceiver(SECRET)
    with pytest.raises(ConfigurationError, match="an async function"):
        receiver.on(SUCCEEDED)(wrong)


def test_a_decorator_without_a_type_is_told_of() -> None:
    async def handle(event: WebhookEvent) -> None: ...

    with pytest.raises(ConfigurationError, match="of which type"):
        receiver_of().on(handle)  # type: ignore[call-overload]


def test_a_type_has_one_handler() -> None:
    receiver = receiver_of(Handler())
    with pytest.raises(ConfigurationError, match="handler already"):
        receiver.on("*", Handler())


async def test_what_a_decorator_made_of_a_handler_is_one() -> None:
    handler = Handler()

    async def handle(event: WebhookEvent) -> None:
        await handler(event)

    @functools.wraps(handle)
    def traced(event: WebhookEvent) -> Any:
        return handle(event)

    assert (await delivered(receiver_of(traced))).status == 200
    assert handler.ended == ["evt_1"]


async def test_methods_and_partials_are_handlers() -> None:
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
    await delivered(receiver, "evt_1", SUCCEEDED)
    await delivered(receiver, "evt_2", FAILED)
    assert app.seen == ["evt_1", "!evt_2"]


# --- once -------------------------------------------------------------------------------------------------------------


async def test_an_event_is_handled_once() -> None:
    handler = Handler()
    receiver = receiver_of(handler)
    assert [(await delivered(receiver)).text for _ in range(3)] == ["handled", "handled before", "handled before"]
    assert handler.begun == ["evt_1"]


async def test_copies_that_come_together_share_one_handler() -> None:
    handler = lasting(0.5)
    receiver = receiver_of(handler)
    assert await statuses(*(delivered(receiver) for _ in range(10))) == [200] * 10
    assert handler.begun == ["evt_1"]


async def test_copies_that_come_together_fail_together() -> None:
    async def fail(event: WebhookEvent) -> None:
        await asyncio.sleep(0.5)
        raise LookupError

    handler = Handler(fail)
    receiver = receiver_of(handler)
    assert await statuses(*(delivered(receiver) for _ in range(3))) == [500] * 3
    assert handler.begun == ["evt_1"]


async def test_the_window_is_what_the_user_sets() -> None:
    handler = Handler()
    receiver = receiver_of(handler, window=60.0)
    await delivered(receiver)
    await asyncio.sleep(59.0)
    assert (await delivered(receiver)).text == "handled before"
    await asyncio.sleep(2.0)
    assert (await delivered(receiver)).text == "handled"
    assert handler.begun == ["evt_1", "evt_1"]


async def test_a_window_of_nothing_remembers_nothing_longer_than_it_works() -> None:
    handler = lasting(0.1)
    receiver = receiver_of(handler, window=0.0)
    assert await statuses(delivered(receiver), delivered(receiver)) == [200, 200]
    assert handler.begun == ["evt_1"]
    await asyncio.sleep(0.1)
    await delivered(receiver)
    assert handler.begun == ["evt_1"] * 2


# --- failure ----------------------------------------------------------------------------------------------------------


async def test_an_event_whose_handler_failed_is_handled_again(caplog: pytest.LogCaptureFixture) -> None:
    faults = [LookupError("no such customer"), TimeoutError("the database is slow")]

    async def fail(event: WebhookEvent) -> None:
        if faults:
            raise faults.pop(0)

    handler = Handler(fail)
    receiver = receiver_of(handler)
    assert [int((await delivered(receiver)).status) for _ in range(4)] == [500, 500, 200, 200]
    assert (handler.begun, handler.ended) == (["evt_1"] * 3, ["evt_1"])
    assert logged(caplog).count("'evt_1'") == 2
    assert "no such customer" in caplog.text
    assert "the database is slow" in caplog.text


class Empty(Exception):
    """An error that is false in a boolean sense."""

    def __len__(self) -> int:
        return 0


async def test_an_error_of_any_kind_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def cancelled(event: WebhookEvent) -> None:
        asyncio.get_running_loop().call_soon(future.cancel)
        await future

    async def grouped(event: WebhookEvent) -> None:
        raise ExceptionGroup("two", [OSError(), ValueError()])

    async def empty(event: WebhookEvent) -> None:
        raise Empty

    for number, fail in enumerate([cancelled, grouped, empty]):
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        receiver = receiver_of(Handler(fail))
        assert (await delivered(receiver, f"evt_{number}")).status == 500
        assert f"'evt_{number}'" in logged(caplog)


async def test_a_handler_that_turns_out_not_to_be_async_is_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    class Plain:
        def __call__(self, event: WebhookEvent) -> None: ...

    assert (await delivered(receiver_of(Plain()))).status == 500
    assert "'evt_1'" in logged(caplog)


async def test_the_log_takes_no_line_breaks_from_outside(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(event: WebhookEvent) -> None:
        raise LookupError

    await delivered(receiver_of(Handler(fail)), "evt\n1\ud800" + "x" * 500, "a\nb")
    assert "\n" not in logged(caplog)
    assert len(logged(caplog)) < 250


# --- in time ----------------------------------------------------------------------------------------------------------


async def test_a_slow_handler_is_answered_for(caplog: pytest.LogCaptureFixture) -> None:
    handler = lasting(30.0)
    receiver = receiver_of(handler)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await delivered(receiver)).status == 202
    assert loop.time() - began == pytest.approx(1.0)
    assert (await delivered(receiver)).status == 202
    await asyncio.sleep(30.0)
    assert (await delivered(receiver)).text == "handled before"
    assert (handler.begun, handler.ended) == (["evt_1"], ["evt_1"])
    assert not caplog.records


async def test_a_failure_after_the_answer_is_logged_and_can_be_delivered_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(event: WebhookEvent) -> None:
        await asyncio.sleep(5.0)
        raise LookupError("late")

    handler = Handler(fail)
    receiver = receiver_of(handler)
    assert (await delivered(receiver)).status == 202
    await asyncio.sleep(5.0)
    assert "'evt_1'" in logged(caplog)
    assert "late" in caplog.text
    handler.then = None
    assert (await delivered(receiver)).text == "handled"


async def test_it_can_answer_before_it_handles() -> None:
    handler = lasting(0.1)
    receiver = receiver_of(handler, answer_within=0)
    assert (await delivered(receiver)).status == 202
    await asyncio.sleep(0.2)
    assert handler.ended == ["evt_1"]
    assert (await delivered(receiver)).status == 200


async def test_whoever_gives_up_waiting_does_not_stop_the_handler() -> None:
    handler = lasting(0.5)
    receiver = receiver_of(handler)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(delivered(receiver), 0.1)
    await asyncio.sleep(0.5)
    assert handler.ended == ["evt_1"]
    assert (await delivered(receiver)).text == "handled before"


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_so_many_at_once_and_so_many_that_wait() -> None:
    most = 0
    running = 0

    async def count(event: WebhookEvent) -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(10.0)
        running -= 1

    handler = Handler(count)
    receiver = receiver_of(handler, max_running=3, max_waiting=5)
    came = [f"evt_{number}" for number in range(20)]
    assert await statuses(*(delivered(receiver, each) for each in came)) == [202] * 8 + [503] * 12
    assert await statuses(*(delivered(receiver, each) for each in came)) == [202] * 8 + [503] * 12
    await asyncio.sleep(30.0)
    assert (most, sorted(handler.ended)) == (3, sorted(came[:8]))
    assert await statuses(*(delivered(receiver, each) for each in came[8:16])) == [202] * 8
    await asyncio.sleep(30.0)
    assert await statuses(*(delivered(receiver, each) for each in came[16:])) == [202] * 4
    await asyncio.sleep(30.0)
    assert sorted(handler.ended) == sorted(came)


async def test_a_body_has_a_bound() -> None:
    handler = Handler()
    body = body_of()
    assert (await receiver_of(handler, max_body=len(body)).receive(body, signed(body))).status == 200
    assert (await receiver_of(handler, max_body=len(body) - 1).receive(body, signed(body))).status == 413
    assert handler.begun == ["evt_1"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("answer_within", "window", "close_within") for value in (-1, float("nan"), "1")),
        *((name, value) for name in ("max_body", "max_running") for value in (0, 1.5, True)),
        ("max_waiting", -1),
        ("window", float("inf")),
        ("tolerance", -1),
    ],
)
def test_nonsense_is_refused_at_once(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        WebhookReceiver(SECRET, **{name: value})


@pytest.mark.parametrize("secret", ["", " ", None, [], ["whsec_1", ""]])
def test_a_missing_secret_is_refused_at_once(secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="missing or blank"):
        WebhookReceiver(secret)


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_what_is_not_signed_is_not_handled(caplog: pytest.LogCaptureFixture) -> None:
    handler, waits = Handler(), Waits()
    receiver = receiver_of(handler, session=waits)
    body = body_of()
    for headers in ({}, signed(body, secret="whsec_other"), signed(body, at=NOW - 301), signed(body + b" ")):
        answer = await receiver.receive(body, headers)
        assert answer.status == 400
        assert answer.text
        assert "c0ffee" not in answer.text
    assert (handler.begun, waits.settled) == ([], [])
    assert logged(caplog, logging.WARNING).count("a delivery was refused") == 4
    assert "c0ffee" not in caplog.text


async def test_other_schemes_and_secrets_that_are_rotated() -> None:
    old, new = "whsec_b2xkLW9sZC1vbGQ=", "whsec_bmV3LW5ldy1uZXc="
    handler = Handler()
    receiver = WebhookReceiver([new, old], scheme=STANDARD_WEBHOOKS, clock=lambda: NOW, tolerance=10)
    receiver.on("*", handler)
    for number, secret in enumerate((old, new)):
        body = body_of(f"evt_{number}")
        headers = STANDARD_WEBHOOKS.sign(body, secret, message_id=f"evt_{number}", timestamp=NOW + 9)
        assert (await receiver.receive(body, headers)).status == 200
    assert handler.ended == ["evt_0", "evt_1"]


async def test_a_reason_can_be_sent_whatever_it_quotes() -> None:
    body = b'{"id": "\\ud800", "type": ["\\udcff"], "data": {"\\ud800": 1}, "created_at": "\\ud800"}'
    answer = await receiver_of(Handler()).receive(body, signed(body))
    assert answer.status == 400
    assert answer.text.encode()


@pytest.mark.parametrize("body", [{"id": "evt_1"}, "text", None, 5])
async def test_a_body_that_is_no_bytes_is_a_mistake_of_the_caller(body: Any) -> None:
    with pytest.raises(ConfigurationError, match="raw bytes"):
        await receiver_of().receive(body, signed(body_of()))


def test_a_receiver_shows_no_secret_and_does_not_travel() -> None:
    assert "c0ffee" not in repr(receiver_of())
    with pytest.raises(TypeError):
        pickle.dumps(receiver_of())


# --- the session ------------------------------------------------------------------------------------------------------


async def test_waits_are_settled_before_the_handler_runs_and_once() -> None:
    waits = Waits()
    settled: list[int] = []
    assert not waits.expects_deliveries

    async def look(event: WebhookEvent) -> None:
        settled.append(len(waits.settled))

    receiver = receiver_of(look, session=waits)
    for _ in range(3):
        await delivered(receiver)
    assert waits.expects_deliveries
    assert [(job.id, job.status) for job in waits.settled] == [("task_1", "succeeded")]
    assert settled == [1]


async def test_waits_are_settled_where_there_is_no_handler_and_no_place_for_one() -> None:
    waits = Waits()
    await delivered(receiver_of(session=waits))
    receiver = receiver_of(lasting(2.0), session=waits, max_running=1, max_waiting=0)
    assert await statuses(delivered(receiver, "evt_2"), delivered(receiver, "evt_3")) == [202, 503]
    assert len(waits.settled) == 3
    await receiver.aclose()


async def test_an_event_without_a_job_settles_nothing() -> None:
    waits = Waits()
    body = b'{"id": "evt_1", "type": "chat.answered", "data": {"text": "Hello"}}'
    assert (await receiver_of(Handler(), session=waits).receive(body, signed(body))).status == 200
    assert waits.settled == []


async def test_a_session_that_cannot_settle_is_told_of_and_stops_no_handler(caplog: pytest.LogCaptureFixture) -> None:
    handler = Handler()
    receiver = receiver_of(handler, session=Waits(SessionClosedError("the session was closed")))
    assert (await delivered(receiver)).status == 200
    assert handler.ended == ["evt_1"]
    assert "'evt_1'" in logged(caplog)


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_closing_waits_for_the_handlers() -> None:
    handler = lasting(5.0)
    async with receiver_of(handler) as receiver:
        assert await statuses(delivered(receiver, "evt_1"), delivered(receiver, "evt_2")) == [202, 202]
    assert sorted(handler.ended) == ["evt_1", "evt_2"]
    assert (await delivered(receiver)).status == 503
    receiver.open()
    assert (await delivered(receiver)).text == "handled before"


async def test_who_closes_it_as_well_waits_as_well() -> None:
    handler = lasting(5.0)
    receiver = receiver_of(handler)
    await delivered(receiver)
    first = asyncio.create_task(receiver.aclose())
    await asyncio.sleep(0)
    await receiver.aclose()
    assert handler.ended == ["evt_1"]
    await first


async def test_what_is_opened_again_while_it_closes_handles_nothing_twice() -> None:
    handler = lasting(5.0)
    receiver = receiver_of(handler)
    await delivered(receiver)
    closing = asyncio.create_task(receiver.aclose())
    await asyncio.sleep(0)
    receiver.open()
    assert await statuses(delivered(receiver), delivered(receiver, "evt_2")) == [202, 202]
    await closing
    assert handler.begun == ["evt_1", "evt_2"]
    await receiver.aclose()
    assert handler.ended == ["evt_1", "evt_2"]


async def test_closing_waits_no_longer_than_it_was_told(caplog: pytest.LogCaptureFixture) -> None:
    handler = lasting(1_000.0)
    receiver = receiver_of(handler, max_running=1, close_within=10.0)
    loop = asyncio.get_running_loop()
    await statuses(delivered(receiver, "evt_1"), delivered(receiver, "evt_2"))
    began = loop.time()
    waiting = asyncio.create_task(delivered(receiver, "evt_3"))
    await asyncio.sleep(0)
    await receiver.aclose()
    assert loop.time() - began == pytest.approx(10.0)
    assert (await waiting).status == 202
    assert (handler.begun, handler.ended) == (["evt_1"], [])
    assert all(f"'evt_{number}'" in logged(caplog) for number in (1, 2, 3))


async def test_who_waits_for_what_is_cut_is_told_to_come_again() -> None:
    receiver = receiver_of(lasting(1_000.0), close_within=0.1, answer_within=5.0)
    waiting = asyncio.create_task(delivered(receiver))
    await asyncio.sleep(0)
    await receiver.aclose()
    assert (await waiting).status == 500


async def test_a_close_that_is_cancelled_cuts_at_once() -> None:
    handler = lasting(1_000.0)
    receiver = receiver_of(handler)
    await delivered(receiver)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(receiver.aclose(), 0.1)
    await asyncio.sleep(0)
    assert handler.ended == []


async def test_a_handler_that_does_not_let_go_does_not_hold_up_the_close(caplog: pytest.LogCaptureFixture) -> None:
    async def cling(event: WebhookEvent) -> None:
        try:
            await asyncio.sleep(1_000.0)
        except asyncio.CancelledError:
            await asyncio.sleep(50.0)

    receiver = receiver_of(Handler(cling), close_within=1.0)
    await delivered(receiver)
    began = asyncio.get_running_loop().time()
    await receiver.aclose()
    assert asyncio.get_running_loop().time() - began == pytest.approx(2.0)
    assert "1 handlers were cancelled" in logged(caplog)
    await asyncio.sleep(60.0)


async def test_closing_what_has_nothing_to_do() -> None:
    receiver = receiver_of(Handler())
    await receiver.aclose()
    await receiver.aclose()
    async with receiver:
        assert (await delivered(receiver)).status == 200
