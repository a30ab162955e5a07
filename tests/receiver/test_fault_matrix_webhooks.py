"""The fault matrix, its column of webhooks: what each fault does to a delivery, over real sockets.

Every row states the answer to each attempt, how often the handler began and ended, and that nothing is left behind.
The table at the end names the proof of each case; some are here, the others beside what they test.
"""

from __future__ import annotations

import ast
import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs
import pytest
from aiohttp import web

from rivya_async import RivyaSession, WebhookDelivery, WebhookEndpoint, WebhookEvent
from rivya_async.receiver import WebhookReceiver
from rivya_async.sandbox import Sandbox
from tests.receiver.receiver_kit import NOW, RecordingHandler, make_body, make_receiver, sign
from tests.session.session_kit import FAST, bought_twice, opened, until

DELIVERY: Final = "webhook delivery"
EVENT_TYPES: Final = ("generation.succeeded", "generation.failed")
HANDLED: Final = 200
REFUSED: Final = 400
LOST: Final = None
MOST_ATTEMPTS: Final = 6


class Site:
    """A receiver at a port of its own, which can be closed and opened again."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def open(self, receiver: WebhookReceiver | None = None) -> str:
        """Its URL; where no receiver is there, nobody listens."""
        app = web.Application() if receiver is None else receiver.aiohttp_app()
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, lingering_time=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        self._port = self._runner.addresses[0][1]
        return f"http://127.0.0.1:{self._port}/hooks"

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    one = Site()
    try:
        yield one
    finally:
        await one.close()


async def ended(session: RivyaSession, endpoint: WebhookEndpoint, count: int) -> Sequence[WebhookDelivery]:
    """So many deliveries, the first one first, once there are so many and none is on its way."""
    async with asyncio.timeout(10):
        while True:
            found = await session.webhooks.deliveries(endpoint.id, limit=100)
            if len(found) >= count and not any(each.status == "pending" for each in found):
                return found[::-1]
            await asyncio.sleep(0.01)


async def failed(session: RivyaSession, endpoint: WebhookEndpoint) -> None:
    """Wait until a delivery to it has failed."""
    async with asyncio.timeout(10):
        while True:
            if (await session.webhooks.retrieve(endpoint.id)).failure_count:
                return
            await asyncio.sleep(0.01)


# --- what the sandbox delivers ----------------------------------------------------------------------------------------


def failing(times: int) -> RecordingHandler:
    """A handler that raises so many times."""
    left = [LookupError("no such customer")] * times

    async def fail(event: WebhookEvent) -> None:
        if left:
            raise left.pop()

    return RecordingHandler(fail)


@attrs.frozen
class Row:
    """A fault of one delivery; the answers to all attempts; how often the handler began."""

    name: str
    answers: Sequence[int | None]
    fault: dict[str, Any] = attrs.field(factory=dict)
    started: int = 1
    receiver: dict[str, Any] = attrs.field(factory=dict)
    handler: Callable[[], RecordingHandler] = RecordingHandler
    clock_off: float = 0.0
    secret: Callable[[str], Any] = lambda secret: secret


def spoilt(name: str, answer: int, **fault: Any) -> Row:
    """One attempt is spoilt, the next one is as it should be."""
    return Row(name, [answer, HANDLED], {**fault, "times": 1})


def in_vain(name: str, **more: Any) -> Row:
    """Refused each time, and never handled."""
    return Row(name, [REFUSED] * MOST_ATTEMPTS, started=0, **more)


ROWS: Final = [
    Row("nothing", [HANDLED]),
    # --- the secret and the signature
    in_vain("wrong secret", secret=lambda _: "whsec_of_another"),
    Row("rotated secret", [HANDLED], secret=lambda secret: ["whsec_the_new_one", secret]),
    spoilt("missing signature", REFUSED, headers={"Rivya-Signature": ""}),
    spoilt("malformed signature", REFUSED, headers={"Rivya-Signature": "t=soon,v1=xyz"}),
    spoilt("signature of nothing", REFUSED, headers={"Rivya-Signature": f"t={NOW},v1={'0' * 64}"}),
    # --- the time
    in_vain("signed too long ago", clock_off=-400.0),
    in_vain("signed in the future", clock_off=400.0),
    Row("a clock that is off, and a tolerance for it", [HANDLED], clock_off=-400.0, receiver={"tolerance": 500.0}),
    # --- the body
    spoilt("empty body", REFUSED, body=""),
    spoilt("HTML", REFUSED, body="<html>Welcome</html>"),
    spoilt("another event", REFUSED, body=make_body("evt_another")),
    spoilt("invalid UTF-8", REFUSED, body=b"\xff\xfe\x00"),
    spoilt("huge body", 413, body=b"x" * 1_048_577),
    # --- on the way
    Row("lost on its way", [LOST, HANDLED], {"drop": True, "times": 1}),
    Row("lost four times", [LOST] * 4 + [HANDLED], {"drop": True, "times": 4}),
    Row("the answer is lost: a duplicate", [LOST, HANDLED], {"drop": True, "act": True, "times": 1}),
    Row("delayed", [HANDLED], {"delay": 0.1, "times": 1}),
    # --- the handler
    Row("handler raises", [500, HANDLED], started=2, handler=lambda: failing(1)),
    Row("handler always raises", [500] * MOST_ATTEMPTS, started=6, handler=lambda: failing(99)),
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
    clock = lambda: time.time() + row.clock_off  # noqa: TID251, E731
    async with (
        site() as here,
        Sandbox(speed=FAST, allow_local_webhooks=True, clock=clock) as sandbox,
        opened(sandbox) as session,
    ):
        url = await here.open()  # a place, before there is a secret
        endpoint = await session.webhooks.create("Mine", url, EVENT_TYPES)
        await here.close()
        receiver = WebhookReceiver(row.secret(endpoint.signing_secret or ""), **row.receiver)
        receiver.on("*", handler)
        await here.open(receiver)
        if row.fault:
            sandbox.faults.add(route=DELIVERY, **row.fault)
        job = await session.generate("z-image", "A red kite")
        deliveries = await ended(session, endpoint, len(row.answers))
        assert [each.response_status for each in deliveries] == row.answers
        await here.close()
        (event,) = await session.webhook_events.list()
        assert event.generation == job
        assert handler.started == [event.id] * row.started
        assert len(handler.finished) == (row.answers[-1] in {HANDLED, 202})
        assert not bought_twice(sandbox)


async def test_secret_rotation_during_deliveries() -> None:
    handler = RecordingHandler()
    async with (
        site() as here,
        Sandbox(speed=FAST, allow_local_webhooks=True) as sandbox,
        opened(sandbox) as session,
    ):
        url = await here.open()
        old = await session.webhooks.create("Mine", url, EVENT_TYPES)
        await here.close()
        new = await session.webhooks.rotate_secret(old.id)
        for secrets, answers in (
            ([old.signing_secret], [REFUSED] * MOST_ATTEMPTS),
            ([old.signing_secret, new.signing_secret], [HANDLED]),
            ([new.signing_secret], [HANDLED]),
        ):
            receiver = WebhookReceiver([secret or "" for secret in secrets])
            receiver.on("*", handler)
            await here.open(receiver)
            before = len(await session.webhooks.deliveries(old.id, limit=100))
            await session.generate("z-image", "A red kite")
            deliveries = await ended(session, old, before + len(answers))
            assert [each.response_status for each in deliveries[before:]] == answers
            await here.close()
    assert len(handler.finished) == 2


async def test_receiver_is_down_then_recovers() -> None:
    handler = RecordingHandler()
    async with (
        site() as here,
        Sandbox(speed=600.0, allow_local_webhooks=True) as sandbox,  # 0.05 s till the first retry, then 0.2 s, 1 s
        opened(sandbox) as session,
    ):
        url = await here.open()
        endpoint = await session.webhooks.create("Mine", url, EVENT_TYPES)
        await here.close()
        await session.generate("z-image", "A red kite")
        receiver = WebhookReceiver(endpoint.signing_secret or "")
        receiver.on("*", handler)
        await failed(session, endpoint)
        await here.open(receiver)
        await until(lambda: len(handler.finished) == 1)
        await here.close()
        *refused, last = await ended(session, endpoint, 2)
    assert {each.response_status for each in refused} == {LOST}
    assert last.response_status == HANDLED


async def test_events_out_of_order() -> None:
    handler = RecordingHandler()
    async with (
        site() as here,
        Sandbox(speed=FAST, allow_local_webhooks=True) as sandbox,
        opened(sandbox) as session,
    ):
        url = await here.open()
        endpoint = await session.webhooks.create("Mine", url, EVENT_TYPES)
        await here.close()
        receiver = WebhookReceiver(endpoint.signing_secret or "")
        receiver.on("*", handler)
        await here.open(receiver)
        sandbox.faults.add(route=DELIVERY, nth=1, delay=0.2)
        for prompt in ("A red kite", "A blue whale", "A grey seal"):
            await session.generate("z-image", prompt)
        await ended(session, endpoint, 3)
        await here.close()
        in_order = [event.id for event in reversed(await session.webhook_events.list())]
    assert handler.finished == [*in_order[1:], in_order[0]]


async def test_overload_is_redelivered() -> None:
    most = running = 0

    async def count(event: WebhookEvent) -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1

    handler = RecordingHandler(count)
    async with (
        site() as here,
        Sandbox(speed=2_000.0, allow_local_webhooks=True) as sandbox,
        opened(sandbox) as session,
    ):
        url = await here.open()
        endpoint = await session.webhooks.create("Mine", url, EVENT_TYPES)
        await here.close()
        receiver = WebhookReceiver(endpoint.signing_secret or "", max_running=2, max_waiting=4, response_timeout=0.0)
        receiver.on("*", handler)
        await here.open(receiver)
        jobs = await asyncio.gather(*(session.generate("z-image", f"Kite {number}") for number in range(12)))
        await until(lambda: len(handler.finished) == len(jobs))
        deliveries = await ended(session, endpoint, len(jobs))
        await here.close()
    assert most == 2
    assert len(set(handler.started)) == len(handler.started) == 12
    assert {each.response_status for each in deliveries} == {202, 503}


# --- what is signed and makes no sense --------------------------------------------------------------------------------

JOB: Final = {"id": "task_1", "status": "succeeded", "model": "z-image"}


def event_with(**members: Any) -> bytes:
    return json.dumps({"id": "evt_1", "type": "generation.succeeded", "data": JOB, **members}).encode()


BODIES: Final = {
    "empty": (b"", 400),
    "HTML": (b"<html>", 400),
    "truncated JSON": (event_with()[:-2], 400),
    "a list": (b"[]", 400),
    "null": (b"null", 400),
    "deep JSON": (b"[" * 100_000, 400),
    "invalid UTF-8": (event_with().replace(b"task_1", b"task_\xff"), 400),
    "UTF-16": (event_with().decode().encode("utf-16"), 400),
    "no id": (event_with(id=None), 400),
    "blank id": (event_with(id=" "), 400),
    "wrong type": (event_with(id=5), 400),
    "data of a wrong type": (event_with(data="none"), 400),
    "NaN": (event_with(created_at=float("nan")), 400),
    "unknown type": (event_with(type="chat.answered", data={"text": "Hello"}), 200),
    "no type": (event_with(type=""), 200),
    "no job": (event_with(data={}), 200),
    "a job that cannot be read": (event_with(data={"id": 5, "status": []}), 200),
    "unknown status": (event_with(data={**JOB, "status": "paused"}), 200),
    "unknown fields": (event_with(mood="calm", data={**JOB, "mood": "calm"}), 200),
    "the job in data.object": (event_with(data={"object": JOB}), 200),
    "the largest body": (event_with(junk="x" * (1_048_576 - len(event_with(junk="")))), 200),
    "huge body": (event_with(junk="x" * 1_048_576), 413),
}


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES.keys())
async def test_signed_body(body: bytes, status: int) -> None:
    handler = RecordingHandler()
    async with site() as here, aiohttp.ClientSession() as http:
        url = await here.open(make_receiver(handler))
        async with http.post(url, data=BytesIO(body), headers=sign(body)) as answer:
            assert answer.status == status
            text = await answer.text()
    assert (len(handler.finished), bool(text)) == (status == HANDLED, True)
    assert "c0ffee" not in text


async def test_replay() -> None:
    handler, now = RecordingHandler(), float(NOW)
    body = make_body()
    async with site() as here, aiohttp.ClientSession() as http:
        url = await here.open(make_receiver(handler, clock=lambda: now))

        async def replayed() -> int:
            async with http.post(url, data=body, headers=sign(body)) as answer:
                return answer.status

        assert [await replayed() for _ in range(3)] == [200] * 3
        now += 301.0
        assert await replayed() == 400
        now -= 602.0  # a wall clock that steps back
        assert await replayed() == 400
    assert handler.finished == ["evt_1"]


# --- the table of proofs ----------------------------------------------------------------------------------------------

HERE: Final = "receiver/test_fault_matrix_webhooks.py"
CORE: Final = "core/test_signature.py"
RECEIVER: Final = "receiver/test_receiver.py"
SERVERS: Final = "receiver/test_servers.py"
VERIFY: Final = "receiver/test_verify.py"
CLI: Final = "cli/test_cli_listen.py"

PROOFS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "Connect": {
        "nobody listens, then somebody does": (f"{HERE}::test_receiver_is_down_then_recovers",),
        "behind a receiver that passes on": (f"{CLI}::test_a_receiver_behind_that_is_not_there",),
    },
    "After send": {
        "dropped before and after it acted": (f"{HERE}::test_delivery",),
        "cut in mid-body, bad chunk": (f"{SERVERS}::test_client_disconnects",),
        "a body that does not come": (f"{SERVERS}::test_body_timeout",),
    },
    "Body": {
        "empty, HTML, truncated, wrong type, unknown": (f"{HERE}::test_signed_body",),
        "anything at all": (
            f"{CORE}::test_a_signed_body_is_an_event_or_a_webhook_error",
            f"{CORE}::test_whatever_comes_is_a_webhook_error",
        ),
        "compressed to nothing": (f"{SERVERS}::test_decompression_bomb",),
    },
    "Time": {
        "wall clock stepping back and forward": (f"{HERE}::test_replay",),
        "negative and NaN durations": (f"{RECEIVER}::test_rejects_invalid_options",),
    },
    "Concurrency": {
        "copies at the same time": (
            f"{RECEIVER}::test_concurrent_duplicates_share_one_handler",
            f"{RECEIVER}::test_concurrent_duplicates_share_the_failure",
        ),
        "close while handling": (
            f"{RECEIVER}::test_close_waits_for_handlers",
            f"{RECEIVER}::test_close_cancels_handlers_after_timeout",
            f"{SERVERS}::test_graceful_shutdown",
            f"{SERVERS}::test_parent_app_cleans_up_after_handlers",
        ),
    },
    "Cancellation": {
        "of the request": (f"{RECEIVER}::test_cancelled_request_keeps_handler_running",),
        "of the handler": (f"{RECEIVER}::test_any_error_is_a_failure",),
        "of the close": (f"{RECEIVER}::test_cancelled_close_cancels_handlers",),
    },
    "Overload": {
        "more than there is room for": (
            f"{HERE}::test_overload_is_redelivered",
            f"{RECEIVER}::test_limits_running_and_waiting_handlers",
        ),
    },
    "Webhook": {
        "wrong": (f"{HERE}::test_delivery", f"{CORE}::test_a_time_that_was_changed_is_not_ours"),
        "missing": (f"{HERE}::test_delivery", f"{CORE}::test_a_missing_header_and_one_that_came_twice"),
        "malformed": (
            f"{HERE}::test_delivery",
            f"{CORE}::test_a_malformed_signature",
            f"{CORE}::test_a_malformed_header_of_standard_webhooks",
            f"{SERVERS}::test_malformed_signature_header",
        ),
        "rotated secret": (
            f"{HERE}::test_secret_rotation_during_deliveries",
            f"{CORE}::test_either_secret_will_do_while_they_are_rotated",
        ),
        "body changed by one byte": (f"{CORE}::test_a_body_with_a_bit_changed_is_not_ours",),
        "outside tolerance": (f"{HERE}::test_delivery", f"{CORE}::test_outside_the_tolerance"),
        "replay": (f"{HERE}::test_replay",),
        "duplicate": (f"{HERE}::test_delivery", f"{RECEIVER}::test_handles_an_event_once"),
        "out of order": (f"{HERE}::test_events_out_of_order",),
        "huge body": (f"{HERE}::test_signed_body", f"{SERVERS}::test_stops_reading_a_large_body"),
        "invalid UTF-8": (f"{HERE}::test_signed_body",),
        "unknown type": (f"{HERE}::test_signed_body", f"{RECEIVER}::test_dispatches_by_event_type"),
        "handler that fails": (
            f"{HERE}::test_delivery",
            f"{RECEIVER}::test_failed_event_is_handled_again",
            f"{RECEIVER}::test_failure_after_response_is_logged_and_redeliverable",
        ),
    },
    "Secrets": {
        "repr, pickle": (
            f"{CORE}::test_a_verifier_shows_no_secret_and_does_not_travel",
            f"{RECEIVER}::test_repr_has_no_secret_and_pickling_fails",
        ),
        "log, exception, answer": (f"{RECEIVER}::test_unsigned_delivery_is_not_handled",),
        "traceback": (f"{VERIFY}::test_tracebacks_have_no_secret",),
        "CLI output": (f"{CLI}::test_what_is_signed_is_shown_and_what_is_not_is_refused",),
    },
}
"""Every case of the column, and the tests that prove it."""


@pytest.mark.parametrize(
    "proof",
    [
        pytest.param(proof, id=f"{row}: {case}: {number}")
        for row, cases in PROOFS.items()
        for case, proofs in cases.items()
        for number, proof in enumerate(proofs, 1)
    ],
)
def test_every_case_has_its_proof(proof: str) -> None:
    file, _, name = proof.partition("::")
    tree = ast.parse((Path(__file__).parents[1] / file).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
