"""The Chat API over real sockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rivya_async.sandbox.chat import THINKING_TIME, compose_reply, split_tokens
from tests.media_kit import MIME_TYPES, media
from tests.sandbox.sandbox_client import HttpReply, SandboxClient, running_sandbox, wait_until

ASK = "POST /api/v1/chat/completions"
STREAM = "POST /api/v1/chat/completions/stream"
FAST = 100_000.0


async def send_message(
    client: SandboxClient, *, stream: bool = False, idempotency_key: str | None = None, **body: Any
) -> HttpReply:
    path = f"/api/v1/chat/completions{'/stream' if stream else ''}"
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    key = body.pop("key", None)
    whole = {"model": "gpt-5-2-chat", "message": "Name a colour.", **body}
    return await client.request("POST", path, key=key, json=whole, headers=headers)


def parse_events(raw: bytes) -> list[tuple[str, Any]]:
    """Returns the names and payloads of a stream in the sandbox's format."""
    data = []
    for block in raw.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            data.append((fields.get("event", ""), json.loads(fields["data"])))
    return data


# --- replies ----------------------------------------------------------------------------------------------------------


async def test_completion_has_documented_members() -> None:
    async with running_sandbox(speed=FAST) as client:
        reply = await send_message(client)
        data = reply.json
        assert reply.status == 200
        assert set(data) == {"id", "object", "session_id", "model", "created_at", "message", "usage", "credits"}
        assert data["id"].startswith("chatcmpl_")
        assert (data["object"], data["model"]) == ("chat.completion", "gpt-5-2-chat")
        assert data["created_at"] == "2026-05-11T08:00:00.000Z"
        assert set(data["message"]) == {"id", "role", "content"}
        usage = data["usage"]
        assert usage["input_tokens"] == 3
        assert usage["output_tokens"] == len(split_tokens(data["message"]["content"]))
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_stream_has_same_reply_as_completion() -> None:
    async with running_sandbox(speed=FAST) as client:
        whole = (await send_message(client)).json
        reply = await send_message(client, stream=True)
        assert (reply.status, reply.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        assert b"\n\n: keep-alive\n\n" in reply.raw
        events = parse_events(reply.raw)
        assert events[0][0] == "message.started"
        assert set(events[0][1]) == {"id", "session_id", "model", "created_at"}
        deltas = [data["delta"] for name, data in events if name == "message.delta"]
        assert "".join(deltas) == whole["message"]["content"]
        assert events[-1][0] == "message.completed"
        own = {"id": 0, "session_id": 0, "message": 0}
        assert events[-1][1] | own == whole | own
        assert {name: events[-1][1][name] for name in events[0][1]} == events[0][1]


async def test_streams_thoughts_on_request() -> None:
    async with running_sandbox(speed=FAST) as client:
        with_thoughts = parse_events((await send_message(client, stream=True, include_thoughts=True)).raw)
        without = parse_events((await send_message(client, stream=True, include_thoughts=False)).raw)
        assert "message.thought" in {name for name, _ in with_thoughts}
        assert "message.thought" not in {name for name, _ in without}


async def test_turn_duration_follows_speed() -> None:
    loop = asyncio.get_running_loop()
    for stream in (False, True):
        took = []
        for speed in (10.0, FAST):
            async with running_sandbox(speed=speed) as client:
                began = loop.time()
                await send_message(client, stream=stream)
                took.append(loop.time() - began)
        assert took[0] > 0.1
        assert took[0] > took[1]


@settings(deadline=None)
@given(st.text(), st.integers(0, 3), st.booleans())
def test_reply_is_deterministic_and_equals_its_tokens(text: str, images: int, web_search: bool) -> None:
    reply = compose_reply(text, images=images, web_search=web_search)
    assert reply == compose_reply(text, images=images, web_search=web_search)
    assert "".join(split_tokens(reply)) == reply
    assert "".join(split_tokens(text)) == text
    assert ("picture" in reply.split("\n")[0]) >= bool(images)
    reply.encode()


def test_different_messages_have_different_replies() -> None:
    assert len({compose_reply(f"Poster number {number}") for number in range(50)}) == 50


# --- credits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_turn_costs_at_least_one_and_at_most_reserved_credits(stream: bool) -> None:
    async with running_sandbox(speed=FAST, credits=100) as client:
        for model, price in (("gpt-5-2-chat", 3), ("gemini-2-5-flash-chat", 1), ("claude-sonnet-4-6-chat", 4)):
            before = client.sandbox.credits
            reply = await send_message(client, stream=stream, model=model)
            data = (parse_events(reply.raw)[-1][1] if stream else reply.json)["credits"]
            assert data["reserved"] == price
            assert 1 <= data["final"] <= price
            assert before - client.sandbox.credits == data["final"]


async def test_reservation_lasts_until_stream_ends() -> None:
    async with running_sandbox(speed=FAST, credits=100) as client:
        client.sandbox.faults.add(route=STREAM, stream="stall", after_events=2)
        reading = asyncio.create_task(send_message(client, stream=True, model="claude-sonnet-4-6-chat"))
        await wait_until(lambda: client.sandbox.request_log.purchases == 1)
        assert client.sandbox.credits == 96
        reading.cancel()
        await wait_until(lambda: not client.sandbox.request_log.in_flight)
        assert client.sandbox.credits > 96


async def test_long_session_costs_more() -> None:
    async with running_sandbox(speed=FAST) as client:
        first = (await send_message(client, model="claude-sonnet-4-6-chat")).json
        last = first
        for _ in range(4):
            last = (await send_message(client, model="claude-sonnet-4-6-chat", session_id=first["session_id"])).json
        assert last["credits"]["final"] == 4 > first["credits"]["final"]


@pytest.mark.parametrize("stream", [False, True])
async def test_insufficient_credits_create_no_session(stream: bool) -> None:
    async with running_sandbox(speed=FAST, credits=2) as client:
        reply = await send_message(client, stream=stream)
        assert (reply.status, reply.code) == (402, "insufficient_credits")
        assert (await client.request("GET", "/api/v1/chat/sessions")).json["data"] == []
        assert client.sandbox.request_log.purchases == 0


# --- errors -----------------------------------------------------------------------------------------------------------

INVALID = {
    "an unknown model": ({"model": "gpt-9"}, 400, "chat_model_not_supported"),
    "an image model": ({"model": "z-image"}, 400, "chat_model_not_supported"),
    "no model": ({"model": None}, 400, "validation_failed"),
    "a non-string model": ({"model": ["gpt-5-2-chat"]}, 400, "validation_failed"),
    "no message": ({"message": None}, 400, "validation_failed"),
    "a blank message": ({"message": " \n"}, 400, "validation_failed"),
    "a long message": ({"message": "x" * 20_001}, 400, "validation_failed"),
    "raw messages": ({"messages": []}, 400, "validation_failed"),
    "an invalid flag": ({"enable_web_search": "yes"}, 400, "validation_failed"),
    "an invalid thoughts flag": ({"include_thoughts": 1}, 400, "validation_failed"),
    "an unknown effort": ({"reasoning_effort": "most"}, 400, "validation_failed"),
    "a non-string effort": ({"reasoning_effort": ["low"]}, 400, "validation_failed"),
    "a long trace id": ({"client_request_id": "x" * 129}, 400, "validation_failed"),
    "a non-string session": ({"session_id": 5}, 400, "validation_failed"),
    "non-list attachments": ({"attachments": "file_1"}, 400, "validation_failed"),
    "an attachment without an id": ({"attachments": [{"url": "https://x"}]}, 400, "validation_failed"),
    "an attachment by its bare id": ({"attachments": ["file_1"]}, 400, "validation_failed"),
    "an unknown session": ({"session_id": "ses_1"}, 409, "chat_session_conflict"),
    "an unknown file": ({"attachments": [{"file_id": "file_1"}]}, 400, "chat_attachment_not_supported"),
    "a file for a text model": (
        {"model": "claude-sonnet-4-6-chat", "attachments": [{"file_id": "file_1"}]},
        400,
        "chat_attachment_not_supported",
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("body", "status", "code"), INVALID.values(), ids=INVALID.keys())
async def test_rejects_invalid_requests(body: dict[str, Any], status: int, code: str, stream: bool) -> None:
    async with running_sandbox(speed=FAST) as client:
        reply = await send_message(client, stream=stream, **body)
        assert (reply.status, reply.code) == (status, code)
        assert client.sandbox.credits == 1_000_000


async def test_nulls_count_as_absent_and_unknown_members_are_ignored() -> None:
    event_names = ["session_id", "attachments", "enable_web_search", "include_thoughts", "reasoning_effort"]
    nulls: dict[str, Any] = dict.fromkeys([*event_names, "client_request_id"])
    async with running_sandbox(speed=FAST) as client:
        assert (await send_message(client, **nulls, mood="calm")).status == 200
        assert (
            await send_message(client, attachments=[], reasoning_effort="minimal", message="x" * 20_000)
        ).status == 200


async def test_chat_operations_need_scopes() -> None:
    async with running_sandbox(speed=FAST) as client:
        writer, reader = client.sandbox.add_key(scopes={"chat:create"}), client.sandbox.add_key(scopes={"chat:read"})
        session_id = (await send_message(client, key=writer)).json["session_id"]
        for path in ("/api/v1/chat/sessions", f"/api/v1/chat/sessions/{session_id}"):
            assert (await client.request("GET", path, key=reader)).status == 200
            assert (await client.request("GET", path, key=writer)).code == "api_scope_denied"
        for stream in (False, True):
            assert (await send_message(client, key=reader, stream=stream)).code == "api_scope_denied"


async def upload(client: SandboxClient, extension: str, *, key: str | None = None) -> str:
    """Uploads a file and returns its id."""
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("file", media(extension), filename="kite.bin", content_type="application/octet-stream")
    form.add_field("kind", MIME_TYPES[extension].partition("/")[0])
    return str((await client.request("POST", "/api/v1/files", data=form, key=key)).json["id"])


@pytest.mark.parametrize("stream", [False, True])
async def test_accepts_images_of_account_only(stream: bool) -> None:
    async with running_sandbox(speed=FAST) as client:
        stranger = client.sandbox.add_key(credits=100)
        mine, sound = await upload(client, "png"), await upload(client, "wav")
        theirs = await upload(client, "png", key=stranger)
        reply = await send_message(client, stream=stream, attachments=[{"file_id": mine}])
        assert reply.status == 200
        assert b"I have looked at the picture." in reply.raw
        for file_id in (sound, theirs):
            rejected = await send_message(client, stream=stream, attachments=[{"file_id": mine}, {"file_id": file_id}])
            assert (rejected.status, rejected.code) == (400, "chat_attachment_not_supported")


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_lists_sessions_newest_first_with_messages() -> None:
    async with running_sandbox(speed=FAST) as client:
        ids = []
        for number in range(25):
            client.clock.now += 1
            ids.append(
                (await send_message(client, message=f"Poster  number\n{number}, " + "x" * 80)).json["session_id"]
            )
        listing = (await client.request("GET", "/api/v1/chat/sessions")).json
        assert listing["object"] == "list"
        assert [each["id"] for each in listing["data"]] == ids[:4:-1]
        assert set(listing["data"][0]) == {"id", "object", "model", "title", "created_at", "updated_at"}
        assert listing["data"][0]["title"] == ("Poster number 24, " + "x" * 80)[:60]
        assert len((await client.request("GET", "/api/v1/chat/sessions?limit=100")).json["data"]) == 25
        assert [
            each["id"] for each in (await client.request("GET", "/api/v1/chat/sessions?limit=1")).json["data"]
        ] == ids[-1:]
        client.clock.now += 60
        await send_message(client, session_id=ids[0], message="And?")
        whole = (await client.request("GET", f"/api/v1/chat/sessions/{ids[0]}")).json
        assert [message["role"] for message in whole["messages"]] == ["user", "assistant"] * 2
        assert set(whole["messages"][0]) == {"id", "role", "content", "created_at"}
        assert whole["updated_at"] > whole["created_at"]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1.5", "٣", "9" * 5000])
async def test_rejects_invalid_limit(limit: str) -> None:
    async with running_sandbox(speed=FAST) as client:
        assert (await client.request("GET", f"/api/v1/chat/sessions?limit={limit}")).code == "validation_failed"


async def test_session_is_bound_to_account_and_model() -> None:
    async with running_sandbox(speed=FAST) as client:
        session_id = (await send_message(client)).json["session_id"]
        stranger = client.sandbox.add_key(credits=100)
        assert (await send_message(client, session_id=session_id, key=stranger)).code == "chat_session_conflict"
        assert (
            await send_message(client, session_id=session_id, model="gemini-2-5-flash-chat")
        ).code == "chat_session_conflict"
        assert (await client.request("GET", "/api/v1/chat/sessions", key=stranger)).json["data"] == []
        assert (await client.request("GET", f"/api/v1/chat/sessions/{session_id}", key=stranger)).code == "not_found"
        assert (await send_message(client, session_id=session_id)).status == 200


# --- idempotency ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_key_makes_one_turn(stream: bool) -> None:
    async with running_sandbox(speed=FAST) as client:
        first = await send_message(client, stream=stream, idempotency_key="order-1")
        assert (await send_message(client, stream=stream, idempotency_key="order-1")).raw == first.raw
        rejected = await send_message(client, stream=stream, idempotency_key="order-1", message="Something else")
        assert (rejected.status, rejected.code) == (409, "idempotency_conflict")
        assert (
            await send_message(client, stream=not stream, idempotency_key="order-1")
        ).status == 200  # another endpoint
        assert client.sandbox.request_log.purchases_by_key == {"order-1": 2}
        assert (await send_message(client, stream=stream, idempotency_key="k" * 256)).code == "validation_failed"


@pytest.mark.parametrize("stream", [False, True])
async def test_key_conflicts_while_first_turn_runs(stream: bool) -> None:
    async with running_sandbox(speed=5.0) as client:
        first = asyncio.create_task(send_message(client, stream=stream, idempotency_key="order-1"))
        await wait_until(lambda: client.sandbox.request_log.purchases == 1)
        assert (await send_message(client, stream=stream, idempotency_key="order-1")).code == "idempotency_conflict"
        raw = (await first).raw
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert (await send_message(client, stream=stream, idempotency_key="order-1")).raw == raw
        assert loop.time() - began < THINKING_TIME / 5.0  # a replay is at once


async def test_abandoned_stream_is_charged_and_stored() -> None:
    async with running_sandbox(speed=5.0) as client:
        reading = asyncio.create_task(send_message(client, stream=True, idempotency_key="order-1"))
        await wait_until(lambda: client.sandbox.request_log.purchases == 1)
        reading.cancel()
        await wait_until(lambda: not client.sandbox.request_log.in_flight)
        data = parse_events((await send_message(client, stream=True, idempotency_key="order-1")).raw)
        assert data[-1][0] == "message.completed"
        whole = (await client.request("GET", f"/api/v1/chat/sessions/{data[0][1]['session_id']}")).json
        assert [message["role"] for message in whole["messages"]] == ["user", "assistant"]
        assert client.sandbox.credits == 1_000_000 - data[-1][1]["credits"]["final"]
