"""Chat sessions and their messages."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import attrs

from ..responses import ApiError
from ..store import StateStore
from ..task import encode_record, format_timestamp

TITLE_LENGTH: Final = 60
"""Characters of the first message that are the title of a session."""


@attrs.frozen
class ChatMessage:
    """One message; `created_at` is in epoch seconds."""

    id: str
    role: str
    content: str
    created_at: float

    def to_json(self) -> dict[str, Any]:
        """Returns the API's message object."""
        return {**attrs.asdict(self), "created_at": format_timestamp(self.created_at)}


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


class ChatSessionStore:
    """All chat sessions, in the order of their creation."""

    def __init__(self, seed: int | str, store: StateStore) -> None:
        self._seed = seed
        self._store = store
        self._id_count = 0
        self._sessions = {session.id: session for session in store.load(ChatSession)}

    def new_id(self, prefix: str) -> str:
        """Returns a new id that follows from the seed."""
        self._id_count += 1
        return f"{prefix}_{hashlib.sha256(f'{self._seed}/chat/{self._id_count}'.encode()).hexdigest()[:20]}"

    def check(self, account_id: str, model: str, session_id: str | None) -> None:
        """Raises `ApiError` (chat_session_conflict) for a session that cannot continue with this model."""
        if session_id is None:
            return
        session = self._sessions.get(session_id)
        if session is None or session.account_id != account_id:
            raise ApiError("chat_session_conflict", "This account has no such chat session: begin a new one.")
        if session.model != model:
            raise ApiError("chat_session_conflict", f"This chat session belongs to {session.model}, not to {model}.")

    def add_user_message(
        self, account_id: str, model: str, session_id: str | None, text: str, now: float
    ) -> ChatSession:
        """Adds a user message to a checked session, or to a new one, and returns the session."""
        if session_id is None:
            session_id = self.new_id("ses")
            title = " ".join(text.split())[:TITLE_LENGTH]
            self._sessions[session_id] = ChatSession(session_id, account_id, model, title, now, now)
        session = self._sessions[session_id]
        session.append(ChatMessage(self.new_id("msg"), "user", text, now))
        return session

    def add_reply(self, session: ChatSession, message: ChatMessage) -> None:
        """Adds the model's reply and stores the session. A message without a reply is not stored."""
        session.append(message)
        self._store.put(session.id, session)

    def list_sessions(self, account_id: str) -> Sequence[ChatSession]:
        """Returns the sessions of an account, the newest first."""
        return [session for session in reversed(self._sessions.values()) if session.account_id == account_id]

    def get(self, account_id: str, session_id: str) -> ChatSession:
        """Returns a session of an account; raises `ApiError` (not_found) without it."""
        session = self._sessions.get(session_id)
        if session is None or session.account_id != account_id:
            raise ApiError("not_found", "There is no such chat session.")
        return session
