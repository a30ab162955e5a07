"""The operations of the Chat API: from a visit to an answer, whole or in pieces."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from .. import sse as event_stream
from ..catalogue import Catalogue
from ..idempotency import IdempotencyStore
from ..pagination import listed, newest
from ..request_context import RequestContext, parse
from ..request_log import RequestLog
from ..responses import ApiResponse
from ..run_once import once
from ..service_state import ServiceState
from ..sse import EVENT_STREAM_TYPE, SseComment, SseEvent, SseStream
from ..task import timestamp
from . import canned_replies as chat_text
from .sessions import ChatMessage, ChatSession, ChatSessionStore
from .validation import KindOf, chat_model, check_attachments, check_fields, file_ids

THINKING_TIME: Final = 0.8
"""Seconds before the first token, at speed 1. Invented, as is all that follows."""

TOKENS_PER_SECOND: Final = 40.0

TOKENS_PER_CREDIT: Final = 60

THOUGHT: Final = ("Let me see", " what matters", " most here.")


@attrs.frozen
class ChatTurn:
    """One message that was heard and the answer to it, decided at once."""

    conversation: ChatSession
    completion: Mapping[str, Any]
    tokens: Sequence[str]
    thinks_aloud: bool
    settle: Callable[[], None]
    """The answer is noted and paid, all in one step with the memory of its key: a turn is never half remembered."""
    release_hold: Callable[[], None]
    """Ends the turn: what was held and not used is given back."""

    @property
    def duration(self) -> float:
        """Seconds of the whole answer, at speed 1."""
        return THINKING_TIME + len(self.tokens) / TOKENS_PER_SECOND

    def pieces(self, speed: float) -> SseStream:
        """The answer as it is streamed."""
        head = ("id", "session_id", "model", "created_at")
        thoughts = THOUGHT if self.thinks_aloud else ()
        pause = 1.0 / TOKENS_PER_SECOND / speed
        return (
            SseEvent(event_stream.STARTED, {name: self.completion[name] for name in head}),
            SseComment(),
            *(SseEvent(event_stream.THOUGHT, {"thought": thought}, pause) for thought in thoughts),
            SseComment(THINKING_TIME / speed),
            *(SseEvent(event_stream.DELTA, {"delta": token}, pause) for token in self.tokens),
            SseEvent(event_stream.COMPLETED, self.completion),
        )


class ChatHandlers:
    """Holds the conversations, and takes turns. `kind_of` tells of the files of an account."""

    def __init__(
        self,
        world: ServiceState,
        received: RequestLog,
        catalogue: Catalogue,
        memory: IdempotencyStore,
        kind_of: KindOf,
    ) -> None:
        self._world = world
        self._received = received
        self._catalogue = catalogue
        self._memory = memory
        self._kind_of = kind_of
        self._conversations = ChatSessionStore(world.seed, world.store)

    async def complete(self, visit: RequestContext) -> ApiResponse:
        """POST /chat/completions."""

        async def whole(turn: ChatTurn) -> ApiResponse:
            await asyncio.sleep(turn.duration / self._world.speed)
            turn.settle()
            turn.release_hold()
            return ApiResponse(json.dumps(turn.completion).encode())

        return await self._taken(visit, whole)

    async def stream(self, visit: RequestContext) -> ApiResponse:
        """POST /chat/completions/stream."""

        async def in_pieces(turn: ChatTurn) -> ApiResponse:
            turn.settle()
            visit.at_the_end = turn.release_hold
            pieces = turn.pieces(self._world.speed)
            return ApiResponse(event_stream.encode(pieces), content_type=EVENT_STREAM_TYPE, pieces=pieces)

        return await self._taken(visit, in_pieces)

    async def sessions(self, visit: RequestContext) -> ApiResponse:
        """GET /chat/sessions."""
        return listed([each.to_wire() for each in newest(visit, self._conversations.of(visit.account_id))])

    async def session(self, visit: RequestContext) -> ApiResponse:
        """GET /chat/sessions/{session_id}."""
        conversation = self._conversations.one(visit.account_id, visit.arguments["session_id"])
        told = {**conversation.to_wire(), "messages": [message.to_wire() for message in conversation.messages]}
        return ApiResponse(json.dumps(told).encode())

    async def _taken(
        self, visit: RequestContext, answered: Callable[[ChatTurn], Awaitable[ApiResponse]]
    ) -> ApiResponse:
        """The stored answer under the key, or a turn and its answer."""
        body, canonical = parse(await visit.read())
        return await once(self._memory, visit, canonical, lambda: answered(self._turn(visit, body)))

    def _turn(self, visit: RequestContext, body: Mapping[str, Any]) -> ChatTurn:
        model = chat_model(self._catalogue, body)
        check_fields(model, body)
        attached = file_ids(body)
        account_id, session_id = visit.account_id, body.get("session_id")
        self._conversations.check(account_id, model.id, session_id)
        check_attachments(model, account_id, attached, self._kind_of)
        self._world.hold(account_id, model, visit.now)
        self._received.record_purchase(visit.idempotency_key, visit.claimed or ())
        conversation = self._conversations.hear(account_id, model.id, session_id, body["message"], visit.now)
        text = chat_text.reply_to(
            body["message"], pictures=len(attached), searched=body.get("enable_web_search") is True
        )
        return self._answered(
            conversation, model.price, text, visit.now, thinks_aloud=bool(body.get("include_thoughts"))
        )

    def _answered(
        self, conversation: ChatSession, reserved: int, text: str, now: float, *, thinks_aloud: bool
    ) -> ChatTurn:
        heard = sum(len(chat_text.tokens(message.content)) for message in conversation.messages)
        said = chat_text.tokens(text)
        total = heard + len(said)
        final = min(max(1, math.ceil(total / TOKENS_PER_CREDIT)), max(1, reserved))
        message = ChatMessage(self._conversations.new_id("msg"), "assistant", text, now)

        def settle() -> None:
            self._conversations.answer(conversation, message)
            self._world.spend(conversation.account_id, final)

        def release_hold() -> None:
            self._world.release_hold(conversation.account_id, reserved - final)

        completion = {
            "id": self._conversations.new_id("chatcmpl"),
            "object": "chat.completion",
            "session_id": conversation.id,
            "model": conversation.model,
            "created_at": timestamp(now),
            "message": {"id": message.id, "role": message.role, "content": message.content},
            "usage": {"input_tokens": heard, "output_tokens": len(said), "total_tokens": total},
            "credits": {"reserved": reserved, "final": final},
        }
        return ChatTurn(conversation, completion, said, thinks_aloud, settle, release_hold)
