"""Streamed answers: all shapes of events, and all ways to end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rivya_async._core import assumptions
from rivya_async._core.chat.accumulator import ChatEvent, ChatStreamAccumulator, find_error
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
    "a list of parts": {"delta": {"content": [{"type": "text", "text": "H"}, {"type": "picture"}, "i"]}},
    "choices": {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"}}]},
    "choices with reasoning": {"choices": [{"delta": {"content": "Hi", "reasoning_content": "Hm"}}]},
    "choices of the older API": {"object": "text_completion", "choices": [{"text": "Hi", "finish_reason": None}]},
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
        ("message", {"choices": []}),
        ("message", {"choices": ["Hi"]}),
        ("message", {"choices": [{"delta": {"reasoning_content": "Hm"}, "finish_reason": "stop"}]}),
        ("message", {"error": False, "errors": [], "code": 0, "status": 200}),
        ("message", "ping"),
        ("message", "[KEEP-ALIVE]"),
        ("message", []),
        ("message", "null"),
        ("ping", "no JSON at all"),
        ("ping", "5"),
        ("message_start", {"message": {"id": "msg_1", "content": ""}}),
    ],
)
def test_ignores_other_events(name: str, data: Any) -> None:
    answer_stream = ChatStreamAccumulator()
    answer_stream.feed(event({"delta": "So far"}))
    event_result = answer_stream.feed(event(data, name))
    expected = {"5": 5, "null": None}.get(data, data) if isinstance(data, str) else data
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


@pytest.mark.parametrize(
    "last", [{**STARTED, "object": "chat.completion"}, "[DONE]", {"object": "chat.completion", "usage": {}}]
)
def test_end_without_text_or_usage_raises(last: Any) -> None:
    answer_stream = ChatStreamAccumulator()
    took(answer_stream, event(STARTED))
    with pytest.raises(StreamInterruptedError, match="without any text") as raised:
        answer_stream.feed(event(last))
    assert (raised.value.session_id, answer_stream.completion) == ("ses_1", None)


def test_end_with_usage_is_empty_answer() -> None:
    answer_stream = ChatStreamAccumulator()
    assert took(answer_stream, event({"usage": {"total_tokens": 3}}), event("[DONE]")) == ["", ""]
    assert answer_stream.completion is not None
    assert answer_stream.completion.text == ""


def test_reads_completion_of_choices() -> None:
    answer_stream = ChatStreamAccumulator()
    choice = {"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    assert took(answer_stream, event({**STARTED, "object": "chat.completion", "choices": [choice]})) == ["Hi"]
    assert answer_stream.completion is not None
    assert answer_stream.completion.message == ChatMessage("Hi")


@pytest.mark.parametrize("data", ["no JSON at all", '{"delta": "Hi', "<html>502</html>", ["a", "list"], "5", '"Hi"'])
def test_unreadable_event_raises(data: Any) -> None:
    answer_stream = ChatStreamAccumulator()
    answer_stream.feed(event({"delta": "So far"}))
    with pytest.raises(StreamInterruptedError, match="cannot be read") as raised:
        answer_stream.feed(event(data))
    assert raised.value.text == "So far"


def test_limits_answer_length(monkeypatch: pytest.MonkeyPatch) -> None:
    assert assumptions.MAX_RESPONSE_BYTES == 32 * 1024 * 1024
    monkeypatch.setattr(assumptions, "MAX_RESPONSE_BYTES", 32 * 1024)
    answer_stream = ChatStreamAccumulator()
    thousand = event({"delta": "x" * 1024})
    took(answer_stream, *[thousand] * 32)
    with pytest.raises(ResponseDecodeError, match="longer than"):
        answer_stream.feed(thousand)
    assert len(answer_stream.text) == 32 * 1024


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


OTHER_ERRORS: list[tuple[str, Any, str, str | None]] = [
    ("error", "it broke", "it broke", None),
    ("error", {}, "an error", None),
    ("error", "null", "an error", None),
    ("error", {"error": "bad"}, "bad", None),
    ("response.failed", {"response": {"id": "r"}}, "response", None),
    ("stream_error", {"message": "bad", "code": "x"}, "bad", "x"),
    ("message", {"error": "upstream timed out"}, "upstream timed out", None),
    ("message", {"error": {}}, "an error", None),
    ("message", {"error": True, "message": "bad", "request_id": "req_1"}, "bad", None),
    ("message", {"error": ["bad", "worse"]}, "bad", None),
    ("message", {"errors": [{"message": "bad", "code": 7}]}, "bad", "7"),
    ("message", [{"error": {"code": 503, "message": "bad", "status": "UNAVAILABLE"}}], "bad", "503"),
    ("message", {"type": "error", "error": {"type": "overloaded_error", "message": "bad"}}, "bad", "overloaded_error"),
    ("message", {"type": "response.failed", "message": "bad"}, "bad", "response.failed"),
    ("message", {"object": "error", "message": "bad", "code": 40}, "bad", "40"),
    ("message", {"status": "failed", "delta": "x", "reason": "bad"}, "bad", "failed"),
    ("message", {"status": 502, "title": "bad"}, "bad", "502"),
    ("message", {"detail": "bad"}, "bad", None),
    ("message", {"detail": [{"msg": "bad"}]}, "bad", None),
    ("message", {"message": "bad", "code": "x"}, "bad", "x"),
    ("message", {"message": "Request timed out"}, "timed out", None),
    ("message", {"error_message": "bad", "error_code": "x"}, "bad", "x"),
    ("message", {"success": False, "msg": "bad"}, "bad", None),
    ("message", {"choices": [{"error": {"message": "bad", "code": 1}, "delta": {"content": ""}}]}, "bad", "1"),
    ("message", {"choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}, "finish_reason", None),
    ("message", {"choices": [{"delta": {"error": "bad"}}]}, "bad", None),
    ("message", {"delta": {"error": "bad"}}, "bad", None),
    ("message", {"data": {"error": {"detail": "bad"}}}, "bad", None),
    ("message.completed", {**FINAL, "error": {"message": "bad", "code": "x"}}, "bad", "x"),
]


@pytest.mark.parametrize(("name", "data", "expected", "code"), OTHER_ERRORS)
def test_error_of_other_shape_raises(name: str, data: Any, expected: str, code: str | None) -> None:
    answer_stream = ChatStreamAccumulator()
    answer_stream.feed(event({"delta": "Half"}))
    with pytest.raises(StreamInterruptedError, match=expected) as raised:
        answer_stream.feed(event(data, name))
    assert (raised.value.text, raised.value.code, raised.value.session_id) == ("Half", code, None)


def test_error_text_has_a_limit() -> None:
    for data in ({"error": "x" * 100_000}, {"error": {"odd": "x" * 100_000}}, "x" * 100_000):
        with pytest.raises(StreamInterruptedError) as raised:
            ChatStreamAccumulator().feed(event(data))
        assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("data", [["a list"], [5], []])
def test_list_without_object_reports_no_error(data: list[Any]) -> None:
    assert find_error("message", data) is None


def test_object_with_text_is_no_refusal() -> None:
    assert find_error("message", {"delta": "Hi", "message": "an error"}) is None
