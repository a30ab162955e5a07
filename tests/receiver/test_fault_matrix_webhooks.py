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
from tests.receiver.receiver_kit import NOW, Handler, body_of, receiver_of, signed
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


def failing(times: int) -> Handler:
    """A handler that raises so many times."""
    left = [LookupError("no such customer")] * times

    async def fail(event: WebhookEvent) -> None:
        if left:
            raise left.pop()

    return Handler(fail)


@attrs.frozen
class Row:
    """A fault of one delivery; the answers to all attempts; how often the handler began."""

    name: str
    answers: Sequence[int | None]
    fault: dict[str, Any] = attrs.field(factory=dict)
    begun: int = 1
    receiver: dict[str, Any] = attrs.field(factory=dict)
    handler: Callable[[], Handler] = Handler
    clock_off: float = 0.0
    secret: Callable[[str], Any] = lambda secret: secret


def spoilt(name: str, answer: int, **fault: Any) -> Row:
    """One attempt is spoilt, the next one is as it should be."""
    return Row(name, [answer, HANDLED], {**fault, "times": 1})


def in_vain(name: str, **more: Any) -> Row:
    """Refused each time, and never handled."""
    return Row(name, [REFUSED] * MOST_ATTEMPTS, begun=0, **more)


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
    spoilt("another event", REFUSED, body=body_of("evt_another")),
    spoilt("invalid UTF-8", REFUSED, body=b"\xff\xfe\x00"),
    spoilt("huge body", 413, body=b"x" * 1_048_577),
    # --- on the way
    Row("lost on its way", [LOST, HANDLED], {"drop": True, "times": 1}),
    Row("lost four times", [LOST] * 4 + [HANDLED], {"drop": True, "times": 4}),
    Row("the answer is lost: a duplicate", [LOST, HANDLED], {"drop": True, "act": True, "times": 1}),
    Row("delayed", [HANDLED], {"delay": 0.1, "times": 1}),
    # --- the handler
    Row("handler raises", [500, HANDLED], begun=2, handler=lambda: failing(1)),
    Row("handler always raises", [500] * MOST_ATTEMPTS, begun=6, handler=lambda: failing(99)),
    Row(
        "handler is slow",
        [202],
        receiver={"answer_within": 0.01},
        handler=lambda: Handler(lambda _: asyncio.sleep(0.1)),
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
        assert handler.begun == [event.id] * row.begun
        assert len(handler.ended) == (row.answers[-1] in {HANDLED, 202})
        assert not bought_twice(sandbox)


async def test_a_secret_that_is_rotated_while_it_delivers() -> None:
    handler = Handler()
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
    assert len(handler.ended) == 2


async def test_a_receiver_that_is_down_for_a_while() -> None:
    handler = Handler()
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
        await until(lambda: len(handler.ended) == 1)
        await here.close()
        *refused, last = await ended(session, endpoint, 2)
    assert {each.response_status for each in refused} == {LOST}
    assert last.response_status == HANDLED


async def test_events_that_overtake_each_other() -> None:
    handler = Handler()
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
    assert handler.ended == [*in_order[1:], in_order[0]]


async def test_too_many_at_once_come_again() -> None:
    most = running = 0

    async def count(event: WebhookEvent) -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1

    handler = Handler(count)
    async with (
        site() as here,
        Sandbox(speed=2_000.0, allow_local_webhooks=True) as sandbox,
        opened(sandbox) as session,
    ):
        url = await here.open()
        endpoint = await session.webhooks.create("Mine", url, EVENT_TYPES)
        await here.close()
        receiver = WebhookReceiver(endpoint.signing_secret or "", max_running=2, max_waiting=4, answer_within=0.0)
        receiver.on("*", handler)
        await here.open(receiver)
        jobs = await asyncio.gather(*(session.generate("z-image", f"Kite {number}") for number in range(12)))
        await until(lambda: len(handler.ended) == len(jobs))
        deliveries = await ended(session, endpoint, len(jobs))
        await here.close()
    assert most == 2
    assert len(set(handler.begun)) == len(handler.begun) == 12
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
async def test_a_signed_body(body: bytes, status: int) -> None:
    handler = Handler()
    async with site() as here, aiohttp.ClientSession() as http:
        url = await here.open(receiver_of(handler))
        async with http.post(url, data=BytesIO(body), headers=signed(body)) as answer:
            assert answer.status == status
            text = await answer.text()
    assert (len(handler.ended), bool(text)) == (status == HANDLED, True)
    assert "c0ffee" not in text


async def test_a_replay() -> None:
    handler, now = Handler(), float(NOW)
    body = body_of()
    async with site() as here, aiohttp.ClientSession() as http:
        url = await here.open(receiver_of(handler, clock=lambda: now))

        async def replayed() -> int:
            async with http.post(url, data=body, headers=signed(body)) as answer:
                return answer.status

        assert [await replayed() for _ in range(3)] == [200] * 3
        now += 301.0
        assert await replayed() == 400
        now -= 602.0  # a wall clock that steps back
        assert await replayed() == 400
    assert handler.ended == ["evt_1"]


# --- the table of proofs ----------------------------------------------------------------------------------------------

HERE: Final = "receiver/test_fault_matrix_webhooks.py"
CORE: Final = "core/test_webhook_signatures.py"
RECEIVER: Final = "receiver/test_receiver.py"
SERVERS: Final = "receiver/test_servers.py"
VERIFY: Final = "receiver/test_verify.py"
CLI: Final = "cli/test_cli_listen.py"

PROOFS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "Connect": {
        "nobody listens, then somebody does": (f"{HERE}::test_a_receiver_that_is_down_for_a_while",),
        "behind a receiver that passes on": (f"{CLI}::test_a_receiver_behind_that_is_not_there",),
    },
    "After send": {
        "dropped before and after it acted": (f"{HERE}::test_delivery",),
        "cut in mid-body, bad chunk": (f"{SERVERS}::test_a_sender_that_goes_away",),
        "a body that does not come": (f"{SERVERS}::test_a_body_that_does_not_come",),
    },
    "Body": {
        "empty, HTML, truncated, wrong type, unknown": (f"{HERE}::test_a_signed_body",),
        "anything at all": (
            f"{CORE}::test_signed_body_is_event_or_webhook_error",
            f"{CORE}::test_any_headers_raise_webhook_errors_only",
        ),
        "compressed to nothing": (f"{SERVERS}::test_a_body_that_is_a_bomb",),
    },
    "Time": {
        "wall clock stepping back and forward": (f"{HERE}::test_a_replay",),
        "negative and NaN durations": (f"{RECEIVER}::test_nonsense_is_refused_at_once",),
    },
    "Concurrency": {
        "copies at the same time": (
            f"{RECEIVER}::test_copies_that_come_together_share_one_handler",
            f"{RECEIVER}::test_copies_that_come_together_fail_together",
        ),
        "close while handling": (
            f"{RECEIVER}::test_closing_waits_for_the_handlers",
            f"{RECEIVER}::test_closing_waits_no_longer_than_it_was_told",
            f"{SERVERS}::test_the_server_stops_gently",
            f"{SERVERS}::test_an_app_around_it_closes_what_handlers_use_after_them",
        ),
    },
    "Cancellation": {
        "of the request": (f"{RECEIVER}::test_whoever_gives_up_waiting_does_not_stop_the_handler",),
        "of the handler": (f"{RECEIVER}::test_an_error_of_any_kind_is_a_failure",),
        "of the close": (f"{RECEIVER}::test_a_close_that_is_cancelled_cuts_at_once",),
    },
    "Overload": {
        "more than there is room for": (
            f"{HERE}::test_too_many_at_once_come_again",
            f"{RECEIVER}::test_so_many_at_once_and_so_many_that_wait",
        ),
    },
    "Webhook": {
        "wrong": (f"{HERE}::test_delivery", f"{CORE}::test_rejects_changed_time"),
        "missing": (f"{HERE}::test_delivery", f"{CORE}::test_rejects_missing_and_duplicate_headers"),
        "malformed": (
            f"{HERE}::test_delivery",
            f"{CORE}::test_rejects_malformed_signature",
            f"{CORE}::test_rejects_malformed_standard_webhooks_header",
            f"{SERVERS}::test_a_signature_that_is_none",
        ),
        "rotated secret": (
            f"{HERE}::test_a_secret_that_is_rotated_while_it_delivers",
            f"{CORE}::test_accepts_either_secret_during_rotation",
        ),
        "body changed by one byte": (f"{CORE}::test_rejects_changed_body",),
        "outside tolerance": (f"{HERE}::test_delivery", f"{CORE}::test_rejects_time_outside_tolerance"),
        "replay": (f"{HERE}::test_a_replay",),
        "duplicate": (f"{HERE}::test_delivery", f"{RECEIVER}::test_an_event_is_handled_once"),
        "out of order": (f"{HERE}::test_events_that_overtake_each_other",),
        "huge body": (f"{HERE}::test_a_signed_body", f"{SERVERS}::test_a_body_that_is_too_large_is_not_read"),
        "invalid UTF-8": (f"{HERE}::test_a_signed_body",),
        "unknown type": (f"{HERE}::test_a_signed_body", f"{RECEIVER}::test_an_event_goes_to_the_handler_of_its_type"),
        "handler that fails": (
            f"{HERE}::test_delivery",
            f"{RECEIVER}::test_an_event_whose_handler_failed_is_handled_again",
            f"{RECEIVER}::test_a_failure_after_the_answer_is_logged_and_can_be_delivered_again",
        ),
    },
    "Secrets": {
        "repr, pickle": (
            f"{CORE}::test_verifier_shows_no_secret_and_is_not_pickled",
            f"{RECEIVER}::test_a_receiver_shows_no_secret_and_does_not_travel",
        ),
        "log, exception, answer": (f"{RECEIVER}::test_what_is_not_signed_is_not_handled",),
        "traceback": (f"{VERIFY}::test_no_traceback_of_ours_shows_the_secret",),
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
