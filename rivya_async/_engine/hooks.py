"""Who is told of what the engine does. Silent by default; nothing is built where nobody listens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextvars import Context

    from .._core.errors import RivyaError


@attrs.frozen
class AttemptDetails:
    """One request that was sent: `number` counts from 1 within its call, `elapsed` is its own time in seconds.

    A stream is told of when its answer begins.
    """

    method: str
    path: str
    number: int
    elapsed: float
    idempotency_key: str | None
    error: RivyaError | None


@attrs.frozen
class RetryDetails:
    """A request that will be sent again after `delay` seconds, because of `error`."""

    method: str
    path: str
    number: int
    delay: float
    idempotency_key: str | None
    error: RivyaError


@attrs.frozen
class PollDetails:
    """One look at a waiting job: `number` counts its polls from 1; `delay` is None where no other will follow.

    A poll that is due after `delay` seconds may be left out while webhooks tell of ends.
    """

    task_id: str
    number: int
    status: str | None
    delay: float | None
    error: RivyaError | None


@attrs.frozen
class WaitDetails:
    """One wait that is over: `status` is the terminal one, None where `error` ended the wait and not the job.

    `elapsed` is its length in seconds; of jobs that are waited for together, until this one was handed out. `polls`
    counts the job's polls so far, whoever else waited for it. `model` is None where nothing was heard of the job.
    """

    task_id: str
    model: str | None
    status: str | None
    elapsed: float
    polls: int
    error: RivyaError | None


@attrs.frozen
class DownloadDetails:
    """One file that was saved or given up. `host` is all that is told of its link, which lets anybody in.

    `elapsed` in seconds holds every attempt, the pauses between them and the wait for a place; `received_bytes` came
    over the network in that time.
    """

    host: str
    received_bytes: int
    elapsed: float
    error: RivyaError | None


class Hooks:
    """Override what you want to hear of. Hooks are called on the session's loop and must not block.

    They see the context variables of whoever made the call; those of a poll, and of its attempt, of whoever was first
    to wait for the job. What is cancelled is not told of, nor a wait that was over before it began.

    A hook that raises is reported to the loop's exception handler and changes nothing.

    >>> class PurchasePreflight(Hooks):
    ...     retries = 0
    ...     def on_retry(self, details):
    ...         self.retries += 1
    """

    def on_attempt(self, details: AttemptDetails) -> None:
        """After each request, answered or not, before its retry is decided."""

    def on_retry(self, details: RetryDetails) -> None:
        """Before the pause that precedes another attempt."""

    def on_poll(self, details: PollDetails) -> None:
        """After each poll of a waiting job, before its waiters wake."""

    def on_wait(self, details: WaitDetails) -> None:
        """When a wait for a job is over, before its caller hears of it."""

    def on_download(self, details: DownloadDetails) -> None:
        """When a file is saved or given up."""


def notify(listeners: Sequence[Hooks], event: str, details: Any, context: Context | None = None) -> None:
    """Call one hook of every listener, in `context` if there is one; what a hook raises never reaches the engine."""
    for listener in listeners:
        try:
            hook = getattr(listener, event)
            if context is None:
                hook(details)
            else:
                context.run(hook, details)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a paid job must not die of a user's code
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"{type(listener).__name__}.{event} raised", "exception": error}
            )
