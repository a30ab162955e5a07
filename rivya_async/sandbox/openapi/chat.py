"""Chat in the document."""

from __future__ import annotations

from typing import Any, Final

from ..catalogue import REASONING_EFFORTS, load_catalogue
from ..sse import COMPLETED, DELTA, STARTED, THOUGHT
from .operation import IDEMPOTENCY_KEY, LIMIT, Operation, response
from .operation import answer as answered
from .schema import (
    BOOLEAN,
    COUNT,
    INSTANT,
    NEVER,
    STRING,
    TEXT,
    TRACE_ID,
    Schema,
    array,
    listing,
    or_null,
    record,
    ref,
    shape,
)

MODELS: Final = sorted(model.id for model in load_catalogue().models.values() if model.is_available and model.is_chat)

EVENTS: Final = {STARTED: "ChatStarted", THOUGHT: "ChatThought", DELTA: "ChatDelta", COMPLETED: "ChatCompletion"}
"""The schema of the data of each event of a stream."""

HEAD: Final[dict[str, Schema]] = {"id": TEXT, "session_id": TEXT, "model": TEXT, "created_at": INSTANT}
SESSION: Final[dict[str, Schema]] = {
    "id": TEXT,
    "object": {"const": "chat.session"},
    "model": TEXT,
    "title": STRING,
    "created_at": INSTANT,
    "updated_at": INSTANT,
}

SCHEMAS: Final = {
    "ChatRequest": {
        **shape(
            "model message",
            model={"type": "string", "enum": MODELS},
            message={"type": "string", "pattern": r"\S"},
            session_id=or_null(STRING),
            attachments=or_null(array(record(file_id=STRING))),
            enable_web_search=or_null(BOOLEAN),
            include_thoughts=or_null(BOOLEAN),
            reasoning_effort=or_null({"enum": list(REASONING_EFFORTS)}),
            client_request_id=or_null(TRACE_ID),
            messages=NEVER,
        ),
        "examples": [{"model": "gpt-5-2-chat", "message": "Name three kinds of kites."}],
    },
    "ChatCompletion": record(
        **HEAD,
        object={"const": "chat.completion"},
        message=record(id=TEXT, role={"const": "assistant"}, content=STRING),
        usage=record(input_tokens=COUNT, output_tokens=COUNT, total_tokens=COUNT),
        credits=record(reserved=COUNT, final=COUNT),
    ),
    "ChatStarted": record(**HEAD),
    "ChatThought": record(thought=STRING),
    "ChatDelta": record(delta=STRING),
    "ChatMessage": record(id=TEXT, role={"enum": ["user", "assistant"]}, content=STRING, created_at=INSTANT),
    "ChatSession": record(**SESSION),
    "ChatSessionWithMessages": record(**SESSION, messages=array(ref("ChatMessage"))),
    "ChatSessionList": listing("ChatSession"),
}

_CODES: Final = (
    "chat_model_not_supported chat_attachment_not_supported chat_session_conflict "
    "insufficient_credits idempotency_conflict"
)


def _event(name: str, schema: str) -> dict[str, Any]:
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": ref(schema)}
    return record(event={"const": name}, data=data)


STREAM: Final = response(
    "Server-sent events; the schema is that of each one. Comments in between are signs of life.",
    {"text/event-stream": {"oneOf": [_event(name, schema) for name, schema in EVENTS.items()]}},
    Cache_Control={"const": "no-cache"},
)

OPERATIONS: Final = {
    "POST /api/v1/chat/completions": Operation(
        "createChatCompletion",
        "Ask a chat model.",
        answered("The answer, or the stored one of a replayed key.", ref("ChatCompletion")),
        refuses=_CODES,
        parameters=[IDEMPOTENCY_KEY],
        body=ref("ChatRequest"),
    ),
    "POST /api/v1/chat/completions/stream": Operation(
        "streamChatCompletion",
        "Ask a chat model, answered in pieces.",
        {"200": STREAM},
        refuses=_CODES,
        parameters=[IDEMPOTENCY_KEY],
        body=ref("ChatRequest"),
    ),
    "GET /api/v1/chat/sessions": Operation(
        "listChatSessions",
        "The account's chat sessions, the newest first.",
        answered("The sessions.", ref("ChatSessionList")),
        parameters=[LIMIT],
    ),
    "GET /api/v1/chat/sessions/{session_id}": Operation(
        "getChatSession",
        "One chat session with its messages.",
        answered("The session.", ref("ChatSessionWithMessages")),
        refuses="not_found",
    ),
}
