"""The conversations that the sandbox remembers. It is told the time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import attrs

from ..api_error import ApiError
from ..store import StateStore
from ..task import timestamp

TITLE_LENGTH: Final = 60


@attrs.frozen
class ChatMessage:
    """One message; `created_at` in epoch seconds."""

    id: str
    role: str
    content: str
    created_at: float

    def to_wire(self) -> dict[str, Any]:
        """As a session tells of it."""
        return {**attrs.asdict(self), "created_at": timestamp(self.created_at)}


@attrs.define
class ChatSession:
    """A chat session: it belongs to one account and one model."""

    id: str
    account_id: str
    model: str
    title: str
    created_at: float
    updated_at: float
    messages: list[ChatMessage] = attrs.field(factory=list)

    def to_wire(self) -> dict[str, Any]:
        """As the list tells of it."""
        return {
            "id": self.id,
            "object": "chat.session",
            "model": self.model,
            "title": self.title,
            "created_at": timestamp(self.created_at),
            "updated_at": timestamp(self.updated_at),
        }


class ChatSessionStore:
    """All conversations, in the order in which they were begun."""

    def __init__(self, seed: int | str, store: StateStore) -> None:
        self._seed = seed
        self._store = store
        self._made = 0
        self._all = {each.id: each for each in store.load(ChatSession)}

    def new_id(self, prefix: str) -> str:
        """An id that follows from the seed."""
        self._made += 1
        return f"{prefix}_{hashlib.sha256(f'{self._seed}/chat/{self._made}'.encode()).hexdigest()[:20]}"

    def check(self, account_id: str, model: str, session_id: str | None) -> None:
        """Raises `Refused` (chat_session_conflict) for a session that cannot go on with this model."""
        if session_id is None:
            return
        known = self._all.get(session_id)
        if known is None or known.account_id != account_id:
            raise ApiError("chat_session_conflict", "There is no such chat session of this account: begin a new one.")
        if known.model != model:
            raise ApiError("chat_session_conflict", f"This chat session belongs to {known.model}, not to {model}.")

    def hear(self, account_id: str, model: str, session_id: str | None, message: str, now: float) -> ChatSession:
        """Note what the user says, in a session that was checked or in a new one."""
        if session_id is None:
            session_id = self.new_id("ses")
            title = " ".join(message.split())[:TITLE_LENGTH]
            self._all[session_id] = ChatSession(session_id, account_id, model, title, now, now)
        conversation = self._all[session_id]
        _add(conversation, ChatMessage(self.new_id("msg"), "user", message, now))
        return conversation

    def answer(self, conversation: ChatSession, message: ChatMessage) -> None:
        """Note what the model says. What is asked and not answered yet does not outlive the process."""
        _add(conversation, message)
        self._store.put(conversation.id, conversation)

    def of(self, account_id: str) -> Sequence[ChatSession]:
        """The conversations of an account, the newest first."""
        return [each for each in reversed(self._all.values()) if each.account_id == account_id]

    def one(self, account_id: str, session_id: str) -> ChatSession:
        """One of them; raises `Refused` (not_found) without it."""
        known = self._all.get(session_id)
        if known is None or known.account_id != account_id:
            raise ApiError("not_found", "There is no such chat session.")
        return known


def _add(conversation: ChatSession, message: ChatMessage) -> None:
    conversation.messages.append(message)
    conversation.updated_at = message.created_at
