"""The Chat API: sessions, completions and streams."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final

import attrs

from . import sse
from .catalogue import REASONING_EFFORTS, WEB_SEARCH_MODELS, Catalogue, Model
from .idempotency import IdempotencyStore
from .request_context import RequestContext
from .request_log import RequestLog
from .responses import ApiError, ApiResponse, encode_record, format_timestamp, validation_error
from .service_state import ServiceState
from .validation import validate_client_request_id

THINKING_TIME: Final = 0.8
"""Seconds before the first token, at speed 1. Invented."""

TOKENS_PER_SECOND: Final = 40.0
"""Tokens of a reply per second, at speed 1. Invented."""

TOKENS_PER_CREDIT: Final = 60
"""Tokens of a turn that cost one credit. Invented."""

TITLE_LENGTH: Final = 60
"""Characters of the first message that are the title of a session."""

THOUGHT: Final = ("Let me see", " which points matter", " most here.")

MAX_TOPIC_WORDS: Final = 6
"""Words of the message that a reply quotes."""

STEPS: Final = (
    "Begin with the light: it decides the mood before anything else does.",
    "Keep the first draft small, and look at it before you make the second.",
    "Name the colours; “a warm dusk over a calm sea” says more than “beautiful”.",
    "Choose one subject and let everything else lead the eye to it.",
    "Write down what must not change, then vary the rest.",
    "Try a café at six in the morning, when the street is still empty.",
)
"""Sentences of replies, of which each has three."""


@attrs.frozen
class ChatMessage:
    """One message; `created_at` is in epoch seconds."""

    id: str
    role: str
    content: str
    created_at: float


@attrs.define
class ChatSession:
    """A chat session of one account with one model. Times are epoch seconds."""

    id: str
    account_id: str
    model: str
    title: str
    created_at: float
    updated_at: float
    messages: list[ChatMessage] = attrs.field(factory=list)

    def append(self, message: ChatMessage) -> None:
        """Adds a message."""
        self.messages.append(message)
        self.updated_at = message.created_at

    def to_json(self) -> dict[str, Any]:
        """Returns the API's session object, without messages."""
        return encode_record(self, "chat.session", "account_id", "messages")


@attrs.frozen
class ChatTurn:
    """A user message and its reply, which is composed at once."""

    session: ChatSession
    reply: ChatMessage
    tokens: Sequence[str]
    completion: Mapping[str, Any]
    include_thoughts: bool

    @property
    def duration(self) -> float:
        """Seconds of the whole reply, at speed 1."""
        return THINKING_TIME + len(self.tokens) / TOKENS_PER_SECOND

    def to_stream(self, speed: float) -> sse.SseStream:
        """Returns the events of the reply."""
        head = ("id", "session_id", "model", "created_at")
        thoughts = THOUGHT if self.include_thoughts else ()
        delay = 1.0 / TOKENS_PER_SECOND / speed
        return (
            sse.SseEvent(sse.STARTED, {name: self.completion[name] for name in head}),
            sse.SseComment(),
            *(sse.SseEvent(sse.THOUGHT, {"thought": thought}, delay) for thought in thoughts),
            sse.SseComment(THINKING_TIME / speed),
            *(sse.SseEvent(sse.DELTA, {"delta": token}, delay) for token in self.tokens),
            sse.SseEvent(sse.COMPLETED, self.completion),
        )


@attrs.define(eq=False)
class ChatHandlers:
    """Handlers of chat turns and sessions. `get_file_kind` returns the kind of a file by account id and file id."""

    _service_state: ServiceState
    _request_log: RequestLog
    _catalogue: Catalogue
    _idempotency: IdempotencyStore
    _get_file_kind: Callable[[str, str], str | None]
    _sessions: dict[str, ChatSession] = attrs.field(init=False)
    _id_count: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._sessions = {session.id: session for session in self._service_state.store.load(ChatSession)}

    async def complete(self, context: RequestContext) -> ApiResponse:
        """Handles POST /chat/completions."""

        async def respond(turn: ChatTurn) -> ApiResponse:
            await asyncio.sleep(turn.duration / self._service_state.speed)
            self._finish_turn(turn)
            self._release_reserve(turn)
            return ApiResponse.from_json(turn.completion)

        return await self._run_turn(context, respond)

    async def stream(self, context: RequestContext) -> ApiResponse:
        """Handles POST /chat/completions/stream."""

        async def respond(turn: ChatTurn) -> ApiResponse:
            self._finish_turn(turn)
            context.on_finish = lambda: self._release_reserve(turn)
            events = turn.to_stream(self._service_state.speed)
            return ApiResponse(sse.encode_stream(events), content_type=sse.EVENT_STREAM_TYPE, events=events)

        return await self._run_turn(context, respond)

    async def list_sessions(self, context: RequestContext) -> ApiResponse:
        """Handles GET /chat/sessions."""
        return context.list_records(self._sessions.values(), ChatSession.to_json)

    async def get_session(self, context: RequestContext) -> ApiResponse:
        """Handles GET /chat/sessions/{session_id}."""
        session = context.get_record(self._sessions, "chat session")
        messages = [
            {**attrs.asdict(message), "created_at": format_timestamp(message.created_at)}
            for message in session.messages
        ]
        return ApiResponse.from_json({**session.to_json(), "messages": messages})

    async def _run_turn(
        self, context: RequestContext, respond: Callable[[ChatTurn], Awaitable[ApiResponse]]
    ) -> ApiResponse:
        body, canonical = await context.read_json()
        return await self._idempotency.run_once(context, canonical, lambda: respond(self._start_turn(context, body)))

    def _start_turn(self, context: RequestContext, body: Mapping[str, Any]) -> ChatTurn:
        model = self._get_model(body)
        if problems := [*_message_problems(model, body.get("message")), *_option_problems(model, body)]:
            raise validation_error(" ".join(problems))
        session = self._get_session(context, model, body.get("session_id"))
        image_count = self._count_images(context, model, body.get("attachments") or [])
        self._service_state.reserve(context.account_id, model, context.now)
        self._request_log.record_purchase(context.idempotency_key, context.idempotency_scope or ())
        message = body["message"]
        if session is None:
            title = " ".join(message.split())[:TITLE_LENGTH]
            session = ChatSession(self._new_id("ses"), context.account_id, model.id, title, context.now, context.now)
            self._sessions[session.id] = session
        session.append(ChatMessage(self._new_id("msg"), "user", message, context.now))
        text = compose_reply(message, images=image_count, web_search=body.get("enable_web_search") is True)
        reply = ChatMessage(self._new_id("msg"), "assistant", text, context.now)
        tokens = split_tokens(text)
        completion = self._build_completion(session, model, reply, len(tokens))
        return ChatTurn(session, reply, tokens, completion, bool(body.get("include_thoughts")))

    def _build_completion(
        self, session: ChatSession, model: Model, reply: ChatMessage, output_tokens: int
    ) -> Mapping[str, Any]:
        input_tokens = sum(len(split_tokens(message.content)) for message in session.messages)
        total_tokens = input_tokens + output_tokens
        cost = min(max(1, math.ceil(total_tokens / TOKENS_PER_CREDIT)), max(1, model.price))
        return {
            "id": self._new_id("chatcmpl"),
            "object": "chat.completion",
            "session_id": session.id,
            "model": session.model,
            "created_at": format_timestamp(reply.created_at),
            "message": {"id": reply.id, "role": reply.role, "content": reply.content},
            "usage": {"input_tokens": input_tokens, "output_tokens": output_tokens, "total_tokens": total_tokens},
            "credits": {"reserved": model.price, "final": cost},
        }

    def _finish_turn(self, turn: ChatTurn) -> None:
        """Stores the reply and charges it in the same step as the response under its key, so that both or none last.

        A user message without a reply is not stored.
        """
        turn.session.append(turn.reply)
        self._service_state.store.put(turn.session.id, turn.session)
        self._service_state.charge(turn.session.account_id, turn.completion["credits"]["final"])

    def _release_reserve(self, turn: ChatTurn) -> None:
        """Returns the reserved credits that the turn did not cost."""
        credits = turn.completion["credits"]  # noqa: A001  the API's own word
        self._service_state.accounts[turn.session.account_id].reserved -= credits["reserved"] - credits["final"]

    def _new_id(self, prefix: str) -> str:
        """Returns a new id that follows from the seed."""
        self._id_count += 1
        name = f"{self._service_state.seed}/chat/{self._id_count}"
        return f"{prefix}_{hashlib.sha256(name.encode()).hexdigest()[:20]}"

    def _get_model(self, body: Mapping[str, Any]) -> Model:
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise validation_error("model must be the id of a chat model.")
        model = self._catalogue.models.get(name)
        if model is None or not model.is_chat or not model.is_available:
            raise ApiError("chat_model_not_supported", f"{name[:80]!r} is not available in the Chat API.")
        return model

    def _get_session(self, context: RequestContext, model: Model, session_id: str | None) -> ChatSession | None:
        """Returns the session to continue; raises `ApiError` if it cannot continue with this model."""
        if session_id is None:
            return None
        session = self._sessions.get(session_id)
        if session is None or session.account_id != context.account_id:
            raise ApiError("chat_session_conflict", "This account has no such chat session: begin a new one.")
        if session.model != model.id:
            raise ApiError("chat_session_conflict", f"This chat session belongs to {session.model}, not to {model.id}.")
        return session

    def _count_images(self, context: RequestContext, model: Model, attachments: Sequence[Mapping[str, Any]]) -> int:
        """Returns the number of attachments; raises `ApiError` unless each is an uploaded image of the account."""
        if attachments and not model.takes_files:
            raise ApiError("chat_attachment_not_supported", f"{model.id} takes no attachments.")
        for file_id in (item["file_id"] for item in attachments):
            if self._get_file_kind(context.account_id, file_id) != "image":
                raise ApiError(
                    "chat_attachment_not_supported",
                    f"{file_id[:80]} is not an image that this account uploaded through the Files API.",
                )
        return len(attachments)


def compose_reply(message: str, *, images: int = 0, web_search: bool = False) -> str:
    """Returns the reply to a message with this number of attached images: equal for equal messages."""
    rng = Random(message.encode("utf-8", "surrogatepass"))  # noqa: S311  a repeatable reply, not a secret
    words = re.findall(r"[\w'-]+", message)[:MAX_TOPIC_WORDS]
    opening = f"Here is a short plan for {'“' + ' '.join(words) + '”' if words else 'this'}."
    if images:
        opening += f" I have looked at {'the picture' if images == 1 else f'the {images} pictures'}."
    if web_search:
        opening += " The results of a web search agree with this."
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(rng.sample(STEPS, 3), 1))
    return f"{opening}\n\n{steps}\n\nShall I turn this into a prompt?"


def split_tokens(text: str) -> Sequence[str]:
    """Returns the tokens of a text, words with the space before them; joined they are the text.

    >>> split_tokens("Two words")
    ['Two', ' words']
    """
    return re.findall(r"\s*\S+|\s+\Z", text)


def _message_problems(model: Model, message: object) -> Iterator[str]:
    if not isinstance(message, str) or not message.strip():
        yield "message is required: one user message."
    elif model.max_prompt_length is not None and len(message) > model.max_prompt_length:
        yield f"message is too long for {model.id}: {len(message)} of at most {model.max_prompt_length} characters."


def _option_problems(model: Model, body: Mapping[str, Any]) -> Iterator[str]:
    if "messages" in body:
        yield "messages is not a field: send one message, and session_id to continue a session."
    for name in ("enable_web_search", "include_thoughts"):
        if not isinstance(body.get(name), bool | None):
            yield f"{name} must be true or false."
        elif body.get(name) and model.id not in WEB_SEARCH_MODELS:
            yield f"{model.id} does not support {name}."
    if not isinstance(body.get("session_id"), str | None):
        yield "session_id must be a string."
    if body.get("reasoning_effort") not in (None, *REASONING_EFFORTS):
        yield f"reasoning_effort must be one of {', '.join(REASONING_EFFORTS)}."
    if not _is_attachment_list(body.get("attachments")):
        yield 'attachments must be a list of objects {"file_id": "file_..."}.'
    yield from validate_client_request_id(body)


def _is_attachment_list(value: object) -> bool:
    return value is None or (
        isinstance(value, list)
        and all(isinstance(item, dict) and isinstance(item.get("file_id"), str) for item in value)
    )
