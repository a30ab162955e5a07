"""`rivya listen`: checks, shows and forwards deliveries, over real sockets."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from rivya_async.receiver import verify
from tests.cli.cli_kit import RunningCommand, environment, rivya
from tests.receiver.receiver_kit import SECRET, make_body, sign
from tests.session.session_kit import plain_server, raw_server

SIGNED: Final = environment(RIVYA_WEBHOOK_SECRET=SECRET)


def now() -> int:
    return int(time.time())  # noqa: TID251 - the command reads the same clock


@asynccontextmanager
async def listening(*arguments: str) -> AsyncIterator[tuple[RunningCommand, str]]:
    """The command, and where it listens."""
    running = await RunningCommand.start("listen", "--json", *arguments, env=SIGNED)
    url = json.loads(await running.line())["url"]
    try:
        yield running, url
    finally:
        running.signal(signal.SIGINT)


async def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
        return answer.status


async def read_event(running: RunningCommand) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(await running.line())
    return line


async def test_shows_signed_deliveries_and_rejects_others() -> None:
    body = make_body()
    async with listening() as (running, url):
        assert await post(url, body, sign(body, at=now())) == 200
        first = await read_event(running)
        assert (first["id"], first["data"]["id"], first["repeated"]) == ("evt_1", "task_1", False)
        assert "forward_status" not in first
        for wrong in ({}, sign(body, at=now(), secret="whsec_other"), sign(body, at=now() - 400)):
            assert await post(url, body, wrong) == 400
        assert await post(url, body + b" ", sign(body, at=now())) == 400
        assert await post(f"{url}any/path", body, sign(body, at=now())) == 200
        assert (await read_event(running))["repeated"] is True
    ended = await running.end()
    assert (ended.code, ended.out) == (130, "")
    kinds = [error["type"] for error in ended.errors]
    assert kinds == [
        "WebhookVerificationError",
        "SignatureMismatchError",
        "TimestampToleranceError",
        "SignatureMismatchError",
        "Interrupted",
    ]
    assert "c0ffee" not in ended.err


async def test_forwards_signed_deliveries_unchanged() -> None:
    answers = [204, 500, 302]
    moved = {"Location": "/elsewhere"}
    body = make_body(prompt="é  ☃").replace(b", ", b" , ")  # bytes that no JSON library would write again
    headers = {"X-Rivya-Other": "kept", "User-Agent": "Rivya-Webhooks/1.0"}
    async with plain_server(lambda _: web.Response(status=answers.pop(0), headers=moved)) as behind:
        async with listening("--forward", f"{behind.url}/hooks") as (running, url):
            sent = {**sign(body, at=now()), **headers, "Content-Type": "application/json; charset=utf-8"}
            for ours, theirs in ((200, 204), (502, 500), (502, 302)):
                assert await post(url, body, sent) == ours
                assert (await read_event(running))["forward_status"] == theirs
            assert await post(url, body, {**sent, "Rivya-Signature": "t=1,v1=00"}) == 400
        assert (await running.end()).code == 130
    assert len(behind.requests) == 3
    for seen in behind.requests:
        assert (seen.method, seen.path, seen.body) == ("POST", "/hooks", body)
        assert sent.items() <= dict(seen.headers).items()
        assert verify(seen.body, seen.headers, SECRET).id == "evt_1"


async def test_forward_target_is_unreachable() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening
        behind = f"http://127.0.0.1:{held.getsockname()[1]}/"
        async with listening("--forward", behind) as (running, url):
            assert await post(url, make_body(), sign(make_body(), at=now())) == 502
            assert (await read_event(running))["forward_status"] is None
        ended = await running.end()
    assert [error["type"] for error in ended.errors] == ["RequestNotSentError", "Interrupted"]
    assert behind in ended.errors[0]["message"]


async def test_forward_target_closes_the_connection() -> None:
    async def close_after_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with raw_server(close_after_headers) as behind:
        async with listening("--forward", behind) as (running, url):
            assert await post(url, make_body(), sign(make_body(), at=now())) == 502
        ended = await running.end()
    assert [error["type"] for error in ended.errors] == ["OutcomeUnknownError", "Interrupted"]


async def test_receives_deliveries_of_sandbox() -> None:
    running = await RunningCommand.start("listen", "--sandbox", env=environment())
    words = (await running.line()).split()
    assert words[2:5] == ["generation.succeeded", "task_webhook_test", "succeeded"]
    running.signal(signal.SIGINT)
    ended = await running.end()
    assert ended.code == 130
    exports = [line.partition("=")[0] for line in ended.err.splitlines() if line.startswith("export ")]
    assert exports == ["export RIVYA_API_KEY", "export RIVYA_BASE_URL"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "set RIVYA_WEBHOOK_SECRET"),
        (("--secret", "two words"), "copy it again"),
        (("--secret", SECRET, "--forward", "localhost:8000"), "--forward takes the http or https URL"),
        (("--secret", SECRET, "--sandbox"), "makes a signing secret of its own"),
        (("--port", "70000"), "70000 is not in the range 0<=x<=65535"),
    ],
)
def test_rejects_wrong_usage(arguments: tuple[str, ...], expected: str) -> None:
    ended = rivya("listen", *arguments)
    assert ended.code == 2
    assert expected in ended.err
    assert "c0ffee" not in ended.err


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST", "0.0.0.0"])
def test_rejects_forwarding_to_itself(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ended = rivya("listen", "--port", f"{port}", "--forward", f"http://{host}:{port}/hooks", env=SIGNED)
    assert ended.code == 2
    assert "--forward leads back here" in ended.err


def test_port_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = rivya("listen", "--port", str(taken.getsockname()[1]), "--json", env=SIGNED)
    assert (ended.code, ended.error["type"]) == (2, "OSError")
