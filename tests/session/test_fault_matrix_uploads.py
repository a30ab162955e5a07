"""The fault matrix, uploads: the effect of each fault on an upload.

An upload buys nothing and has no key. It ends as a submit does, except in the rows named here: above all, a response of
a gateway that refuses it is raised at once. Every attempt that the
service processed leaves a file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from rivya_async import (
    APIStatusError,
    AuthenticationError,
    ConflictError,
    File,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RequestNotSentError,
    ResponseDecodeError,
    RivyaError,
    RivyaSession,
)
from rivya_async._core.assumptions import MEGABYTE
from rivya_async.sandbox import Fault, Sandbox
from tests.media_kit import media
from tests.session.session_kit import SUBMIT, UPLOAD, RecordingHooks, open_session, raw_server, wait_until
from tests.session.test_fault_matrix import (
    ALL,
    RETRIED,
    ROWS,
    SHORT,
    SUCCESS,
    UNREACHABLE,
    WRITTEN,
    Cell,
    Row,
    fault_options,
    gives_up,
    limits,
    once,
    row_name,
    stops,
)

PNG: Final = media("png")
LARGE_PNG: Final = PNG + bytes(5 * MEGABYTE)
PUBLIC_FILE: Final = '{"file_id": "file_1", "url": "https://rivya.ai/f/1", "moods": ["calm"]}'

CELLS: Final[dict[str, Cell]] = {
    # The answer to an upload is no generation.
    "unknown status": RETRIED,
    "unknown status, always": gives_up(OutcomeUnknownError),
    "no status but blanks": RETRIED,
    "unknown fields": gives_up(OutcomeUnknownError),
    "only three fields": gives_up(OutcomeUnknownError),
    # A gateway that refuses an upload will refuse it again, and an upload costs nothing.
    "409 bare": stops(ConflictError),
    "401 bare": stops(AuthenticationError),
    "401 bare, always": stops(AuthenticationError),
    "403 with an HTML page": stops(PermissionDeniedError),
    "403 after it acted": stops(PermissionDeniedError),
    "404 bare, always": stops(NotFoundError),
    "410": stops(NotFoundError),
    "418": stops(APIStatusError),
    "redirect to another path": stops(APIStatusError),
    "304": stops(APIStatusError),
}

OF_UPLOADS: Final = [
    once("dropped before a byte of the body", Cell(None, 2), SUCCESS, drop=True, receive=0),
    once("dropped in mid-upload", Cell(None, 2), SUCCESS, drop=True, receive=MEGABYTE),
    once("dropped after the last byte", Cell(None, 2), SUCCESS, drop=True, receive=10**9),
    Row("dropped in mid-upload, always", {"drop": True, "receive": MEGABYTE}, gives_up(OutcomeUnknownError), SUCCESS),
    Row("a file with unknown fields", {"body": PUBLIC_FILE, "act": True}, SUCCESS, SUCCESS),
    Row("a file without its URL", {"body": '{"id": "file_1"}', "act": True}, gives_up(OutcomeUnknownError), SUCCESS),
]
"""Faults of uploads only, or with another effect on uploads. The cell of polls is unused."""


def left_behind(row: Row, cell: Cell) -> int | None:
    """Returns the number of files that the service keeps, or None if the read timeout races with the service."""
    fault = Fault(**fault_options(row, "task_1"))
    if fault.delay:
        return None
    struck = cell.requests if fault.times is None else min(fault.times, cell.requests)
    return struck * (fault.act or not fault.replaces_response) + cell.requests - struck


@pytest.mark.parametrize("row", ROWS + OF_UPLOADS, ids=row_name)
async def test_upload(sandbox: Sandbox, row: Row) -> None:
    await drive(sandbox, row, PNG)


@pytest.mark.parametrize("row", [row for row in ROWS + OF_UPLOADS if not row.fault.get("delay")], ids=row_name)
async def test_large_upload(sandbox: Sandbox, row: Row) -> None:
    """Excludes read timeouts, which count from the last byte of the body."""
    await drive(sandbox, row, LARGE_PNG)


async def drive(sandbox: Sandbox, row: Row, data: bytes) -> None:
    cell = CELLS.get(row.name, row.submit)
    hooks = RecordingHooks()
    async with open_session(sandbox, timeouts=limits(row), hooks=[hooks]) as session:
        sandbox.faults.add(route=UPLOAD, **fault_options(row, "task_1"))
        error = await ends_as(session.files.upload(data), cell.error)
        assert sandbox.request_log.count(UPLOAD) == len(hooks.attempts) == cell.requests
        assert sandbox.request_log.idempotency_keys == frozenset()
        await wait_until(lambda: not sandbox.request_log.in_flight)
        assert left_behind(row, cell) in {None, sandbox.request_log.uploads}
        if error is not None:
            assert (error.attempts, error.idempotency_key) == (cell.requests, None)
            sandbox.faults.clear()
            assert (await session.files.upload(data)).size_bytes == len(data)
    assert sandbox.request_log.purchases == 0


def test_named_cells_have_rows() -> None:
    assert set(CELLS) <= {row.name for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=row_name)
async def test_fault_on_reference_upload(sandbox: Sandbox, row: Row, tmp_path: Path) -> None:
    """A failed reference buys nothing, and no error is ambiguous."""
    cell = CELLS.get(row.name, row.submit)
    photo = tmp_path / "kite.png"
    photo.write_bytes(PNG)
    async with open_session(sandbox, timeouts=limits(row)) as session:
        sandbox.faults.add(route=UPLOAD, **fault_options(row, "task_1"))
        call = session.submit("qwen-image", "At night", references=[photo], idempotency_key="order-1")
        if cell.error is None:
            await call
        else:
            with pytest.raises(RivyaError) as raised:
                await call
            assert type(raised.value) in {cell.error, RequestNotSentError}
            assert not isinstance(raised.value, OutcomeUnknownError)
            assert raised.value.idempotency_key == "order-1"
            assert sandbox.request_log.count(SUBMIT) == 0
            sandbox.faults.clear()
            await session.submit("qwen-image", "At night", references=[photo], idempotency_key="order-1")
    assert dict(sandbox.request_log.purchases_by_key) == {"order-1": 1}


async def ends_as(call: Any, kind: type[RivyaError] | None) -> RivyaError | None:
    if kind is None:
        assert isinstance(await call, File)
        return None
    with pytest.raises(RivyaError) as raised:
        await call
    assert type(raised.value) is kind, repr(raised.value)
    assert str(raised.value)
    return raised.value


# --- connect ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", UNREACHABLE.values(), ids=UNREACHABLE.keys())
async def test_upload_without_connection_is_not_sent(sandbox: Sandbox, place: Callable[[Sandbox], Any]) -> None:
    hooks = RecordingHooks()
    with place(sandbox) as url:
        async with open_session(sandbox, base_url=url, timeouts=SHORT, hooks=[hooks]) as session:
            error = await ends_as(session.files.upload(PNG), RequestNotSentError)
    assert error is not None
    assert error.attempts == len(hooks.attempts) == ALL
    assert sandbox.request_log.count() == 0


@pytest.mark.parametrize("answer", WRITTEN.values(), ids=WRITTEN.keys())
@pytest.mark.parametrize("data", [PNG, LARGE_PNG], ids=["small", "large"])
async def test_malformed_responses_raise_rivya_errors(sandbox: Sandbox, answer: bytes, data: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with raw_server(talk) as url, open_session(sandbox, base_url=url, timeouts=SHORT) as session:
        with pytest.raises((ResponseDecodeError, OutcomeUnknownError)):  # the answer may be lost with the body
            await session.files.upload(data)


async def test_redirect_to_other_host_gets_no_key_and_no_file(sandbox: Sandbox) -> None:
    async def stolen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        raise AssertionError((await reader.read()).decode())

    async with raw_server(stolen) as url, open_session(sandbox) as session:
        sandbox.faults.add(route=UPLOAD, status=307, headers={"Location": url})
        with pytest.raises(RivyaError, match="redirects"):
            await session.files.upload(PNG)


# --- cancellation -----------------------------------------------------------------------------------------------------


async def in_time(session: RivyaSession, data: Any, moment: Callable[[], bool]) -> None:
    """Cancels an upload at the given moment."""
    sending = asyncio.create_task(session.files.upload(data))
    await wait_until(moment)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_cancelled_upload_leaves_nothing_open(sandbox: Sandbox, hooks: RecordingHooks) -> None:
    drawn: list[bytes] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            drawn.append(PNG)
            yield PNG
            await asyncio.sleep(0.001)

    retry = attrs.evolve(open_session(sandbox)._retry, base=10.0, cap=10.0)
    async with open_session(sandbox, hooks=[hooks], retry=retry) as session:
        await in_time(session, PNG, lambda: True)
        await in_time(session, endless(), lambda: len(drawn) > 5)
        slow = sandbox.faults.add(route=UPLOAD, delay=0.5)
        await in_time(session, LARGE_PNG, lambda: sandbox.request_log.in_flight > 0)
        sandbox.faults.remove(slow)
        sandbox.faults.add(route=UPLOAD, status=503, times=1)
        await in_time(session, PNG, lambda: bool(hooks.retries))
        await wait_until(lambda: not sandbox.request_log.in_flight)
        uploads = sandbox.request_log.uploads
        assert uploads <= 1  # what had come whole before it was cancelled
        assert (await session.files.upload(PNG)).kind == "image"
