"""`rivya download`: the files of jobs that have ended, or of links."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .._core.errors import ConfigurationError, RivyaError
from .exit_codes import ExitCode
from .failures import exit_code_of
from .target import embedded, service
from .transfers import shown

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from .._engine.uploader import OnProgress
    from ..session import RivyaSession
    from .jobs import JobList
    from .output import Output


async def run(arguments: Namespace, output: Output, _job_list: JobList) -> int:
    """Save the files of each; one that goes wrong leaves the others alone."""
    sources = list(dict.fromkeys(arguments.sources))
    if arguments.name is not None and len(sources) > 1 and "{task_id" not in arguments.name:
        raise ConfigurationError("put {task_id} into --name, so that the files of each have their own")
    are_links = all(map(_is_link, sources))
    opened = embedded(output) if arguments.sandbox else service(needs_key=not are_links)
    async with opened as session:
        with shown(output) as bars:
            calls = [_save(session, source, arguments, bars(source)) for source in sources]
            ended = await asyncio.gather(*calls, return_exceptions=True)
    code = ExitCode.OK
    for source, result in zip(sources, ended, strict=True):
        if isinstance(result, RivyaError):
            output.failed(result)
            code = code or exit_code_of(result)
        elif isinstance(result, BaseException):
            raise result
        else:
            files = [str(path) for path in result]
            output.result({"url" if _is_link(source) else "id": source, "files": files}, text="\n".join(files))
    return code


async def _save(session: RivyaSession, source: str, arguments: Namespace, on_progress: OnProgress | None) -> list[Path]:
    return await session.download(
        source if _is_link(source) else await session.generations.retrieve(source),
        arguments.output,
        name=arguments.name,
        overwrite=arguments.overwrite,
        max_bytes=arguments.max_bytes,
        on_progress=on_progress,
    )


def _is_link(source: str) -> bool:
    return "://" in source
