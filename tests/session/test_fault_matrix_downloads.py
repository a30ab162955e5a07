"""The fault matrix, downloads: the effect of each fault on a file transfer.

The host of a file is not the service. Its statuses have the same error classes, but any body of a success is the file,
and redirects are followed. Each cell states the outcome and the number of requests. No partial file becomes visible.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from rivya_async import (
    APIStatusError,
    AuthenticationError,
    ConflictError,
    DownloadError,
    Generation,
    InternalServerError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RequestNotSentError,
    RivyaError,
    RivyaSession,
)
from rivya_async.sandbox import Sandbox
from tests.fault_matrix import is_defined_test
from tests.session.session_kit import FILE, POLL, open_session, raw_server
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

CELLS: Final[dict[str, Cell]] = {
    "dropped after it acted, always": gives_up(OutcomeUnknownError),
    "long Content-Length": Cell(None, 3),  # there is no more to go on with: from the beginning
    # The status of a file host is final, since the link was read again.
    "304": stops(APIStatusError),
    "401 bare": stops(AuthenticationError),
    "401 bare, always": stops(AuthenticationError),
    "403 after it acted": stops(PermissionDeniedError),
    "403 with an HTML page": stops(PermissionDeniedError),
    "404 bare, always": stops(NotFoundError),
    "409 bare": stops(ConflictError),
    "409 with its code": stops(ConflictError),  # which is the service's code
    "410": stops(NotFoundError),
    "418": stops(APIStatusError),
    "503, always": gives_up(InternalServerError),
    "redirect to another path": stops(NotFoundError),
    **{
        row.name: RETRIED if "times" in row.fault else gives_up(DownloadError)  # JSON and HTML are no results
        for row in ROWS
        if "body" in row.fault and row.fault.get("status", 200) < 300
    },
    "202 in place of 200": RETRIED,
    "204": RETRIED,  # an empty file is no result
    "empty body": RETRIED,
    "empty body, always": gives_up(OutcomeUnknownError),
}
"""Cells of downloads that differ from submits."""

OF_DOWNLOADS: Final = [
    once("206 that was not asked for", RETRIED, SUCCESS, status=206),
    Row("416 that was not asked for", {"status": 416}, stops(APIStatusError), SUCCESS),
    Row("410, always", {"status": 410}, stops(NotFoundError), SUCCESS),
]
"""Faults of downloads only. The cell of polls is unused."""


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


ELSEWHERE: Final = {
    "cut in mid-body, always": "test_progress_resets_retry_policy",
}
"""Rows that need thousands of attempts of twenty bytes. The named tests cover them with larger chunks."""


@pytest.mark.parametrize("row", [row for row in ROWS + OF_DOWNLOADS if row.name not in ELSEWHERE], ids=row_name)
async def test_download(sandbox: Sandbox, tmp_path: Path, row: Row) -> None:
    cell = CELLS.get(row.name, row.submit)
    async with open_session(sandbox, timeouts=limits(row)) as session:
        job = await session.generate("z-image", "A red kite")
        whole = await session.download(job, f"{tmp_path}/whole/")
        asked = sandbox.request_log.count(FILE)
        sandbox.faults.add(route=FILE, **fault_options(row, job.id))
        error = await ends_as(session.download(job, f"{tmp_path}/faulty/"), cell.error)
        if cell.requests:
            assert sandbox.request_log.count(FILE) - asked == cell.requests
        if error is None:
            (path,) = files(tmp_path / "faulty")
            assert path.read_bytes() == whole[0].read_bytes() or row.name == "short Content-Length"
            return
        assert files(tmp_path / "faulty") == []
        assert (error.attempts, error.idempotency_key) == (cell.requests, None)
        sandbox.faults.clear()
        (path,) = await session.download(job, f"{tmp_path}/faulty/")
        assert path.read_bytes() == whole[0].read_bytes()
    assert sandbox.request_log.purchases == 1


async def ends_as(call: Any, kind: type[RivyaError] | None) -> RivyaError | None:
    if kind is None:
        await call
        return None
    with pytest.raises(RivyaError) as raised:
        await call
    assert type(raised.value) is kind, repr(raised.value)
    assert str(raised.value)
    return raised.value


def test_named_cells_have_rows() -> None:
    assert set(CELLS) | set(ELSEWHERE) <= {row.name for row in ROWS}
    assert all(is_defined_test(f"session/test_download_resume.py::{name}") for name in ELSEWHERE.values())


@pytest.mark.parametrize("place", UNREACHABLE.values(), ids=UNREACHABLE.keys())
async def test_unreachable_host(sandbox: Sandbox, tmp_path: Path, place: Callable[[Sandbox], Any]) -> None:
    with place(sandbox) as url:
        async with open_session(sandbox, timeouts=SHORT) as session:
            error = await ends_as(session.download(f"{url}/kite.png", tmp_path), RequestNotSentError)
    assert error is not None
    assert error.attempts == ALL
    assert files(tmp_path) == []


@pytest.mark.parametrize("answer", WRITTEN.values(), ids=WRITTEN.keys())
async def test_malformed_responses_save_or_raise(sandbox: Sandbox, tmp_path: Path, answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with raw_server(talk) as url, open_session(sandbox, timeouts=SHORT) as session:
        try:
            await session.download(f"{url}/kite.png", tmp_path)
        except RivyaError:
            assert files(tmp_path) == []
        else:
            assert len(files(tmp_path)) == 1


async def test_ten_gigabytes(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    """10 GB are rejected by their length before the transfer: by `max_bytes`, or by the free disk space."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 10000000000000000\r\nETag: "1"\r\n\r\nhello')
        await writer.drain()
        await reader.read()

    async with raw_server(talk) as url:
        for most in (10_000_000_000, None):
            with pytest.raises(RivyaError, match=r"max_bytes|free disk space"):
                await session.download(f"{url}/film.mp4", tmp_path, max_bytes=most)
    assert files(tmp_path) == []


async def test_expired_link_of_deleted_job(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    job = await session.generate("z-image", "A red kite")
    sandbox.faults.add(route=FILE, status=403)
    sandbox.faults.add(route=POLL, status=404)
    with pytest.raises(NotFoundError):
        await session.download(job, tmp_path)
    assert sandbox.request_log.count(FILE) == 1
    assert isinstance(job, Generation)


# --- the table --------------------------------------------------------------------------------------------------------

PROOFS: Final[dict[str, tuple[str, ...]]] = {
    "expired URL": ("session/test_download_resume.py::test_refreshes_expired_link",),
    "redirect to a private address": (
        "session/test_download_redirects.py::test_rejects_redirect_to_private_address",
        "session/test_download_redirects.py::test_checks_connected_address",
    ),
    "wrong length": (
        "session/test_fault_matrix_downloads.py::test_download",
        "session/test_download_resume.py::test_resumes_interrupted_transfer",
        "session/test_download.py::test_truncated_body_of_unknown_length",
    ),
    "resume of a changed file": (
        "session/test_download_resume.py::test_changed_file_restarts",
        "session/test_download_resume.py::test_ignores_partial_file_of_other_version",
    ),
    "name with ../": (
        "session/test_download.py::test_url_cannot_leave_folder",
        "session/test_download.py::test_task_id_cannot_leave_folder",
        "core/test_filename_template.py::test_values_never_leave_folder",
    ),
    "no file name": ("session/test_download.py::test_url_cannot_leave_folder",),
    "two results of one name": (
        "session/test_download.py::test_rejects_invalid_name_before_request",
        "session/test_download.py::test_concurrent_downloads_do_not_overwrite_each_other",
    ),
    "10 GB": ("session/test_fault_matrix_downloads.py::test_ten_gigabytes",),
    "disk full": (
        "session/test_download.py::test_full_disk_raises_and_leaves_no_file",
        "session/test_download_resume.py::test_checks_free_space_before_transfer",
    ),
    "foreign host sees no key": (
        "session/test_download.py::test_sends_no_key_to_foreign_host",
        "session/test_download.py::test_sends_no_key_for_service_files",
    ),
}
"""Every case of the row Downloads with its tests."""


@pytest.mark.parametrize("proof", [proof for proofs in PROOFS.values() for proof in proofs])
def test_every_case_names_defined_tests(proof: str) -> None:
    assert is_defined_test(proof)
