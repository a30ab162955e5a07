"""Headers, proxies, TLS, base URLs and views of a session, against real sockets."""

from __future__ import annotations

import asyncio
import base64
import shutil
import socket
import ssl
import subprocess
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from rivya_async import (
    ConfigurationError,
    RequestNotSentError,
    RetryPolicy,
    RivyaError,
    RivyaSession,
    SessionClosedError,
    Timeouts,
)
from rivya_async.sandbox import Sandbox
from rivya_async.testing import FakeTransport
from tests.cli.cli_kit import run_against
from tests.session.session_kit import (
    FAST,
    QUICK_POLL,
    QUICK_RETRY,
    PlainServer,
    ReceivedRequest,
    RecordingHooks,
    generation_body,
    open_session,
    plain_server,
    raw_server,
    wait_until,
)

KEY = "rvya_sk_" + "0" * 32
ONCE = RetryPolicy(max_attempts=1)


def credits_answer(request: ReceivedRequest) -> web.Response:
    return web.json_response({"openapi": "3.1.0", "paths": {}} if "openapi" in request.path else {"current_credits": 5})


@asynccontextmanager
async def service() -> AsyncIterator[PlainServer]:
    async with plain_server(credits_answer) as server:
        yield server


# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", ["fast", "generic", "http"])
async def test_headers_and_user_agent_are_sent(own: str) -> None:
    async with service() as server, aiohttp.ClientSession(headers={"X-Team": "http"}) as http:
        options: dict[str, Any] = {"http": http} if own == "http" else {}
        async with RivyaSession(
            KEY, base_url=server.url, headers={"x-team": "pictures"}, user_agent="shop/2.0", **options
        ) as session:
            await (session.openapi if own == "generic" else session.credits).retrieve()
    headers = server.requests[0].headers
    assert headers.getall("X-Team") == ["pictures"]  # type: ignore[attr-defined]
    assert headers.getall("User-Agent") == ["shop/2.0"]  # type: ignore[attr-defined]
    assert headers.get("Authorization") == (None if own == "generic" else f"Bearer {KEY}")


@pytest.mark.parametrize(
    ("headers", "match"),
    [
        ({"Authorization": "Bearer secret"}, "Authorization: pass api_key"),
        ({"authorization": "Bearer secret"}, "authorization: pass api_key"),
        ({"IDEMPOTENCY-KEY": "secret"}, "pass idempotency_key"),
        ({"Content-Length": "5"}, "the session sets it"),
        ({"Host": "secret"}, "the session sets it"),
        ({"Proxy-Authorization": "secret"}, "URL of the proxy"),
        ({"X-A": "secret\r\nX-B: 1"}, "X-A must be a string of printable"),
        ({"X-A": "sécret"}, "X-A must be"),
        ({"X-A": 5}, "X-A must be"),
        ({"X-A": None}, "X-A must be"),
        ({"X A": "secret"}, "not a valid header name"),
        ({"": "secret"}, "not a valid header name"),
        ({5: "secret"}, "not a valid header name"),
        ({"X-A": "1", "x-a": "secret"}, "twice"),
        ([("X-A", "secret")], "must be a mapping"),
    ],
)
def test_rejects_headers(headers: Any, match: str) -> None:
    makers: list[Callable[[], object]] = [
        lambda: RivyaSession(KEY, headers=headers),
        lambda: RivyaSession(KEY).with_options(headers=headers),
    ]
    for make in makers:
        with pytest.raises(ConfigurationError, match=match) as caught:
            make()
        assert "secret" not in str(caught.value)


def test_rejects_user_agent_twice() -> None:
    with pytest.raises(ConfigurationError, match="User-Agent"):
        RivyaSession(KEY, headers={"user-agent": "a"}, user_agent="b")


async def test_user_agent_of_the_http_session_is_kept() -> None:
    """N8"""
    async with service() as server, aiohttp.ClientSession(headers={"User-Agent": "mine/1"}) as http:
        async with RivyaSession(KEY, base_url=server.url, http=http) as session:
            await session.credits.retrieve()
        async with RivyaSession(KEY, base_url=server.url, http=http, user_agent="other/1") as session:
            await session.credits.retrieve()
    assert [request.headers["User-Agent"] for request in server.requests] == ["mine/1", "other/1"]


async def test_transport_of_the_caller_receives_headers() -> None:
    transport = FakeTransport(lambda _: {"current_credits": 1})
    async with transport.session(headers={"X-Team": "a"}, user_agent="mine") as session:
        await session.credits.retrieve()
        await session.with_options(headers={"x-team": "b"}).credits.retrieve()
    sent = [{name.lower(): value for name, value in request.headers.items()} for request in transport.requests]
    assert [each["x-team"] for each in sent] == ["a", "b"]
    assert {each["user-agent"] for each in sent} == {"mine"}


# --- views ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", ["fast", "http"])
async def test_view_adds_headers(own: str) -> None:
    async with service() as server, aiohttp.ClientSession() as http:
        options: dict[str, Any] = {"http": http} if own == "http" else {}
        async with RivyaSession(KEY, base_url=server.url, headers={"X-A": "1", "X-B": "1"}, **options) as session:
            view = session.with_options(headers={"x-b": "2", "X-C": "2"})
            await view.with_options(headers={"X-C": "3"}).credits.retrieve()
            await view.credits.retrieve()
            await session.credits.retrieve()
    sent = [{name: request.headers.get(name) for name in ("X-A", "X-B", "X-C")} for request in server.requests]
    assert sent == [
        {"X-A": "1", "X-B": "2", "X-C": "3"},
        {"X-A": "1", "X-B": "2", "X-C": "2"},
        {"X-A": "1", "X-B": "1", "X-C": None},
    ]
    assert all(request.headers["Authorization"] == f"Bearer {KEY}" for request in server.requests)


@pytest.mark.parametrize("own", ["fast", "http"])
async def test_view_has_its_own_timeouts_and_retries(own: str) -> None:
    async def stalls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    hooks = RecordingHooks()
    async with raw_server(stalls) as url, aiohttp.ClientSession() as http:
        options: dict[str, Any] = {"http": http} if own == "http" else {}
        async with RivyaSession(KEY, base_url=url, retry=ONCE, hooks=[hooks], **options) as session:
            view = session.with_options(
                timeouts=Timeouts(read=0.1), retry=RetryPolicy(max_attempts=3, base=0.01, cap=0.01)
            )
            async with asyncio.timeout(20):
                with pytest.raises(RivyaError):
                    await view.credits.retrieve()
    assert len(hooks.attempts) == 3


async def test_view_shares_waits_spending_and_catalogue() -> None:
    async with Sandbox(speed=FAST) as sandbox, open_session(sandbox, max_spend=100_000) as session:
        view = session.with_options(poll=QUICK_POLL, retry=QUICK_RETRY)
        job = await view.submit("z-image", "A red kite")
        assert await session.wait_for(job) == await view.wait_for(job.id)
        assert session.spend is view.spend
        assert session.spend.total > 0
        await session.models.list()
        await view.models.list()
        assert view.base_url == session.base_url
        assert view.durations is session.durations
    assert sandbox.request_log.count("GET /api/v1/models") == 1


async def test_closed_view_leaves_its_session_open() -> None:
    async with service() as server, RivyaSession(KEY, base_url=server.url) as session:
        async with session.with_options(retry=ONCE) as view:
            await view.credits.retrieve()
        with pytest.raises(SessionClosedError):
            await view.credits.retrieve()
        assert "closed" in repr(view)
        assert "open" in repr(session)
        await session.credits.retrieve()
        other = session.with_options()
    with pytest.raises(SessionClosedError):
        await other.credits.retrieve()
    with pytest.raises(SessionClosedError):
        await other.start()
    assert "closed" in repr(other)


async def test_closing_ends_back_off_of_a_view() -> None:
    async with plain_server(lambda _: web.Response(status=503)) as server:
        hooks = RecordingHooks()
        session = RivyaSession(KEY, base_url=server.url, hooks=[hooks])
        view = session.with_options(retry=RetryPolicy(base=1000, cap=1000, max_elapsed=10_000))
        call = asyncio.create_task(view.credits.retrieve())
        async with asyncio.timeout(10):
            await wait_until(lambda: bool(hooks.retries))
            await session.aclose()
            with pytest.raises(RivyaError):
                await call


def test_view_rejects_wrong_options() -> None:
    session = RivyaSession(KEY)
    wrong: list[dict[str, Any]] = [{"timeouts": 5}, {"retry": 3}, {"poll": "fast"}]
    for options in wrong:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            session.with_options(**options)


# --- proxies and TLS --------------------------------------------------------------------------------------------------


class Proxy:
    """A proxy that answers CONNECT by a tunnel, and forwards plain requests."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.url = ""
        self.refusal: bytes | None = None

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        if self.refusal is not None:
            writer.write(self.refusal)
            return
        method, target, _ = head.split(" ", 2)
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
        else:
            host, _, port = target.split("/")[2].partition(":")
        there, back = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            back.write(head.encode())
        await asyncio.gather(pump(reader, back), pump(there, writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
    except ConnectionError:
        pass
    writer.close()


@asynccontextmanager
async def running_proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    async with raw_server(proxy.talk) as url:
        proxy.url = url
        yield proxy


@pytest.fixture
def no_proxy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("source", ["argument", "environment"])
async def test_requests_go_through_the_proxy(
    source: str, no_proxy_variables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C16"""
    async with service() as server, running_proxy() as proxy:
        url = proxy.url.replace("//", "//me:secret@")
        if source == "environment":
            monkeypatch.setenv("HTTP_PROXY", url)
            options: dict[str, Any] = {"trust_env": True}
        else:
            options = {"proxy": url}
        for resource in ("credits", "openapi"):
            async with RivyaSession(KEY, base_url=server.url, **options) as session:
                await getattr(session, resource).retrieve()
    assert len(server.requests) == 2
    assert len(proxy.heads) == 2
    for head in proxy.heads:
        assert head.startswith(f"GET {server.url}/api/v1/")
        assert base64.b64encode(b"me:secret").decode() in head


async def test_command_goes_through_the_proxy() -> None:
    """B9"""
    async with Sandbox() as sandbox, running_proxy() as proxy:
        result = await run_against("credits", "--json", "--proxy", proxy.url, sandbox=sandbox)
    assert result.code == 0
    assert [head.partition("/api")[0] for head in proxy.heads] == [f"GET {sandbox.base_url}"]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to create a certificate")
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@asynccontextmanager
async def tls_service(certificate: Path) -> AsyncIterator[PlainServer]:
    server = PlainServer(credits_answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    runner = web.ServerRunner(web.Server(server.serve, access_log=None), shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        server.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("own", ["fast", "http"])
async def test_tunnel_hides_key_and_headers_from_the_proxy(certificate: Path, own: str) -> None:
    context = ssl.create_default_context(cafile=certificate)
    async with tls_service(certificate) as server, running_proxy() as proxy:
        url = proxy.url.replace("//", "//me:secret@")
        connector = aiohttp.TCPConnector(ssl=context)
        async with aiohttp.ClientSession(connector=connector, proxy=url) as http:
            options: dict[str, Any] = {"http": http} if own == "http" else {"proxy": url, "ssl": context}
            async with RivyaSession(KEY, base_url=server.url, headers={"X-Ticket": "ticket-1"}, **options) as session:
                await session.credits.retrieve()
                await session.with_options(headers={"X-View": "view-1"}).credits.retrieve()
                await session.openapi.retrieve()
    assert all(head.startswith(f"CONNECT {server.url.removeprefix('https://')} ") for head in proxy.heads)
    assert not [head for head in proxy.heads for secret in (KEY, "ticket-1", "view-1") if secret in head]
    assert base64.b64encode(b"me:secret").decode() in proxy.heads[0]
    assert [request.headers.get("X-Ticket") for request in server.requests] == ["ticket-1"] * 3
    assert [request.headers.get("Authorization") for request in server.requests] == [f"Bearer {KEY}"] * 2 + [None]
    assert [request.headers.get("Host") for request in server.requests] == [server.url.removeprefix("https://")] * 3


async def test_ssl_argument_decides_which_certificates_are_accepted(certificate: Path) -> None:
    async with tls_service(certificate) as server:
        for accepted in (False, ssl.create_default_context(cafile=certificate)):
            async with RivyaSession(KEY, base_url=server.url, ssl=accepted, retry=ONCE) as session:
                assert (await session.credits.retrieve()).current_credits == 5
        for refused in (None, True):
            async with RivyaSession(KEY, base_url=server.url, ssl=refused, retry=ONCE) as session:
                with pytest.raises(RequestNotSentError):
                    await session.credits.retrieve()


async def test_environment_is_ignored_by_default(no_proxy_variables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with service() as server, RivyaSession(KEY, base_url=server.url) as session:
        assert (await session.credits.retrieve()).current_credits == 5


async def test_no_proxy_is_honoured(no_proxy_variables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with service() as server, RivyaSession(KEY, base_url=server.url, trust_env=True) as session:
        assert (await session.credits.retrieve()).current_credits == 5


@pytest.mark.parametrize(
    "refusal",
    [
        "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 502 Bad Gateway\r\n\r\nno such host",
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/1.1 200",
        "",
    ],
)
async def test_refused_connect_is_not_sent(refusal: str) -> None:
    """C11"""
    hooks = RecordingHooks()
    async with running_proxy() as proxy:
        proxy.refusal = refusal.encode()
        async with RivyaSession(
            KEY, base_url="https://service.invalid", proxy=proxy.url, retry=ONCE, hooks=[hooks]
        ) as session:
            with pytest.raises(RequestNotSentError):
                await session.submit("z-image", "A red kite")
    assert proxy.heads[0].startswith("CONNECT service.invalid:443 ")
    assert KEY not in proxy.heads[0]


@pytest.mark.parametrize(
    "proxy",
    ["proxy.example:3128", "socks5://me:secret@proxy.example", "http://", "http://a b", "http://p:secret", 5, b"http"],
)
def test_rejects_proxies_without_showing_them(proxy: Any) -> None:
    with pytest.raises(ConfigurationError, match="proxy must be") as caught:
        RivyaSession(KEY, proxy=proxy)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["default", "host"])
@pytest.mark.parametrize("own", ["fast", "http"])
async def test_netrc_is_not_used(
    name: str, own: str, no_proxy_variables: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C16"""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"{'default' if name == 'default' else 'machine 127.0.0.1'} login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with service() as server, aiohttp.ClientSession(trust_env=True) as http:
        options: dict[str, Any] = {"http": http} if own == "http" else {"trust_env": True}
        async with RivyaSession(KEY, base_url=server.url, **options) as session:
            await session.credits.retrieve()
            await session.openapi.retrieve()
    assert [request.headers.get("Authorization") for request in server.requests] == [f"Bearer {KEY}", None]


@pytest.mark.parametrize("name", ["proxy", "trust_env", "ssl"])
@pytest.mark.parametrize("other", ["http", "transport"])
async def test_connection_arguments_exclude_each_other(name: str, other: str) -> None:
    value = {"proxy": "http://proxy.example", "trust_env": True, "ssl": False}[name]
    async with aiohttp.ClientSession() as http:
        with pytest.raises(ConfigurationError, match=f"{other} and {name}"):
            RivyaSession(
                KEY,
                **{name: value, other: http if other == "http" else FakeTransport(lambda _: {})},  # type: ignore[arg-type]
            )


def test_rejects_ssl_of_another_type() -> None:
    with pytest.raises(ConfigurationError, match="cafile"):
        RivyaSession(KEY, ssl="/etc/ssl/ca.pem")  # type: ignore[arg-type]


# --- middlewares and nested calls -------------------------------------------------------------------------------------


async def test_middlewares_of_the_http_session_run_once_per_attempt() -> None:
    """C4"""
    seen: list[tuple[str | None, str | None]] = []

    async def sign(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        seen.append((request.headers.get("Authorization"), request.headers.get("Idempotency-Key")))
        request.headers["X-Signature"] = f"signature {len(seen)}"
        return await send(request)

    answers = iter([web.Response(status=503), web.json_response(generation_body())])
    async with (
        plain_server(lambda _: next(answers)) as server,
        aiohttp.ClientSession(middlewares=[sign]) as http,
        RivyaSession(KEY, base_url=server.url, http=http, retry=QUICK_RETRY) as session,
    ):
        await session.submit("z-image", "A red kite", idempotency_key="order-1")
    assert seen == [(f"Bearer {KEY}", "order-1")] * 2
    assert [request.headers["X-Signature"] for request in server.requests] == ["signature 1", "signature 2"]


async def test_lost_connection_is_one_attempt_with_middlewares() -> None:
    """C4"""
    calls = 0

    async def count(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        nonlocal calls
        calls += 1
        return await send(request)

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    hooks = RecordingHooks()
    async with (
        raw_server(drop) as url,
        aiohttp.ClientSession(middlewares=[count]) as http,
        RivyaSession(KEY, base_url=url, http=http, retry=QUICK_RETRY, hooks=[hooks]) as session,
    ):
        with pytest.raises(RivyaError):
            await session.credits.retrieve()
    assert calls == len(hooks.attempts) == QUICK_RETRY.max_attempts


@pytest.mark.parametrize("place", ["middleware", "trace"])
async def test_call_within_a_call_succeeds(place: str) -> None:
    """C12"""
    nested: list[int] = []

    async def ask() -> None:
        if not nested:
            nested.append(0)
            nested.append(int((await session.credits.retrieve()).current_credits))

    async def middleware(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        await ask()
        return await send(request)

    async def on_request_start(*_: object) -> None:
        await ask()

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(on_request_start)
    options: dict[str, Any] = {"middlewares": [middleware]} if place == "middleware" else {"trace_configs": [trace]}

    def answer(request: ReceivedRequest) -> web.Response:
        return credits_answer(request) if "credits" in request.path else web.json_response(generation_body())

    async with (
        plain_server(answer) as server,
        aiohttp.ClientSession(**options) as http,
        RivyaSession(KEY, base_url=server.url, http=http) as session,
    ):
        assert (await session.submit("z-image", "A red kite")).id == "task_1"
    assert nested == [0, 5]


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://bücher.example/tür", "https://xn--bcher-kva.example/t%C3%BCr"),
        ("https://BÜCHER.example:8443", "https://xn--bcher-kva.example:8443"),
        ("https://straße.example", "https://xn--strae-oqa.example"),
        ("https://rivya.ai/t%C3%BCr/é", "https://rivya.ai/t%C3%BCr/%C3%A9"),
        ("http://[::1]:8000/tür", "http://[::1]:8000/t%C3%BCr"),
    ],
)
def test_base_url_is_sent_in_ascii(url: str, shown: str) -> None:
    """C13"""
    assert RivyaSession(KEY, base_url=url).base_url == shown


async def test_non_ascii_path_is_percent_encoded() -> None:
    """C13"""
    async with service() as server, RivyaSession(KEY, base_url=f"{server.url}/tür") as session:
        await session.credits.retrieve()
    assert server.requests[0].path == "/t%C3%BCr/api/v1/credits"


def test_rejects_invalid_host_names() -> None:
    """C13"""
    with pytest.raises(ConfigurationError, match="host name"):
        RivyaSession(KEY, base_url="https://ü..example")


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses of `moving.example`: each resolution takes the first, and removes it unless it is the last."""
    found: list[str] = []
    resolve: Callable[..., Any] = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "moving.example":
            host = found.pop(0) if len(found) > 1 else found[0]
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return found


@pytest.mark.parametrize("own", ["fast", "http"])
async def test_retry_resolves_the_name_again(addresses: list[str], own: str) -> None:
    """C14"""
    async with service() as server, aiohttp.ClientSession() as http:
        addresses += ["127.0.0.2", "127.0.0.1"]
        options: dict[str, Any] = {"http": http} if own == "http" else {}
        url = server.url.replace("127.0.0.1", "moving.example")
        async with RivyaSession(KEY, base_url=url, retry=QUICK_RETRY, allow_plain_http=True, **options) as session:
            assert (await session.credits.retrieve()).current_credits == 5
    assert addresses == ["127.0.0.1"]


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["http://rivya.ai", "http://8.8.8.8", "http://api:8000", "HTTP://rivya.ai", "http://bücher.example"]
)
def test_plain_http_needs_permission(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """S15"""
    with pytest.raises(ConfigurationError, match="allow_plain_http"):
        RivyaSession(KEY, base_url=url)
    monkeypatch.setenv("RIVYA_BASE_URL", url)
    with pytest.raises(ConfigurationError, match="allow_plain_http"):
        RivyaSession(KEY)
    RivyaSession(KEY, allow_plain_http=True)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "api.localhost",
        "127.0.0.1:80",
        "127.9.9.9",
        "[::1]:8000",
        "10.0.0.5",
        "192.168.1.2:1",
        "172.16.0.1",
        "[fd00::1]",
        "169.254.1.1",
        "[::ffff:127.0.0.1]",
    ],
)
def test_plain_http_to_local_hosts_is_allowed(host: str) -> None:
    """S15"""
    RivyaSession(KEY, base_url=f"http://{host}")


MISTAKES: list[dict[str, Any]] = [
    {"api_key": "rvya_sk_SECRET\n1"},
    {"api_key": b"rvya_sk_SECRET"},
    {"base_url": "https://me:SECRET@rivya.ai"},
    {"base_url": "rvya_sk_SECRET"},
    {"base_url": "http://SECRET.example"},
    {"proxy": "socks5://me:SECRET@proxy.example"},
    {"headers": {"X-Ticket": "SECRET\n"}},
    {"headers": {"Authorization": "SECRET"}},
    {"max_connections": 0},
    {"timeouts": 5},
    {"retry": 5},
    {"poll": 5},
    {"rate_limit": 5},
    {"hooks": [5]},
    {"ssl": "a"},
    {"max_spend": -1},
    {"prices": {"a": -1}},
    {"http": 1, "transport": 2},
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mistake", [*MISTAKES, {"api_key": "SECRET"}], ids=str)
def test_local_variables_of_a_traceback_hold_no_secret(
    mistake: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S14"""
    monkeypatch.setenv("DATABASE_PASSWORD", "SECRET")
    if mistake.get("api_key") == "SECRET":
        monkeypatch.setenv("RIVYA_BASE_URL", "https://rivya.ai")
    options = {"api_key": "rvya_sk_SECRET", **mistake}
    try:
        RivyaSession(**options)
    except (RivyaError, UserWarning) as error:
        failure = error
    else:
        pytest.fail("the mistake was accepted")
    options.clear()
    frames = traceback.TracebackException.from_exception(failure, capture_locals=True)
    shown = "".join(f"{frame.name} {frame.locals}" for frame in frames.stack if "rivya_async" in frame.filename)
    assert "__init__" in shown
    assert "SECRET" not in shown
    assert "DATABASE_PASSWORD" not in shown


def test_local_variables_of_a_view_hold_no_secret() -> None:
    """S14"""
    with pytest.raises(ConfigurationError) as caught:
        RivyaSession(KEY).with_options(headers={"X": "SECRET\n"})
    trace = caught.value.__traceback__
    frames = traceback.TracebackException(ConfigurationError, caught.value, trace, capture_locals=True)
    shown = "".join(f"{frame.locals}" for frame in frames.stack if "rivya_async" in frame.filename)
    assert "SECRET" not in shown
    assert KEY not in shown
