"""Chat requests, their validation against the catalogue, and records of responses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from rivya_async._core.catalogue.model import Model
from rivya_async._core.chat import operations
from rivya_async._core.chat.request import ChatRequest, attachment_ids, check_chat_request
from rivya_async._core.errors import ConfigurationError, InvalidRequestError, ResponseDecodeError
from rivya_async._core.http.messages import Response
from rivya_async._core.types.chat import ChatCompletion, ChatCredits, ChatMessage, ChatSession, Usage
from rivya_async._core.types.generations import File, Generation

TURN = ChatRequest(model="gpt-5-2-chat", message="Name a colour.")


def response(body: Any) -> Response:
    return Response(200, {}, json.dumps(body).encode())


# --- requests ---------------------------------------------------------------------------------------------------------


def test_sends_only_set_members() -> None:
    assert TURN.to_wire() == {"model": "gpt-5-2-chat", "message": "Name a colour."}


def test_sends_all_set_members() -> None:
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
    ("wrong", "message"),
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
def test_rejects_invalid_requests(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ChatRequest(**{"model": "gpt-5-2-chat", "message": "Hello", **wrong})


def test_attachments_are_files_or_ids() -> None:
    assert attachment_ids(["file_1", File("file_2", "https://rivya.ai/f/2.png")]) == ("file_1", "file_2")
    assert attachment_ids(()) == ()


@pytest.mark.parametrize(
    "wrong", ["file_1", 5, {"file_1"}, [""], [None], [b"file_1"], [Generation("task_1", "succeeded", "z-image")]]
)
def test_rejects_other_attachments(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="attachment"):
        attachment_ids(wrong)


def test_completion_is_purchase_under_key() -> None:
    request = operations.complete_chat(TURN, "order-1").request
    assert (request.method, request.path) == ("POST", "/api/v1/chat/completions")
    assert json.loads(request.body or b"") == TURN.to_wire()
    assert request.is_long_running
    headers = request.headers("rvya_sk_x", "rivya-async/1.2.3")
    assert (headers["Idempotency-Key"], headers["Accept"]) == ("order-1", "application/json")


def test_stream_is_same_purchase() -> None:
    request = operations.stream_chat(TURN, "order-1")
    assert (request.method, request.path) == ("POST", "/api/v1/chat/completions/stream")
    assert request.body == operations.complete_chat(TURN, "order-1").request.body
    headers = request.headers("rvya_sk_x", "rivya-async/1.2.3")
    assert (headers["Idempotency-Key"], headers["Accept"]) == ("order-1", "text/event-stream")
    assert headers["Authorization"] == "Bearer rvya_sk_x"


def test_lists_sessions_with_optional_limit() -> None:
    assert operations.list_chat_sessions().request.path == "/api/v1/chat/sessions"
    assert operations.list_chat_sessions(5).request.path == "/api/v1/chat/sessions?limit=5"


@pytest.mark.parametrize("wrong", [0, -1, True, "5", 2.5])
def test_limit_is_positive_integer(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="limit"):
        operations.list_chat_sessions(wrong)


def test_retrieves_session_by_id() -> None:
    assert operations.retrieve_chat_session("ses/1?").request.path == "/api/v1/chat/sessions/ses%2F1%3F"


@pytest.mark.parametrize("wrong", ["", "..", " ", "ses\n", None, 5])
def test_rejects_invalid_session_id(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="not a chat session id"):
        operations.retrieve_chat_session(wrong)


# --- responses --------------------------------------------------------------------------------------------------------

COMPLETION = {
    "id": "chatcmpl_91",
    "object": "chat.completion",
    "session_id": "ses_44",
    "model": "gpt-5-2-chat",
    "created_at": "2026-05-11T08:00:00.000Z",
    "message": {"id": "msg_7", "role": "assistant", "content": "Here is a plan."},
    "usage": {"input_tokens": 120, "output_tokens": 32, "total_tokens": 152},
    "credits": {"reserved": 3, "final": 2},
}


def test_reads_documented_completion() -> None:
    completion = operations.read_completion(response(COMPLETION))
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
def test_reads_completion_with_id_only(name: str, null: bool) -> None:
    members = {key: value for key, value in COMPLETION.items() if key != name} | ({name: None} if null else {})
    assert operations.read_completion(response(members)).id == "chatcmpl_91"


def test_accepts_nulls_and_keeps_unknown_members() -> None:
    members = {
        **COMPLETION,
        "mood": "calm",
        "usage": {"input_tokens": None, "cached_tokens": 3},
        "message": {"content": None, "thoughts": "Hm."},
    }
    completion = operations.read_completion(response(members))
    assert completion.extra == {"mood": "calm"}
    assert completion.usage == Usage(extra={"cached_tokens": 3})
    assert completion.message == ChatMessage(extra={"thoughts": "Hm."})


def test_reads_sessions() -> None:
    members = {"id": "ses_1", "object": "chat.session", "model": "m", "title": None, "pinned": True}
    listed = operations.read_sessions(response({"object": "list", "data": [members, {"id": "ses_2"}]}))
    assert listed.data == (ChatSession("ses_1", "m", extra={"pinned": True}), ChatSession("ses_2"))


def test_reads_messages_of_session() -> None:
    endpoint = operations.retrieve_chat_session("ses_1")
    members = {"id": "ses_1", "messages": [{"role": "user", "content": "Hello", "created_at": "2026-05-11T08:00:00Z"}]}
    (message,) = endpoint.decode(response(members)).messages
    assert (message.role, message.content, message.created_at) == (
        "user",
        "Hello",
        datetime(2026, 5, 11, 8, tzinfo=UTC),
    )
    with pytest.raises(ResponseDecodeError, match="ses_2"):
        endpoint.decode(response({"id": "ses_2"}))


# --- validation validation against the catalogue ----------------------------------------------------------------------

PLAIN = {"web_search": False, "image_attachments": False, "thoughts": False, "reasoning_efforts": ["low", "high"]}
MODELS = {
    model.id: model
    for model in (
        Model("plain-chat", category="chat", chat_capabilities=PLAIN, max_prompt_length=10, api_status="coming_soon"),
        Model("silent-chat", category="chat"),
        Model("z-image", category="image"),
    )
}


def problems(**arguments: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequestError, match=r"[Nn]othing was sent") as raised:
        check_chat_request(ChatRequest(**{"message": "Hello", **arguments}), MODELS)
    return [(problem.where, problem.reason) for problem in raised.value.problems]


def test_reports_all_problems() -> None:
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


def test_distinguishes_chat_models() -> None:
    assert problems(model="z-image") == [("model", "unavailable")]
    assert problems(model="plain-chta") == [("model", "unknown")]
    with pytest.raises(InvalidRequestError, match="plain-chat"):
        check_chat_request(ChatRequest(model="plain-chta", message="Hello"), MODELS)


def test_suggests_closest_effort() -> None:
    able = Model("able-chat", category="chat", chat_capabilities={"reasoning_efforts": ["low", "high"]})
    turn = ChatRequest(model="able-chat", message="Hello", reasoning_effort="hihg")
    with pytest.raises(InvalidRequestError, match="'high'") as raised:
        check_chat_request(turn, {"able-chat": able})
    assert raised.value.problems[0].nearest == ("high",)


def test_ignores_unlisted_and_unset_options() -> None:
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
