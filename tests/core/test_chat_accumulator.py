"""Streamed answers: all shapes of events, and all ways to end."""

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


def took(answer_stream: ChatStreamAccumulator, *events: Event) -> list[str]:
    return [answer_stream.feed(each).delta for each in events]


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
    answer_stream = ChatStreamAccumulator()
    assert answer_stream.feed(event(data, name)) == ChatEvent(name, data, "Hi")
    assert answer_stream.text == "Hi"


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
    answer_stream = ChatStreamAccumulator()
    answer_stream.feed(event({"delta": "So far"}))
    event_result = answer_stream.feed(event(data, name))
    expected = 5 if data == "5" else data
    assert event_result == ChatEvent(name, expected, "")
    assert (answer_stream.text, answer_stream.completion) == ("So far", None)


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
    answer_stream = ChatStreamAccumulator()
    assert took(answer_stream, event(STARTED, "message.started"), event({"delta": "Hi"}), event(final, name)) == [
        "",
        "Hi",
        "",
    ]
    assert answer_stream.completion is not None
    assert (answer_stream.completion.id, answer_stream.completion.session_id) == ("chatcmpl_1", "ses_1")
    assert answer_stream.completion.message == ChatMessage("Hi there", id="msg_1")
    assert answer_stream.session_id == "ses_1"


def test_single_event_answer_is_its_own_delta() -> None:
    answer_stream = ChatStreamAccumulator()
    assert took(answer_stream, event(FINAL)) == ["Hi there"]
    assert answer_stream.text == "Hi there"


def test_done_builds_completion_from_events() -> None:
    answer_stream = ChatStreamAccumulator()
    events = [
        event(STARTED),
        event({"id": "chunk_2", "delta": "Hi"}),
        event({"usage": {"total_tokens": 3}, "credits": 5}),
    ]
    took(answer_stream, *events, event({"credits": {"final": 1}}), event("[DONE]"))
    assert answer_stream.completion is not None
    assert answer_stream.completion.id == "chatcmpl_1"
    assert answer_stream.completion.message == ChatMessage("Hi")
    assert answer_stream.completion.usage == Usage(total_tokens=3)
    assert answer_stream.completion.credits == ChatCredits(final=1)


def test_keeps_last_cumulative_and_first_other_values() -> None:
    answer_stream = ChatStreamAccumulator()
    first = {**STARTED, "usage": {"input_tokens": 2}, "credits": {"reserved": 3}}
    last = {"id": "chunk_2", "model": "n", "usage": {"total_tokens": 9}, "credits": {"reserved": 3, "final": 2}}
    took(answer_stream, event(first), event({"delta": "Hi"}), event(last), event("[DONE]"))
    assert answer_stream.completion is not None
    assert (answer_stream.completion.id, answer_stream.completion.model) == ("chatcmpl_1", "m")
    assert answer_stream.completion.usage == Usage(total_tokens=9)
    assert answer_stream.completion.credits == ChatCredits(3, 2)


@pytest.mark.parametrize("message", [None, {}, {"id": "msg_1", "content": None}, {"id": "msg_1", "content": ""}])
def test_incomplete_final_event_uses_earlier_members(message: Any) -> None:
    answer_stream = ChatStreamAccumulator()
    final = {"object": "chat.completion", "id": None, "session_id": None, "mood": None, "message": message}
    took(answer_stream, event(STARTED), event({"delta": "Hi"}), event(final))
    assert answer_stream.completion is not None
    assert (answer_stream.completion.id, answer_stream.completion.session_id) == ("chatcmpl_1", "ses_1")
    assert answer_stream.completion.text == "Hi"
    assert answer_stream.completion.message.id == (message or {}).get("id")
    assert answer_stream.completion.extra == {"mood": None}


def test_final_event_without_text_is_empty_answer() -> None:
    answer_stream = ChatStreamAccumulator()
    assert took(answer_stream, event({**STARTED, "object": "chat.completion"})) == [""]
    assert answer_stream.completion is not None
    assert answer_stream.completion.text == ""


def test_limits_answer_length() -> None:
    answer_stream = ChatStreamAccumulator()
    million = event({"delta": "x" * 1024 * 1024})
    took(answer_stream, *[million] * 32)
    with pytest.raises(ResponseDecodeError, match="longer than"):
        answer_stream.feed(million)
    assert len(answer_stream.text) == 32 * 1024 * 1024


def test_done_without_events_builds_nothing() -> None:
    answer_stream = ChatStreamAccumulator()
    assert answer_stream.feed(event("[DONE]")) == ChatEvent("message", "[DONE]")
    assert answer_stream.completion is None
    assert answer_stream.session_id is None


def test_completion_with_unreadable_member_is_kept() -> None:
    answer_stream = ChatStreamAccumulator()
    took(answer_stream, event({"created_at": "yesterday", "delta": "Hi"}))
    answer_stream.feed(event("[DONE]"))
    assert answer_stream.completion is not None
    assert (answer_stream.completion.text, answer_stream.completion.extra) == ("Hi", {"created_at": "yesterday"})


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
    answer_stream = ChatStreamAccumulator()
    took(answer_stream, event(STARTED), event({"delta": "Hi"}))
    with pytest.raises(StreamInterruptedError, match="Slow down") as raised:
        answer_stream.feed(event(data, name))
    error = raised.value
    assert (error.text, error.session_id, error.code, error.request_id) == ("Hi", "ses_1", "rate_limited", "req_1")


@pytest.mark.parametrize(("data", "expected"), [("it broke", "it broke"), ({}, "an error"), ({"error": "bad"}, "bad")])
def test_error_of_other_shape_raises(data: Any, expected: str) -> None:
    with pytest.raises(StreamInterruptedError, match=expected) as raised:
        ChatStreamAccumulator().feed(event(data, "error"))
    assert (raised.value.text, raised.value.code, raised.value.session_id) == ("", None, None)
