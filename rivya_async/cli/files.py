"""`rivya files`: upload what jobs refer to, or look at one file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .._core.errors import ConfigurationError, RivyaError
from .chat_render import as_api
from .exit_codes import ExitCode
from .failures import exit_code_of
from .render import seconds
from .target import embedded, service

if TYPE_CHECKING:
    from argparse import Namespace

    from .._core.records import File
    from ..session import RivyaSession
    from .jobs import JobList
    from .output import Output


async def run(arguments: Namespace, output: Output, _job_list: JobList) -> int:
    """Upload, or show."""
    if arguments.action == "show" and (arguments.kind or arguments.model):
        raise ConfigurationError("--kind and --model are for rivya files upload")
    opened = embedded(output, renders=False) if arguments.sandbox else service()
    async with opened as session:
        calls = [_file(session, arguments, name) for name in arguments.names]
        ended = await asyncio.gather(*calls, return_exceptions=True)
    code = ExitCode.OK
    for result in ended:
        if isinstance(result, RivyaError):
            output.failed(result)
            code = code or exit_code_of(result)
        elif isinstance(result, BaseException):
            raise result
        else:
            output.result(as_api(result), text=file_text(result))
    return code


async def _file(session: RivyaSession, arguments: Namespace, name: str) -> File:
    if arguments.action == "show":
        return await session.files.retrieve(name)
    return await session.files.upload(name, kind=arguments.kind, model=arguments.model)


def file_text(file: File) -> str:
    """A line, and one with the link."""
    size = "" if file.size_bytes is None else f"{file.size_bytes:,} bytes"
    told = [file.id, file.mime_type or file.kind, size, seconds(file.duration_seconds), file.name or ""]
    return f"{'  '.join(filter(None, told))}\n  {file.url}"
