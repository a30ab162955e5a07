"""Further members of the classes of cases: learned values, answers of others, transfers, secrets and messages."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import os
import pickle
import traceback
from collections.abc import Awaitable, Callable, Iterator
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs
import pytest
from aiohttp import web

import rivya_async
from rivya_async import (
    DownloadError,
    Generation,
    GenerationResult,
    OutcomeUnknownError,
    PollPolicy,
    RetryPolicy,
    RivyaError,
    RivyaSession,
)
from rivya_async._core.masking import MAX_MESSAGE_LENGTH
from rivya_async._engine.environment import Environment
from tests.session.session_kit import QUICK_POLL, PlainServer, ReceivedRequest, plain_server

KEY: Final = "rvya_sk_0123456789abcdef0123456789abcdef"
RETRY: Final = RetryPolicy(max_attempts=3, base=0.001, cap=0.01)
PNG: Final = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


def session_of(server: PlainServer, **options: Any) -> RivyaSession:
    return RivyaSession(KEY, **{"base_url": server.url, "retry": RETRY, "poll": QUICK_POLL, **options})


def as_json(value: Any, status: int = 200, **headers: str) -> web.Response:
    heads = {name.replace("_", "-"): text for name, text in headers.items()}
    return web.json_response(value, status=status, headers=heads)


def raw(body: bytes, content_type: str = "application/json", status: int = 200, **headers: str) -> web.Response:
    heads = {name.replace("_", "-"): text for name, text in headers.items()}
    return web.Response(body=body, status=status, headers={"Content-Type": content_type, **heads})


def done(task_id: str = "task_1", **members: Any) -> dict[str, Any]:
    return {
        "id": task_id,
        "status": "succeeded",
        "model": "z-image",
        "result": {"primary_url": "https://c.example/x"},
    } | members


# --- (1) learned values have a bound ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"},
        {"Retry-After": "Mon, 30 Nov 2026 12:00:00 GMT", "Date": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"Retry-After": "Mon, 30 Nov 2026 12:00:00 GMT", "Date": "not a date"},
        {"Retry-After": "9" * 400},
        {"Retry-After": "1e308"},
        {"RateLimit-Reset": "99999999999", "X-RateLimit-Remaining": "-1"},
    ],
)
@pytest.mark.parametrize("refused", ["purchase", "poll"])
async def test_no_header_delays_a_session_beyond_the_cap(headers: dict[str, str], refused: str) -> None:
    count = 0

    def answer(seen: ReceivedRequest) -> web.Response:
        nonlocal count
        if (seen.method == "POST") is (refused == "purchase"):
            count += 1
            if count == 1:
                return web.json_response({"error": {"code": "rate_limited"}}, status=429, headers=headers)
        return as_json(done(status="queued" if seen.method == "POST" else "succeeded"))

    async with plain_server(answer) as server, session_of(server) as session, asyncio.timeout(30):
        for number in range(3):
            assert (await session.generate("z-image", f"Kite {number}")).succeeded


@pytest.mark.parametrize(
    ("created", "updated"),
    [
        ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
        ("2026-11-30T12:00:00Z", "2026-11-30T11:00:00Z"),
        (-1e300, 1e300),
        ("2026-11-30T12:00:00Z", 99999999999999),
        (0, 4102444800),
    ],
)
async def test_times_of_the_service_delay_no_poll(created: Any, updated: Any) -> None:
    """A job whose times are wrong ends, and so do twenty jobs after it, as fast as before."""

    def answer(seen: ReceivedRequest) -> web.Response:
        task_id = f"task_{len(server.requests)}" if seen.method == "POST" else seen.path.rpartition("/")[2]
        return as_json(
            done(
                task_id,
                status="queued" if seen.method == "POST" else "succeeded",
                created_at=created,
                updated_at=updated,
            )
        )

    poll = PollPolicy(first=0.01, base=0.02, cap=0.05, floor=0.005)
    async with plain_server(answer) as server, session_of(server, poll=poll) as session, asyncio.timeout(30):
        for number in range(20):
            assert (await session.generate("z-image", f"Kite {number}")).succeeded


async def test_jumps_of_the_wall_clock_change_no_wait() -> None:
    times: Iterator[float] = iter([1e9, -1e9, 4e9, 0.0, 1e18, 2e9] * 1000)
    polls = 0

    def answer(seen: ReceivedRequest) -> web.Response:
        nonlocal polls
        polls += seen.method == "GET"
        return as_json(done(status="succeeded" if polls > 5 else "queued"))

    async with plain_server(answer) as server, asyncio.timeout(30):
        session = session_of(server)
        session._environment = Environment(wall_time=lambda: next(times))
        async with session:
            assert (await session.generate("z-image", "A kite", timeout=20)).succeeded
            assert session.open_jobs == ()


# --- (2) answers of the API, or of something else ---------------------------------------------------------------------

ODD_ANSWERS: Final[dict[str, Callable[[], web.Response]]] = {
    "page with a 2xx": lambda: raw(b"<html>Sign in", "text/html", 203),
    "204": lambda: web.Response(status=204),
    "205": lambda: web.Response(status=205),
    "UTF-16": lambda: raw('{"id": "task_1"'.encode("utf-16")),
    "latin-1": lambda: raw('{"id": "tâsk"'.encode("latin-1"), "application/json; charset=latin-1"),
    "only a BOM": lambda: raw(b"\xef\xbb\xbf"),
    "two BOMs": lambda: raw(b"\xef\xbb\xbf\xef\xbb\xbf{}"),
    "number": lambda: raw(b"7"),
    "null": lambda: raw(b"null"),
    "nested arrays": lambda: raw(b"[" * 200_000),
    "two values": lambda: raw(b'{"id": "task_1", "status": "queued"} {"id": "task_2"}'),
    "JSON lines": lambda: raw(b'{"id": 1}\n{"id": 2}\n'),
    "null bytes": lambda: raw(b"\0" * 5000),
    "redirect without a target": lambda: web.Response(status=308),
    "redirect to itself": lambda: web.Response(status=307, headers={"Location": ""}),
    "redirect to a file": lambda: web.Response(status=303, headers={"Location": "file:///etc/passwd"}),
    "300": lambda: web.Response(status=300, text="choose"),
    "error without members": lambda: as_json({"error": {}}, 400),
    "error that is a list": lambda: as_json({"error": [{"code": "x"}]}, 403),
    "error of an empty text": lambda: as_json({"error": ""}, 401),
    "unassigned status": lambda: raw(b"?", "text/plain", 599),
    "compressed twice": lambda: raw(gzip.compress(gzip.compress(b"{}")), Content_Encoding="gzip"),
    "bomb": lambda: raw(gzip.compress(b" " * 80_000_000), Content_Encoding="gzip"),
}


async def read_stream(session: RivyaSession) -> None:
    async with session.chat.completions.stream("gpt-5", "Hi") as stream:
        async for _ in stream:
            pass


CALLS: Final[dict[str, Callable[[RivyaSession], Awaitable[Any]]]] = {
    "purchase": lambda session: session.submit("z-image", "A kite", idempotency_key="order-1"),
    "retrieve": lambda session: session.generations.retrieve("task_1"),
    "poll": lambda session: session.wait_for("task_1", timeout=0.3),
    "upload": lambda session: session.files.upload(PNG),
    "chat": lambda session: session.chat.completions.create("gpt-5", "Hi", idempotency_key="order-1"),
    "stream": read_stream,
    "webhooks": lambda session: session.webhooks.list(),
    "new webhook": lambda session: session.webhooks.create("n", "https://h.example/", ["generation.completed"]),
    "models": lambda session: session.models.list(),
    "credits": lambda session: session.credits.retrieve(),
}


@pytest.mark.parametrize("call", CALLS)
async def test_odd_answer_is_an_error_of_this_library(call: str) -> None:
    """Every answer to every call: an error with a short message without the key, and one key for all purchases."""
    async with plain_server() as server, session_of(server) as session, asyncio.timeout(120):
        for name, respond in ODD_ANSWERS.items():
            server.answer = lambda _, respond=respond: respond()  # type: ignore[misc]
            server.requests.clear()
            with pytest.raises(RivyaError) as caught:
                await CALLS[call](session)
            assert len(str(caught.value)) <= MAX_MESSAGE_LENGTH, name
            assert KEY not in "".join(traceback.format_exception(caught.value)), name
            keys = {seen.headers.get("Idempotency-Key") for seen in server.requests}
            if call == "purchase":
                assert keys == {"order-1"}, name
                if not name.startswith("error ") and name != "unassigned status":
                    assert isinstance(caught.value, OutcomeUnknownError), name
                    assert caught.value.idempotency_key == "order-1", name
            if call == "poll":
                assert caught.value.task_id == "task_1", name


@pytest.mark.parametrize("name", [name for name in ODD_ANSWERS if not name.startswith("error ")])
async def test_odd_answer_to_a_poll_does_not_end_a_wait(name: str) -> None:
    def answer(_: ReceivedRequest) -> web.Response:
        return (
            as_json(done(status="queued"))
            if len(server.requests) == 1
            else (ODD_ANSWERS[name]() if len(server.requests) < 4 else as_json(done()))
        )

    async with plain_server(answer) as server, session_of(server) as session, asyncio.timeout(60):
        assert (await session.generate("z-image", "A kite")).succeeded


# --- (3) bytes are kept, transfers have bounds ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes */3000000",
        "bytes 2000000-1/3000000",
        "bytes 2000000-2999999/*",
        "bytes 1999999-2999999/3000000",
        "bytes -5-2999999/3000000",
        "items 2000000-2999999/3000000",
        f"bytes 2000000-2999999/{'9' * 5000}",
        "bytes 2000000-2999999/2999999",
        "",
    ],
)
@pytest.mark.parametrize("etag", ['"v1"', 'W/"v1"'])
async def test_odd_parts_are_never_joined(content_range: str, etag: str, tmp_path: Path) -> None:
    """The first response breaks off. Its remainder is wrong in every way; a whole file follows."""
    old, new = os.urandom(3_000_000), os.urandom(3_000_000)
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        lines, body, length = ["200 OK"], new, len(new)
        if len(heads) == 1:
            body, length = old[:2_000_000], len(old)
        elif "\r\nRange: " in head:
            lines = ["206 Partial Content", *([f"Content-Range: {content_range}"] if content_range else [])]
            body, length = new[2_000_000:], 1_000_000
        lines += [f"ETag: {etag}", f"Date: {formatdate(usegmt=True)}", f"Content-Length: {length}", "", ""]
        writer.write("\r\n".join(["HTTP/1.1 " + lines[0], *lines[1:]]).encode() + body)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener, RivyaSession(KEY, base_url="http://127.0.0.1:9", retry=RETRY) as session:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/k.png"
        (path,) = await session.download(url, tmp_path / "k.png")
    is_joined = etag == '"v1"' and content_range == "bytes 2000000-2999999/*"
    assert path.read_bytes() == (old[:2_000_000] + new[2_000_000:] if is_joined else new)


PRIVATE_HOSTS: Final = (
    *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]", "[fe80::1]"),
    *("0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "0", "0.0.0.0", "127.0.0.1.", "LOCALHOST."),
    *(
        "169.254.169.254",
        "100.64.0.1",
        "[fd00:ec2::254]",
        "[::]",
        "\u2460\u2461\u2466.0.0.1",
        "127\u30020\u30020\u30021",
    ),
)


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
async def test_no_spelling_of_a_private_address_is_fetched(host: str, tmp_path: Path) -> None:
    async with plain_server(lambda _: raw(PNG, "image/png")) as server:
        port = server.url.rpartition(":")[2]
        session = RivyaSession(KEY, base_url="https://api.example", retry=RetryPolicy(max_attempts=1))
        async with session, asyncio.timeout(30):
            url = f"https://{host}:{port}/kite.png"
            job = Generation("task_1", "succeeded", "m", result=GenerationResult(url, urls=(url,)))
            with pytest.raises(DownloadError):
                await session.download(job, tmp_path)
        assert server.requests == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "task_id",
    [
        "../../etc/x",
        "..",
        "a/b",
        "a\\b",
        "C:\\x",
        "CON",
        "nul.txt",
        "a\0b",
        "a\u202egnp.exe",
        "-rf",
        "x" * 5000,
        "\n",
        "~",
        " . ",
        "a:b",
    ],
)
async def test_task_id_chooses_no_place(task_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "inner" / "files"
    folder.mkdir(parents=True)
    async with plain_server(lambda _: raw(PNG, "image/png")) as server, session_of(server) as session:
        url = f"{server.url}/x.png"
        job = Generation(task_id, "succeeded", "m", result=GenerationResult(url, urls=(url,)))
        (path,) = await session.download(job, folder)
    assert path.read_bytes() == PNG
    assert (path.parent, path.suffix) == (folder, ".png")
    assert path.name.isprintable()
    assert [each.name for each in tmp_path.iterdir()] == ["inner"]


async def test_redirects_of_a_file_end(tmp_path: Path) -> None:
    async with plain_server() as server, session_of(server) as session, asyncio.timeout(30):
        for target in (
            "/again",
            "",
            "//",
            "http://",
            "ftp://h.example/x",
            "data:image/png;base64,AAAA",
            "/" + "x" * 50_000,
        ):
            server.answer = lambda _, target=target: web.Response(status=302, headers={"Location": target})  # type: ignore[misc]
            with pytest.raises(RivyaError) as caught:
                await session.download(f"{server.url}/x.png", tmp_path / "x.png")
            assert len(str(caught.value)) <= MAX_MESSAGE_LENGTH
    assert list(tmp_path.iterdir()) == []


# --- (6) secrets and messages -----------------------------------------------------------------------------------------

PASSWORD: Final = "p4ssw0rd-of-a-proxy"


async def test_no_secret_in_chains_frames_pickles_and_logs(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """The key, a default header of `http=` and the password of a proxy, in all that an application may store."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    def answer(seen: ReceivedRequest) -> web.Response:
        if seen.path.startswith("/redirect"):
            return web.Response(status=302, headers={"Location": f"https://u:{PASSWORD}@h.example/?sig={PASSWORD}"})
        return as_json({"error": {"code": "internal_error", "message": f"{KEY} {PASSWORD}@h"}}, 500)

    async with plain_server(answer) as server, aiohttp.ClientSession(headers={"X-Token": PASSWORD}) as http:
        sessions = [
            session_of(server, http=http),
            session_of(server, headers={"X-Token": PASSWORD}),
            session_of(server, proxy=f"http://user:{PASSWORD}@127.0.0.1:9"),
        ]
        for session in sessions:
            calls: list[Callable[[], Awaitable[Any]]] = [
                partial(session.submit, "z-image", "A kite"),
                partial(session.wait_for, "task_1", timeout=0.1),
                partial(session.download, f"http://u:{PASSWORD}@127.0.0.1:9/redirect?sig={PASSWORD}", tmp_path / "x"),
                partial(session.files.upload, PNG),
            ]
            async with session:
                for call in calls:
                    with pytest.raises(RivyaError) as caught:
                        await call()
                    error: BaseException | None = caught.value
                    shown.append(repr(pickle.loads(pickle.dumps(error))))
                    shown.append("".join(traceback.TracebackException.from_exception(caught.value).format()))
                    while error is not None:
                        is_echo = PASSWORD in str(error) and f"{PASSWORD}@h" in str(error)  # the service's own text
                        shown.append(
                            repr({**vars(error), "message": "", "body": "", "args": ""} if is_echo else vars(error))
                        )
                        error = error.__cause__ or error.__context__
                shown.append(repr(session))
                shown.extend(
                    repr(getattr(session, name)) for name in ("generations", "models", "files", "chat", "webhooks")
                )
    shown.extend(record.getMessage() for record in caplog.records if record.name.startswith("rivya_async"))
    for text in shown:
        assert KEY not in text
        assert PASSWORD not in text.replace(f"{PASSWORD}@h", "")


PUBLIC_ERRORS: Final = sorted(
    name
    for name in rivya_async.__all__
    if isinstance(each := getattr(rivya_async, name), type) and issubclass(each, RivyaError)
)


@pytest.mark.parametrize("name", PUBLIC_ERRORS)
def test_no_message_is_long(name: str) -> None:
    text = f"https://user:{PASSWORD}@h.example/?key={PASSWORD} \x1b[2J " + "x" * 1_000_000
    kind = getattr(rivya_async, name)
    try:
        error = kind(text)
    except TypeError:
        error = kind(text, last=Generation("task_1", "queued"), task_id="task_1")
    assert len(str(error)) <= MAX_MESSAGE_LENGTH
    assert PASSWORD not in str(error)
    assert len(repr(error)) <= 2 * MAX_MESSAGE_LENGTH


def test_no_public_value_shows_the_key() -> None:
    values = [
        RivyaSession(KEY),
        RivyaSession(KEY, headers={"X": KEY}),
        RivyaSession(KEY, proxy=f"http://u:{KEY}@h.example"),
    ]
    for value in values:
        shown = f"{value!r} {value} {json.dumps({k: repr(v) for k, v in vars(value).items()})}"
        assert KEY not in shown
    for each in values:
        assert not attrs.has(type(each))
