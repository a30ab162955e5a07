"""Chat as text for people and as JSON for programs. Pure."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from .render import format_credits, pluralize, to_one_line

if TYPE_CHECKING:
    from argparse import Namespace

    from .._core.chat_records import ChatCompletion, ChatSession

TITLE_WIDTH = 48


def record_to_json(value: Any) -> Any:
    """A record in the words of the API, with the members that we do not know.

    >>> from rivya_async import ChatMessage
    >>> record_to_json(ChatMessage("Hello", extra={"mood": "calm"}))
    {'mood': 'calm', 'content': 'Hello', 'role': 'assistant', 'id': None, 'created_at': None}
    """
    if attrs.has(type(value)):
        members = {field.name: record_to_json(getattr(value, field.name)) for field in attrs.fields(type(value))}
        return members.pop("extra") | members
    if isinstance(value, tuple):
        return [record_to_json(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


def plain(text: str) -> str:
    r"""What a model says, without the control characters that a terminal would obey.

    >>> plain("One\n\x1b[31mtwo")
    'One\n[31mtwo'
    """
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")


def bill(completion: ChatCompletion) -> str:
    """What is told after an answer: the session to go on with, and the cost."""
    parts = [f"--session {completion.session_id}"] if completion.session_id else []
    if completion.usage is not None and completion.usage.total_tokens is not None:
        parts.append(pluralize(completion.usage.total_tokens, "token"))
    if completion.credits is not None and completion.credits.final is not None:
        parts.append(format_credits(completion.credits.final))
    return "  ".join(parts)


def session_line(session: ChatSession) -> str:
    """A conversation in a list."""
    at = session.updated_at or session.created_at
    when = f"{at:%Y-%m-%d %H:%M}" if at is not None else ""
    return to_one_line(f"{session.id}  {session.model}  {when}  {(session.title or '')[:TITLE_WIDTH]}")


def session_text(session: ChatSession) -> str:
    """A conversation as it went."""
    said = [f"{to_one_line(message.role)}: {plain(message.content)}" for message in session.messages]
    return "\n\n".join([session_line(session), *said])


def again(arguments: Namespace, key: str) -> str:
    """The command that asks the same under the same key."""
    options = [
        *(("--session", arguments.session) if arguments.session else ()),
        *(part for file_id in arguments.attach for part in ("--attach", file_id)),
        *(("--web-search",) if arguments.web_search else ()),
        *(("--reasoning-effort", arguments.reasoning_effort) if arguments.reasoning_effort else ()),
        *(("--no-stream",) if arguments.no_stream else ()),
    ]
    guard = ["--"] if arguments.message.startswith("-") else []
    return shlex.join(["rivya", "chat", *options, "--key", key, *guard, arguments.model, arguments.message])
