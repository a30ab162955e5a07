"""Frozen records of the Chat API; see `generations` for their common rules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from .. import assumptions
from ..public_module import set_public_module
from .generations import Amount, extra_fields
from .record import Record


@attrs.frozen
class ChatMessage(Record):
    """Message of a conversation."""

    content: str = ""
    """Text of the message."""
    role: str = "assistant"
    """Author, an open string such as `user` or `assistant`."""
    id: str | None = None
    """Id of the message."""
    created_at: datetime | None = None
    """Time of the message by the server's clock."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""


@attrs.frozen
class Usage(Record):
    """Token counts of one turn; None if missing."""

    input_tokens: int | None = None
    """Tokens of the message and its context."""
    output_tokens: int | None = None
    """Tokens of the answer."""
    total_tokens: int | None = None
    """Tokens of both."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""


@attrs.frozen
class ChatCredits(Record):
    """Cost of one turn in credits; None if missing."""

    reserved: Amount | None = None
    """Credits that were reserved before the model ran."""
    final: Amount | None = None
    """Credits that the turn has cost."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""


@attrs.frozen
class ChatCompletion(Record):
    """Answer to one message. Pass `session_id` with the next message to continue the conversation.

    >>> ChatCompletion(id="chatcmpl_1", message=ChatMessage("Here is a plan.")).text
    'Here is a plan.'
    """

    id: str
    """Id of the completion."""
    model: str = ""
    """Id of the model."""
    session_id: str | None = None
    """Id of the chat session; pass it with the next message."""
    message: ChatMessage = attrs.field(factory=ChatMessage)
    """The answer."""
    usage: Usage | None = None
    """Token counts of the turn."""
    credits: ChatCredits | None = None
    """Cost of the turn."""
    created_at: datetime | None = None
    """Time of the answer by the server's clock."""
    object: str = "chat.completion"
    """Type of the object, as the service names it."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""

    @property
    def text(self) -> str:
        """The text of the answer."""
        return self.message.content


@attrs.frozen
class ChatSession(Record):
    """Conversation that was started through the API; it belongs to one account and one model.

    The shape is an assumption, so missing members are None. Only `retrieve` returns `messages`.
    """

    id: str
    """Id of the chat session."""
    model: str = ""
    """Id of the model."""
    title: str | None = None
    """Title that the service has given."""
    created_at: datetime | None = None
    """Time of the first message by the server's clock."""
    updated_at: datetime | None = None
    """Time of the last change by the server's clock."""
    messages: tuple[ChatMessage, ...] = ()
    """Messages, the oldest first; only `retrieve` returns them."""
    object: str = "chat.session"
    """Type of the object, as the service names it."""
    extra: Mapping[str, Any] = extra_fields()
    """Members that this version of the SDK does not know."""


@attrs.frozen
class ChatSessionList(Record):
    """Conversations, newest first."""

    data: tuple[ChatSession, ...]
    extra: Mapping[str, Any] = extra_fields()


@attrs.frozen
class ChatCapabilities(Record):
    """Capabilities of a chat model, as listed in the catalogue; None if not listed.

    The names in the catalogue are an assumption (`from_catalogue`).

    >>> ChatCapabilities.from_catalogue({"web_search": True}).images is None
    True
    """

    web_search: bool | None = None
    """True if the model can search the web."""
    images: bool | None = None
    """True if the model takes pictures as attachments."""
    reasoning_efforts: tuple[str, ...] | None = None
    """Valid values of `reasoning_effort`."""
    thoughts: bool | None = None
    """True if the model can show its thoughts."""

    @classmethod
    def from_catalogue(cls, chat_capabilities: Mapping[str, Any] | None) -> ChatCapabilities:
        """Reads `chat_capabilities` of a model; a member of another type counts as not listed."""
        members = chat_capabilities or {}
        values = members.get(assumptions.CHAT_EFFORTS_FIELD)
        efforts = (
            tuple(value for value in values if isinstance(value, str)) if isinstance(values, list | tuple) else None
        )
        return cls(
            web_search=_read_capability(members.get(assumptions.CHAT_WEB_SEARCH_FIELD)),
            images=_read_capability(members.get(assumptions.CHAT_IMAGES_FIELD)),
            reasoning_efforts=efforts,
            thoughts=_read_capability(members.get(assumptions.CHAT_THOUGHTS_FIELD)),
        )


def _read_capability(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


set_public_module("rivya_async", ChatCapabilities, ChatCompletion, ChatCredits, ChatMessage, ChatSession, Usage)
