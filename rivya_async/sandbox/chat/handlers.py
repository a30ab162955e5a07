"""Handlers of the Chat API, with complete and streamed responses."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from .. import sse
from ..catalogue import Catalogue, Model
from ..idempotency import IdempotencyStore
from ..request_context import RequestContext
from ..request_log import RequestLog
from ..responses import ApiResponse
from ..service_state import ServiceState
from ..task import format_timestamp
from .canned_replies import compose_reply, split_tokens
from .sessions import ChatMessage, ChatSession, ChatSessionStore
from .validation import GetFileKind, check_attachments, check_fields, parse_file_ids, resolve_chat_model

THINKING_TIME: Final = 0.8
"""Seconds before the first token, at speed 1. Invented."""

TOKENS_PER_SECOND: Final = 40.0
"""Tokens of a reply per second, at speed 1. Invented."""

TOKENS_PER_CREDIT: Final = 60
"""Tokens of a turn that cost one credit. Invented."""

THOUGHT: Final = ("Let me see", " which points matter", " most here.")


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


class ChatHandlers:
    """Handlers of chat turns and sessions."""

    def __init__(
        self,
        service_state: ServiceState,
        request_log: RequestLog,
        catalogue: Catalogue,
        idempotency: IdempotencyStore,
        get_file_kind: GetFileKind,
    ) -> None:
        self._service_state = service_state
        self._request_log = request_log
        self._catalogue = catalogue
        self._idempotency = idempotency
        self._get_file_kind = get_file_kind
        self._sessions = ChatSessionStore(service_state.seed, service_state.store)

    async def complete(self, context: RequestContext) -> ApiResponse:
        """Handles POST /chat/completions."""

        async def respond(turn: ChatTurn) -> ApiResponse:
            await asyncio.sleep(turn.duration / self._service_state.speed)
            self._finish_turn(turn)
            self._release_hold(turn)
            return ApiResponse.from_json(turn.completion)

        return await self._run_turn(context, respond)

    async def stream(self, context: RequestContext) -> ApiResponse:
        """Handles POST /chat/completions/stream."""

        async def respond(turn: ChatTurn) -> ApiResponse:
            self._finish_turn(turn)
            context.on_finish = lambda: self._release_hold(turn)
            events = turn.to_stream(self._service_state.speed)
            return ApiResponse(sse.encode_stream(events), content_type=sse.EVENT_STREAM_TYPE, events=events)

        return await self._run_turn(context, respond)

    async def list_sessions(self, context: RequestContext) -> ApiResponse:
        """Handles GET /chat/sessions."""
        return context.list_response(self._sessions.list_sessions(context.account_id), ChatSession.to_json)

    async def get_session(self, context: RequestContext) -> ApiResponse:
        """Handles GET /chat/sessions/{session_id}."""
        session = self._sessions.get(context.account_id, context.path_params["session_id"])
        messages = [message.to_json() for message in session.messages]
        return ApiResponse.from_json({**session.to_json(), "messages": messages})

    async def _run_turn(
        self, context: RequestContext, respond: Callable[[ChatTurn], Awaitable[ApiResponse]]
    ) -> ApiResponse:
        body, canonical = await context.read_json()
        return await self._idempotency.run_once(context, canonical, lambda: respond(self._start_turn(context, body)))

    def _start_turn(self, context: RequestContext, body: Mapping[str, Any]) -> ChatTurn:
        model = resolve_chat_model(self._catalogue, body)
        check_fields(model, body)
        file_ids = parse_file_ids(body)
        account_id, session_id, message = context.account_id, body.get("session_id"), body["message"]
        self._sessions.check(account_id, model.id, session_id)
        check_attachments(model, account_id, file_ids, self._get_file_kind)
        self._service_state.reserve(account_id, model, context.now)
        self._request_log.record_purchase(context.idempotency_key, context.idempotency_scope or ())
        session = self._sessions.add_user_message(account_id, model.id, session_id, message, context.now)
        text = compose_reply(message, images=len(file_ids), web_search=body.get("enable_web_search") is True)
        reply = ChatMessage(self._sessions.new_id("msg"), "assistant", text, context.now)
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
            "id": self._sessions.new_id("chatcmpl"),
            "object": "chat.completion",
            "session_id": session.id,
            "model": session.model,
            "created_at": format_timestamp(reply.created_at),
            "message": {"id": reply.id, "role": reply.role, "content": reply.content},
            "usage": {"input_tokens": input_tokens, "output_tokens": output_tokens, "total_tokens": total_tokens},
            "credits": {"reserved": model.price, "final": cost},
        }

    def _finish_turn(self, turn: ChatTurn) -> None:
        """Stores the reply and charges it in the same step as the response under its key, so that both or none last."""
        self._sessions.add_reply(turn.session, turn.reply)
        self._service_state.charge(turn.session.account_id, turn.completion["credits"]["final"])

    def _release_hold(self, turn: ChatTurn) -> None:
        """Returns the reserved credits that the turn did not cost."""
        charge = turn.completion["credits"]
        self._service_state.release_hold(turn.session.account_id, charge["reserved"] - charge["final"])
