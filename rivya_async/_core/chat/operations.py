"""Operations of the Chat API: the request for arguments, and the record for a response."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from .. import idempotency
from ..errors import ConfigurationError, ResponseDecodeError
from ..http import serialization
from ..http.messages import Request, Response
from ..http.operations import Operation
from ..types.chat import ChatCompletion, ChatSession, ChatSessionList

if TYPE_CHECKING:
    from .request import ChatRequest

COMPLETIONS_PATH = "/api/v1/chat/completions"
SESSIONS_PATH = "/api/v1/chat/sessions"


def complete_chat(request: ChatRequest, key: str) -> Operation[ChatCompletion]:
    """Returns `POST /api/v1/chat/completions` (contract section 10): a purchase under `key`."""
    body = serialization.encode_json(request.to_wire())
    key = idempotency.validate_key(key)
    http_request = Request("POST", COMPLETIONS_PATH, body=body, idempotency_key=key, is_long_running=True)
    return Operation(http_request, read_completion)


def stream_chat(request: ChatRequest, key: str) -> Request:
    """Returns `POST /api/v1/chat/completions/stream` (contract section 10): the same purchase, answered by a stream."""
    return Request(
        "POST",
        f"{COMPLETIONS_PATH}/stream",
        body=serialization.encode_json(request.to_wire()),
        idempotency_key=idempotency.validate_key(key),
        accept="text/event-stream",
    )


def list_chat_sessions(limit: int | None = None) -> Operation[ChatSessionList]:
    """Returns `GET /api/v1/chat/sessions` (contract section 10); `limit` is an assumption."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ConfigurationError(f"limit must be a whole number from 1 on, or None, not {limit!r}")
    path = SESSIONS_PATH if limit is None else f"{SESSIONS_PATH}?limit={limit}"
    return Operation(Request("GET", path), read_sessions)


def retrieve_chat_session(chat_session_id: str) -> Operation[ChatSession]:
    """Returns `GET /api/v1/chat/sessions/{sessionId}` (contract section 10)."""
    name = chat_session_id
    if not isinstance(name, str) or not name.isprintable() or not name.strip(". "):
        raise ConfigurationError(f"{name!r} is not a chat session id: pass the `session_id` of a ChatCompletion")

    def read_requested_session(response: Response) -> ChatSession:
        session = serialization.decode(response.body, ChatSession)
        if session.id != name:
            raise ResponseDecodeError(
                f"the service answered with the chat session {session.id} when asked for {name}",
                path="$.id",
                reason="another chat session than the one asked for",
            )
        return session

    return Operation(Request("GET", f"{SESSIONS_PATH}/{quote(name, safe='')}"), read_requested_session)


def read_completion(response: Response) -> ChatCompletion:
    """Returns the completion of a 2xx response."""
    return serialization.decode(response.body, ChatCompletion)


def read_sessions(response: Response) -> ChatSessionList:
    """Returns the chat sessions of a 2xx response."""
    return serialization.decode(response.body, ChatSessionList)
