"""The sandbox's Chat API: what it takes, what it says and what it costs, over real sockets; and its pure parts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rivya_async.sandbox import Fault
from rivya_async.sandbox.chat.canned_replies import reply_to, tokens
from rivya_async.sandbox.chat.handlers import THINKING_TIME
from rivya_async.sandbox.faults.injection import inject_fault
from rivya_async.sandbox.responses import ApiResponse
from rivya_async.sandbox.sse import SHAPES, SseComment, SseEvent, SseStream, encode, first_events
from tests.media_kit import MIME_TYPES, media
from tests.sandbox.sandbox_kit import HttpReply, SandboxClient, running_sandbox, until

ASK = "POST /api/v1/chat/completions"
STREAM = "POST /api/v1/chat/completions/stream"
QUICK = 100_000.0


async def ask(on: SandboxClient, *, stream: bool = False, idempotency_key: str | None = None, **body: Any) -> HttpReply:
    path = f"/api/v1/chat/completions{'/stream' if stream else ''}"
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    key = body.pop("key", None)
    whole = {"model": "gpt-5-2-chat", "message": "Name a colour.", **body}
    return await on.ask("POST", path, key=key, json=whole, headers=headers)


def events(raw: bytes) -> list[tuple[str, Any]]:
    """Names and values of a stream that is as our sandbox writes it."""
    told = []
    for block in raw.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            told.append((fields.get("event", ""), json.loads(fields["data"])))
    return told


# --- what it says -----------------------------------------------------------------------------------------------------


async def test_a_completion_has_the_documented_members() -> None:
    async with running_sandbox(speed=QUICK) as on:
        reply = await ask(on)
        told = reply.json
        assert reply.status == 200
        assert set(told) == {"id", "object", "session_id", "model", "created_at", "message", "usage", "credits"}
        assert told["id"].startswith("chatcmpl_")
        assert (told["object"], told["model"]) == ("chat.completion", "gpt-5-2-chat")
        assert told["created_at"] == "2026-05-11T08:00:00.000Z"
        assert set(told["message"]) == {"id", "role", "content"}
        usage = told["usage"]
        assert usage["input_tokens"] == 3
        assert usage["output_tokens"] == len(tokens(told["message"]["content"]))
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_a_stream_tells_the_same_answer_piece_by_piece() -> None:
    async with running_sandbox(speed=QUICK) as on:
        whole = (await ask(on)).json
        reply = await ask(on, stream=True)
        assert (reply.status, reply.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        assert b"\n\n: keep-alive\n\n" in reply.raw
        told = events(reply.raw)
        assert told[0][0] == "message.started"
        assert set(told[0][1]) == {"id", "session_id", "model", "created_at"}
        deltas = [data["delta"] for name, data in told if name == "message.delta"]
        assert "".join(deltas) == whole["message"]["content"]
        assert told[-1][0] == "message.completed"
        own = {"id": 0, "session_id": 0, "message": 0}
        assert told[-1][1] | own == whole | own
        assert {name: told[-1][1][name] for name in told[0][1]} == told[0][1]


async def test_thoughts_are_told_if_they_are_asked_for() -> None:
    async with running_sandbox(speed=QUICK) as on:
        with_thoughts = events((await ask(on, stream=True, include_thoughts=True)).raw)
        without = events((await ask(on, stream=True, include_thoughts=False)).raw)
        assert "message.thought" in {name for name, _ in with_thoughts}
        assert "message.thought" not in {name for name, _ in without}


async def test_a_turn_takes_time_by_the_speed() -> None:
    loop = asyncio.get_running_loop()
    for stream in (False, True):
        took = []
        for speed in (10.0, QUICK):
            async with running_sandbox(speed=speed) as on:
                began = loop.time()
                await ask(on, stream=stream)
                took.append(loop.time() - began)
        assert took[0] > 0.1
        assert took[0] > took[1]


@settings(deadline=None)
@given(st.text(), st.integers(0, 3), st.booleans())
def test_the_same_message_has_the_same_answer_made_of_its_tokens(text: str, pictures: int, searched: bool) -> None:
    said = reply_to(text, pictures=pictures, searched=searched)
    assert said == reply_to(text, pictures=pictures, searched=searched)
    assert "".join(tokens(said)) == said
    assert "".join(tokens(text)) == text
    assert ("picture" in said.split("\n")[0]) >= bool(pictures)
    said.encode()


def test_different_messages_have_different_answers() -> None:
    assert len({reply_to(f"Poster number {number}") for number in range(50)}) == 50


# --- what it costs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_costs_from_one_credit_to_what_was_held(stream: bool) -> None:
    async with running_sandbox(speed=QUICK, credits=100) as on:
        for model, price in (("gpt-5-2-chat", 3), ("gemini-2-5-flash-chat", 1), ("claude-sonnet-4-6-chat", 4)):
            before = on.sandbox.credits
            reply = await ask(on, stream=stream, model=model)
            told = (events(reply.raw)[-1][1] if stream else reply.json)["credits"]
            assert told["reserved"] == price
            assert 1 <= told["final"] <= price
            assert before - on.sandbox.credits == told["final"]


async def test_what_is_held_is_gone_until_the_stream_ends() -> None:
    async with running_sandbox(speed=QUICK, credits=100) as on:
        on.sandbox.faults.add(route=STREAM, stream="stall", after_events=2)
        reading = asyncio.create_task(ask(on, stream=True, model="claude-sonnet-4-6-chat"))
        await until(lambda: on.sandbox.request_log.purchases == 1)
        assert on.sandbox.credits == 96
        reading.cancel()
        await until(lambda: not on.sandbox.request_log.in_flight)
        assert on.sandbox.credits > 96


async def test_a_long_conversation_costs_more() -> None:
    async with running_sandbox(speed=QUICK) as on:
        first = (await ask(on, model="claude-sonnet-4-6-chat")).json
        last = first
        for _ in range(4):
            last = (await ask(on, model="claude-sonnet-4-6-chat", session_id=first["session_id"])).json
        assert last["credits"]["final"] == 4 > first["credits"]["final"]


@pytest.mark.parametrize("stream", [False, True])
async def test_who_cannot_pay_is_told_so_and_no_session_begins(stream: bool) -> None:
    async with running_sandbox(speed=QUICK, credits=2) as on:
        reply = await ask(on, stream=stream)
        assert (reply.status, reply.code) == (402, "insufficient_credits")
        assert (await on.ask("GET", "/api/v1/chat/sessions")).json["data"] == []
        assert on.sandbox.request_log.purchases == 0


# --- what it refuses --------------------------------------------------------------------------------------------------

REFUSED = {
    "an unknown model": ({"model": "gpt-9"}, 400, "chat_model_not_supported"),
    "a model of pictures": ({"model": "z-image"}, 400, "chat_model_not_supported"),
    "no model": ({"model": None}, 400, "validation_failed"),
    "a model that is no string": ({"model": ["gpt-5-2-chat"]}, 400, "validation_failed"),
    "no message": ({"message": None}, 400, "validation_failed"),
    "a blank message": ({"message": " \n"}, 400, "validation_failed"),
    "a long message": ({"message": "x" * 20_001}, 400, "validation_failed"),
    "raw messages": ({"messages": []}, 400, "validation_failed"),
    "a flag that is none": ({"enable_web_search": "yes"}, 400, "validation_failed"),
    "thoughts that are no flag": ({"include_thoughts": 1}, 400, "validation_failed"),
    "an unknown effort": ({"reasoning_effort": "most"}, 400, "validation_failed"),
    "an effort that is no string": ({"reasoning_effort": ["low"]}, 400, "validation_failed"),
    "a long trace id": ({"client_request_id": "x" * 129}, 400, "validation_failed"),
    "a session that is no string": ({"session_id": 5}, 400, "validation_failed"),
    "attachments that are no list": ({"attachments": "file_1"}, 400, "validation_failed"),
    "an attachment without an id": ({"attachments": [{"url": "https://x"}]}, 400, "validation_failed"),
    "an attachment by its bare id": ({"attachments": ["file_1"]}, 400, "validation_failed"),
    "an unknown session": ({"session_id": "ses_1"}, 409, "chat_session_conflict"),
    "an unknown file": ({"attachments": [{"file_id": "file_1"}]}, 400, "chat_attachment_not_supported"),
    "a file for a model of words": (
        {"model": "claude-sonnet-4-6-chat", "attachments": [{"file_id": "file_1"}]},
        400,
        "chat_attachment_not_supported",
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("body", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_refused(body: dict[str, Any], status: int, code: str, stream: bool) -> None:
    async with running_sandbox(speed=QUICK) as on:
        reply = await ask(on, stream=stream, **body)
        assert (reply.status, reply.code) == (status, code)
        assert on.sandbox.credits == 1_000_000


async def test_nulls_count_as_left_out_and_unknown_members_are_ignored() -> None:
    names = ["session_id", "attachments", "enable_web_search", "include_thoughts", "reasoning_effort"]
    nulls: dict[str, Any] = dict.fromkeys([*names, "client_request_id"])
    async with running_sandbox(speed=QUICK) as on:
        assert (await ask(on, **nulls, mood="calm")).status == 200
        assert (await ask(on, attachments=[], reasoning_effort="minimal", message="x" * 20_000)).status == 200


async def test_the_scopes() -> None:
    async with running_sandbox(speed=QUICK) as on:
        writer, reader = on.sandbox.add_key(scopes={"chat:create"}), on.sandbox.add_key(scopes={"chat:read"})
        session_id = (await ask(on, key=writer)).json["session_id"]
        for path in ("/api/v1/chat/sessions", f"/api/v1/chat/sessions/{session_id}"):
            assert (await on.ask("GET", path, key=reader)).status == 200
            assert (await on.ask("GET", path, key=writer)).code == "api_scope_denied"
        for stream in (False, True):
            assert (await ask(on, key=reader, stream=stream)).code == "api_scope_denied"


async def uploaded(on: SandboxClient, extension: str, *, key: str | None = None) -> str:
    """The id of a file that this account has uploaded."""
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("file", media(extension), filename="kite.bin", content_type="application/octet-stream")
    form.add_field("kind", MIME_TYPES[extension].partition("/")[0])
    return str((await on.ask("POST", "/api/v1/files", data=form, key=key)).json["id"])


@pytest.mark.parametrize("stream", [False, True])
async def test_pictures_of_the_account_may_be_attached_and_nothing_else(stream: bool) -> None:
    async with running_sandbox(speed=QUICK) as on:
        stranger = on.sandbox.add_key(credits=100)
        mine, sound = await uploaded(on, "png"), await uploaded(on, "wav")
        theirs = await uploaded(on, "png", key=stranger)
        reply = await ask(on, stream=stream, attachments=[{"file_id": mine}])
        assert reply.status == 200
        assert b"I have looked at the picture." in reply.raw
        for file_id in (sound, theirs):
            refused = await ask(on, stream=stream, attachments=[{"file_id": mine}, {"file_id": file_id}])
            assert (refused.status, refused.code) == (400, "chat_attachment_not_supported")


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_sessions_are_listed_the_newest_first_and_told_whole() -> None:
    async with running_sandbox(speed=QUICK) as on:
        ids = []
        for number in range(25):
            on.clock.now += 1
            ids.append((await ask(on, message=f"Poster  number\n{number}, " + "x" * 80)).json["session_id"])
        listing = (await on.ask("GET", "/api/v1/chat/sessions")).json
        assert listing["object"] == "list"
        assert [each["id"] for each in listing["data"]] == ids[:4:-1]
        assert set(listing["data"][0]) == {"id", "object", "model", "title", "created_at", "updated_at"}
        assert listing["data"][0]["title"] == ("Poster number 24, " + "x" * 80)[:60]
        assert len((await on.ask("GET", "/api/v1/chat/sessions?limit=100")).json["data"]) == 25
        assert [each["id"] for each in (await on.ask("GET", "/api/v1/chat/sessions?limit=1")).json["data"]] == ids[-1:]
        on.clock.now += 60
        await ask(on, session_id=ids[0], message="And?")
        whole = (await on.ask("GET", f"/api/v1/chat/sessions/{ids[0]}")).json
        assert [message["role"] for message in whole["messages"]] == ["user", "assistant"] * 2
        assert set(whole["messages"][0]) == {"id", "role", "content", "created_at"}
        assert whole["updated_at"] > whole["created_at"]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1.5", "٣", "9" * 5000])
async def test_a_limit_that_is_none(limit: str) -> None:
    async with running_sandbox(speed=QUICK) as on:
        assert (await on.ask("GET", f"/api/v1/chat/sessions?limit={limit}")).code == "validation_failed"


async def test_a_session_is_its_accounts_and_its_models() -> None:
    async with running_sandbox(speed=QUICK) as on:
        session_id = (await ask(on)).json["session_id"]
        stranger = on.sandbox.add_key(credits=100)
        assert (await ask(on, session_id=session_id, key=stranger)).code == "chat_session_conflict"
        assert (await ask(on, session_id=session_id, model="gemini-2-5-flash-chat")).code == "chat_session_conflict"
        assert (await on.ask("GET", "/api/v1/chat/sessions", key=stranger)).json["data"] == []
        assert (await on.ask("GET", f"/api/v1/chat/sessions/{session_id}", key=stranger)).code == "not_found"
        assert (await ask(on, session_id=session_id)).status == 200


# --- once under a key -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_key_makes_it_one_turn(stream: bool) -> None:
    async with running_sandbox(speed=QUICK) as on:
        first = await ask(on, stream=stream, idempotency_key="order-1")
        assert (await ask(on, stream=stream, idempotency_key="order-1")).raw == first.raw
        refused = await ask(on, stream=stream, idempotency_key="order-1", message="Something else")
        assert (refused.status, refused.code) == (409, "idempotency_conflict")
        assert (await ask(on, stream=not stream, idempotency_key="order-1")).status == 200  # another endpoint
        assert on.sandbox.request_log.purchases_by_key == {"order-1": 2}
        assert (await ask(on, stream=stream, idempotency_key="k" * 256)).code == "validation_failed"


@pytest.mark.parametrize("stream", [False, True])
async def test_while_the_first_turn_is_on_its_key_is_taken(stream: bool) -> None:
    async with running_sandbox(speed=5.0) as on:
        first = asyncio.create_task(ask(on, stream=stream, idempotency_key="order-1"))
        await until(lambda: on.sandbox.request_log.purchases == 1)
        assert (await ask(on, stream=stream, idempotency_key="order-1")).code == "idempotency_conflict"
        raw = (await first).raw
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await ask(on, stream=stream, idempotency_key="order-1")).raw == raw
        assert loop.time() - began < THINKING_TIME / 5.0  # a replay is at once


async def test_a_turn_that_nobody_reads_to_its_end_is_taken_all_the_same() -> None:
    async with running_sandbox(speed=5.0) as on:
        reading = asyncio.create_task(ask(on, stream=True, idempotency_key="order-1"))
        await until(lambda: on.sandbox.request_log.purchases == 1)
        reading.cancel()
        await until(lambda: not on.sandbox.request_log.in_flight)
        told = events((await ask(on, stream=True, idempotency_key="order-1")).raw)
        assert told[-1][0] == "message.completed"
        whole = (await on.ask("GET", f"/api/v1/chat/sessions/{told[0][1]['session_id']}")).json
        assert [message["role"] for message in whole["messages"]] == ["user", "assistant"]
        assert on.sandbox.credits == 1_000_000 - told[-1][1]["credits"]["final"]


# --- faults of a stream -----------------------------------------------------------------------------------------------

PIECES: SseStream = (
    SseEvent("message.started", {"id": "c"}),
    SseComment(),
    SseEvent("message.delta", {"delta": "Hi"}, 1.0),
    SseEvent("message.delta", {"delta": " there"}, 1.0),
    SseEvent("message.completed", {"object": "chat.completion"}),
)
WHOLE = ApiResponse(encode(PIECES), pieces=PIECES)


def names(answer: ApiResponse) -> list[str | None]:
    return [piece.name for piece in answer.pieces if isinstance(piece, SseEvent)]


@pytest.mark.parametrize(
    ("fields", "left", "ending"),
    [
        ({"stream": "cut", "after_events": 2}, ["message.started", "message.delta"], "cut"),
        ({"stream": "cut", "after_events": 0}, [], "cut"),
        ({"stream": "stall", "after_events": 1}, ["message.started"], "stall"),
        ({"stream": "end"}, ["message.started", "message.delta", "message.delta"], "whole"),
        (
            {"stream": "end", "after_events": 99},
            [piece.name for piece in PIECES if isinstance(piece, SseEvent)],
            "whole",
        ),
        ({"stream": "error", "after_events": 1}, ["message.started", "error"], "whole"),
        ({"shape": "unnamed"}, [None] * 4, "whole"),
        ({"shape": "done"}, ["message.started", "message.delta", "message.delta", "message.completed", None], "whole"),
        ({"shape": "done only"}, [None] * 4, "whole"),
        ({"shape": "done", "stream": "end"}, [piece.name for piece in PIECES if isinstance(piece, SseEvent)], "whole"),
    ],
)
def test_what_a_fault_makes_of_a_stream(fields: dict[str, Any], left: list[str | None], ending: str) -> None:
    altered = inject_fault(WHOLE, Fault(route=STREAM, **fields), "req_1")
    assert (names(altered), altered.ending) == (left, ending)
    assert altered.body == encode(altered.pieces)


def test_an_error_event_holds_the_envelope() -> None:
    for given_code, code in ((None, "internal_error"), ("rate_limited", "rate_limited")):
        last = inject_fault(WHOLE, Fault(stream="error", code=given_code), "req_1").pieces[-1]
        assert isinstance(last, SseEvent)
        assert isinstance(last.payload, dict)
        assert (last.payload["error"]["code"], last.payload["error"]["requestId"]) == (code, "req_1")


def test_shapes_change_the_deltas_alone() -> None:
    shapes: dict[str, dict[str, Any]] = {
        "delta.content": {"delta": {"content": "Hi"}},
        "delta.text": {"delta": {"type": "text", "text": "Hi"}},
        "content": {"content": "Hi"},
        "text": {"text": "Hi"},
    }
    for shape, told in shapes.items():
        pieces = SHAPES[shape](PIECES)
        assert pieces[2] == SseEvent("message.delta", told, 1.0)
        assert (pieces[0], pieces[1], pieces[-1]) == (PIECES[0], PIECES[1], PIECES[-1])


def test_other_answers_are_left_alone() -> None:
    answer = ApiResponse(b"{}")
    assert inject_fault(answer, Fault(stream="cut", after_events=1, shape="done"), "req_1") == answer
    assert first_events((), None) == ()
    replaced = inject_fault(WHOLE, Fault(status=503), "req_1")
    assert (replaced.status, replaced.pieces) == (503, ())


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": "vanish"},
        {"shape": "round"},
        {"after_events": 1, "drop": True},
        {"stream": "cut", "after_events": -1},
        {"stream": "cut", "drop": True},
        {"stream": "cut", "status": 503},
        {"shape": "done", "body": "x"},
        {"stream": "cut", "code": "rate_limited"},
    ],
)
def test_a_fault_of_a_stream_that_makes_no_sense(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Fault"):
        Fault(**fields)


async def test_a_stalled_stream_ends_with_the_sandbox() -> None:
    async with running_sandbox(speed=QUICK) as on:
        on.sandbox.faults.add(route=STREAM, stream="stall", after_events=1)
        reading = asyncio.create_task(ask(on, stream=True))
        await until(lambda: on.sandbox.request_log.purchases == 1)
        async with asyncio.timeout(5):
            await on.sandbox.aclose()
        await asyncio.gather(reading, return_exceptions=True)
        assert reading.exception() is not None
