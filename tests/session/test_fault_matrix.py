"""The fault matrix: the effect of each fault on a submit and on a wait, as one table.

Every cell states the outcome and the numbers of requests and purchases. Every cell checks that nothing is bought twice,
that an error suffices to continue, and (by the fixtures) that no task or socket is left open.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from aiohttp import web

from rivya_async import (
    APIDisabledError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    Generation,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    RequestNotSentError,
    RetryPolicy,
    RivyaError,
    RivyaSession,
    Timeouts,
    WaitTimeoutError,
)
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import (
    FAST,
    POLL,
    QUICK_RETRY,
    SUBMIT,
    RecordingHooks,
    duplicate_purchases,
    generation_body,
    open_session,
    plain_server,
    raw_server,
    wait_until,
)

pytestmark = pytest.mark.usefixtures("each_transport")

LONG: Final = Timeouts(connect=60.0, read=60.0, total=120.0)
"""Timeouts that do not pass, even on a busy machine."""

SHORT: Final = Timeouts(connect=0.2, read=0.6, total=60.0)
"""Timeouts of calls that end only by a timeout."""

LATE: Final = 2.4
"""Delay in seconds of an answer that comes long after the read timeout, also on a busy machine."""

ALL: Final = QUICK_RETRY.max_attempts
"""Requests of a call that uses up its attempts."""

MANY: Final = -1
"""As many polls as fit in the wait, at least two."""

HUGE: Final = json.dumps(generation_body(junk="x" * 50_000_000))


@attrs.frozen
class Cell:
    """The end of a call: its error class, or None for success, and its numbers of requests and purchases."""

    error: type[RivyaError] | None
    requests: int
    bought: int = 1


SUCCESS: Final = Cell(None, 1)
RETRIED: Final = Cell(None, 2)
PAST_DEADLINE: Final = Cell(WaitTimeoutError, MANY)


def stops(error: type[RivyaError], *, bought: int = 0) -> Cell:
    """Returns the cell of an error that is not retried."""
    return Cell(error, 1, bought)


def gives_up(error: type[RivyaError], *, bought: int = 0) -> Cell:
    """Returns the cell of an error that is retried until the attempts are used up."""
    return Cell(error, ALL, bought)


@attrs.frozen
class Row:
    """A fault of the sandbox, and its effect on a submit and on a wait for a job of another session."""

    name: str
    fault: dict[str, Any]
    submit: Cell
    poll: Cell


def once(name: str, submit: Cell, poll: Cell, **fault: Any) -> Row:
    return Row(name, {**fault, "times": 1}, submit, poll)


def always(name: str, submit: Cell, poll: Cell, **fault: Any) -> Row:
    return Row(f"{name}, always", fault, submit, poll)


def body(name: str, text: str, submit: Cell, poll: Cell, **fault: Any) -> Row:
    """Returns a row that replaces the response body after the service has acted. TASK stands for the task id."""
    return Row(name, {"body": text, "act": True, **fault}, submit, poll)


ROWS: Final = [
    # --- after send
    once("dropped before it acted", RETRIED, RETRIED, drop=True),
    once("dropped after it acted", RETRIED, RETRIED, drop=True, act=True),
    always("dropped before it acted", gives_up(OutcomeUnknownError), PAST_DEADLINE, drop=True),
    always("dropped after it acted", gives_up(OutcomeUnknownError, bought=1), PAST_DEADLINE, drop=True, act=True),
    once("cut after the headers", RETRIED, RETRIED, truncate=0),
    once("cut in mid-body", RETRIED, RETRIED, truncate=20),
    always("cut in mid-body", gives_up(OutcomeUnknownError, bought=1), PAST_DEADLINE, truncate=20),
    once("short Content-Length", RETRIED, RETRIED, truncate=10_000, headers={"Content-Length": "9"}),
    once("long Content-Length", RETRIED, RETRIED, truncate=10_000, headers={"Content-Length": "99999"}),
    once("bad chunk", RETRIED, RETRIED, truncate=10_000, headers={"Transfer-Encoding": "chunked"}),
    once("bad gzip", RETRIED, RETRIED, headers={"Content-Encoding": "gzip"}),
    once("read time-out before it acted", RETRIED, RETRIED, delay=LATE),
    always("read time-out before it acted", gives_up(OutcomeUnknownError), PAST_DEADLINE, delay=LATE),
    always(
        "read time-out after it acted", gives_up(OutcomeUnknownError, bought=1), PAST_DEADLINE, delay=LATE, act=True
    ),
    # --- status
    once("408", RETRIED, RETRIED, status=408),
    once("408 after it acted", RETRIED, RETRIED, status=408, act=True),
    always("408", gives_up(APIStatusError), PAST_DEADLINE, status=408, body="{}"),
    once("409 with its code", stops(IdempotencyConflictError), stops(IdempotencyConflictError), status=409),
    once("409 bare", RETRIED, RETRIED, status=409, body=""),
    once("409 in other JSON", stops(ConflictError), RETRIED, status=409, body='{"detail": "no"}'),
    once("425", RETRIED, RETRIED, status=425, body=""),
    once("429 with its code", RETRIED, RETRIED, status=429),
    once("429 bare", RETRIED, RETRIED, status=429, body=""),
    once("429 with Retry-After", RETRIED, RETRIED, status=429, retry_after=0.01),
    always("429", gives_up(RateLimitError), PAST_DEADLINE, status=429),
    once("500", RETRIED, RETRIED, status=500),
    once("500 after it acted", RETRIED, RETRIED, status=500, act=True),
    always("500", gives_up(InternalServerError), PAST_DEADLINE, status=500),
    once("502 with an HTML page", RETRIED, RETRIED, status=502, body="<html>Bad gateway</html>"),
    once("502 after it acted", RETRIED, RETRIED, status=502, body="<html>Bad gateway</html>", act=True),
    once("503 with its code", RETRIED, RETRIED, status=503, code="public_api_disabled"),
    always("503", gives_up(APIDisabledError), PAST_DEADLINE, status=503, code="public_api_disabled"),
    once("504", RETRIED, RETRIED, status=504, body=""),
    always("504 after it acted", gives_up(InternalServerError, bought=1), PAST_DEADLINE, status=504, body="", act=True),
    once("400", stops(BadRequestError), stops(BadRequestError), status=400),
    once("401 and then good", stops(AuthenticationError), stops(AuthenticationError), status=401),
    once("401 bare", RETRIED, RETRIED, status=401, body="<html>"),
    always("401 bare", gives_up(OutcomeUnknownError), PAST_DEADLINE, status=401, body="<html>"),
    once("401 in other JSON", stops(AuthenticationError), RETRIED, status=401, body='{"message": "no"}'),
    once("402", stops(InsufficientCreditsError), stops(InsufficientCreditsError), status=402),
    once("403", stops(PermissionDeniedError), stops(PermissionDeniedError), status=403),
    once("404", stops(NotFoundError), stops(NotFoundError), status=404),
    once("403 with an HTML page", RETRIED, RETRIED, status=403, body="<html>"),
    once("403 after it acted", RETRIED, RETRIED, status=403, body="<html>", act=True),
    always("404 bare", gives_up(OutcomeUnknownError), PAST_DEADLINE, status=404, body=""),
    once("410", RETRIED, RETRIED, status=410, body=""),
    once("413", stops(BadRequestError), RETRIED, status=413, body="<html>"),
    once("415", stops(BadRequestError), RETRIED, status=415, body=""),
    once("418", RETRIED, RETRIED, status=418, body=""),
    once("422", stops(BadRequestError), RETRIED, status=422, body=""),
    once("201 in place of 200", SUCCESS, SUCCESS, status=201),
    once("202 in place of 200", SUCCESS, SUCCESS, status=202),
    once("204", RETRIED, RETRIED, status=204, body="", act=True),
    once("redirect to another path", RETRIED, RETRIED, status=307, body="", headers={"Location": "/elsewhere"}),
    once("304", RETRIED, RETRIED, status=304),
    # --- body
    body("empty body", "", RETRIED, RETRIED, times=1),
    body("empty body, always", "", gives_up(OutcomeUnknownError, bought=1), PAST_DEADLINE),
    body("HTML with 200", "<html>Welcome</html>", RETRIED, RETRIED, times=1),
    body("truncated JSON", '{"id": "TASK", "sta', RETRIED, RETRIED, times=1),
    body("a list", "[]", RETRIED, RETRIED, times=1),
    body("null", "null", RETRIED, RETRIED, times=1),
    body("wrong type", '{"id": 5, "status": [], "model": {}}', RETRIED, RETRIED, times=1),
    body("missing status", '{"id": "TASK", "model": "z-image"}', RETRIED, RETRIED, times=1),
    body("missing status, always", '{"id": "TASK"}', gives_up(OutcomeUnknownError, bought=1), PAST_DEADLINE),
    body("unknown status", json.dumps(generation_body("TASK", "paused")), SUCCESS, RETRIED, times=1),
    body("unknown status, always", json.dumps(generation_body("TASK", "paused")), SUCCESS, PAST_DEADLINE),
    body("no status but blanks", json.dumps(generation_body("TASK", " ")), SUCCESS, RETRIED, times=1),
    body("unknown fields", json.dumps(generation_body("TASK", "succeeded", moods=["calm"])), SUCCESS, SUCCESS),
    body("only three fields", json.dumps(generation_body("TASK", "succeeded")), SUCCESS, SUCCESS),
    body("50 MB of JSON", HUGE, RETRIED, RETRIED, times=1),
    body("deep JSON", "[" * 100_000, RETRIED, RETRIED, times=1),
]

FOR_POLLS_ONLY: Final = [
    body("another id", json.dumps(generation_body("task_other", "succeeded")), SUCCESS, RETRIED, times=1),
    body("another id, always", json.dumps(generation_body("task_other", "succeeded")), SUCCESS, PAST_DEADLINE),
]


def fault_options(row: Row, task_id: str) -> dict[str, Any]:
    """Returns the options of the row's fault for a task."""
    text = row.fault.get("body")
    if text is None or len(text) > 1_000_000:
        return row.fault
    return {**row.fault, "body": text.replace("TASK", task_id)}


def row_name(row: Row) -> str:
    return row.name


def limits(row: Row) -> Timeouts:
    return SHORT if row.fault.get("delay") else LONG


@pytest.mark.parametrize("row", ROWS, ids=row_name)
async def test_submit(sandbox: Sandbox, row: Row) -> None:
    hooks = RecordingHooks()
    async with open_session(sandbox, timeouts=limits(row), hooks=[hooks]) as session:
        sandbox.faults.add(route=SUBMIT, **fault_options(row, "task_1"))
        error = await ends_as(session.submit("z-image", "A red kite"), row.submit.error)
        (key,) = sandbox.request_log.idempotency_keys
        assert sandbox.request_log.attempts(key) == len(hooks.attempts) == row.submit.requests
        await wait_until(lambda: not sandbox.request_log.in_flight)
        assert sandbox.request_log.purchases == row.submit.bought
        if error is not None:
            assert error.idempotency_key == key
            assert error.attempts == row.submit.requests
            # With the key of the error the very same purchase is made, or found to be made.
            sandbox.faults.clear()
            await session.submit("z-image", "A red kite", idempotency_key=error.idempotency_key)
            assert sandbox.request_log.purchases == 1
    assert not duplicate_purchases(sandbox)


@pytest.mark.parametrize("row", ROWS + FOR_POLLS_ONLY, ids=row_name)
async def test_poll(sandbox: Sandbox, row: Row) -> None:
    async with open_session(sandbox) as buyer:
        task_id = (await buyer.submit("z-image", "A red kite")).id
    hooks = RecordingHooks()
    async with open_session(sandbox, timeouts=limits(row), hooks=[hooks]) as session:
        sandbox.faults.add(route=POLL, **fault_options(row, task_id))
        if row.poll is PAST_DEADLINE:
            error = await ends_at_deadline(session, task_id, hooks)
        else:
            error = await ends_as(session.wait_for(task_id, timeout=120.0), row.poll.error)
        # A poll that the deadline cut off is no attempt that hooks hear of before it ends.
        assert 0 <= sandbox.request_log.count(POLL) - len(hooks.polls) <= (row.poll is PAST_DEADLINE)
        assert len(hooks.polls) == len(hooks.attempts) or row.poll is PAST_DEADLINE
        if row.poll.requests == MANY:
            assert sandbox.request_log.count(POLL) > 1
        else:
            assert sandbox.request_log.count(POLL) == row.poll.requests
        if error is not None:
            assert error.task_id == task_id
            sandbox.faults.clear()
            assert (await session.wait_for(task_id)).succeeded
        if isinstance(error, WaitTimeoutError):
            assert error.task_id == task_id
    assert sandbox.request_log.purchases == 1


async def ends_at_deadline(session: RivyaSession, task_id: str, hooks: RecordingHooks) -> RivyaError | None:
    """Checks that polls go on until the deadline, and returns the error of the wait."""
    endless = asyncio.create_task(session.wait_for(task_id, timeout=None))
    await wait_until(lambda: len(hooks.polls) > 2 or endless.done())
    assert not endless.done()
    error = await ends_as(session.wait_for(task_id, timeout=0.01), WaitTimeoutError)
    endless.cancel()
    return error


async def ends_as(call: Any, kind: type[RivyaError] | None) -> RivyaError | None:
    """Returns the error of a call, which must have exactly this class, or None if the call must succeed."""
    if kind is None:
        assert isinstance(await call, Generation)
        return None
    with pytest.raises(RivyaError) as raised:
        await call
    assert type(raised.value) is kind, repr(raised.value)
    assert str(raised.value)
    return raised.value


# --- connect ----------------------------------------------------------------------------------------------------------


@contextmanager
def closed_port() -> Iterator[str]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening, so that no other process takes it
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@contextmanager
def unknown_name() -> Iterator[str]:
    yield "https://rivya.invalid"


@contextmanager
def full_backlog() -> Iterator[str]:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}"
        for each in waiting:
            each.close()


@contextmanager
def tls_at_a_plain_port(sandbox: Sandbox) -> Iterator[str]:
    yield sandbox.base_url.replace("http://", "https://")


UNREACHABLE: Final[dict[str, Callable[[Sandbox], Any]]] = {
    "connection refused": lambda _: closed_port(),
    "unknown name": lambda _: unknown_name(),
    "connect time-out": lambda _: full_backlog(),
    "TLS at a plain port": tls_at_a_plain_port,
}


@pytest.mark.parametrize("place", UNREACHABLE.values(), ids=UNREACHABLE.keys())
async def test_submit_without_connection_is_not_sent(sandbox: Sandbox, place: Callable[[Sandbox], Any]) -> None:
    hooks = RecordingHooks()
    with place(sandbox) as url:
        async with open_session(sandbox, base_url=url, timeouts=SHORT, hooks=[hooks]) as session:
            error = await ends_as(session.submit("z-image", "A kite", idempotency_key="order-1"), RequestNotSentError)
    assert error is not None
    assert (error.idempotency_key, error.attempts, len(hooks.attempts)) == ("order-1", ALL, ALL)
    assert sandbox.request_log.count() == 0


@pytest.mark.parametrize("place", UNREACHABLE.values(), ids=UNREACHABLE.keys())
async def test_wait_without_connection_lasts_to_deadline(sandbox: Sandbox, place: Callable[[Sandbox], Any]) -> None:
    hooks = RecordingHooks()
    with place(sandbox) as url:
        async with open_session(sandbox, base_url=url, timeouts=SHORT, hooks=[hooks]) as session:
            error = await ends_as(session.wait_for("task_1", timeout=0.5), WaitTimeoutError)
    assert isinstance(error, WaitTimeoutError)
    assert error.task_id == "task_1"
    assert len(hooks.polls) > 1
    assert all(isinstance(poll.error, RequestNotSentError) for poll in hooks.polls)


async def test_wait_survives_outage(hooks: RecordingHooks) -> None:
    sandbox = Sandbox(speed=20.0)
    async with sandbox, open_session(sandbox, hooks=[hooks]) as session:
        job = await session.submit("z-image", "A red kite")
        await sandbox.aclose()
        wait = asyncio.create_task(session.wait_for(job))
        await wait_until(lambda: len(hooks.polls) > 5)
        await sandbox.start()
        assert (await wait).succeeded
    assert {type(poll.error) for poll in hooks.polls if poll.error} <= {RequestNotSentError, OutcomeUnknownError}
    assert sandbox.request_log.purchases == 1


async def test_submit_survives_outage(hooks: RecordingHooks) -> None:
    sandbox = Sandbox(speed=FAST)
    patient = RetryPolicy(max_attempts=1000, base=0.01, cap=0.02)
    async with sandbox, open_session(sandbox, hooks=[hooks], retry=patient) as session:
        await session.submit("z-image", "A red kite")
        await sandbox.aclose()
        purchase = asyncio.create_task(session.submit("z-image", "A blue whale"))
        await wait_until(lambda: len(hooks.retries) > 3)
        await sandbox.start()
        await purchase
    assert sandbox.request_log.purchases == 2
    assert not duplicate_purchases(sandbox)


async def test_requests_queue_for_slots(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=SUBMIT, delay=0.02)
    async with open_session(sandbox, max_connections=2, timeouts=LONG) as session:
        await asyncio.gather(*(session.submit("z-image", f"Kite {n}") for n in range(30)))
    assert sandbox.request_log.purchases == 30
    assert sandbox.request_log.peak_in_flight == 2


# --- doubt ------------------------------------------------------------------------------------------------------------


async def test_conflict_after_ambiguous_attempt_is_retried(sandbox: Sandbox, hooks: RecordingHooks) -> None:
    # The service takes longer than our read time-out: the repeat meets the first request, still running.
    sandbox.faults.add(route=SUBMIT, delay=LATE, act=True, times=1)
    patient = RetryPolicy(max_attempts=100, base=0.02, cap=0.05)
    async with open_session(sandbox, timeouts=SHORT, retry=patient, hooks=[hooks]) as session:
        job = await session.submit("z-image", "A red kite", idempotency_key="order-1")
    kinds = [type(attempt.error) for attempt in hooks.attempts]
    assert kinds[0] is OutcomeUnknownError
    assert kinds[-1] is type(None)
    assert set(kinds[1:-1]) == {IdempotencyConflictError}
    assert job.id
    assert sandbox.request_log.purchases == 1
    assert sandbox.request_log.attempts("order-1") == len(kinds)


@pytest.mark.parametrize("last", [{"status": 429}, {"status": 401}, {"status": 409}, {"status": 404}])
async def test_error_after_ambiguous_attempt_stays_ambiguous(sandbox: Sandbox, last: dict[str, Any]) -> None:
    sandbox.faults.add(route=SUBMIT, nth=1, drop=True, act=True)
    sandbox.faults.add(route=SUBMIT, **last)
    async with open_session(sandbox) as session:
        with pytest.raises(RivyaError) as raised:
            await session.submit("z-image", "A red kite", idempotency_key="order-1")
        assert not isinstance(raised.value, RequestNotSentError | RateLimitError)
        assert raised.value.idempotency_key == "order-1"
        sandbox.faults.clear()
        await session.submit("z-image", "A red kite", idempotency_key="order-1")
    assert sandbox.request_log.purchases == 1


async def test_tolerates_404_after_submit(sandbox: Sandbox, hooks: RecordingHooks) -> None:
    sandbox.faults.add(route=POLL, status=404, times=3)
    async with open_session(sandbox, hooks=[hooks]) as session:
        assert (await session.generate("z-image", "A red kite")).succeeded
    assert [type(poll.error) for poll in hooks.polls] == [NotFoundError] * 3 + [type(None)]


async def test_redirect_to_other_host_gets_no_key(sandbox: Sandbox) -> None:
    async with plain_server() as other, open_session(sandbox) as session:
        job = await session.submit("z-image", "A red kite")
        for status in (301, 302, 303, 307, 308):
            sandbox.faults.add(status=status, headers={"Location": f"{other.url}/api/v1/stolen"})
            with pytest.raises(OutcomeUnknownError, match="redirects"):
                await session.submit("z-image", "A kite")
            with pytest.raises(WaitTimeoutError):
                await session.wait_for(job.id, timeout=0.25)
            with pytest.raises(APIStatusError, match="redirects") as raised:
                await session.credits.retrieve()
            assert raised.value.status == status
            sandbox.faults.clear()
        assert other.requests == []
    assert sandbox.request_log.purchases == 1


# --- raw bytes of the server -----------------------------------------------------------------------------

WRITTEN: Final = {
    "nothing at all": b"",
    "no HTTP": b"220 mail.example ESMTP\r\n\r\n",
    "half a status line": b"HTTP/1.1 2",
    "half of the headers": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "a chunk cut short": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"id"',
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "a header of a megabyte": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
    "bad UTF-8": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe{}",
    "a body up to the end of the connection": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[]",
    "endless early hints": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3,
}


@pytest.mark.parametrize("answer", WRITTEN.values(), ids=WRITTEN.keys())
async def test_malformed_responses_raise_rivya_errors(sandbox: Sandbox, hooks: RecordingHooks, answer: bytes) -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with raw_server(talk) as url, open_session(sandbox, base_url=url, timeouts=SHORT, hooks=[hooks]) as session:
        await ends_as(session.submit("z-image", "A red kite"), OutcomeUnknownError)
        assert connections == ALL
        await ends_at_deadline(session, "task_1", hooks)


async def test_total_timeout_ends_endless_response(sandbox: Sandbox, tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    loop = asyncio.get_running_loop()
    once_only = RetryPolicy(max_attempts=1)
    limits = Timeouts(read=0.1, total=0.2, download=0.25)
    async with (
        raw_server(talk) as url,
        open_session(sandbox, base_url=url, timeouts=limits, retry=once_only) as session,
    ):
        for call in (session.submit("z-image", "A kite"), session.download(f"{url}/a.png", tmp_path)):
            began = loop.time()
            await ends_as(call, OutcomeUnknownError)
            assert 0.15 < loop.time() - began < 0.6


# --- records that go on strangely -------------------------------------------------------------------------------------


@asynccontextmanager
async def open_scripted_service(*records: dict[str, Any]) -> AsyncIterator[RivyaSession]:
    """Opens a session of a service that answers polls with these records. The last one repeats."""
    left = list(records)

    def answer(_: Any) -> web.Response:
        return web.json_response(left.pop(0) if len(left) > 1 else left[0])

    async with (
        plain_server(answer) as server,
        Sandbox() as sandbox,
        open_session(sandbox, base_url=server.url) as session,
    ):
        yield session


def at(second: int, status: str, **more: Any) -> dict[str, Any]:
    return generation_body(status=status, updated_at=f"2026-05-11T08:00:{second:02}.000Z", **more)


async def test_ignores_status_that_goes_back() -> None:
    records = [at(1, "queued"), at(5, "processing"), at(1, "queued"), at(5, "processing"), at(9, "succeeded")]
    async with open_scripted_service(*records) as session:
        assert [job.status async for job in session.watch("task_1")] == ["queued", "processing", "succeeded"]


async def test_end_without_result_is_terminal() -> None:
    async with open_scripted_service(at(1, "succeeded", result=None)) as session:
        job = await session.wait_for("task_1")
        assert job.succeeded
        assert job.urls == ()


async def test_keeps_unknown_fields() -> None:
    tale = at(1, "succeeded", result={"primary_url": "http://a/1", "urls": [], "sizes": [1]}, mood="calm")
    async with open_scripted_service(tale) as session:
        job = await session.wait_for("task_1")
    assert job.extra == {"mood": "calm"}
    assert job.result is not None
    assert job.result.extra == {"sizes": [1]}
    assert job.urls == ("http://a/1",)
