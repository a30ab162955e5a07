"""Uploads: streams of other libraries, files in an unsuitable state, changes in mid-upload, short messages."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web
from starlette.datastructures import UploadFile

from rivya_async import ConfigurationError, RetryPolicy, RivyaError, RivyaSession
from rivya_async.sandbox import Sandbox
from tests.media_kit import media
from tests.session.session_kit import UPLOAD, PlainServer, open_session, plain_server

PNG: Final = media("png")
LONG: Final = PNG + b"\n" * 300_000
"""A picture with long and short lines."""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


@pytest.fixture
async def session(sandbox: Sandbox) -> AsyncIterator[RivyaSession]:
    async with open_session(sandbox) as opened:
        yield opened


async def uploaded_bytes(session: RivyaSession, sandbox: Sandbox, content: Any) -> bytes:
    file = await session.files.upload(content)
    async with aiohttp.ClientSession() as http, http.get(file.url) as response:
        return await response.read()


async def test_uploads_stream_of_process(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    """D10: iteration over a stream reads lines, which may be too long for its buffer."""
    path = tmp_path / "kite.png"
    path.write_bytes(LONG + b"x" * 200_000)
    code = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert await uploaded_bytes(session, sandbox, process.stdout) == path.read_bytes()
    assert await process.wait() == 0


async def test_uploads_content_of_response(sandbox: Sandbox, session: RivyaSession) -> None:
    """D10"""
    async with plain_server(lambda _: web.Response(body=LONG)) as server, aiohttp.ClientSession() as http:
        async with http.get(server.url) as response:
            assert await uploaded_bytes(session, sandbox, response.content) == LONG
        async with http.get(server.url) as response:
            with pytest.raises(ConfigurationError, match="of a response pass its content"):
                await session.files.upload(response)  # type: ignore[arg-type]


async def test_uploads_file_of_web_framework(sandbox: Sandbox, session: RivyaSession) -> None:
    """D10: it is sent again after a failed attempt, as any file that can be rewound."""
    spooled: Any = tempfile.SpooledTemporaryFile()  # noqa: SIM115 - it is closed below
    received = UploadFile(spooled, filename="kite.png")
    await received.write(LONG)
    with pytest.raises(ConfigurationError, match=r"seek\(0\)"):
        await session.files.upload(received)
    await received.seek(0)
    sandbox.faults.add(route=UPLOAD, status=503, times=1)
    assert await uploaded_bytes(session, sandbox, received) == LONG
    await received.close()
    with pytest.raises(ConfigurationError, match="closed"):
        await session.files.upload(received)


class AsyncFile:
    """A file with coroutine methods only, as of aiofiles."""

    name = "kite.png"

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    async def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


async def test_uploads_async_file(sandbox: Sandbox, session: RivyaSession) -> None:
    """D10"""
    assert await uploaded_bytes(session, sandbox, AsyncFile(LONG)) == LONG


def text_file(path: Path) -> Any:
    return path.open(encoding="utf-8")


def temporary_text_file(_: Path) -> Any:
    return tempfile.NamedTemporaryFile("w+", encoding="utf-8")


def at_its_end(_: Path) -> Any:
    file = io.BytesIO()
    file.write(PNG)
    return file


def beyond_its_end(path: Path) -> Any:
    file = path.open("rb")
    file.seek(10**6)
    return file


def closed_file(path: Path) -> Any:
    with path.open("rb") as file:
        return file


def closed_bytes(_: Path) -> Any:
    file = io.BytesIO(PNG)
    file.close()
    return file


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (text_file, "binary mode"),
        (temporary_text_file, "binary mode"),
        (lambda _: io.StringIO("x"), "binary mode"),
        (at_its_end, r"seek\(0\)"),
        (beyond_its_end, r"seek\(0\)"),
        (closed_file, "closed"),
        (closed_bytes, "closed"),
    ],
)
async def test_unsuitable_file_is_explained(
    sandbox: Sandbox, session: RivyaSession, tmp_path: Path, make: Callable[[Path], Any], why: str
) -> None:
    """D10"""
    path = tmp_path / "kite.png"
    path.write_bytes(PNG)
    file = make(path)
    try:
        with pytest.raises(ConfigurationError, match=why):
            await session.files.upload(file)
    finally:
        file.close()
    assert sandbox.request_log.count(UPLOAD) == 0


async def test_file_that_is_closed_in_mid_upload(session: RivyaSession) -> None:
    """D10"""
    file = io.BytesIO(LONG)
    with pytest.raises(ConfigurationError, match="closed"):
        await session.files.upload(file, on_progress=lambda *_: file.close())


@pytest.mark.parametrize("opened", [False, True])
async def test_file_that_changes_in_mid_upload(
    sandbox: Sandbox, session: RivyaSession, tmp_path: Path, opened: bool
) -> None:
    """D15: the size stays the same."""
    path = tmp_path / "kite.png"
    path.write_bytes(LONG)
    is_edited = False

    def edit(*_: object) -> None:
        nonlocal is_edited
        if not is_edited:
            with path.open("r+b") as file:
                file.seek(-10, os.SEEK_END)
                file.write(b"0123456789")
            os.utime(path, ns=(0, 0))  # within one tick of the clock
            is_edited = True

    with path.open("rb") as file, pytest.raises(ConfigurationError, match="changed while it was uploaded"):
        await session.files.upload(file if opened else path, on_progress=edit)
    assert is_edited


@pytest.mark.parametrize("kind", [str, Path])
async def test_data_url_is_refused_briefly(session: RivyaSession, kind: Callable[[str], Any]) -> None:
    """D5"""
    with pytest.raises(ConfigurationError, match="data: URL") as raised:
        await session.files.upload(kind("data:image/png;base64," + "A" * 3_000_000))
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "call",
    [
        lambda session: session.files.upload("x" * 100_000),
        lambda session: session.files.upload("x\0" * 100_000),
        lambda session: session.files.upload(b"PNG?", filename="x" * 100_000),
        lambda session: session.files.upload(PNG, kind="x" * 100_000),
        lambda session: session.download("http://127.0.0.1:9/1.png", "x" * 100_000),
        lambda session: session.download("http://127.0.0.1:9/1.png", "x" * 100_000 + "/"),
        lambda session: session.download("x" * 100_000, "out/"),
        lambda session: session.download("http://[" + "x" * 100_000, "out/"),
        lambda session: session.download("http://127.0.0.1:9/1.png", "out/", name="{" + "x" * 100_000),
        lambda session: session.download("http://127.0.0.1:9/1.png", "out/", exists="x" * 100_000),
        lambda session: session.download("http://127.0.0.1:9/1.png", "out/", max_bytes="x" * 100_000),
        lambda session: session.download("http://127.0.0.1:9/1.png", "out/", on_progress="x" * 100_000),
    ],
)
async def test_messages_are_short(
    session: RivyaSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[RivyaSession], Any]
) -> None:
    """D5, S20"""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RivyaError) as raised:
        await call(session)
    assert len(str(raised.value)) <= 2000


async def test_home_folder_is_expanded(
    sandbox: Sandbox, session: RivyaSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D19"""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "kite.png").write_bytes(PNG)
    assert await uploaded_bytes(session, sandbox, "~/kite.png") == PNG


@pytest.fixture
async def refusing_host() -> AsyncIterator[PlainServer]:
    """Runs a host that refuses every request."""
    async with plain_server(lambda _: web.Response(status=403, text="no")) as opened:
        yield opened


async def test_errors_show_no_signature(refusing_host: PlainServer, tmp_path: Path) -> None:
    """D7"""
    retry = RetryPolicy(max_attempts=1)
    secret = "s3cret"
    async with RivyaSession("rvya_sk_" + "0" * 32, base_url=refusing_host.url, retry=retry) as session:
        host = refusing_host.url.removeprefix("http://")
        for url in (
            f"http://user:{secret}@{host}/1.png?sig={secret}",
            f"http://user:{secret}@127.0.0.1:1/1.png?sig={secret}",
            f"ftp://user:{secret}@127.0.0.1/1.png?sig={secret}",
        ):
            with pytest.raises(RivyaError) as raised:
                await session.download(url, tmp_path)
            assert secret not in repr(raised.value)
