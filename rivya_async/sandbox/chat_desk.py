"""The operations of the Chat API: from a visit to an answer, whole or in pieces."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from . import chat_text, event_stream
from .answer import Answer
from .catalogue import Catalogue
from .chat_validation import KindOf, chat_model, check_attachments, check_fields, file_ids
from .conversation import Conversation, Conversations, Message
from .event_stream import EVENT_STREAM_TYPE, Comment, Piece, Pieces
from .idempotency import Memory
from .listing import listed, newest
from .once import once
from .received import Received
from .task import timestamp
from .visit import Visit, parse
from .world import World

THINKING_TIME: Final = 0.8
"""Seconds before the first token, at speed 1. Invented, as is all that follows."""

TOKENS_PER_SECOND: Final = 40.0

TOKENS_PER_CREDIT: Final = 60

THOUGHT: Final = ("Let me see", " what matters", " most here.")


@attrs.frozen
class Turn:
    """One message that was heard and the answer to it, decided at once."""

    conversation: Conversation
    completion: Mapping[str, Any]
    tokens: Sequence[str]
    thinks_aloud: bool
    settle: Callable[[], None]
    """The answer is noted and paid, all in one step with the memory of its key: a turn is never half remembered."""
    let_go: Callable[[], None]
    """Ends the turn: what was held and not used is given back."""

    @property
    def duration(self) -> float:
        """Seconds of the whole answer, at speed 1."""
        return THINKING_TIME + len(self.tokens) / TOKENS_PER_SECOND

    def pieces(self, speed: float) -> Pieces:
        """The answer as it is streamed."""
        head = ("id", "session_id", "model", "created_at")
        thoughts = THOUGHT if self.thinks_aloud else ()
        pause = 1.0 / TOKENS_PER_SECOND / speed
        return (
            Piece(event_stream.STARTED, {name: self.completion[name] for name in head}),
            Comment(),
            *(Piece(event_stream.THOUGHT, {"thought": thought}, pause) for thought in thoughts),
            Comment(THINKING_TIME / speed),
            *(Piece(event_stream.DELTA, {"delta": token}, pause) for token in self.tokens),
            Piece(event_stream.COMPLETED, self.completion),
        )


class ChatDesk:
    """Holds the conversations, and takes turns. `kind_of` tells of the files of an account."""

    def __init__(
        self,
        world: World,
        received: Received,
        catalogue: Catalogue,
        memory: Memory,
        kind_of: KindOf,
    ) -> None:
        self._world = world
        self._received = received
        self._catalogue = catalogue
        self._memory = memory
        self._kind_of = kind_of
        self._conversations = Conversations(world.seed, world.store)

    async def complete(self, visit: Visit) -> Answer:
        """POST /chat/completions."""

        async def whole(turn: Turn) -> Answer:
            await asyncio.sleep(turn.duration / self._world.speed)
            turn.settle()
            turn.let_go()
            return Answer(json.dumps(turn.completion).encode())

        return await self._taken(visit, whole)

    async def stream(self, visit: Visit) -> Answer:
        """POST /chat/completions/stream."""

        async def in_pieces(turn: Turn) -> Answer:
            turn.settle()
            visit.at_the_end = turn.let_go
            pieces = turn.pieces(self._world.speed)
            return Answer(event_stream.encode(pieces), content_type=EVENT_STREAM_TYPE, pieces=pieces)

        return await self._taken(visit, in_pieces)

    async def sessions(self, visit: Visit) -> Answer:
        """GET /chat/sessions."""
        return listed([each.to_wire() for each in newest(visit, self._conversations.of(visit.account_id))])

    async def session(self, visit: Visit) -> Answer:
        """GET /chat/sessions/{session_id}."""
        conversation = self._conversations.one(visit.account_id, visit.arguments["session_id"])
        told = {**conversation.to_wire(), "messages": [message.to_wire() for message in conversation.messages]}
        return Answer(json.dumps(told).encode())

    async def _taken(self, visit: Visit, answered: Callable[[Turn], Awaitable[Answer]]) -> Answer:
        """The stored answer under the key, or a turn and its answer."""
        body, canonical = parse(await visit.read())
        return await once(self._memory, visit, canonical, lambda: answered(self._turn(visit, body)))

    def _turn(self, visit: Visit, body: Mapping[str, Any]) -> Turn:
        model = chat_model(self._catalogue, body)
        check_fields(model, body)
        attached = file_ids(body)
        account_id, session_id = visit.account_id, body.get("session_id")
        self._conversations.check(account_id, model.id, session_id)
        check_attachments(model, account_id, attached, self._kind_of)
        self._world.hold(account_id, model, visit.now)
        self._received.bought(visit.idempotency_key, visit.claimed or ())
        conversation = self._conversations.hear(account_id, model.id, session_id, body["message"], visit.now)
        text = chat_text.reply_to(
            body["message"], pictures=len(attached), searched=body.get("enable_web_search") is True
        )
        return self._answered(
            conversation, model.price, text, visit.now, thinks_aloud=bool(body.get("include_thoughts"))
        )

    def _answered(
        self, conversation: Conversation, reserved: int, text: str, now: float, *, thinks_aloud: bool
    ) -> Turn:
        heard = sum(len(chat_text.tokens(message.content)) for message in conversation.messages)
        said = chat_text.tokens(text)
        total = heard + len(said)
        final = min(max(1, math.ceil(total / TOKENS_PER_CREDIT)), max(1, reserved))
        message = Message(self._conversations.new_id("msg"), "assistant", text, now)

        def settle() -> None:
            self._conversations.answer(conversation, message)
            self._world.spend(conversation.account_id, final)

        def let_go() -> None:
            self._world.let_go(conversation.account_id, reserved - final)

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
        return Turn(conversation, completion, said, thinks_aloud, settle, let_go)
