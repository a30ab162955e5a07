"""Downloads: exact links, safe names, whole files, no secrets for file hosts."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import os
import warnings
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from rivya_async import (
    ConfigurationError,
    DownloadError,
    Generation,
    GenerationResult,
    PermissionDeniedError,
    RetryPolicy,
    RivyaError,
    RivyaSession,
)
from rivya_async._engine.transfers.downloader import MIN_PROGRESS_BYTES
from rivya_async._engine.transfers.partial_file import MIN_RESUMABLE_BYTES
from tests.session.session_kit import PlainServer, ReceivedRequest, generation_body, plain_server

KEY: Final = "rvya_sk_0123456789abcdef0123456789abcdef"
RETRY: Final = RetryPolicy(max_attempts=3, base=0.001, cap=0.01)
PNG: Final = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
FLAC: Final = b"fLaC" + bytes(2000)


@pytest.fixture
async def server() -> AsyncIterator[PlainServer]:
    async with plain_server(lambda _: answer(PNG, "image/png")) as opened:
        yield opened


@pytest.fixture
async def session(server: PlainServer) -> AsyncIterator[RivyaSession]:
    """Opens a session whose service is the server of the files."""
    async with RivyaSession(KEY, base_url=server.url, retry=RETRY) as opened:
        yield opened


def answer(body: bytes, content_type: str | None = None, status: int = 200, **headers: str) -> web.Response:
    heads = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        heads["Content-Type"] = content_type
    return web.Response(body=body, status=status, headers=heads)


def is_api(seen: ReceivedRequest) -> bool:
    return seen.path.startswith("/api")


def job(*urls: str, task_id: str = "task_1") -> Generation:
    return Generation(id=task_id, status="succeeded", model="m", result=GenerationResult(urls[0], urls=urls))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/k%27.png?t=image%2Fpng&sig=A%40B", None),
        ("/a/../b//%7Ec;d'(e)?x=1+2&y=%2b&z=a=b~", None),
        ("/%41%2e%2E?%3f", None),
        ("/a b.png?c=é", "/a%20b.png?c=%C3%A9"),
    ],
)
async def test_link_is_sent_as_given(
    server: PlainServer, session: RivyaSession, tmp_path: Path, path: str, sent: str | None
) -> None:
    """D1"""
    targets = await raw_targets(session, tmp_path, path)
    assert targets == [sent or path, "/away", sent or path]


async def raw_targets(session: RivyaSession, folder: Path, path: str) -> list[str]:
    """Returns the targets of the request lines for a link, and for a redirect to the same link."""
    targets: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = (await reader.readuntil(b"\r\n\r\n")).decode().split()[1]
        targets.append(target)
        status = f"302 Found\r\nLocation: {url}{path}" if target == "/away" else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx".encode())
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        await session.download(url + path, folder / "one")
        await session.download(f"{url}/away", folder / "two")
    return targets


class FixedResolver(AbstractResolver):
    """A resolver that resolves every name to loopback."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("uses_http", [False, True])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "a.localhost", "cdn.example", "[::1]", "2130706433"])
async def test_link_of_job_leads_to_public_addresses_only(
    server: PlainServer, tmp_path: Path, host: str, uses_http: bool
) -> None:
    """S6"""
    port = server.url.rpartition(":")[2]
    connector = aiohttp.TCPConnector(resolver=FixedResolver())
    async with aiohttp.ClientSession(connector=connector) as http:
        options: dict[str, Any] = {"allow_plain_http": True} | ({"http": http} if uses_http else {})
        if host == "cdn.example" and not uses_http:
            pytest.skip("only the caller's resolver knows the name")
        async with RivyaSession(KEY, base_url="http://api.example", retry=RETRY, **options) as session:
            for url in (f"http://{host}:{port}/kite.png", f"http://{host}:{port}/kite.png?redirected"):
                with pytest.raises(DownloadError, match="not on the public internet"):
                    await session.download(job(url), tmp_path)
    assert server.requests == []
    assert names(tmp_path) == []


async def test_redirect_leads_to_public_addresses_only(server: PlainServer, tmp_path: Path) -> None:
    """S6"""
    location = f"{server.url.replace('127.0.0.1', 'metadata.example')}/secret"
    server.answer = lambda _: answer(b"", status=302, Location=location)
    connector = aiohttp.TCPConnector(resolver=FixedResolver())
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        RivyaSession(KEY, base_url="http://api.example", allow_plain_http=True, retry=RETRY, http=http) as session,
    ):
        with pytest.raises(DownloadError, match="not on the public internet"):
            await session.download(f"{server.url}/typed", tmp_path)  # the caller typed the first URL
    assert [seen.path for seen in server.requests] == ["/typed"]


async def test_typed_url_and_local_service_are_free(server: PlainServer, tmp_path: Path) -> None:
    """S6"""
    async with RivyaSession(KEY, base_url="https://api.example", retry=RETRY) as session:
        assert await session.download(f"{server.url}/kite", tmp_path)
    async with RivyaSession(KEY, base_url="http://127.0.0.1:9", retry=RETRY) as session:
        assert await session.download(job(f"{server.url}/kite.png"), tmp_path)


async def test_https_service_sends_no_http_links(server: PlainServer, tmp_path: Path) -> None:
    """S6"""
    async with RivyaSession(KEY, base_url="https://127.0.0.1:9", retry=RETRY) as session:
        with pytest.raises(DownloadError, match="https to http"):
            await session.download(job(f"{server.url}/kite.png"), tmp_path)
    assert server.requests == []


async def test_file_host_gets_nothing_of_http_session(server: PlainServer, tmp_path: Path) -> None:
    """S2"""

    def serve(seen: ReceivedRequest) -> web.Response:
        if seen.path == "/away":
            response = answer(b"", status=302, Location=f"{server.url.replace('127.0.0.1', 'localhost')}/kite.png")
            response.set_cookie("tracking", "1")
            return response
        return answer(PNG, "image/png")

    server.answer = serve
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with_auth = aiohttp.ClientSession(auth=aiohttp.BasicAuth("user", "secret"))
    async with (
        aiohttp.ClientSession(
            headers={"Authorization": "Bearer internal", "X-Internal-Token": "secret"}, cookies={"session": "secret"}
        ) as http,
        with_auth,
    ):
        for number, each in enumerate((http, with_auth)):
            async with RivyaSession(KEY, base_url=server.url, http=each, retry=RETRY) as session:
                await session.download(job(f"{server.url}/away"), tmp_path / f"{number}.png")
            assert not each.closed
            assert each.connector is not None
            assert not each.connector.closed
    assert len(server.requests) == 4
    for seen in server.requests:
        assert not {name.lower() for name in seen.headers} & {"authorization", "x-internal-token", "cookie"}
        assert "secret" not in repr(seen)


async def test_environment_credentials_are_not_sent(
    server: PlainServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2: the credentials of .netrc."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with (
        aiohttp.ClientSession(trust_env=True) as http,
        RivyaSession(KEY, base_url=server.url, http=http, retry=RETRY) as session,
    ):
        await session.download(job(f"{server.url}/1.png"), f"{tmp_path}/out/")
    assert "Authorization" not in server.requests[0].headers


async def test_files_use_proxy_of_http_session(
    server: PlainServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S2: a session behind a proxy reaches file hosts through it."""
    for variable in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    api = "http://api.example"
    async with (
        aiohttp.ClientSession(proxy=server.url) as http,
        RivyaSession(KEY, base_url=api, allow_plain_http=True, http=http, retry=RETRY) as session,
    ):
        assert await session.download(job("http://cdn.example/1.png"), tmp_path / "1.png")
    monkeypatch.setenv("http_proxy", server.url)
    async with (
        aiohttp.ClientSession(trust_env=True) as http,
        RivyaSession(KEY, base_url=api, allow_plain_http=True, http=http, retry=RETRY) as session,
    ):
        assert await session.download(job("http://cdn.example/2.png"), tmp_path / "2.png")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert await session.download(f"{server.url}/3.png", tmp_path / "3.png")
    assert [seen.path for seen in server.requests][2] == "/3.png"
    assert len(server.requests) == 3


# --- contents ---------------------------------------------------------------------------------------------------------


async def test_resumes_only_same_version(session: RivyaSession, tmp_path: Path) -> None:
    """D2"""
    old, new, modified = os.urandom(3_000_000), os.urandom(3_000_000), formatdate(0, usegmt=True)
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        date = f"Date: {formatdate(usegmt=True)}"
        if len(heads) == 1:
            lines, body, length = ["200 OK", date, f"Last-Modified: {modified}"], old[:2_000_000], len(old)
        elif "Range: bytes=2000000-" in head:
            version = f"Last-Modified: {formatdate(1, usegmt=True)}" if len(heads) == 2 else date
            lines = ["206 Partial Content", date, version, "Content-Range: bytes 2000000-2999999/3000000"]
            body, length = new[2_000_000:], 1_000_000
        else:
            lines, body, length = ["200 OK", date], new, len(new)
        writer.write("\r\n".join(["HTTP/1.1 " + lines[0], *lines[1:], f"Content-Length: {length}", "", ""]).encode())
        writer.write(body)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/k.png"
        (path,) = await session.download(url, tmp_path / "f2.png")
    assert path.read_bytes() == new
    assert len(heads) == 3


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "x-gzip", "identity, gzip"])
async def test_encoded_file_is_refused(
    server: PlainServer, session: RivyaSession, tmp_path: Path, encoding: str
) -> None:
    """D3, S7"""
    body = gzip.compress(os.urandom(4000))[:2000]
    server.answer = lambda _: answer(body, "image/png", Content_Encoding=encoding)
    for source in (f"{server.url}/x.png", job(f"{server.url}/x.png")):
        with pytest.raises(DownloadError, match="Content-Encoding"):
            await session.download(source, tmp_path)
    assert names(tmp_path) == []
    assert {seen.headers["Accept-Encoding"] for seen in server.requests if not is_api(seen)} == {"identity"}


MESSAGES: Final[dict[str, tuple[bytes, str | None, int]]] = {
    "login page": (b"<html>Log in</html>", "text/html; charset=utf-8", 200),
    "page without type": (b"\n<!DOCTYPE HTML><p>Log in", None, 200),
    "page as picture": (b"<!doctype html>", "image/png", 200),
    "XML": (b"<?xml version='1.0'?><Error><Code>Busy</Code></Error>", "application/xml", 200),
    "XML as bytes": (b"<?xml version='1.0'?><Error/>", "application/octet-stream", 200),
    "JSON": (b'{"status": "processing"}', "application/json", 200),
    "text": (b"not ready", "text/plain", 200),
    "text without type": (b"not ready", None, 200),
    "archive": (b"PK\x03\x04" + bytes(100), "application/zip", 200),
    "program": (b"\x7fELF" + bytes(100), "application/octet-stream", 200),
    "202": (b"", None, 202),
    "202 with a body": (PNG, "image/png", 202),
    "204": (b"", None, 204),
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_message_in_place_of_file_is_transient(
    server: PlainServer, session: RivyaSession, tmp_path: Path, name: str
) -> None:
    """D11"""
    body, content_type, status = MESSAGES[name]
    ready_after = 2

    def serve(seen: ReceivedRequest) -> web.Response:
        if len(server.requests) <= ready_after or is_api(seen):
            return answer(body, content_type, status)
        return answer(PNG, "image/png")

    server.answer = serve
    (path,) = await session.download(job(f"{server.url}/x.png"), tmp_path)
    assert path.read_bytes() == PNG
    path.unlink()
    ready_after = 100
    with pytest.raises(DownloadError) as raised:
        await session.download(job(f"{server.url}/x.png"), tmp_path)
    assert raised.value.attempts == RETRY.max_attempts
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "extension"),
    [
        (("image/jpg", b"x"), ".jpg"),
        (("audio/mp3", b"x"), ".mp3"),
        (("image/gif", b"x"), ".gif"),
        (("audio/x-flac", b"x"), ".flac"),
        (("application/octet-stream", FLAC), ".flac"),
        (("image/x-unknown", PNG), ".png"),
        (("text/html", FLAC), ".flac"),
        (("application/octet-stream", b"\x00\x01"), ".bin"),
        (("image/svg+xml", b"<svg/>"), ".bin"),
    ],
)
async def test_extension_is_of_media_table(
    server: PlainServer, session: RivyaSession, tmp_path: Path, content: tuple[str, bytes], extension: str
) -> None:
    """D11, S1"""
    content_type, body = content
    server.answer = lambda _: answer(body, content_type)
    for name in ("x.py", "x.png"):
        (path,) = await session.download(job(f"{server.url}/{name}", task_id=name[2:]), tmp_path)
        is_unknown = body == b"\x00\x01"  # only then the link chooses, and only from the table
        assert path == tmp_path / f"{name[2:]}{'.png' if is_unknown and name == 'x.png' else extension}"


async def test_service_chooses_no_extension(server: PlainServer, session: RivyaSession, tmp_path: Path) -> None:
    """S1"""
    (tmp_path / "app.py").write_bytes(b"mine")
    server.answer = lambda _: answer(b"\x00print()", "application/octet-stream")
    saved = [
        *await session.download(job(f"{server.url}/x.py", task_id="app"), tmp_path),
        *await session.download(job(f"{server.url}/x.py", task_id="app.py"), tmp_path, name="{task_id}"),
        *await session.download(f"{server.url}/other.py", tmp_path),
    ]
    assert [path.name for path in saved] == ["app.bin", "app_py", "other.bin"]
    assert (tmp_path / "app.py").read_bytes() == b"mine"


async def test_endless_body_is_bounded(server: PlainServer, session: RivyaSession, tmp_path: Path) -> None:
    """S7"""
    default = inspect.signature(RivyaSession.download).parameters["max_bytes"].default
    assert default == 2 * 1024**3
    server.answer = lambda _: answer(b"", "image/png", Content_Length=str(default + 1))
    with pytest.raises(DownloadError, match="max_bytes"):
        await session.download(job(f"{server.url}/x.png"), tmp_path)


async def test_tiny_progress_ends(tmp_path: Path) -> None:
    """S7: one byte per attempt does not restart the retry policy."""
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        start = int(head.partition("Range: bytes=")[2].partition("-")[0] or 0)
        status = f"206 P\r\nContent-Range: bytes {start}-99999999/100000000" if start else "200 OK"
        length = 100_000_000 - start
        writer.write(f'HTTP/1.1 {status}\r\nETag: "1"\r\nContent-Length: {length}\r\n\r\nx'.encode())
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener, RivyaSession(KEY, base_url="http://127.0.0.1:9", retry=RETRY) as session:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/x.png"
        with pytest.raises(RivyaError):
            await session.download(url, tmp_path)
    assert requests == RETRY.max_attempts
    assert MIN_PROGRESS_BYTES > 1


async def test_link_is_refreshed_while_there_is_progress(tmp_path: Path) -> None:
    """D12"""
    body, piece = os.urandom(500_000), 100_000
    served: list[tuple[str, int]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        start = int(head.partition("Range: bytes=")[2].partition("-")[0] or 0)
        if path.startswith("/api"):
            number = len({each for each, _ in served}) + 1
            content = repr(generation_body(status="succeeded", result={"primary_url": f"{url}/{number}"}))
            payload, status = content.replace("'", '"').encode(), "200 OK\r\nContent-Type: application/json"
        elif any(each == path for each, _ in served):
            payload, status = b"", "403 Expired"
        else:
            served.append((path, start))
            payload = body[start:]
            status = f"206 P\r\nContent-Range: bytes {start}-{len(body) - 1}/{len(body)}" if start else "200 OK"
            status += '\r\nETag: "1"\r\nContent-Type: image/png'
        writer.write(f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(payload)}\r\n\r\n".encode())
        writer.write(payload[:piece])
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        async with RivyaSession(KEY, base_url=url, retry=RETRY) as session:
            (path,) = await session.download(job(f"{url}/1"), tmp_path)
    assert path.read_bytes() == body
    assert [start for _, start in served] == [0, 100_000, 200_000, 300_000, 400_000]


async def test_expired_links_without_progress_end(server: PlainServer, session: RivyaSession, tmp_path: Path) -> None:
    """D12"""

    def serve(seen: ReceivedRequest) -> web.Response:
        if seen.path.startswith("/api"):
            url = f"{server.url}/{len(server.requests)}"
            return web.json_response(generation_body(status="succeeded", result={"primary_url": url}))
        return answer(b"", status=403)

    server.answer = serve
    with pytest.raises(PermissionDeniedError):
        await session.download(job(f"{server.url}/1"), tmp_path)
    assert len(server.requests) == 3


async def test_long_headers_are_accepted(server: PlainServer, session: RivyaSession, tmp_path: Path) -> None:
    """D13"""
    server.answer = lambda _: answer(PNG, "image/png", Content_Security_Policy="x" * 20_000)
    assert await session.download(job(f"{server.url}/x.png"), tmp_path)
    assert len(server.requests) == 1


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("segment", "stem"),
    [
        ("cafe%CC%81.png", "caf\u00e9"),
        ("%E0%A4%B9%E0%A4%BF%E0%A4%A8%E0%A5%8D%E0%A4%A6%E0%A5%80.png", "\u0939\u093f\u0928\u094d\u0926\u0940"),
        ("%E0%B8%97%E0%B8%B5%E0%B9%88.png", "\u0e17\u0e35\u0e48"),
        ("COM%C2%B9.png", "_COM\u00b9"),
    ],
    ids=ascii,
)
async def test_names_of_every_script(
    server: PlainServer, session: RivyaSession, tmp_path: Path, segment: str, stem: str
) -> None:
    """D14"""
    (path,) = await session.download(f"{server.url}/{segment}", tmp_path)
    assert path.name == f"{stem}.png"


async def test_home_folder_is_expanded(
    server: PlainServer, session: RivyaSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D19"""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert await session.download(job(f"{server.url}/x"), "~/pictures/") == [tmp_path / "pictures" / "task_1.png"]
    assert await session.download(job(f"{server.url}/x"), Path("~/kite.png")) == [tmp_path / "kite.png"]
    with pytest.raises(ConfigurationError, match="unknown user"):
        await session.download(job(f"{server.url}/x"), "~no-such-user/kite.png")
    assert names(tmp_path) == ["kite.png", "pictures"]


@pytest.mark.parametrize("to", ["noext", "kite.png", "kite.dat"])
async def test_path_is_name_of_file(server: PlainServer, session: RivyaSession, tmp_path: Path, to: str) -> None:
    """N21"""
    assert await session.download(job(f"{server.url}/x"), tmp_path / to) == [tmp_path / to]
    assert (tmp_path / to).read_bytes() == PNG


async def test_existing_folder_and_separator_are_folders(
    server: PlainServer, session: RivyaSession, tmp_path: Path
) -> None:
    """N21"""
    (tmp_path / "v1.2").mkdir()
    for to in (tmp_path / "v1.2", f"{tmp_path}/new/", f"{tmp_path}/new.d/"):
        (path,) = await session.download(job(f"{server.url}/x"), to)
        assert path == Path(to) / "task_1.png"


async def test_name_of_another_format_is_an_error(server: PlainServer, session: RivyaSession, tmp_path: Path) -> None:
    """N21"""
    with pytest.raises(DownloadError, match=r"choose 'vid\.png'"):
        await session.download(job(f"{server.url}/x"), tmp_path / "vid.mp4")
    assert names(tmp_path) == []


# --- existing files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "{model}-{task_id}{ext}", "{task_id}-{index}.dat"])
async def test_whole_file_of_task_is_kept(
    server: PlainServer, session: RivyaSession, tmp_path: Path, name: str | None
) -> None:
    """N2, N12"""
    links = [f"{server.url}/1", f"{server.url}/2"][: 2 if name is None else 1]
    first = await session.download(job(*links), tmp_path, name=name)
    count = len(server.requests)
    server.answer = lambda _: answer(b"", status=403)  # the links have expired
    again = await session.download(job(*links), tmp_path, name=name)
    assert again == first
    assert len(server.requests) == count


@pytest.mark.parametrize("target", ["folder of a link", "file", "name"])
async def test_chosen_name_is_not_replaced(
    server: PlainServer, session: RivyaSession, tmp_path: Path, target: str
) -> None:
    """N12"""
    (tmp_path / "kite.png").write_bytes(b"mine")
    source = f"{server.url}/kite.png" if target == "folder of a link" else job(f"{server.url}/x")
    to = tmp_path / "kite.png" if target == "file" else tmp_path
    name = "kite{ext}" if target == "name" else None
    with pytest.raises(ConfigurationError, match="exists"):
        await session.download(source, to, name=name)
    assert len(server.requests) == (target != "file")
    assert await session.download(source, to, name=name, exists="keep") == [tmp_path / "kite.png"]
    assert (tmp_path / "kite.png").read_bytes() == b"mine"
    renamed = [await session.download(source, to, name=name, exists="rename") for _ in range(2)]
    assert renamed == [[tmp_path / "kite (1).png"], [tmp_path / "kite (2).png"]]
    assert (tmp_path / "kite.png").read_bytes() == b"mine"
    assert await session.download(source, to, name=name, exists="overwrite") == [tmp_path / "kite.png"]
    assert (tmp_path / "kite.png").read_bytes() == PNG
    assert len(names(tmp_path)) == 3


async def test_every_chosen_name_is_checked_first(server: PlainServer, session: RivyaSession, tmp_path: Path) -> None:
    """N12"""
    (tmp_path / "kite-2.png").write_bytes(b"mine")
    with pytest.raises(ConfigurationError, match=r"kite-2\.png exists"):
        await session.download(job(f"{server.url}/1", f"{server.url}/2"), tmp_path / "kite.png")
    assert server.requests == []


async def test_empty_file_is_not_kept(server: PlainServer, session: RivyaSession, tmp_path: Path) -> None:
    """N12"""
    (tmp_path / "task_1.png").touch()
    with pytest.raises(ConfigurationError, match="exists"):
        await session.download(job(f"{server.url}/1"), tmp_path)


@pytest.mark.parametrize("exists", ["keep", "rename"])
async def test_concurrent_downloads_of_one_job(
    server: PlainServer, session: RivyaSession, tmp_path: Path, exists: Any
) -> None:
    """N12"""
    ends = await asyncio.gather(*(session.download(job(f"{server.url}/1"), tmp_path, exists=exists) for _ in range(5)))
    assert len({path for (path,) in ends}) == len(names(tmp_path)) == (1 if exists == "keep" else 5)
    assert all(path.read_bytes() == PNG for (path,) in ends)


@pytest.mark.parametrize("odd", ["replace", True, 1, ""])
async def test_unknown_rule_is_refused(session: RivyaSession, tmp_path: Path, odd: Any) -> None:
    """N12"""
    with pytest.raises(ConfigurationError, match="exists must be one of keep, error, overwrite, rename"):
        await session.download(job("http://127.0.0.1:9/x"), tmp_path, exists=odd)


def plant_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def plant_hard_link(path: Path, victim: Path) -> None:
    path.hardlink_to(victim)


def plant_pipe(path: Path, _victim: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [plant_link, plant_hard_link, plant_pipe])
async def test_planted_partial_file_is_not_followed(
    server: PlainServer, session: RivyaSession, tmp_path: Path, plant: Callable[[Path, Path], None]
) -> None:
    """S17"""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    folder = tmp_path / "out"
    folder.mkdir()
    body = PNG * (MIN_RESUMABLE_BYTES // len(PNG) + 2)
    identity = await partial_path_of(session, server, folder, body)
    plant(identity, victim)
    async with asyncio.timeout(10):
        (path,) = await session.download(f"{server.url}/kite.png", folder)
    assert path.read_bytes() == body
    assert victim.read_bytes() == b"mine"


async def partial_path_of(session: RivyaSession, server: PlainServer, folder: Path, body: bytes) -> Path:
    """Returns the path of the partial file that a download of this file uses."""
    found: list[Path] = []
    server.answer = lambda _: answer(body, "image/png", ETag='"1"')

    def look(*_: object) -> None:
        found.extend(folder.glob(".*.part"))
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await session.download(f"{server.url}/kite.png", folder, on_progress=look)
    for path in folder.iterdir():
        path.unlink()
    return found[0]


def test_download_is_a_coroutine_function() -> None:
    """C1"""
    assert inspect.iscoroutinefunction(RivyaSession.download)
