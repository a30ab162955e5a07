"""Chat, from arguments to a request and from answers to records."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from rivya_async._core.catalogue.model import Model
from rivya_async._core.chat import operations
from rivya_async._core.chat.request import ChatRequest, attachment_ids
from rivya_async._core.chat.validation import check_chat_request
from rivya_async._core.errors import ConfigurationError, ResponseDecodeError, ValidationFailed
from rivya_async._core.http.messages import Response
from rivya_async._core.types.chat import ChatCompletion, ChatCredits, ChatMessage, ChatSession, Usage
from rivya_async._core.types.generations import File, Generation

TURN = ChatRequest(model="gpt-5-2-chat", message="Name a colour.")


def response(body: Any) -> Response:
    return Response(200, {}, json.dumps(body).encode())


# --- what goes out ----------------------------------------------------------------------------------------------------


def test_only_what_is_set_is_sent() -> None:
    assert TURN.to_wire() == {"model": "gpt-5-2-chat", "message": "Name a colour."}


def test_everything_that_is_set_is_sent() -> None:
    turn = ChatRequest(
        model="gpt-5-2-chat",
        message=" Name a colour. ",
        session_id="ses_1",
        attachments=("file_1", "file_2"),
        enable_web_search=False,
        reasoning_effort="high",
        include_thoughts=True,
        client_request_id="x" * 128,
        extra={"temperature": 0.5, "stop": None},
    )
    assert turn.to_wire() == {
        "model": "gpt-5-2-chat",
        "message": " Name a colour. ",
        "session_id": "ses_1",
        "attachments": [{"file_id": "file_1"}, {"file_id": "file_2"}],
        "enable_web_search": False,
        "reasoning_effort": "high",
        "include_thoughts": True,
        "client_request_id": "x" * 128,
        "temperature": 0.5,
        "stop": None,
    }


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"model": ""}, "model must be"),
        ({"model": None}, "model must be"),
        ({"message": " \n"}, "message must be"),
        ({"message": ["hello"]}, "message must be"),
        ({"session_id": ""}, "session_id must be"),
        ({"session_id": 5}, "session_id must be"),
        ({"reasoning_effort": 1}, "reasoning_effort must be"),
        ({"client_request_id": "x" * 129}, "at most 128"),
        ({"enable_web_search": "yes"}, "enable_web_search must be"),
        ({"include_thoughts": 1}, "include_thoughts must be"),
        ({"extra": [("a", 1)]}, "extra must be"),
        ({"extra": {1: 2}}, "extra must be"),
        ({"extra": {"session_id": "ses_1", "attachments": []}}, "session_id, attachments of extra"),
    ],
)
def test_what_no_model_could_take_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        ChatRequest(**{"model": "gpt-5-2-chat", "message": "Hello", **wrong})


def test_attachments_are_files_or_their_ids() -> None:
    assert attachment_ids(["file_1", File("file_2", "https://rivya.ai/f/2.png")]) == ("file_1", "file_2")
    assert attachment_ids(()) == ()


@pytest.mark.parametrize(
    "wrong", ["file_1", 5, {"file_1"}, [""], [None], [b"file_1"], [Generation("task_1", "succeeded", "z-image")]]
)
def test_other_attachments_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="attachment"):
        attachment_ids(wrong)


def test_a_completion_is_a_purchase_under_its_key() -> None:
    request = operations.complete_chat(TURN, "order-1").request
    assert (request.method, request.path) == ("POST", "/api/v1/chat/completions")
    assert json.loads(request.body or b"") == TURN.to_wire()
    assert request.is_long_running
    headers = request.headers("rvya_sk_x", "rivya-async/1.2.3")
    assert (headers["Idempotency-Key"], headers["Accept"]) == ("order-1", "application/json")


def test_a_stream_is_the_same_purchase_answered_otherwise() -> None:
    request = operations.stream_chat(TURN, "order-1")
    assert (request.method, request.path) == ("POST", "/api/v1/chat/completions/stream")
    assert request.body == operations.complete_chat(TURN, "order-1").request.body
    headers = request.headers("rvya_sk_x", "rivya-async/1.2.3")
    assert (headers["Idempotency-Key"], headers["Accept"]) == ("order-1", "text/event-stream")
    assert headers["Authorization"] == "Bearer rvya_sk_x"


@pytest.mark.parametrize("ask", [operations.complete_chat, operations.stream_chat])
def test_a_bad_key_is_refused(ask: Any) -> None:
    with pytest.raises(ConfigurationError, match="idempotency_key"):
        ask(TURN, "order 1")


def test_sessions_are_listed_with_or_without_a_limit() -> None:
    assert operations.list_chat_sessions().request.path == "/api/v1/chat/sessions"
    assert operations.list_chat_sessions(5).request.path == "/api/v1/chat/sessions?limit=5"


@pytest.mark.parametrize("wrong", [0, -1, True, "5", 2.5])
def test_a_limit_is_a_whole_number(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="limit"):
        operations.list_chat_sessions(wrong)


def test_a_session_is_asked_for_by_its_id() -> None:
    assert operations.retrieve_chat_session("ses/1?").request.path == "/api/v1/chat/sessions/ses%2F1%3F"


@pytest.mark.parametrize("wrong", ["", "..", " ", "ses\n", None, 5])
def test_what_is_no_session_id_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="not a chat session id"):
        operations.retrieve_chat_session(wrong)


# --- what comes back --------------------------------------------------------------------------------------------------

WHOLE = {
    "id": "chatcmpl_91",
    "object": "chat.completion",
    "session_id": "ses_44",
    "model": "gpt-5-2-chat",
    "created_at": "2026-05-11T08:00:00.000Z",
    "message": {"id": "msg_7", "role": "assistant", "content": "Here is a plan."},
    "usage": {"input_tokens": 120, "output_tokens": 32, "total_tokens": 152},
    "credits": {"reserved": 3, "final": 2},
}


def test_the_documented_completion_is_read_whole() -> None:
    completion = operations.read_completion(response(WHOLE))
    assert completion == ChatCompletion(
        id="chatcmpl_91",
        model="gpt-5-2-chat",
        session_id="ses_44",
        message=ChatMessage("Here is a plan.", id="msg_7"),
        usage=Usage(120, 32, 152),
        credits=ChatCredits(3, 2),
        created_at=datetime(2026, 5, 11, 8, tzinfo=UTC),
    )
    assert completion.text == "Here is a plan."
    assert completion.extra == {}


@pytest.mark.parametrize("name", ["session_id", "model", "created_at", "message", "usage", "credits"])
@pytest.mark.parametrize("null", [True, False])
def test_a_paid_answer_is_read_with_all_but_its_id_missing(name: str, null: bool) -> None:
    told = {key: value for key, value in WHOLE.items() if key != name} | ({name: None} if null else {})
    assert operations.read_completion(response(told)).id == "chatcmpl_91"


def test_nulls_inside_are_read_and_the_unknown_is_kept() -> None:
    told = {
        **WHOLE,
        "mood": "calm",
        "usage": {"input_tokens": None, "cached_tokens": 3},
        "message": {"content": None, "thoughts": "Hm."},
    }
    completion = operations.read_completion(response(told))
    assert completion.extra == {"mood": "calm"}
    assert completion.usage == Usage(extra={"cached_tokens": 3})
    assert completion.message == ChatMessage(extra={"thoughts": "Hm."})


def test_sessions_are_read() -> None:
    told = {"id": "ses_1", "object": "chat.session", "model": "m", "title": None, "pinned": True}
    listed = operations.read_sessions(response({"object": "list", "data": [told, {"id": "ses_2"}]}))
    assert listed.data == (ChatSession("ses_1", "m", extra={"pinned": True}), ChatSession("ses_2"))


def test_a_session_tells_its_messages() -> None:
    endpoint = operations.retrieve_chat_session("ses_1")
    told = {"id": "ses_1", "messages": [{"role": "user", "content": "Hello", "created_at": "2026-05-11T08:00:00Z"}]}
    (message,) = endpoint.decode(response(told)).messages
    assert (message.role, message.content, message.created_at) == (
        "user",
        "Hello",
        datetime(2026, 5, 11, 8, tzinfo=UTC),
    )
    with pytest.raises(ResponseDecodeError, match="ses_2"):
        endpoint.decode(response({"id": "ses_2"}))


# --- against the catalogue --------------------------------------------------------------------------------------------

PLAIN = {"web_search": False, "image_attachments": False, "thoughts": False, "reasoning_efforts": ["low", "high"]}
MODELS = {
    model.id: model
    for model in (
        Model("plain-chat", category="chat", chat_capabilities=PLAIN, max_prompt_length=10, api_status="coming_soon"),
        Model("silent-chat", category="chat"),
        Model("z-image", category="image"),
    )
}


def problems(**told: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailed, match=r"[Nn]othing was sent") as raised:
        check_chat_request(ChatRequest(**{"message": "Hello", **told}), MODELS)
    return [(problem.where, problem.reason) for problem in raised.value.problems]


def test_every_problem_is_named_at_once() -> None:
    assert problems(
        model="plain-chat",
        message="A long message",
        attachments=("file_1",),
        enable_web_search=True,
        include_thoughts=True,
        reasoning_effort="hihg",
    ) == [
        ("model", "unavailable"),
        ("message", "length"),
        ("attachments", "kind"),
        ("enable_web_search", "option"),
        ("include_thoughts", "option"),
        ("reasoning_effort", "option"),
    ]


def test_other_models_are_told_from_chat_models() -> None:
    assert problems(model="z-image") == [("model", "unavailable")]
    assert problems(model="plain-chta") == [("model", "unknown")]
    with pytest.raises(ValidationFailed, match="plain-chat"):
        check_chat_request(ChatRequest(model="plain-chta", message="Hello"), MODELS)


def test_the_nearest_effort_is_told() -> None:
    able = Model("able-chat", category="chat", chat_capabilities={"reasoning_efforts": ["low", "high"]})
    turn = ChatRequest(model="able-chat", message="Hello", reasoning_effort="hihg")
    with pytest.raises(ValidationFailed, match="'high'") as raised:
        check_chat_request(turn, {"able-chat": able})
    assert raised.value.problems[0].nearest == ("high",)


def test_what_is_unsaid_or_off_is_no_problem() -> None:
    everything: dict[str, Any] = {"attachments": ("file_1",), "enable_web_search": True, "reasoning_effort": "x"}
    check_chat_request(ChatRequest(model="silent-chat", message="x" * 99, include_thoughts=True, **everything), MODELS)
    able = Model(
        "able-chat",
        category="chat",
        api_status="available",
        max_prompt_length=5,
        chat_capabilities={**PLAIN, "reasoning_efforts": ["x"]},
    )
    turn = ChatRequest(
        model="able-chat", message="Hello", enable_web_search=False, include_thoughts=False, reasoning_effort="x"
    )
    check_chat_request(turn, {"able-chat": able})
