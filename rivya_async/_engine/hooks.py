"""Hooks: callbacks that observe the engine. No details are built for a session without hooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import attrs

from .._core.errors import ConfigurationError, RivyaError
from .._core.public_module import set_public_module

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextvars import Context


INTERRUPT_HANDLER: Final[ContextVar[Callable[[BaseException], None] | None]] = ContextVar("handler", default=None)
"""Receives `SystemExit` and `KeyboardInterrupt` of hooks: in a task they would end the event loop."""


@attrs.frozen
class AttemptDetails:
    """One request that was sent. The attempt of a stream ends when its response begins."""

    method: str
    """HTTP method."""
    path: str
    """Path below the origin, with the query."""
    number: int
    """Number of the attempt within its call, from 1."""
    elapsed: float
    """Time of this attempt in seconds."""
    idempotency_key: str | None
    """Idempotency key of the call, if it has one."""
    error: RivyaError | None
    """Error of the attempt; None if it succeeded."""
    status: int | None = None
    """HTTP status of the response; None without a response."""
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Headers of the response. Lookups are case-insensitive."""
    request_id: str | None = None
    """The service's id of the request, if the response contains one."""
    base_url: str = attrs.field(default="", kw_only=True)
    """Origin of the service."""


@attrs.frozen
class RetryDetails:
    """A request that is sent again after an error."""

    method: str
    """HTTP method."""
    path: str
    """Path below the origin, with the query."""
    number: int
    """Number of the failed attempt within its call, from 1."""
    delay: float
    """Seconds until the next attempt."""
    idempotency_key: str | None
    """Idempotency key of the call, if it has one."""
    error: RivyaError
    """Error of the failed attempt."""


@attrs.frozen
class PollDetails:
    """One poll of a job.

    The next poll may be skipped while webhooks report the ends of jobs.
    """

    task_id: str
    """Task id of the job."""
    number: int
    """Number of the poll of this job, from 1."""
    status: str | None
    """Status of the job; None if the poll failed."""
    delay: float | None
    """Seconds until the next poll; None if there is none."""
    error: RivyaError | None
    """Error of the poll; None if it succeeded."""


@attrs.frozen
class WaitDetails:
    """One finished wait."""

    task_id: str
    """Task id of the job."""
    model: str | None
    """Id of the model; None if no record of the job was received."""
    status: str | None
    """Terminal status; None if `error` ended the wait before the job ended."""
    elapsed: float
    """Length of the wait in seconds; in a wait for several jobs, the time until this job was returned."""
    polls: int
    """Number of all polls of the job so far, for all its waits."""
    error: RivyaError | None
    """Error that ended the wait, if any."""


@attrs.frozen
class DownloadDetails:
    """One finished or failed download."""

    host: str
    """Host of the link. The whole link gives access to the file."""
    received_bytes: int
    """Bytes received over the network."""
    elapsed: float
    """Seconds of all attempts, of the back-off between them and of the wait for a slot."""
    error: RivyaError | None
    """Error of the download; None if it succeeded."""


class Hooks:
    """Callbacks that do nothing: override those that you need. They run on the session's loop and must not block.

    A hook sees the context variables of the caller. Hooks of a poll, and of its attempt, see those of the first caller
    that waits for the job. Cancelled operations call no hook, nor does a wait for a job that has ended already.

    An exception of a hook is reported to the loop's exception handler and has no other effect. `SystemExit` and
    `KeyboardInterrupt` end the event loop, as everywhere in asyncio; in a `BlockingSession` the call raises them.

    >>> class RetryCounter(Hooks):
    ...     retries = 0
    ...     def on_retry(self, details):
    ...         self.retries += 1
    """

    def wrap_transport(self, transport: Any) -> Any:
        """Returns the `Transport` that the session uses: this one, or one that adds something to its requests."""
        return transport

    def on_attempt(self, details: AttemptDetails) -> None:
        """Called after each request, with or without a response, before a retry is decided."""

    def on_retry(self, details: RetryDetails) -> None:
        """Called before the back-off that precedes a retry."""

    def on_poll(self, details: PollDetails) -> None:
        """Called after each poll of a job, before its waiters wake."""

    def on_wait(self, details: WaitDetails) -> None:
        """Called at the end of a wait for a job, before the wait returns or raises."""

    def on_download(self, details: DownloadDetails) -> None:
        """Called when a download has finished or failed."""


def validate_hooks(hooks: Sequence[Hooks]) -> tuple[Hooks, ...]:
    """Returns the hooks. Raises `ConfigurationError` for anything else."""
    if isinstance(hooks, Hooks) or not all(isinstance(each, Hooks) for each in hooks):
        raise ConfigurationError("hooks must be a list of instances of subclasses of Hooks")
    return tuple(hooks)


def notify(hooks: Sequence[Hooks], event: str, details: Any, context: Context | None = None) -> None:
    """Calls one method of all hooks, in `context` if it is given. Reports exceptions to the loop and raises none.

    Raises `SystemExit` and `KeyboardInterrupt` if there is no `INTERRUPT_HANDLER`.
    """
    for hook in hooks:
        try:
            method = getattr(hook, event)
            if context is None:
                method(details)
            else:
                context.run(method, details)
        except (SystemExit, KeyboardInterrupt) as error:
            handler = INTERRUPT_HANDLER.get() if context is None else context.run(INTERRUPT_HANDLER.get)
            if handler is None:
                raise
            handler(error)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - an error in a hook must not end a paid job
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"{type(hook).__name__}.{event} raised", "exception": error}
            )


set_public_module("rivya_async", AttemptDetails, DownloadDetails, Hooks, PollDetails, RetryDetails, WaitDetails)
