"""Streamed chat answers that end in another way than they should."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from rivya_async import (
    APIStatusError,
    InsufficientCreditsError,
    OutcomeUnknownError,
    RivyaSession,
    StreamInterruptedError,
)
from tests.session.session_kit import QUICK_RETRY, ReceivedRequest, plain_server, raw_server

KEY = "rvya_sk_" + "0" * 32
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def stream_body(*events: Any) -> str:
    return "".join(f"data: {each if isinstance(each, str) else json.dumps(each)}\n\n" for each in events)


def open_session(url: str) -> RivyaSession:
    return RivyaSession(KEY, base_url=url, retry=QUICK_RETRY)


async def read(session: RivyaSession) -> str:
    async with session.chat.completions.stream("m", "Hi") as stream:
        text = "".join([delta async for delta in stream])
        assert stream.completion.text == text
    return text


async def read_events(*events: Any) -> str:
    def answer(_: ReceivedRequest) -> web.Response:
        return web.Response(text=stream_body(*events), content_type="text/event-stream")

    async with plain_server(answer) as server, open_session(server.url) as session:
        return await read(session)


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        ({"error": "upstream timed out"}, "upstream timed out", None),
        ({"error": {"message": "no capacity", "code": 503}}, "no capacity", "503"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, "busy", "overloaded_error"),
        ({"detail": "Internal Server Error"}, "Internal Server Error", None),
        ("Internal Server Error", "Internal Server Error", None),
    ],
)
async def test_error_in_a_stream_is_no_short_answer(error: Any, message: str, code: str | None) -> None:
    """D4: the error ends the stream, although a terminator follows it."""
    with pytest.raises(StreamInterruptedError, match=message) as raised:
        await read_events({"delta": "Half an ans"}, error, "[DONE]")
    assert (raised.value.text, raised.value.code) == ("Half an ans", code)
    assert raised.value.idempotency_key


async def test_chunks_with_choices_are_text() -> None:
    """D4: chunks in the shape of OpenAI's API."""
    chunks = [{"object": "chat.completion.chunk", "choices": [{"delta": {"content": text}}]} for text in ("Hi", " you")]
    last = {"object": "chat.completion.chunk", "choices": [{"delta": {}, "finish_reason": "stop"}]}
    assert await read_events(*chunks, last, "[DONE]") == "Hi you"


@pytest.mark.parametrize("events", [["[DONE]"], [{"id": "chatcmpl_1"}, "[DONE]"], [{"object": "chat.completion"}]])
async def test_stream_without_text_or_usage_is_no_success(events: list[Any]) -> None:
    """D4: an answer in an unknown shape is reported, not lost."""
    with pytest.raises(StreamInterruptedError, match="without any text"):
        await read_events(*events)


async def test_streams_ask_for_identity() -> None:
    """D6: a proxy that compresses would hold the text back until its buffer is full."""

    def answer(_: ReceivedRequest) -> web.Response:
        return web.Response(text=stream_body({"delta": "Hi"}, "[DONE]"), content_type="text/event-stream")

    async with plain_server(answer) as server, open_session(server.url) as session:
        assert await read(session) == "Hi"
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/problem+json"])
async def test_json_error_with_success_status_keeps_code_and_message(content_type: str) -> None:
    """D16: the service answers the request for a stream with a JSON error and status 200."""
    error = {"error": {"code": "insufficient_credits", "message": f"Top up {KEY}.", "requestId": "req_1"}}

    def answer(_: ReceivedRequest) -> web.Response:
        return web.Response(text=json.dumps(error), content_type=content_type)

    async with plain_server(answer) as server, open_session(server.url) as session:
        with pytest.raises(InsufficientCreditsError, match="Top up") as raised:
            await read(session)
    assert (raised.value.code, raised.value.request_id) == ("insufficient_credits", "req_1")
    assert KEY not in str(raised.value)
    assert len(server.requests) == 1


async def test_json_error_with_unknown_code_keeps_code_and_message() -> None:
    """D16: the class depends on the code; an unknown one has the base class."""

    def answer(_: ReceivedRequest) -> web.Response:
        return web.json_response({"error": {"code": "mood", "message": "Not today."}})

    async with plain_server(answer) as server, open_session(server.url) as session:
        with pytest.raises(APIStatusError, match="Not today") as raised:
            await read(session)
    assert (raised.value.code, raised.value.status) == ("mood", 200)


async def test_page_in_place_of_a_stream_is_shown() -> None:
    """D16: a page that is no error of the service advises to check the address."""

    def answer(_: ReceivedRequest) -> web.Response:
        return web.Response(text="<html>Sign in</html>", content_type="text/html")

    async with plain_server(answer) as server, open_session(server.url) as session:
        with pytest.raises(OutcomeUnknownError, match=r"base_url.*Sign in"):
            await read(session)


async def test_late_terminator_keeps_the_connection() -> None:
    """D17: the last chunk arrives 5 ms after the end of the answer."""
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            body = stream_body({"delta": "Hi"}, "[DONE]").encode()
            writer.write(HEAD + b"%x\r\n" % len(body) + body + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.005)
            writer.write(b"0\r\n\r\n")
            await writer.drain()

    async with raw_server(talk) as url, open_session(url) as session:
        for _ in range(4):
            assert await read(session) == "Hi"
    assert connections == 1


async def test_missing_terminator_delays_the_end_only_briefly() -> None:
    """D17: a service that leaves the stream open, and sends comments for ever, costs the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = stream_body({"delta": "Hi"}, "[DONE]").encode()
        writer.write(HEAD + b"%x\r\n" % len(body) + body + b"\r\n")
        while True:
            await writer.drain()
            await asyncio.sleep(0.01)
            writer.write(b"3\r\n:\n\n\r\n")

    loop = asyncio.get_running_loop()
    async with raw_server(talk) as url, open_session(url) as session:
        started = loop.time()
        assert await read(session) == "Hi"
        assert loop.time() - started < 2.0
