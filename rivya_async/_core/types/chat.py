"""What the Chat API speaks of, as frozen values; see `records` for their common habits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from .generations import Amount, extra_fields


@attrs.frozen
class ChatMessage:
    """One message of a conversation [10]: `role` is an open string, such as `user` or `assistant`."""

    content: str = ""
    role: str = "assistant"
    id: str | None = None
    created_at: datetime | None = None
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class Usage:
    """The tokens of one turn [10]; None where the service does not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class ChatCredits:
    """What one turn costs [10]: `reserved` is held before the model is asked, `final` is the charge."""

    reserved: Amount | None = None
    final: Amount | None = None
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class ChatCompletion:
    """The answer to one message [10]. Pass `session_id` with the next message to go on with the conversation.

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
        """What the model said."""
        return self.message.content


@attrs.frozen
class ChatSession:
    """A conversation that was begun through the API [10]; it belongs to one account and one model.

    The shape is an assumption, so whatever is missing is None. `messages` are told by `retrieve` only.
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
class ChatSessionList:
    """Conversations, the newest first [10]."""

    data: tuple[ChatSession, ...]
    extra: Mapping[str, Any] = extra_fields()
