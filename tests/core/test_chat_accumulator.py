"""A streamed answer: every shape that the service may turn out to have, and every way to end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rivya_async._core.chat.accumulator import ChatEvent, ChatStreamAccumulator
from rivya_async._core.errors import ResponseDecodeError, StreamInterruptedError
from rivya_async._core.http.sse import Event
from rivya_async._core.types.chat import ChatCredits, ChatMessage, Usage

STARTED = {"id": "chatcmpl_1", "session_id": "ses_1", "model": "m", "created_at": "2026-05-11T08:00:00.000Z"}
FINAL = {**STARTED, "object": "chat.completion", "message": {"id": "msg_1", "role": "assistant", "content": "Hi there"}}


def event(data: Any, name: str = "message") -> Event:
    return Event(name, data if isinstance(data, str) else json.dumps(data))


def took(reply: ChatStreamAccumulator, *events: Event) -> list[str]:
    return [reply.feed(each).delta for each in events]


DELTAS = {
    "a string": {"delta": "Hi"},
    "an object with content": {"delta": {"role": "assistant", "content": "Hi"}},
    "an object with text": {"delta": {"type": "text", "content": None, "text": "Hi"}},
    "content": {"content": "Hi"},
    "text": {"text": "Hi"},
    "content as an object": {"content": {"text": "Hi"}},
    "more than one": {"delta": None, "content": "Hi", "text": "no"},
}


@pytest.mark.parametrize("data", DELTAS.values(), ids=DELTAS.keys())
@pytest.mark.parametrize("name", ["message", "message.delta", "delta", "chat.completion.chunk", "content", "token"])
def test_reads_text_of_all_shapes(data: dict[str, Any], name: str) -> None:
    reply = ChatStreamAccumulator()
    assert reply.feed(event(data, name)) == ChatEvent(name, data, "Hi")
    assert reply.text == "Hi"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("message.started", STARTED),
        ("message.thought", {"text": "Hm"}),
        ("thought.delta", {"delta": "Hm"}),
        ("reasoning_delta", {"delta": "Hm"}),
        ("thinking.delta", {"delta": "Hm"}),
        ("citation", {"content": "https://example.org"}),
        ("ping", {}),
        ("message", {"delta": {"role": "assistant"}}),
        ("message", {"delta": 5}),
        ("message", {"error": None}),
        ("message", {"message": "a word"}),
        ("message", "no JSON at all"),
        ("message", '{"delta": "Hi'),
        ("message", ["a", "list"]),
        ("message", "5"),
        ("message_start", {"message": {"id": "msg_1", "content": ""}}),
    ],
)
def test_ignores_other_events(name: str, data: Any) -> None:
    reply = ChatStreamAccumulator()
    reply.feed(event({"delta": "So far"}))
    taken = reply.feed(event(data, name))
    told = 5 if data == "5" else data
    assert taken == ChatEvent(name, told, "")
    assert (reply.text, reply.completion) == ("So far", None)


@pytest.mark.parametrize(
    ("name", "final"),
    [
        ("message.completed", FINAL),
        ("message", FINAL),
        ("done", {**STARTED, "message": FINAL["message"]}),
        ("done", {"message": FINAL["message"]}),
    ],
)
def test_recognizes_final_event_by_members(name: str, final: dict[str, Any]) -> None:
    reply = ChatStreamAccumulator()
    assert took(reply, event(STARTED, "message.started"), event({"delta": "Hi"}), event(final, name)) == ["", "Hi", ""]
    assert reply.completion is not None
    assert (reply.completion.id, reply.completion.session_id) == ("chatcmpl_1", "ses_1")
    assert reply.completion.message == ChatMessage("Hi there", id="msg_1")
    assert reply.session_id == "ses_1"


def test_single_event_answer_is_its_own_delta() -> None:
    reply = ChatStreamAccumulator()
    assert took(reply, event(FINAL)) == ["Hi there"]
    assert reply.text == "Hi there"


def test_done_builds_completion_from_events() -> None:
    reply = ChatStreamAccumulator()
    events = [
        event(STARTED),
        event({"id": "chunk_2", "delta": "Hi"}),
        event({"usage": {"total_tokens": 3}, "credits": 5}),
    ]
    took(reply, *events, event({"credits": {"final": 1}}), event("[DONE]"))
    assert reply.completion is not None
    assert reply.completion.id == "chatcmpl_1"
    assert reply.completion.message == ChatMessage("Hi")
    assert reply.completion.usage == Usage(total_tokens=3)
    assert reply.completion.credits == ChatCredits(final=1)


def test_keeps_last_cumulative_and_first_other_values() -> None:
    reply = ChatStreamAccumulator()
    first = {**STARTED, "usage": {"input_tokens": 2}, "credits": {"reserved": 3}}
    last = {"id": "chunk_2", "model": "n", "usage": {"total_tokens": 9}, "credits": {"reserved": 3, "final": 2}}
    took(reply, event(first), event({"delta": "Hi"}), event(last), event("[DONE]"))
    assert reply.completion is not None
    assert (reply.completion.id, reply.completion.model) == ("chatcmpl_1", "m")
    assert reply.completion.usage == Usage(total_tokens=9)
    assert reply.completion.credits == ChatCredits(3, 2)


@pytest.mark.parametrize("message", [None, {}, {"id": "msg_1", "content": None}, {"id": "msg_1", "content": ""}])
def test_incomplete_final_event_uses_earlier_members(message: Any) -> None:
    reply = ChatStreamAccumulator()
    final = {"object": "chat.completion", "id": None, "session_id": None, "mood": None, "message": message}
    took(reply, event(STARTED), event({"delta": "Hi"}), event(final))
    assert reply.completion is not None
    assert (reply.completion.id, reply.completion.session_id) == ("chatcmpl_1", "ses_1")
    assert reply.completion.text == "Hi"
    assert reply.completion.message.id == (message or {}).get("id")
    assert reply.completion.extra == {"mood": None}


def test_final_event_without_text_is_empty_answer() -> None:
    reply = ChatStreamAccumulator()
    assert took(reply, event({**STARTED, "object": "chat.completion"})) == [""]
    assert reply.completion is not None
    assert reply.completion.text == ""


def test_limits_answer_length() -> None:
    reply = ChatStreamAccumulator()
    million = event({"delta": "x" * 1024 * 1024})
    took(reply, *[million] * 32)
    with pytest.raises(ResponseDecodeError, match="longer than"):
        reply.feed(million)
    assert len(reply.text) == 32 * 1024 * 1024


def test_done_without_events_builds_nothing() -> None:
    reply = ChatStreamAccumulator()
    assert reply.feed(event("[DONE]")) == ChatEvent("message", "[DONE]")
    assert reply.completion is None
    assert reply.session_id is None


def test_rejects_invalid_completion() -> None:
    reply = ChatStreamAccumulator()
    took(reply, event({"created_at": "yesterday", "delta": "Hi"}))
    with pytest.raises(ResponseDecodeError, match="created_at"):
        reply.feed(event("[DONE]"))
    with pytest.raises(ResponseDecodeError, match="content"):
        reply.feed(event({**FINAL, "message": {"content": 5}}))
    assert reply.text == "Hi"


ERRORS = {
    "the envelope": ("error", {"error": {"code": "rate_limited", "message": "Slow down.", "requestId": "req_1"}}),
    "the envelope without a name": (
        "message",
        {"error": {"code": "rate_limited", "message": "Slow down.", "requestId": "req_1"}},
    ),
    "without an envelope": ("error", {"code": "rate_limited", "message": "Slow down.", "requestId": "req_1"}),
}


@pytest.mark.parametrize(("name", "data"), ERRORS.values(), ids=ERRORS.keys())
def test_service_error_keeps_text(name: str, data: dict[str, Any]) -> None:
    reply = ChatStreamAccumulator()
    took(reply, event(STARTED), event({"delta": "Hi"}))
    with pytest.raises(StreamInterruptedError, match="Slow down") as raised:
        reply.feed(event(data, name))
    error = raised.value
    assert (error.text, error.session_id, error.code, error.request_id) == ("Hi", "ses_1", "rate_limited", "req_1")


@pytest.mark.parametrize(("data", "told"), [("it broke", "it broke"), ({}, "an error"), ({"error": "bad"}, "bad")])
def test_error_of_other_shape_raises(data: Any, told: str) -> None:
    with pytest.raises(StreamInterruptedError, match=told) as raised:
        ChatStreamAccumulator().feed(event(data, "error"))
    assert (raised.value.text, raised.value.code, raised.value.session_id) == ("", None, None)
