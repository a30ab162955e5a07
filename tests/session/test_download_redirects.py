"""Redirects of a file's host: followed as far as they lead outwards, never inwards, never with the key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from aiohttp import web

from rivya_async import DownloadError, RivyaSession, Timeouts
from rivya_async._core.config import Config
from rivya_async._engine.http.aiohttp_transport import AiohttpTransport
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import QUICK_RETRY, Peer, Seen, opened, peer

KEY: Final = "rvya_sk_0123456789abcdef0123456789abcdef"


@pytest.fixture
async def abroad() -> AsyncIterator[RivyaSession]:
    """A session at the real service, which is never called here."""
    async with RivyaSession(KEY, base_url="https://rivya.ai", retry=QUICK_RETRY) as session:
        yield session


def leading(server: Peer, to: str) -> str:
    """A URL of this server that redirects there; `PORT` is its own port."""
    location = to.replace("PORT", server.url.rpartition(":")[2])

    def answer(seen: Seen) -> web.Response:
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
async def test_no_redirect_leads_into_a_private_network(abroad: RivyaSession, tmp_path: Path, host: str) -> None:
    async with peer() as server:
        with pytest.raises(DownloadError, match=r"not on the public internet.*download that URL itself"):
            await abroad.download(leading(server, f"http://{host}:PORT/kite.png"), tmp_path)
        assert [seen.path for seen in server.seen] == ["/away"]
    assert list(tmp_path.iterdir()) == []


async def test_the_address_that_is_connected_to_is_looked_at_too() -> None:
    """Whatever slips through before: aiohttp asks no resolver for what it takes for an address."""
    transport = AiohttpTransport(Config(None, "https://rivya.ai"), Timeouts(), None)
    async with peer() as server, aclosing(transport):
        with pytest.raises(DownloadError, match="not on the public internet"):
            async with transport.fetch(server.url, {}, only_public=True):
                pass
        assert server.seen == []


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "0177.0.0.1"])
async def test_the_sandbox_does_not_open_other_private_networks(
    session: RivyaSession, tmp_path: Path, host: str
) -> None:
    async with peer() as server:
        with pytest.raises(DownloadError, match="not on the public internet"):
            await session.download(leading(server, f"http://{host}:PORT/kite.png"), tmp_path)


async def test_who_works_on_this_machine_is_led_through_it(session: RivyaSession, tmp_path: Path) -> None:
    async with peer() as server:
        (path,) = await session.download(leading(server, "http://localhost:PORT/kite.png"), tmp_path)
    assert path.read_bytes() == b"secret"


async def test_a_link_of_ones_own_may_be_local(abroad: RivyaSession, tmp_path: Path) -> None:
    async with peer() as server:
        leading(server, "")
        (path,) = await abroad.download(f"{server.url}/kite.png", tmp_path)
    assert path.read_bytes() == b"secret"


async def test_an_http_that_was_handed_in_leads_where_its_names_lead(tmp_path: Path) -> None:
    async with (
        aiohttp.ClientSession() as http,
        RivyaSession(KEY, base_url="https://rivya.ai", retry=QUICK_RETRY, http=http) as session,
        peer() as server,
    ):
        with pytest.raises(DownloadError, match="public"):
            await session.download(leading(server, "http://127.0.0.1:PORT/kite.png"), tmp_path)
        (path,) = await session.download(leading(server, "http://localhost:PORT/kite.png"), tmp_path)
    assert path.read_bytes() == b"secret"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_every_kind_of_redirect_is_followed(session: RivyaSession, tmp_path: Path, status: int) -> None:
    def answer(seen: Seen) -> web.Response:
        if seen.path == "/a/away":
            return web.Response(status=status, headers={"Location": "../b/kite.png?x=1"})
        return web.Response(body=seen.path.encode(), content_type="image/png")

    async with peer(answer) as server:
        (path,) = await session.download(f"{server.url}/a/away", tmp_path)
    assert path.name == "away.png"
    assert path.read_bytes() == b"/b/kite.png?x=1"


async def test_a_circle_has_an_end(session: RivyaSession, tmp_path: Path) -> None:
    async with peer() as server:
        with pytest.raises(DownloadError, match="more than 10 times"):
            await session.download(leading(server, "/away"), tmp_path)
        assert len(server.seen) == 11


async def test_a_resumed_download_is_led_again(sandbox: Sandbox, tmp_path: Path) -> None:
    body = b"kite" * 1000

    def answer(seen: Seen) -> web.Response:
        if seen.path == "/away":
            return web.Response(status=302, headers={"Location": "/kite.png"})
        headers = {"ETag": '"1"'}
        if "Range" not in seen.headers:
            return web.Response(body=body[:100], headers={**headers, "Content-Length": str(len(body))})
        headers["Content-Range"] = f"bytes 100-{len(body) - 1}/{len(body)}"
        return web.Response(body=body[100:], status=206, headers=headers)

    async with peer(answer) as server, opened(sandbox, timeouts=Timeouts(read=0.1)) as session:
        (path,) = await session.download(f"{server.url}/away", tmp_path)
        assert [seen.path for seen in server.seen] == ["/away", "/kite.png"] * 2
        assert [seen.headers.get("If-Range") for seen in server.seen] == [None, None, '"1"', '"1"']
    assert path.read_bytes() == body
