"""Redirects of a file's host: followed to public addresses only, never with the key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from rivya_async import DownloadError, RivyaSession, Timeouts
from rivya_async._core.config import Config
from rivya_async._engine.http.aiohttp_transport import AiohttpTransport
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import QUICK_RETRY, PlainServer, ReceivedRequest, open_session, plain_server

KEY: Final = "rvya_sk_0123456789abcdef0123456789abcdef"


@pytest.fixture
async def abroad() -> AsyncIterator[RivyaSession]:
    """Opens a session of the real service. No test calls the service."""
    async with RivyaSession(KEY, base_url="https://rivya.ai", retry=QUICK_RETRY) as session:
        yield session


def leading(server: PlainServer, to: str) -> str:
    """Returns a URL of the server that redirects to `to`. `PORT` stands for the server's port."""
    location = to.replace("PORT", server.url.rpartition(":")[2])

    def answer(seen: ReceivedRequest) -> web.Response:
        if seen.path == "/away":
            return web.Response(status=302, headers={"Location": location})
        return web.Response(body=b"secret", content_type="image/png")

    server.answer = answer
    return f"{server.url}/away"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "0x7f.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[fe80::1]",
        "[fc00::1]",
        "224.0.0.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "127.000.000.001",
        "１２７.０.０.１",  # noqa: RUF001
        "127。0。0。1",
        "127.1",
        "2130706433",
    ],
)
async def test_rejects_redirect_to_private_address(abroad: RivyaSession, tmp_path: Path, host: str) -> None:
    async with plain_server() as server:
        with pytest.raises(DownloadError, match=r"not on the public internet.*download that URL itself"):
            await abroad.download(leading(server, f"http://{host}:PORT/kite.png"), tmp_path)
        assert [seen.path for seen in server.requests] == ["/away"]
    assert list(tmp_path.iterdir()) == []


async def test_checks_connected_address() -> None:
    """aiohttp calls no resolver for a host that it parses as an address."""
    transport = AiohttpTransport(Config(None, "https://rivya.ai"), Timeouts(), None)
    async with plain_server() as server, aclosing(transport):
        with pytest.raises(DownloadError, match="not on the public internet"):
            async with transport.fetch(server.url, {}, only_public=True):
                pass
        assert server.requests == []


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "0177.0.0.1"])
async def test_local_service_does_not_permit_other_private_networks(
    session: RivyaSession, tmp_path: Path, host: str
) -> None:
    async with plain_server() as server:
        with pytest.raises(DownloadError, match="not on the public internet"):
            await session.download(leading(server, f"http://{host}:PORT/kite.png"), tmp_path)


async def test_local_service_may_redirect_locally(session: RivyaSession, tmp_path: Path) -> None:
    async with plain_server() as server:
        (path,) = await session.download(leading(server, "http://localhost:PORT/kite.png"), tmp_path)
    assert path.read_bytes() == b"secret"


async def test_given_url_may_be_local(abroad: RivyaSession, tmp_path: Path) -> None:
    async with plain_server() as server:
        leading(server, "")
        (path,) = await abroad.download(f"{server.url}/kite.png", tmp_path)
    assert path.read_bytes() == b"secret"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_follows_every_redirect_status(session: RivyaSession, tmp_path: Path, status: int) -> None:
    def answer(seen: ReceivedRequest) -> web.Response:
        if seen.path == "/a/away":
            return web.Response(status=status, headers={"Location": "../b/kite.png?x=1"})
        return web.Response(body=seen.path.encode(), content_type="image/png")

    async with plain_server(answer) as server:
        (path,) = await session.download(f"{server.url}/a/away", tmp_path)
    assert path.name == "away.png"
    assert path.read_bytes() == b"/b/kite.png?x=1"


async def test_redirect_loop_ends(session: RivyaSession, tmp_path: Path) -> None:
    async with plain_server() as server:
        with pytest.raises(DownloadError, match="more than 10 times"):
            await session.download(leading(server, "/away"), tmp_path)
        assert len(server.requests) == 11


async def test_resume_follows_redirects_again(sandbox: Sandbox, tmp_path: Path) -> None:
    body = b"kite" * 1000

    def answer(seen: ReceivedRequest) -> web.Response:
        if seen.path == "/away":
            return web.Response(status=302, headers={"Location": "/kite.png"})
        headers = {"ETag": '"1"'}
        if "Range" not in seen.headers:
            return web.Response(body=body[:100], headers={**headers, "Content-Length": str(len(body))})
        headers["Content-Range"] = f"bytes 100-{len(body) - 1}/{len(body)}"
        return web.Response(body=body[100:], status=206, headers=headers)

    async with plain_server(answer) as server, open_session(sandbox, timeouts=Timeouts(read=0.1)) as session:
        (path,) = await session.download(f"{server.url}/away", tmp_path)
        assert [seen.path for seen in server.requests] == ["/away", "/kite.png"] * 2
        assert [seen.headers.get("If-Range") for seen in server.requests] == [None, None, '"1"', '"1"']
    assert path.read_bytes() == body
