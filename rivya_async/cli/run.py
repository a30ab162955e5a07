"""Runs one command on an event loop of its own: signals, errors and exit codes."""

from __future__ import annotations

import asyncio
import signal
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import attrs
import click

from .._core.errors import RivyaError
from .errors import exit_code_for
from .exit_codes import ExitCode
from .jobs import JobList
from .output import Output
from .session_factory import embedded_session, service_session

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from .._engine.hooks import Hooks
    from ..session import RivyaSession

    AsyncCommand = Callable[..., Coroutine[Any, Any, int | None]]


@attrs.frozen
class CommandContext:
    """Output of a command, its jobs, and the choice between the service and an embedded sandbox."""

    output: Output
    is_sandbox: bool = False
    jobs: JobList = attrs.field(factory=JobList)

    def open_session(
        self, *, needs_key: bool = True, renders: bool = False, hooks: Sequence[Hooks] = ()
    ) -> AbstractAsyncContextManager[RivyaSession]:
        """Opens a session at the service, or at a sandbox. `renders`: the sandbox has to make result files."""
        if self.is_sandbox:
            return embedded_session(self.output, renders=renders, hooks=hooks)
        return service_session(needs_key=needs_key, hooks=hooks)


def run(function: AsyncCommand, options: Mapping[str, Any]) -> int:
    """Runs the command and returns its exit code. `--json` and `--sandbox` are in click's current context."""
    flags = click.get_current_context().meta
    output = Output(is_json=flags["is_json"])
    context = CommandContext(output, is_sandbox=flags.get("is_sandbox", False))
    try:
        with _warnings_as_notes(output):
            code = asyncio.run(_run_guarded(function, context, options))
    except KeyboardInterrupt:  # the second Ctrl-C ends the command without cleaning up
        output.write_interrupt_summary(context.jobs)
        return ExitCode.INTERRUPTED
    return ExitCode.BROKEN_PIPE if output.stdout_closed and code == ExitCode.OK else code


async def _run_guarded(function: AsyncCommand, context: CommandContext, options: Mapping[str, Any]) -> int:
    """Runs the command and turns every end of it into an exit code.

    A signal cancels the command, which closes its files and connections. Ctrl-C arrives as the same cancellation
    through asyncio's own handler.
    """
    task = asyncio.current_task()
    if task is not None:
        with suppress(NotImplementedError):  # there are no such handlers on Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await function(context, **options) or ExitCode.OK
    except asyncio.CancelledError:
        context.output.write_interrupt_summary(context.jobs)
        return ExitCode.INTERRUPTED
    except (RivyaError, OSError) as error:
        context.output.write_error(error)
        return exit_code_for(error)


@contextmanager
def _warnings_as_notes(output: Output) -> Iterator[None]:
    """Shows warnings of this library in one line, without the place in its source."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: output.write_note(f"warning: {message}")
        yield
