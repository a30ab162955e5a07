"""Operations of the Chat API: the request for arguments, and the record for a response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..http import serialization
from ..http.messages import Request, Response
from ..http.operations import Operation, list_request, object_path, record_decoder, require_id
from ..types.chat import ChatCompletion, ChatSession, ChatSessionList

if TYPE_CHECKING:
    from .request import ChatRequest

COMPLETIONS_PATH = "/api/v1/chat/completions"
SESSIONS_PATH = "/api/v1/chat/sessions"


def complete_chat(request: ChatRequest, key: str) -> Operation[ChatCompletion]:
    """Returns `POST /api/v1/chat/completions` (contract section 10): a purchase under `key`."""
    body = serialization.encode_json(request.to_wire())
    http_request = Request("POST", COMPLETIONS_PATH, body=body, idempotency_key=key, is_long_running=True)
    return Operation(http_request, read_completion)


def stream_chat(request: ChatRequest, key: str) -> Request:
    """Returns `POST /api/v1/chat/completions/stream` (contract section 10): the same purchase, answered by a stream."""
    return Request(
        "POST",
        f"{COMPLETIONS_PATH}/stream",
        body=serialization.encode_json(request.to_wire()),
        idempotency_key=key,
        accept="text/event-stream",
    )


def list_chat_sessions(limit: int | None = None) -> Operation[ChatSessionList]:
    """Returns `GET /api/v1/chat/sessions` (contract section 10); `limit` is an assumption."""
    return Operation(list_request(SESSIONS_PATH, limit), read_sessions)


def retrieve_chat_session(chat_session_id: str) -> Operation[ChatSession]:
    """Returns `GET /api/v1/chat/sessions/{sessionId}` (contract section 10)."""
    path = object_path(SESSIONS_PATH, chat_session_id, "a chat session id", "`session_id` of a ChatCompletion")

    def read_session(response: Response) -> ChatSession:
        return require_id(serialization.decode(response.body, ChatSession), chat_session_id, "chat session")

    return Operation(Request("GET", path), read_session)


read_completion = record_decoder(ChatCompletion)
read_sessions = record_decoder(ChatSessionList)
