"""`rivya chat`: an answer as it arrives, or the conversations of the account."""

from __future__ import annotations

import shlex
import uuid
from typing import TYPE_CHECKING, Any, Final

import click

from ..._core.errors import ConfigurationError, RivyaError
from ..._core.terminal_text import to_one_line
from ..command import command
from ..errors import exit_code_for
from ..exit_codes import ExitCode
from ..options import TEXT, key_option
from ..render import format_credits, pluralize, record_to_json, shell_command

if TYPE_CHECKING:
    from ..._core.types.chat import ChatCompletion, ChatSession
    from ...session import RivyaSession
    from ..output import Output
    from ..run import CommandContext

SESSIONS: Final = "sessions"
"""Word in the place of a model that asks for the conversations."""

TITLE_WIDTH: Final = 48
"""Characters of a conversation's title in a list."""


@command("chat")
@click.argument("model")
@click.argument("message", type=TEXT, required=False)
@click.option("--session", "session_id", metavar="ID", help="Continue this conversation.")
@click.option("--attach", "attachments", metavar="FILE_ID", multiple=True, help="An uploaded image (repeatable).")
@click.option("--web-search", "enable_web_search", is_flag=True, default=None, help="Let the model search the web.")
@click.option("--reasoning-effort", metavar="X", help="Such as minimal, low, medium or high.")
@click.option("--no-stream", is_flag=True, help="Show the answer when it is complete.")
@key_option
async def chat(context: CommandContext, *, model: str, message: str | None, **options: Any) -> int:
    """Ask a chat model, or list the conversations.

    The answer is shown as it arrives; its cost and the option that continues the conversation follow on stderr.
    An option that the model does not have is rejected before anything is bought.
    rivya chat sessions lists the conversations, rivya chat sessions ID shows one.
    --json: a line with the whole answer, or one for each conversation.

    Examples:
      rivya chat gpt-5-2-chat "Three names for a kite shop"
      rivya chat gpt-5-2-chat "And in French?" --session ses_ab12
      rivya chat sessions
      rivya chat sessions ses_ab12
    """
    if model != SESSIONS and message is None:
        raise ConfigurationError("there is no MESSAGE: rivya chat MODEL MESSAGE")
    async with context.open_session() as session:
        if model != SESSIONS:
            return await _ask(context, session, model, str(message), **options)
        await _show_sessions(session, message, context.output)
        return ExitCode.OK


async def _ask(
    context: CommandContext,
    session: RivyaSession,
    model: str,
    message: str,
    *,
    no_stream: bool,
    key: str | None,
    **options: Any,
) -> int:
    key = key or str(uuid.uuid4())
    repeated = [
        *(("--session", options["session_id"]) if options["session_id"] else ()),
        *(part for file_id in options["attachments"] for part in ("--attach", file_id)),
        *(("--web-search",) if options["enable_web_search"] else ()),
        *(("--reasoning-effort", options["reasoning_effort"]) if options["reasoning_effort"] else ()),
        *(("--no-stream",) if no_stream else ()),
    ]
    context.jobs.again = shell_command("chat", [*repeated, "--key", key], model, message)
    options |= {"idempotency_key": key, "check": True}
    output = context.output
    try:
        if no_stream:
            completion = await session.chat.completions.create(model, message, **options)
            output.write_chunk(completion.text)
        else:
            async with session.chat.completions.stream(model, message, **options) as stream:
                async for delta in stream:
                    output.write_chunk(delta)
                completion = stream.completion
    except RivyaError as error:
        output.end_line()
        output.write_error(error, again=context.jobs.again)
        return exit_code_for(error)
    finally:
        output.end_line()
    context.jobs.again = None
    output.write_result(record_to_json(completion))
    output.write_note(_format_usage(completion))
    return ExitCode.OK


async def _show_sessions(session: RivyaSession, session_id: str | None, output: Output) -> None:
    if session_id is not None:
        conversation = await session.chat.sessions.retrieve(session_id)
        messages = [f"{to_one_line(each.role)}: {each.content}" for each in conversation.messages]
        text = "\n\n".join([_format_session(conversation), *messages])
        output.write_result(record_to_json(conversation), text=text)
        return
    conversations = await session.chat.sessions.list()
    for each in conversations:
        output.write_result(record_to_json(each), text=_format_session(each))
    if not conversations:
        output.write_note("no conversation was started through the API yet")


def _format_usage(completion: ChatCompletion) -> str:
    """Returns the option that continues the conversation, the tokens and the cost."""
    parts = [f"--session {shlex.quote(completion.session_id)}"] if completion.session_id else []
    if completion.usage is not None and completion.usage.total_tokens is not None:
        parts.append(pluralize(completion.usage.total_tokens, "token"))
    if completion.credits is not None and completion.credits.final is not None:
        parts.append(format_credits(completion.credits.final))
    return "  ".join(parts)


def _format_session(session: ChatSession) -> str:
    """Returns a conversation in one line."""
    updated_at = session.updated_at or session.created_at
    time = f"{updated_at:%Y-%m-%d %H:%M}" if updated_at is not None else ""
    return to_one_line(f"{session.id}  {session.model}  {time}  {(session.title or '')[:TITLE_WIDTH]}")
