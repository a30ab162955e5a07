"""Runs one command on an event loop of its own: signals, errors and exit codes."""

from __future__ import annotations

import asyncio
import signal
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import click

from .._core.errors import RivyaError
from .errors import exit_code_for
from .exit_codes import ExitCode
from .jobs import JobList
from .logs import enable_logging
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
    proxy: str | None = None
    jobs: JobList = attrs.field(factory=JobList)

    def open_session(
        self, *, needs_key: bool = True, renders: bool = False, hooks: Sequence[Hooks] = ()
    ) -> AbstractAsyncContextManager[RivyaSession]:
        """Opens a session at the service, or at a sandbox. `renders`: the sandbox has to make result files."""
        if self.is_sandbox:
            return embedded_session(self.output, renders=renders, hooks=hooks)
        return service_session(needs_key=needs_key, hooks=hooks, proxy=self.proxy)


def run(function: AsyncCommand, options: Mapping[str, Any]) -> int:
    """Runs the command and returns its exit code. `--json` and `--sandbox` are in click's current context."""
    flags = click.get_current_context().meta
    output = Output(is_json=flags["is_json"])
    enable_logging(flags["verbosity"], is_json=output.is_json)
    context = CommandContext(output, is_sandbox=flags["is_sandbox"], proxy=flags["proxy"])
    try:
        with catch_ctrl_c(), _warnings_as_notes(output):
            code = asyncio.run(_run_guarded(function, context, options))
    except KeyboardInterrupt:  # the second Ctrl-C ends the command without cleaning up
        output.write_interrupt_summary(context.jobs)
        code = ExitCode.INTERRUPTED
    return output.end(code, context.jobs)


@contextmanager
def catch_ctrl_c() -> Iterator[None]:
    """Replaces the handler of `__main__` by Python's, which an event loop replaces by its own."""
    is_replaced = signal.getsignal(signal.SIGINT) not in {signal.default_int_handler, signal.SIG_IGN, signal.SIG_DFL}
    if is_replaced:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if is_replaced:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # only the exit is left: no traceback


def termination_signals(*more: str) -> list[signal.Signals]:
    """Returns the signals that ask a process to end. An ignored one stays ignored, as `nohup` wants it."""
    found = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", *more) if hasattr(signal, name)]
    return [number for number in found if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def handle_signals(handler: Callable[[int], None], *more: str) -> Iterator[None]:
    """Calls `handler` on the running loop for each signal that asks the process to end.

    After one of them, those but SIGINT are ignored to the end of the process: shells repeat the SIGHUP of a terminal,
    and the exit code must not depend on the time at which the second one arrives.
    """
    loop, received = asyncio.get_running_loop(), []

    def receive(number: int, _frame: object) -> None:
        received.append(number)
        loop.call_soon_threadsafe(handler, number)

    previous = {number: signal.signal(number, receive) for number in termination_signals(*more)}
    try:
        yield
    finally:
        for number, old in previous.items():
            if signal.getsignal(number) is receive:  # otherwise it is ignored since an inner block has received one
                signal.signal(number, signal.SIG_IGN if received and number != signal.SIGINT else old)


async def _run_guarded(function: AsyncCommand, context: CommandContext, options: Mapping[str, Any]) -> int:
    """Runs the command and turns every end of it into an exit code.

    A signal cancels the command, which closes its files and connections. Ctrl-C arrives as the same cancellation
    through asyncio's own handler.
    """
    task = asyncio.current_task()

    def cancel_once(_: int) -> None:
        if task is not None and not task.cancelling():  # a second signal does not interrupt the clean-up
            task.cancel()

    with handle_signals(cancel_once):
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
