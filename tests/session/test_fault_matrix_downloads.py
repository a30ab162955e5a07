"""The fault matrix, its column of downloads: what each fault does to a file on its way from its host.

The host of a file is not the service. Its statuses have the same classes; but any body of a success is the file, and a
redirect is followed. Each cell states the outcome, how often the host was asked, and that half a file is never seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from rivya_async import (
    APIStatusError,
    Generation,
    InternalServerError,
    NotFoundError,
    OutcomeUnknownError,
    RequestNotSentError,
    RivyaError,
    RivyaSession,
)
from rivya_async.sandbox import Sandbox
from tests.fault_matrix import is_defined_test
from tests.session.session_kit import FILE, POLL, opened, raw_server
from tests.session.test_fault_matrix import (
    AGAIN,
    ALL,
    LIMITS,
    ROWS,
    UNREACHABLE,
    WELL,
    WRITTEN,
    Cell,
    Row,
    gives_up,
    names,
    once,
    stops,
    told,
)

CELLS: Final[dict[str, Cell]] = {
    "dropped after it acted, always": gives_up(OutcomeUnknownError),
    "long Content-Length": Cell(None, 3),  # there is no more to go on with: from the beginning
    "409 with its code": stops(APIStatusError),  # which is the service's code
    "503, always": gives_up(InternalServerError),
    "redirect to another path": stops(NotFoundError),
    **{row.name: WELL for row in ROWS if "body" in row.fault and row.fault.get("status", 200) < 300},
    "204": AGAIN,  # an empty file is no result
    "empty body": AGAIN,
    "empty body, always": gives_up(OutcomeUnknownError),
}
"""Where a download ends otherwise than a submit."""

OF_DOWNLOADS: Final = [
    once("206 that was not asked for", AGAIN, WELL, status=206),
    Row("416 that was not asked for", {"status": 416}, stops(APIStatusError), WELL),
    Row("410, always", {"status": 410}, stops(NotFoundError), WELL),
]
"""Faults that only a download can have; the cell of polls is of no meaning."""

OTHER_BODIES: Final = {"204", "short Content-Length", *(row.name for row in ROWS if "body" in row.fault)}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


ELSEWHERE: Final = {
    "cut in mid-body, always": "test_a_long_file_may_break_off_more_often_than_the_policy_tries",
}
"""A row that comes home in thousands of attempts, twenty bytes each: proved with larger pieces."""


@pytest.mark.parametrize("row", [row for row in ROWS + OF_DOWNLOADS if row.name not in ELSEWHERE], ids=names)
async def test_download(sandbox: Sandbox, tmp_path: Path, row: Row) -> None:
    cell = CELLS.get(row.name, row.submit)
    async with opened(sandbox, timeouts=LIMITS) as session:
        job = await session.generate("z-image", "A red kite")
        whole = await session.download(job, tmp_path / "whole")
        asked = sandbox.request_log.count(FILE)
        sandbox.faults.add(route=FILE, **told(row, job.id))
        error = await ends_as(session.download(job, tmp_path / "faulty"), cell.error)
        if cell.requests:
            assert sandbox.request_log.count(FILE) - asked == cell.requests
        if error is None:
            (path,) = files(tmp_path / "faulty")
            assert path.read_bytes() == whole[0].read_bytes() or row.name in OTHER_BODIES
            return
        assert files(tmp_path / "faulty") == []
        assert (error.attempts, error.idempotency_key) == (cell.requests, None)
        sandbox.faults.clear()
        (path,) = await session.download(job, tmp_path / "faulty")
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


def test_every_cell_that_is_named_has_its_row() -> None:
    assert set(CELLS) | set(ELSEWHERE) <= {row.name for row in ROWS}
    assert all(is_defined_test(f"session/test_download_resume.py::{name}") for name in ELSEWHERE.values())


@pytest.mark.parametrize("place", UNREACHABLE.values(), ids=UNREACHABLE.keys())
async def test_a_host_that_cannot_be_reached(sandbox: Sandbox, tmp_path: Path, place: Callable[[Sandbox], Any]) -> None:
    with place(sandbox) as url:
        async with opened(sandbox, timeouts=LIMITS) as session:
            error = await ends_as(session.download(f"{url}/kite.png", tmp_path), RequestNotSentError)
    assert error is not None
    assert error.attempts == ALL
    assert files(tmp_path) == []


@pytest.mark.parametrize(("answer", "kind"), WRITTEN.values(), ids=WRITTEN.keys())
async def test_whatever_is_written_is_a_file_or_one_of_our_errors(
    sandbox: Sandbox, tmp_path: Path, answer: bytes, kind: type[RivyaError]
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with raw_server(talk) as url, opened(sandbox, timeouts=LIMITS) as session:
        try:
            await session.download(f"{url}/kite.png", tmp_path)
        except RivyaError:
            assert files(tmp_path) == []
        else:
            assert len(files(tmp_path)) == 1


async def test_ten_thousand_million_bytes(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    """10 GB are refused by their length before they come: by `max_bytes`, or by the room on the disk."""

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


async def test_an_expired_link_of_a_job_that_is_gone_too(
    sandbox: Sandbox, session: RivyaSession, tmp_path: Path
) -> None:
    job = await session.generate("z-image", "A red kite")
    sandbox.faults.add(route=FILE, status=403)
    sandbox.faults.add(route=POLL, status=404)
    with pytest.raises(NotFoundError):
        await session.download(job, tmp_path)
    assert sandbox.request_log.count(FILE) == 1
    assert isinstance(job, Generation)


# --- the table --------------------------------------------------------------------------------------------------------

PROOFS: Final[dict[str, tuple[str, ...]]] = {
    "expired URL": ("session/test_download_resume.py::test_a_link_that_expired_is_read_again",),
    "redirect to a private address": (
        "session/test_download_redirects.py::test_no_redirect_leads_into_a_private_network",
        "session/test_download_redirects.py::test_the_address_that_is_connected_to_is_looked_at_too",
    ),
    "wrong length": (
        "session/test_fault_matrix_downloads.py::test_download",
        "session/test_download_resume.py::test_what_breaks_off_goes_on",
        "session/test_download.py::test_a_body_of_unknown_length_that_breaks_off",
    ),
    "resume of a changed file": (
        "session/test_download_resume.py::test_a_file_that_changed_meanwhile_is_begun_anew",
        "session/test_download_resume.py::test_what_was_left_of_another_version_is_not_used",
    ),
    "name with ../": (
        "session/test_download.py::test_no_name_leaves_the_folder",
        "session/test_download.py::test_no_task_id_leaves_the_folder",
        "core/test_name_template.py::test_no_value_leaves_the_folder",
    ),
    "no file name": ("session/test_download.py::test_no_name_leaves_the_folder",),
    "two results of one name": (
        "session/test_download.py::test_a_name_that_cannot_be_is_told_before_anything_is_fetched",
        "session/test_download.py::test_two_at_once_do_not_take_each_others_place",
    ),
    "10 GB": ("session/test_fault_matrix_downloads.py::test_ten_thousand_million_bytes",),
    "disk full": (
        "session/test_download.py::test_a_full_disk_is_told_and_leaves_nothing",
        "session/test_download_resume.py::test_a_disk_without_room_is_told_before_anything_comes",
    ),
    "foreign host sees no key": (
        "session/test_download.py::test_a_foreign_host_sees_no_key",
        "session/test_download.py::test_the_service_gets_no_key_for_a_file",
    ),
}
"""Every case of the row Downloads, and the tests that prove it."""


@pytest.mark.parametrize("proof", [proof for proofs in PROOFS.values() for proof in proofs])
def test_every_case_has_its_proof(proof: str) -> None:
    assert is_defined_test(proof)
