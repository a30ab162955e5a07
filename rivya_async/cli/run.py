"""Runs one command on an event loop of its own: signals, errors and exit codes."""

from __future__ import annotations

import asyncio
import signal
import warnings
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING

from .._core.errors import RivyaError
from .exit_codes import ExitCode
from .failures import exit_code_of
from .jobs import JobList
from .output import Output

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Awaitable, Callable, Iterator

    Command = Callable[[Namespace, Output, JobList], Awaitable[int]]


def run(arguments: Namespace) -> int:
    """Run the command that the arguments name and return its exit code."""
    output = Output(is_json=arguments.json)
    job_list = JobList()
    try:
        with _warnings_as_notes(output):
            code = asyncio.run(_guarded(arguments, output, job_list))
    except KeyboardInterrupt:  # the second Ctrl-C: whoever sends it does not want to wait for a farewell
        output.interrupted(job_list)
        return ExitCode.INTERRUPTED
    return ExitCode.BROKEN_PIPE if output.reader_left and code == ExitCode.OK else code


async def _guarded(arguments: Namespace, output: Output, job_list: JobList) -> int:
    """The command, with every end it can come to turned into an exit code.

    A signal cancels the command, which closes what it opened; Ctrl-C reaches us as the same cancellation through
    asyncio's own handler.
    """
    task = asyncio.current_task()
    if task is not None:
        with suppress(NotImplementedError):  # there are no such handlers on Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await _command(arguments.command)(arguments, output, job_list)
    except asyncio.CancelledError:
        output.interrupted(job_list)
        return ExitCode.INTERRUPTED
    except (RivyaError, OSError) as error:
        output.failed(error)
        return exit_code_of(error)


def _command(name: str) -> Command:
    command: Command = import_module(f".{name}", __package__).run
    return command


@contextmanager
def _warnings_as_notes(output: Output) -> Iterator[None]:
    """Warnings of this library as one line, not as a place in its source."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: output.note(f"warning: {message}")
        yield
