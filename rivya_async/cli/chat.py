"""`rivya chat`: ask a model and see its answer as it comes, or look at the conversations of the account."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from .._core.errors import ConfigurationError, RivyaError
from .chat_render import again, as_api, bill, plain, session_line, session_text
from .exit_codes import ExitCode
from .failures import exit_code_of
from .target import embedded, service

if TYPE_CHECKING:
    from argparse import Namespace

    from .._core.chat_records import ChatCompletion
    from ..session import RivyaSession
    from .jobs import JobList
    from .output import Output

SESSIONS = "sessions"
"""In the place of a model: the conversations."""


async def run(arguments: Namespace, output: Output, job_list: JobList) -> int:
    """Ask, or list what was asked."""
    if arguments.model != SESSIONS and arguments.message is None:
        raise ConfigurationError("there is no MESSAGE: rivya chat MODEL MESSAGE")
    opened = embedded(output, renders=False) if arguments.sandbox else service()
    async with opened as session:
        if arguments.model == SESSIONS:
            await _show_sessions(session, arguments.message, output)
            return ExitCode.OK
        return await _ask(session, arguments, output, job_list)


async def _ask(session: RivyaSession, arguments: Namespace, output: Output, job_list: JobList) -> int:
    key = arguments.key or str(uuid.uuid4())
    job_list.again = again(arguments, key)
    options: dict[str, Any] = {
        "session_id": arguments.session,
        "attachments": arguments.attach,
        "enable_web_search": arguments.web_search or None,
        "reasoning_effort": arguments.reasoning_effort,
        "idempotency_key": key,
        "check": True,
    }
    try:
        completion = await _answer(session, arguments, output, options)
    except RivyaError as error:
        output.failed(error, again=job_list.again)
        return exit_code_of(error)
    job_list.again = None
    output.result(as_api(completion))
    output.note(bill(completion))
    return ExitCode.OK


async def _answer(
    session: RivyaSession, arguments: Namespace, output: Output, options: dict[str, Any]
) -> ChatCompletion:
    """The answer, shown meanwhile, or as far as it came."""
    try:
        if arguments.no_stream:
            completion = await session.chat.completions.create(arguments.model, arguments.message, **options)
            output.piece(plain(completion.text))
            return completion
        async with session.chat.completions.stream(arguments.model, arguments.message, **options) as stream:
            async for delta in stream:
                output.piece(plain(delta))
            return stream.completion
    finally:
        output.end_pieces()


async def _show_sessions(session: RivyaSession, session_id: str | None, output: Output) -> None:
    if session_id is not None:
        conversation = await session.chat.sessions.retrieve(session_id)
        output.result(as_api(conversation), text=session_text(conversation))
        return
    conversations = await session.chat.sessions.list()
    for each in conversations:
        output.result(as_api(each), text=session_line(each))
    if not conversations:
        output.note("no conversation was begun through the API yet")
