"""Chat over real sockets: purchases, retries and streams."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any, Final

import pytest
from aiohttp import web

from rivya_async import (
    AuthenticationError,
    BadRequestError,
    ChatEvent,
    ChatSessionConflictError,
    ConfigurationError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    InvalidRequestError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    ResponseDecodeError,
    RivyaError,
    RivyaSession,
    SessionClosedError,
    StreamInterruptedError,
    Timeouts,
)
from rivya_async.sandbox import Sandbox
from tests.media_kit import media
from tests.session.session_kit import (
    CHAT,
    FAST,
    STREAM,
    ReceivedRequest,
    RecordingHooks,
    open_session,
    plain_server,
    raw_server,
    wait_until,
)

MODEL: Final = "gpt-5-2-chat"
ASKED: Final = "How do I paint a kite?"
DELTAS: Final = 3
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def read(session: RivyaSession, message: str = ASKED, **options: Any) -> str:
    """Returns the whole text of a streamed answer."""
    async with session.chat.completions.stream(MODEL, message, **options) as stream:
        text = "".join([delta async for delta in stream])
        assert stream.text == text
        assert stream.completion.message.role == "assistant"
    return text


async def interrupted(session: RivyaSession, **options: Any) -> StreamInterruptedError:
    with pytest.raises(StreamInterruptedError) as raised:
        await read(session, **options)
    return raised.value


async def answer_to(sandbox: Sandbox, message: str = ASKED) -> str:
    """Returns the sandbox's answer to a message."""
    async with open_session(sandbox) as other:
        return (await other.chat.completions.create(MODEL, message)).text


def bodies(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [json.loads(request.body or b"{}") for request in sandbox.request_log if request.method == "POST"]


# --- the whole answer -------------------------------------------------------------------------------------------------


async def test_returns_completion_record(sandbox: Sandbox, session: RivyaSession) -> None:
    answer = await session.chat.completions.create(MODEL, ASKED)
    assert (answer.model, answer.object, answer.message.role) == (MODEL, "chat.completion", "assistant")
    assert "paint a kite" in answer.text
    assert answer.usage is not None
    assert answer.credits is not None
    assert answer.usage.total_tokens == (answer.usage.input_tokens or 0) + (answer.usage.output_tokens or 0)
    assert 1 <= (answer.credits.final or 0) <= (answer.credits.reserved or 0)
    assert answer.created_at is not None
    assert answer.extra == answer.message.extra == {}
    assert sandbox.credits == 1_000_000 - (answer.credits.final or 0)
    assert pickle.loads(pickle.dumps(answer)) == answer


async def test_sends_only_set_options(sandbox: Sandbox, session: RivyaSession) -> None:
    await session.chat.completions.create(MODEL, "One")
    await session.chat.completions.create(
        MODEL,
        "Two",
        enable_web_search=True,
        reasoning_effort="high",
        include_thoughts=False,
        client_request_id="mine",
        extra={"temperature": 0.5},
    )
    await read(session, "Three", reasoning_effort="low")
    assert bodies(sandbox) == [
        {"model": MODEL, "message": "One"},
        {
            "model": MODEL,
            "message": "Two",
            "enable_web_search": True,
            "reasoning_effort": "high",
            "include_thoughts": False,
            "client_request_id": "mine",
            "temperature": 0.5,
        },
        {"model": MODEL, "message": "Three", "reasoning_effort": "low"},
    ]


@pytest.mark.parametrize("way", ["create", "read"])
async def test_retries_keep_idempotency_key(
    sandbox: Sandbox, session: RivyaSession, hooks: RecordingHooks, way: str
) -> None:
    sandbox.faults.add(nth=1, drop=True, act=True)
    sandbox.faults.add(nth=2, status=500)
    await (session.chat.completions.create(MODEL, ASKED) if way == "create" else read(session))
    (key,) = sandbox.request_log.idempotency_keys
    assert sandbox.request_log.attempts(key) == 3
    assert sandbox.request_log.purchases == 1
    assert [retry.idempotency_key for retry in hooks.retries] == [key, key]
    assert [type(attempt.error) for attempt in hooks.attempts] == [OutcomeUnknownError, InternalServerError, type(None)]


async def test_same_key_buys_once(sandbox: Sandbox, session: RivyaSession) -> None:
    first = await session.chat.completions.create(MODEL, ASKED, idempotency_key="order-1")
    assert await session.chat.completions.create(MODEL, ASKED, idempotency_key="order-1") == first
    with pytest.raises(IdempotencyConflictError) as raised:
        await session.chat.completions.create(MODEL, "Something else", idempotency_key="order-1")
    assert raised.value.idempotency_key == "order-1"
    assert sandbox.request_log.purchases_by_key == {"order-1": 1}


async def test_waits_for_slow_answer(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=CHAT, delay=0.4)
    limits = Timeouts(read=0.05, total=0.1, chat=5.0)
    async with open_session(sandbox, timeouts=limits) as session:
        await session.chat.completions.create(MODEL, ASKED)
    assert sandbox.request_log.count(CHAT) == 1


async def test_gives_up_without_answer(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=CHAT, delay=0.3)
    async with open_session(sandbox, timeouts=Timeouts(chat=0.05)) as session:
        with pytest.raises(OutcomeUnknownError) as raised:
            await session.chat.completions.create(MODEL, ASKED)
    assert raised.value.attempts == 5


REFUSED: Final[dict[str, tuple[type[RivyaError], dict[str, Any]]]] = {
    "no chat model": (BadRequestError, {"model": "z-image"}),
    "unknown model": (BadRequestError, {"model": "gpt-9"}),
    "too long": (BadRequestError, {"message": "x" * 20_001}),
    "no such session": (ChatSessionConflictError, {"session_id": "ses_none"}),
    "no such file": (BadRequestError, {"attachments": ["file_none"]}),
    "no such effort": (BadRequestError, {"reasoning_effort": "most"}),
    "empty message": (ConfigurationError, {"message": ""}),
    "wrong flag": (ConfigurationError, {"enable_web_search": "yes"}),
    "wrong key": (ConfigurationError, {"idempotency_key": "two words"}),
    "one attachment": (ConfigurationError, {"attachments": "file_1"}),
    "what JSON cannot hold": (ConfigurationError, {"extra": {"when": object()}}),
}


@pytest.mark.parametrize("way", ["create", "stream"])
@pytest.mark.parametrize(("kind", "wrong"), REFUSED.values(), ids=REFUSED.keys())
async def test_rejection_has_key_and_buys_nothing(
    sandbox: Sandbox, session: RivyaSession, kind: type[RivyaError], wrong: dict[str, Any], way: str
) -> None:
    arguments = {"model": MODEL, "message": ASKED, "idempotency_key": "order-1", **wrong}

    async def ask() -> None:
        if way == "create":
            await session.chat.completions.create(**arguments)
        else:
            async with session.chat.completions.stream(**arguments):
                raise AssertionError("it was let in")

    with pytest.raises(kind) as raised:
        await ask()
    assert type(raised.value) is kind
    assert raised.value.idempotency_key == arguments["idempotency_key"]
    assert sandbox.request_log.purchases == 0
    assert sandbox.request_log.count() == (0 if kind is ConfigurationError else 1)


async def test_missing_scope_and_missing_credits(sandbox: Sandbox) -> None:
    reader = sandbox.add_key(scopes={"chat:read"})
    poor = sandbox.add_key(credits=2)
    for key, kind in (
        (reader, PermissionDeniedError),
        (poor, InsufficientCreditsError),
        ("rvya_sk_wrong", AuthenticationError),
    ):
        async with RivyaSession(key, base_url=sandbox.base_url) as session:
            with pytest.raises(kind):
                await session.chat.completions.create(MODEL, ASKED)
            with pytest.raises(kind):
                await read(session)
    assert sandbox.request_log.purchases == 0


@pytest.mark.parametrize("way", ["create", "stream"])
async def test_check_sends_nothing_on_problems(sandbox: Sandbox, session: RivyaSession, way: str) -> None:
    async def ask(**options: Any) -> None:
        if way == "create":
            await session.chat.completions.create(message=ASKED, check=True, **options)
        else:
            async with session.chat.completions.stream(message=ASKED, check=True, **options):
                pass

    with pytest.raises(InvalidRequestError, match="takes no attachments") as raised:
        await ask(model="claude-sonnet-4-6-chat", attachments=["file_1"], idempotency_key="order-1")
    assert raised.value.idempotency_key == "order-1"
    assert [problem.where for problem in raised.value.problems] == ["attachments"]
    with pytest.raises(InvalidRequestError, match="'low'"):
        await ask(model=MODEL, reasoning_effort="lwo")
    assert sandbox.request_log.count(method="POST") == 0
    await ask(model=MODEL, reasoning_effort="low")
    assert sandbox.request_log.count(method="GET") == 1


# --- conversations ----------------------------------------------------------------------------------------------------


async def test_continues_and_reads_chat_session(sandbox: Sandbox, session: RivyaSession) -> None:
    first = await session.chat.completions.create(MODEL, "Name a colour.")
    text = await read(session, "And another?", session_id=first.session_id)
    other = await session.chat.completions.create(MODEL, "Something else")
    listed = await session.chat.sessions.list()
    assert [each.id for each in listed] == [other.session_id, first.session_id]
    assert [each.id for each in await session.chat.sessions.list(limit=1)] == [other.session_id]
    assert first.session_id is not None
    whole = await session.chat.sessions.retrieve(first.session_id)
    assert [message.content for message in whole.messages] == ["Name a colour.", first.text, "And another?", text]
    assert [message.role for message in whole.messages] == ["user", "assistant"] * 2
    assert (whole.model, whole.title, whole.object, whole.extra) == (MODEL, "Name a colour.", "chat.session", {})
    with pytest.raises(NotFoundError):
        await session.chat.sessions.retrieve("ses_none")
    with pytest.raises(BadRequestError):
        await session.chat.sessions.list(limit=101)


async def test_chat_session_belongs_to_one_model_and_account(sandbox: Sandbox, session: RivyaSession) -> None:
    first = await session.chat.completions.create(MODEL, ASKED)
    with pytest.raises(ChatSessionConflictError, match="Begin a new chat session"):
        await session.chat.completions.create("gemini-2-5-flash-chat", "Go on", session_id=first.session_id)
    async with RivyaSession(sandbox.add_key(credits=100), base_url=sandbox.base_url) as stranger:
        with pytest.raises(ChatSessionConflictError):
            await stranger.chat.completions.create(MODEL, "Go on", session_id=first.session_id)
        assert await stranger.chat.sessions.list() == []
        with pytest.raises(NotFoundError):
            await stranger.chat.sessions.retrieve(first.session_id or "")


async def test_attaches_file_or_id(sandbox: Sandbox, session: RivyaSession) -> None:
    picture = await session.files.upload(media("png"), filename="kite.png")
    answer = await session.chat.completions.create(MODEL, ASKED, attachments=[picture], check=True)
    assert "I have looked at the picture" in answer.text
    assert "the 2 pictures" in await read(session, attachments=[picture.id, picture])
    assert bodies(sandbox)[-1]["attachments"] == [{"file_id": picture.id}] * 2
    sound = await session.files.upload(media("wav"), filename="kite.wav")
    with pytest.raises(BadRequestError) as raised:
        await session.chat.completions.create(MODEL, ASKED, attachments=[sound])
    assert raised.value.code == "chat_attachment_not_supported"


# --- the answer as it comes -------------------------------------------------------------------------------------------


async def test_stream_yields_answer(sandbox: Sandbox, session: RivyaSession) -> None:
    seen = ""
    async with session.chat.completions.stream(MODEL, ASKED) as stream:
        assert stream.idempotency_key in sandbox.request_log.idempotency_keys
        async for delta in stream:
            assert delta
            seen += delta
            assert stream.text == seen
    assert seen == stream.completion.text == await answer_to(sandbox)
    assert stream.session_id == stream.completion.session_id
    assert stream.completion.credits is not None
    assert stream.completion.usage is not None
    assert [delta async for delta in stream] == []


async def test_stream_has_one_reader(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=STREAM, stream="stall", after_events=1)
    async with session.chat.completions.stream(MODEL, ASKED) as stream:
        first = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.05)
        with pytest.raises(ConfigurationError, match="another task is reading"):
            await anext(stream)
        first.cancel()


async def test_yields_deltas_before_end(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=STREAM, stream="stall", after_events=1 + DELTAS)
    async with session.chat.completions.stream(MODEL, ASKED) as stream:
        pieces = [await anext(stream) for _ in range(DELTAS)]
        assert (await answer_to(sandbox)).startswith("".join(pieces))
        with pytest.raises(ConfigurationError, match="not finished"):
            stream.completion  # noqa: B018 - reading it is the test


async def test_yields_every_event_unchanged(sandbox: Sandbox, session: RivyaSession) -> None:
    async with session.chat.completions.stream(MODEL, ASKED, include_thoughts=True) as stream:
        first = await anext(stream)  # both ways draw from one source
        events = [event async for event in stream.events()]
    assert {event.name for event in events} == {"message.delta", "message.completed"}
    async with session.chat.completions.stream(MODEL, ASKED, include_thoughts=True) as again:
        replayed = [event async for event in again.events()]
    names = list(dict.fromkeys(event.name for event in replayed))
    assert names == ["message.started", "message.thought", "message.delta", "message.completed"]
    assert replayed[1] == ChatEvent("message.thought", {"thought": "Let me see"})
    assert "".join(event.delta for event in replayed) == again.text == first + "".join(event.delta for event in events)


@pytest.mark.parametrize("shape", ["delta.content", "delta.text", "content", "text", "unnamed", "done", "done only"])
async def test_reads_every_event_shape(sandbox: Sandbox, session: RivyaSession, shape: str) -> None:
    sandbox.faults.add(route=STREAM, shape=shape)
    async with session.chat.completions.stream(MODEL, ASKED) as stream:
        pieces = [delta async for delta in stream]
    assert len(pieces) > DELTAS
    assert "".join(pieces) == stream.completion.text == await answer_to(sandbox)
    assert stream.completion.session_id is not None
    assert stream.completion.model == MODEL


async def test_reads_stream_of_single_bytes(sandbox: Sandbox) -> None:
    events = 'event: message.delta\r\ndata: {"delta": "“é” 🪁"}\r\n\r\ndata: [DONE]\r\n\r\n'.encode()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        for at in range(len(events)):
            writer.write(b"1\r\n" + events[at : at + 1] + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()  # [DONE] ends it, not the connection

    async with raw_server(talk) as url, open_session(sandbox, base_url=url) as session:
        assert await read(session) == "“é” 🪁"


async def test_stream_requires_its_block(sandbox: Sandbox, session: RivyaSession) -> None:
    stream = session.chat.completions.stream(MODEL, ASKED, idempotency_key="order-1")
    with pytest.raises(ConfigurationError, match="enter the stream first"):
        await anext(stream)
    async with stream:
        with pytest.raises(ConfigurationError, match="entered once") as raised:
            await stream.__aenter__()
        await anext(stream)
    assert raised.value.idempotency_key == "order-1"
    with pytest.raises(StreamInterruptedError):
        [delta async for delta in stream]
    assert sandbox.request_log.count() == 1


# --- what breaks off --------------------------------------------------------------------------------------------------

BROKEN: Final[dict[str, tuple[dict[str, Any], str | None]]] = {
    "cut": ({"stream": "cut", "after_events": 1 + DELTAS}, None),
    "ended early": ({"stream": "end", "after_events": 1 + DELTAS}, None),
    "stalled": ({"stream": "stall", "after_events": 1 + DELTAS}, None),
    "an error event": ({"stream": "error", "after_events": 1 + DELTAS}, "internal_error"),
    "another": ({"stream": "error", "after_events": 1 + DELTAS, "code": "rate_limited"}, "rate_limited"),
}


@pytest.mark.parametrize(("fault", "code"), BROKEN.values(), ids=BROKEN.keys())
async def test_interrupted_stream_keeps_text_without_retry(
    sandbox: Sandbox, fault: dict[str, Any], code: str | None
) -> None:
    hooks = RecordingHooks()
    sandbox.faults.add(route=STREAM, **fault)
    async with open_session(sandbox, timeouts=Timeouts(read=0.15), hooks=[hooks]) as session:
        error = await interrupted(session, idempotency_key="order-1")
        whole = await answer_to(sandbox)
        assert len(error.text.split()) == DELTAS
        assert whole.startswith(error.text)
        assert (error.code, error.idempotency_key) == (code, "order-1")
        assert str(len(error.text)) in str(error)
        assert (sandbox.request_log.count(STREAM), len(hooks.attempts), hooks.retries) == (1, 1, [])
        # The session has the answer, for it is bought.
        assert error.session_id is not None
        await wait_until(lambda: not sandbox.request_log.in_flight)
        kept = await session.chat.sessions.retrieve(error.session_id)
        assert [message.content for message in kept.messages] == [ASKED, whole]
        # And so has the sandbox under the key, as we assume of the service.
        sandbox.faults.clear()
        assert await read(session, idempotency_key="order-1") == whole
    assert sandbox.request_log.purchases_by_key["order-1"] == 1
    again = pickle.loads(pickle.dumps(error))
    assert (again.text, again.code, again.session_id, str(again)) == (error.text, code, error.session_id, str(error))


async def test_missing_final_event_is_an_interruption(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=STREAM, stream="end")
    error = await interrupted(session)
    assert error.text == await answer_to(sandbox)
    assert "ended early" in str(error)


async def test_keeps_bytes_received_before_connection_loss(sandbox: Sandbox) -> None:
    event = b'data: {"delta": "Here is "}\n\ndata: {"delta": "a plan"}\n\n'

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"%x\r\n" % len(event) + event + b"\r\n")  # and no last chunk

    async with (
        raw_server(talk) as url,
        open_session(sandbox, base_url=url) as session,
        session.chat.completions.stream(MODEL, ASKED) as stream,
    ):
        await asyncio.sleep(0.05)  # it is broken before anybody has read of it
        with pytest.raises(StreamInterruptedError) as raised:
            [delta async for delta in stream]
        assert raised.value.text == "Here is a plan"


async def test_rejects_oversized_event(sandbox: Sandbox) -> None:
    def answer(_: ReceivedRequest) -> web.Response:
        stream_body = b'data: {"delta": "Hi"}\n\ndata: ' + b"x" * 5_000_000
        return web.Response(body=stream_body, content_type="text/event-stream")

    async with plain_server(answer) as server, open_session(sandbox, base_url=server.url) as session:
        error = await interrupted(session)
    assert error.text == "Hi"
    assert isinstance(error.__cause__, ResponseDecodeError)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("content_type", "text"), [("text/html", "<html>"), ("application/json", '{"object": "chat.completion"}')]
)
async def test_other_content_type_is_an_unknown_outcome(sandbox: Sandbox, content_type: str, text: str) -> None:
    def answer(_: ReceivedRequest) -> web.Response:
        return web.Response(text=text, content_type=content_type)

    async with plain_server(answer) as server, open_session(sandbox, base_url=server.url) as session:
        with pytest.raises(OutcomeUnknownError, match=content_type) as raised:
            await read(session, idempotency_key="order-1")
    assert isinstance(raised.value.__cause__, ResponseDecodeError)
    assert raised.value.idempotency_key == "order-1"
    assert {request.headers["Idempotency-Key"] for request in server.requests} == {"order-1"}


async def test_comments_reset_read_timeout(sandbox: Sandbox) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        for piece in [b": still here\n\n"] * 8 + [b'data: {"delta": "Hi"}\n\ndata: [DONE]\n\n']:
            writer.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.06)

    limits = Timeouts(read=0.2, total=0.25, chat=0.25)
    loop = asyncio.get_running_loop()
    async with raw_server(talk) as url, open_session(sandbox, base_url=url, timeouts=limits) as session:
        began = loop.time()
        assert await read(session) == "Hi"
        assert loop.time() - began > 0.4


# --- leaving ----------------------------------------------------------------------------------------------------------


async def test_leaving_block_closes_connection(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=STREAM, stream="stall", after_events=2)
    async with session.chat.completions.stream(MODEL, ASKED) as stream:
        await anext(stream)
        assert sandbox.request_log.in_flight == 1
    await wait_until(lambda: not sandbox.request_log.in_flight)
    assert sandbox.request_log.purchases == 1


async def test_user_exception_leaves_block(sandbox: Sandbox, session: RivyaSession) -> None:
    sandbox.faults.add(route=STREAM, stream="stall", after_events=2)

    async def look() -> None:
        async with session.chat.completions.stream(MODEL, ASKED) as stream:
            await anext(stream)
            1 / 0  # noqa: B018

    with pytest.raises(ZeroDivisionError) as raised:
        await look()
    assert not hasattr(raised.value, "__notes__")
    await wait_until(lambda: not sandbox.request_log.in_flight)


@pytest.mark.parametrize("moment", ["before the answer", "between two pieces"])
async def test_cancellation_closes_connection_and_notes_key(
    sandbox: Sandbox, session: RivyaSession, moment: str
) -> None:
    if moment == "before the answer":
        sandbox.faults.add(route=STREAM, delay=0.2)
    else:
        sandbox.faults.add(route=STREAM, stream="stall", after_events=2)
    task = asyncio.create_task(read(session, idempotency_key="order-1"))
    await wait_until(lambda: sandbox.request_log.in_flight == 1)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as raised:
        await task
    assert "order-1" in "".join(raised.value.__notes__)
    await wait_until(lambda: not sandbox.request_log.in_flight)


async def test_closing_session_aborts_streams(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=STREAM, stream="stall", after_events=3)
    session = open_session(sandbox, max_connections=1)
    seen: list[str] = []

    async def collect() -> None:
        async with session.chat.completions.stream(MODEL, ASKED) as stream:
            async for delta in stream:
                seen.append(delta)  # noqa: PERF401 - one by one, so that the test can inspect them

    reading = asyncio.create_task(collect())
    await wait_until(lambda: len(seen) == 2)
    waiting = asyncio.create_task(read(session, idempotency_key="order-2"))
    await asyncio.sleep(0.01)
    await session.aclose()
    with pytest.raises(StreamInterruptedError) as cut:
        await reading
    assert cut.value.text == "".join(seen)
    with pytest.raises(SessionClosedError, match="session was closed") as turned_away:
        await waiting
    assert turned_away.value.idempotency_key == "order-2"
    await wait_until(lambda: not sandbox.request_log.in_flight)


async def test_closing_session_rejects_queued_streams(sandbox: Sandbox) -> None:
    session = open_session(sandbox, max_connections=1)
    async with session.chat.completions.stream(MODEL, ASKED):
        waiting = asyncio.create_task(read(session))
        await asyncio.sleep(0.01)
        await session.aclose()
        with pytest.raises(SessionClosedError, match="session was closed"):
            await waiting
    assert sandbox.request_log.count(STREAM) == 1


async def test_closing_session_ends_backoff_of_stream(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=STREAM, status=503, retry_after=30)
    session = open_session(sandbox, retry=None)
    reading = asyncio.create_task(read(session))
    await wait_until(lambda: len(sandbox.request_log) == 1)
    await asyncio.sleep(0.05)
    await session.aclose()
    with pytest.raises(OutcomeUnknownError, match="session was closed"):
        await reading


# --- many -------------------------------------------------------------------------------------------------------------


async def test_streams_do_not_use_request_slots(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=STREAM, stream="stall", after_events=2, times=2)
    async with open_session(sandbox, max_connections=2) as session:
        streams = [session.chat.completions.stream(MODEL, ASKED) for _ in range(2)]
        for stream in streams:
            await stream.__aenter__()
        third = asyncio.create_task(read(session))
        await session.generate("z-image", "A red kite")
        await session.credits.retrieve()
        assert sandbox.request_log.count(STREAM) == 2  # the third waits for a place among the streams
        assert not third.done()
        await streams[0].__aexit__(None, None, None)
        assert await third == await answer_to(sandbox)
        await streams[1].__aexit__(None, None, None)


async def test_hundred_concurrent_streams(sandbox: Sandbox) -> None:
    async with open_session(sandbox, max_connections=20) as session:
        texts = await asyncio.gather(*(read(session, f"Poster number {number}") for number in range(100)))
    assert len(set(texts)) == 100
    assert sandbox.request_log.purchases == 100
    assert sandbox.request_log.peak_in_flight <= 20


async def test_slow_reader_receives_everything(sandbox: Sandbox) -> None:
    """Chunks wait in a buffer, or at the service, until a slow reader takes them."""
    async with (
        open_session(sandbox, timeouts=Timeouts(read=0.1)) as session,
        session.chat.completions.stream(MODEL, ASKED) as stream,
    ):
        text = await anext(stream)
        await asyncio.sleep(0.3)
        text += "".join([delta async for delta in stream])
    assert text == await answer_to(sandbox)


async def test_sandbox_replies_are_deterministic() -> None:
    texts = []
    for speed in (FAST, 200.0):
        async with Sandbox(speed=speed) as sandbox, open_session(sandbox) as session:
            texts += [await read(session), (await session.chat.completions.create(MODEL, ASKED)).text]
    assert len(set(texts)) == 1


async def test_slow_model_streams_tokens(no_leaks: None) -> None:
    async with Sandbox(speed=4.0) as sandbox, open_session(sandbox) as session:
        loop = asyncio.get_running_loop()
        async with session.chat.completions.stream(MODEL, ASKED) as stream:
            began = loop.time()
            await anext(stream)
            first = loop.time() - began
            await anext(stream)
        assert first > 0.1
