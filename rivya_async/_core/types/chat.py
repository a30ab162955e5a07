"""Frozen records of the Chat API; see `generations` for their common rules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from ..public_module import set_public_module
from .generations import Amount, extra_fields
from .record import Record


@attrs.frozen
class ChatMessage(Record):
    """Message of a conversation [10]: `role` is an open string, such as `user` or `assistant`."""

    content: str = ""
    role: str = "assistant"
    id: str | None = None
    created_at: datetime | None = None
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class Usage(Record):
    """Token counts of one turn [10]; None if missing."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class ChatCredits(Record):
    """Cost of one turn [10]: `reserved` is held before the model runs, `final` is the charge."""

    reserved: Amount | None = None
    final: Amount | None = None
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class ChatCompletion(Record):
    """Answer to one message [10]. Pass `session_id` with the next message to continue the conversation.

    >>> ChatCompletion(id="chatcmpl_1", message=ChatMessage("Here is a plan.")).text
    'Here is a plan.'
    """

    id: str
    model: str = ""
    session_id: str | None = None
    message: ChatMessage = attrs.field(factory=ChatMessage)
    usage: Usage | None = None
    credits: ChatCredits | None = None
    created_at: datetime | None = None
    object: str = "chat.completion"
    extra: Mapping[str, Any] = extra_fields()

    @property
    def text(self) -> str:
        """The text of the answer."""
        return self.message.content


@attrs.frozen
class ChatSession(Record):
    """Conversation that was started through the API [10]; it belongs to one account and one model.

    The shape is an assumption, so missing members are None. Only `retrieve` returns `messages`.
    """

    id: str
    model: str = ""
    title: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    messages: tuple[ChatMessage, ...] = ()
    object: str = "chat.session"
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class ChatSessionList(Record):
    """Conversations, newest first [10]."""

    data: tuple[ChatSession, ...]
    extra: Mapping[str, Any] = extra_fields()


set_public_module("rivya_async", ChatCompletion, ChatCredits, ChatMessage, ChatSession, Usage)
