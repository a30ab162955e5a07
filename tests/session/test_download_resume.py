"""Resumed downloads within one call and over several, with hosts that change the file."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from rivya_async import ConfigurationError, DownloadError, OutcomeUnknownError, RivyaSession, Timeouts
from rivya_async._engine.transfers.partial_file import MIN_RESUMABLE_BYTES
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import FILE, QUICK_RETRY, RecordingHooks, open_session, raw_server, wait_until

BODY: Final = bytes(range(256)) * 12_000
"""3 MB: a partial file of this size is kept."""

OTHER: Final = BODY[::-1]
HALF: Final = len(BODY) // 2


def files(folder: Path) -> list[str]:
    """Returns every file in a folder, hidden ones included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class Asked(NamedTuple):
    range: str | None
    if_range: str | None


class Host:
    """A host of files. `cuts` has the length in bytes at which each answer breaks off, or None."""

    def __init__(self, body: bytes = BODY, tag: str | None = '"one"') -> None:
        self.body = body
        self.tag = tag
        self.changed_at: str | None = None
        self.cuts: list[int | None] = []
        self.has_ranges = True
        self.tells_length = True
        self.content_range: str | None = None
        self.headers: list[str] = []
        self.stalls = False
        self.asked: list[Asked] = []
        self.url = ""

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Host]:
        async with raw_server(self._talk) as url:
            self.url = f"{url}/film.mp4"
            yield self

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:]
        sent = {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}
        asked = Asked(sent.get("range"), sent.get("if-range"))
        self.asked.append(asked)
        start, status = 0, "200 OK"
        headers = ["Content-Type: video/mp4", "Connection: close", *self.headers]
        if self.tag is not None:
            headers.append(f"ETag: {self.tag}")
        if self.changed_at is not None:
            headers += [f"Last-Modified: {self.changed_at}", "Date: Mon, 11 May 2026 09:00:00 GMT"]
        if asked.range is not None and self.has_ranges and asked.if_range == (self.tag or self.changed_at):
            start, status = int(asked.range[6:-1]), "206 Partial Content"
            if start >= len(self.body):
                writer.write(b"HTTP/1.1 416 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            content_range = self.content_range or f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
            headers.append(f"Content-Range: {content_range}")
        rest = self.body[start:]
        if self.tells_length:
            headers.append(f"Content-Length: {len(rest)}")
        cut = self.cuts.pop(0) if self.cuts else None
        writer.write("\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + rest[:cut])
        await writer.drain()
        if self.stalls and cut is not None:
            await reader.read()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    async with Host().open() as opened_host:
        yield opened_host


async def test_resumes_interrupted_transfer(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    host.cuts = [HALF, 1000]
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY
    assert host.asked == [(None, None), (f"bytes={HALF}-", '"one"'), (f"bytes={HALF + 1000}-", '"one"')]
    assert files(tmp_path) == ["film.mp4"]


async def test_download_hook_reports_success_and_failure(
    host: Host, session: RivyaSession, hooks: RecordingHooks, tmp_path: Path
) -> None:
    host.cuts = [HALF, 1000]
    await session.download(f"{host.url}?signature=secret", tmp_path)
    with pytest.raises(ConfigurationError):
        await session.download(f"{host.url}?signature=secret", tmp_path)
    saved, refused = hooks.downloads
    assert (saved.host, saved.received_bytes, saved.error) == ("127.0.0.1", len(BODY), None)
    assert saved.elapsed > refused.elapsed > 0
    assert (refused.host, refused.received_bytes, type(refused.error)) == ("127.0.0.1", 0, ConfigurationError)
    assert "secret" not in repr(hooks.downloads)


async def test_progress_resets_retry_policy(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    host.cuts = [200_000] * 12
    assert len(host.cuts) > QUICK_RETRY.max_attempts
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY
    assert len(host.asked) == 13


async def test_retry_policy_ends_download_without_progress(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    host.cuts = [500, *[0] * 20]
    with pytest.raises(OutcomeUnknownError) as raised:
        await session.download(host.url, tmp_path)
    assert raised.value.attempts == len(host.asked) == QUICK_RETRY.max_attempts
    assert files(tmp_path) == []


async def test_changed_file_restarts(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    host.cuts = [HALF]
    download = asyncio.create_task(session.download(host.url, tmp_path))
    await wait_until(lambda: len(host.asked) == 1)
    host.body, host.tag = OTHER, '"two"'
    (path,) = await download
    assert path.read_bytes() == OTHER
    assert host.asked[1] == (f"bytes={HALF}-", '"one"')
    assert files(tmp_path) == ["film.mp4"]


@pytest.mark.parametrize("tag", [None, 'W/"one"', "one", ""])
async def test_weak_etag_restarts(host: Host, session: RivyaSession, tmp_path: Path, tag: str | None) -> None:
    host.tag, host.cuts = tag, [HALF]
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY
    assert host.asked == [(None, None), (None, None)]


async def test_resumes_by_last_modified(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    host.tag, host.changed_at, host.cuts = None, "Mon, 11 May 2026 08:00:00 GMT", [HALF]
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY
    assert host.asked == [(None, None), (f"bytes={HALF}-", host.changed_at)]


async def test_ignores_recent_last_modified(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    host.tag, host.changed_at, host.cuts = None, "Mon, 11 May 2026 09:00:00 GMT", [HALF]
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY
    assert host.asked == [(None, None), (None, None)]


@pytest.mark.parametrize("tells_length", [True, False])
async def test_rejects_empty_file(host: Host, session: RivyaSession, tmp_path: Path, tells_length: bool) -> None:
    host.body, host.tells_length = b"", tells_length
    with pytest.raises(OutcomeUnknownError, match="empty"):
        await session.download(host.url, tmp_path)
    assert len(host.asked) == QUICK_RETRY.max_attempts
    assert files(tmp_path) == []


async def test_host_without_ranges(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    host.cuts, host.has_ranges = [HALF], False
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY
    assert len(host.asked) == 2


@pytest.mark.parametrize(
    "content_range",
    [f"bytes 0-{len(BODY) - 1}/{len(BODY)}", f"bytes {HALF}-{len(BODY)}/{len(BODY) + 1}", "bytes */5", "kites 1-2/3"],
)
async def test_rejects_wrong_range(host: Host, session: RivyaSession, tmp_path: Path, content_range: str) -> None:
    host.cuts, host.content_range = [HALF], content_range
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY
    assert [asked.range for asked in host.asked] == [None, f"bytes={HALF}-", None]


async def test_accepts_range_of_unknown_length(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    host.cuts, host.content_range = [HALF], f"bytes {HALF}-{len(BODY) - 1}/*"
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY
    assert len(host.asked) == 2


async def test_shortened_file(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    host.cuts = [HALF]
    download = asyncio.create_task(session.download(host.url, tmp_path))
    await wait_until(lambda: len(host.asked) == 1)
    host.body = BODY[:1000]  # under the same tag: 416, then the whole
    (path,) = await download
    assert path.read_bytes() == BODY[:1000]
    assert [asked.range for asked in host.asked] == [None, f"bytes={HALF}-", None]


async def test_rejects_unrequested_range(session: RivyaSession, tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 206 Part\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nhello")

    async with raw_server(talk) as url:
        with pytest.raises(OutcomeUnknownError, match="a range that was not requested"):
            await session.download(f"{url}/film.mp4", tmp_path)
    assert files(tmp_path) == []


# --- over several calls -----------------------------------------------------------------------------------------------


async def cancelled_half_way(host: Host, session: RivyaSession, folder: Path) -> None:
    host.cuts, host.stalls = [HALF], True
    download = asyncio.create_task(session.download(host.url, folder))
    await wait_until(lambda: any(path.stat().st_size >= HALF for path in folder.glob(".*.part")))
    download.cancel()
    with pytest.raises(asyncio.CancelledError):
        await download
    host.asked.clear()


async def test_next_call_resumes_after_cancellation(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    await cancelled_half_way(host, session, tmp_path)
    (left,) = files(tmp_path)
    assert left.startswith(".film.mp4")
    assert left.endswith(".part")
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY
    assert host.asked[1:] == [(f"bytes={HALF}-", '"one"')]
    assert files(tmp_path) == ["film.mp4"]


async def test_ignores_partial_file_of_other_version(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    await cancelled_half_way(host, session, tmp_path)
    host.body, host.tag = OTHER, '"two"'
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == OTHER
    assert host.asked == [(None, None)]


async def test_ignores_partial_file_of_other_url(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    """An ETag identifies a version of one URL: nginx derives it from second and length, which two results may share."""
    await cancelled_half_way(host, session, tmp_path)
    host.body, host.stalls = OTHER, False
    (path,) = await session.download(host.url.replace("film", "other/film"), tmp_path)
    assert path.name == "film.mp4"
    assert path.read_bytes() == OTHER
    assert host.asked == [(None, None)]


async def test_ignores_partial_file_of_other_path(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    await cancelled_half_way(host, session, tmp_path)
    (path,) = await session.download(host.url, tmp_path / "other.mp4")
    assert path.read_bytes() == BODY
    assert host.asked == [(None, None)]


async def test_renames_complete_partial_file(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    await cancelled_half_way(host, session, tmp_path)
    (left,) = tmp_path.glob(".*.part")
    left.write_bytes(BODY)
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY
    assert len(host.asked) == 1


async def test_discards_oversized_partial_file(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    await cancelled_half_way(host, session, tmp_path)
    (left,) = tmp_path.glob(".*.part")
    left.write_bytes(BODY + b"more")
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY


async def test_discards_small_partial_file(session: RivyaSession, tmp_path: Path) -> None:
    async with Host(BODY[: MIN_RESUMABLE_BYTES - 1]).open() as host:
        host.cuts = [1000, *[0] * 20]
        with pytest.raises(OutcomeUnknownError):
            await session.download(host.url, tmp_path)
    assert files(tmp_path) == []


async def test_keeps_partial_file_after_failure(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    host.cuts = [HALF, *[0] * (QUICK_RETRY.max_attempts - 1)]
    with pytest.raises(OutcomeUnknownError):
        await session.download(host.url, tmp_path)
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY
    assert host.asked[-1].range == f"bytes={HALF}-"


async def test_discards_partial_file_of_unknown_length(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    host.tells_length = False
    await cancelled_half_way(host, session, tmp_path)
    assert files(tmp_path) == []


async def test_concurrent_downloads_use_separate_partial_files(
    host: Host, session: RivyaSession, tmp_path: Path
) -> None:
    host.cuts = [HALF, 1000]
    ends = await asyncio.gather(
        *(session.download(host.url, tmp_path, exists="overwrite") for _ in range(6)), return_exceptions=True
    )
    assert [end for end in ends if end != [tmp_path / "film.mp4"]] == []
    assert (tmp_path / "film.mp4").read_bytes() == BODY
    assert files(tmp_path) == ["film.mp4"]


async def test_resumes_after_killed_process(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    import fcntl

    await cancelled_half_way(host, session, tmp_path)
    (left,) = tmp_path.glob(".*.part")
    with left.open("ab") as held:  # another process is at it
        fcntl.flock(held, fcntl.LOCK_EX)
        (path,) = await session.download(host.url, tmp_path)
    assert host.asked == [(None, None)]
    assert path.read_bytes() == BODY
    assert left.stat().st_size == HALF
    path.unlink()
    await session.download(host.url, tmp_path)  # which has let go, as the dead do
    assert host.asked[-1].range == f"bytes={HALF}-"


async def test_file_system_without_locks(
    host: Host, session: RivyaSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def cannot(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", cannot)
    host.cuts = [HALF]
    (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY
    assert "film.mp4" in files(tmp_path)


# --- limits, free space and progress ----------------------------------------------------------------------------------


async def test_max_bytes_checks_content_length(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="max_bytes=1000") as raised:
        await session.download(host.url, tmp_path, max_bytes=1000)
    assert raised.value.path is None  # the first bytes, which decide on the extension, were not read
    assert files(tmp_path) == []
    assert len(host.asked) == 1
    assert len(await session.download(host.url, tmp_path, max_bytes=len(BODY))) == 1


async def test_max_bytes_checks_received_bytes(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    host.tells_length, host.tag = False, None
    with pytest.raises(DownloadError, match="max_bytes"):
        await session.download(host.url, tmp_path, max_bytes=len(BODY) - 1)
    assert files(tmp_path) == []
    assert len(host.asked) == 1


@pytest.mark.parametrize("odd", [0, -1, 1.5, True, "1"])
async def test_rejects_invalid_max_bytes(host: Host, session: RivyaSession, tmp_path: Path, odd: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_bytes"):
        await session.download(host.url, tmp_path, max_bytes=odd)
    assert host.asked == []


async def test_checks_free_space_before_transfer(
    host: Host, session: RivyaSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(DownloadError, match="free disk space"):
        await session.download(host.url, tmp_path)
    assert files(tmp_path) == []
    assert len(host.asked) == 1


async def test_rejects_name_that_file_system_rejects(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="choose a shorter name"):
        await session.download(host.url, tmp_path / f"{'x' * 300}.mp4")
    assert files(tmp_path) == []


@pytest.mark.parametrize("odd", [None, 5, "a\0b", b"out"])
async def test_rejects_invalid_path(host: Host, session: RivyaSession, odd: Any) -> None:
    with pytest.raises(ConfigurationError, match="path of a folder"):
        await session.download(host.url, odd)
    assert host.asked == []


async def test_reports_progress_in_bytes(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    progress: list[tuple[int, int | None]] = []
    host.cuts = [HALF]
    await session.download(host.url, tmp_path, on_progress=lambda *numbers: progress.append(numbers))
    received = [number for number, _ in progress]
    assert received == sorted(set(received))
    assert received[-1] == len(BODY)
    assert {total for _, total in progress} == {len(BODY)}


async def test_async_progress_with_unknown_total(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    host.tells_length = False
    progress: list[tuple[int, int | None]] = []

    async def note(received: int, total: int | None) -> None:
        await asyncio.sleep(0)
        progress.append((received, total))

    await session.download(host.url, tmp_path, on_progress=note)
    assert progress[-1] == (len(BODY), None)


async def test_listener_error_ends_download(host: Host, session: RivyaSession, tmp_path: Path) -> None:
    def angry(*_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await session.download(host.url, tmp_path, on_progress=angry)
    assert not (tmp_path / "film.mp4").exists()
    with pytest.raises(ConfigurationError, match="on_progress"):
        await session.download(host.url, tmp_path, on_progress=5)  # type: ignore[arg-type]


async def test_resumes_after_read_timeout(sandbox: Sandbox, host: Host, tmp_path: Path) -> None:
    host.cuts, host.stalls = [HALF], True
    async with open_session(sandbox, timeouts=Timeouts(read=0.2)) as session:
        (path,) = await session.download(host.url, tmp_path)
    assert path.read_bytes() == BODY
    assert [asked.range for asked in host.asked] == [None, f"bytes={HALF}-"]


async def test_resumes_after_stall(sandbox: Sandbox, tmp_path: Path) -> None:
    async with open_session(sandbox) as session:
        job = await session.generate("z-image", "A red kite")
        (whole,) = await session.download(job, f"{tmp_path}/whole/")  # the sandbox renders the file once
    async with open_session(sandbox, timeouts=Timeouts(read=0.2)) as session:
        sandbox.faults.add(route=FILE, truncate=1000, stall=True, times=1)
        (path,) = await session.download(job, tmp_path)
        assert {each.status for each in sandbox.request_log if each.route == FILE} == {200, 206}
        assert sandbox.request_log.count(FILE) == 3  # they are booked as they end, whichever does first
    assert path.read_bytes() == whole.read_bytes()


async def test_closing_session_keeps_partial_file(sandbox: Sandbox, host: Host, tmp_path: Path) -> None:
    host.cuts, host.stalls = [HALF], True
    async with open_session(sandbox) as session:
        download = asyncio.create_task(session.download(host.url, tmp_path))
        await wait_until(lambda: any(path.stat().st_size >= HALF for path in tmp_path.glob(".*.part")))
    with pytest.raises(OutcomeUnknownError):
        await download
    assert len(files(tmp_path)) == 1


# --- links that expire ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_refreshes_expired_link(sandbox: Sandbox, session: RivyaSession, tmp_path: Path, status: int) -> None:
    job = await session.generate("z-image", "A red kite")
    (whole,) = await session.download(job, f"{tmp_path}/whole/")
    stale = await stale_copy(job)
    sandbox.faults.add(route=FILE, status=status, times=1)
    polls = sandbox.request_log.count("GET /api/v1/generations/{task_id}")
    (path,) = await session.download(stale, f"{tmp_path}/again/")
    assert path.read_bytes() == whole.read_bytes()
    assert sandbox.request_log.count("GET /api/v1/generations/{task_id}") == polls + 1


async def test_link_expires_in_mid_transfer(tmp_path: Path) -> None:
    offset = 0.0

    def clock() -> float:
        return asyncio.get_running_loop().time() + offset

    async with Sandbox(speed=1000, link_lifetime=60, clock=clock) as sandbox, open_session(sandbox) as session:
        job = await session.generate("z-image", "A red kite")
        (whole,) = await session.download(job, f"{tmp_path}/whole/")
        sandbox.faults.add(route=FILE, truncate=1000, times=1)

        def expire(*_: Any) -> None:
            nonlocal offset
            offset = 60.0

        (path,) = await session.download(job, f"{tmp_path}/again/", on_progress=expire)
        assert path.read_bytes() == whole.read_bytes()
        assert [each.status for each in sandbox.request_log if each.route == FILE][1:] == [200, 403, 206]


async def stale_copy(job: Any) -> Any:
    """Returns the record with an outdated link."""
    import attrs

    url = f"{job.result.primary_url}?expires=yesterday"
    return attrs.evolve(job, result=attrs.evolve(job.result, primary_url=url, urls=(url,)))
