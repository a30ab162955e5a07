"""The ready tasks, and what tasks of users can ask for."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Annotated, Any, Final

from taskiq import Context, TaskiqDepends
from taskiq.exceptions import NoResultError

from .._engine.shutdown import ShutdownRequested
from ..session import RivyaSession
from .context import WorkerContext, get_worker_context
from .fulfilment import FIRST_PAUSE, LONGEST_PAUSE, Fulfilment
from .job_message import GENERATE_TASK, WAIT_TASK, JobMessage
from .middleware import bind_message_context, read_enqueued_at

if TYPE_CHECKING:
    from taskiq import AsyncBroker

LOG: Final = logging.getLogger("rivya_async.workers")


def current_worker_context(context: Annotated[Context, TaskiqDepends()]) -> WorkerContext:
    """The desk of the worker that runs this task."""
    return get_worker_context(context.broker)


def current_session(worker_context: Annotated[WorkerContext, TaskiqDepends(current_worker_context)]) -> RivyaSession:
    """The session of the worker that runs this task."""
    return worker_context.session


RivyaSessionDep: Final = TaskiqDepends(current_session)
"""For tasks of your own: `session: Annotated[RivyaSession, RivyaSessionDep]`. It is the worker's: do not close it."""


async def generate(
    model: str,
    prompt: str | None = None,
    *,
    params: dict[str, Any] | None = None,
    references: list[Any] | None = None,
    client_request_id: str | None = None,
    idempotency_key: str | None = None,
    download_to: str | None = None,
    name: str | None = None,
    context: Annotated[Context, TaskiqDepends(bind_message_context)],
    worker_context: Annotated[WorkerContext, TaskiqDepends(current_worker_context)],
) -> dict[str, Any]:
    """Buy a job, wait for it, and save its files if `download_to` names a folder of the workers.

    The idempotency key is minted when the job is enqueued, unless you give one, and travels with it. Returns
    `JobRecord.told()`: no failure is raised, look at `state`.
    """
    arguments = {
        "model": model,
        "prompt": prompt,
        "params": params,
        "references": references,
        "client_request_id": client_request_id,
        "idempotency_key": idempotency_key,
        "download_to": download_to,
        "name": name,
    }
    return await _carried(worker_context, JobMessage.from_generate_arguments(arguments), context)


async def wait(
    task_id: str,
    *,
    download_to: str | None = None,
    name: str | None = None,
    context: Annotated[Context, TaskiqDepends(bind_message_context)],
    worker_context: Annotated[WorkerContext, TaskiqDepends(current_worker_context)],
) -> dict[str, Any]:
    """Wait for a job that was bought elsewhere, and save its files if `download_to` names a folder of the workers.

    Returns what `rivya.generate` returns.
    """
    return await _carried(
        worker_context,
        JobMessage.from_wait_arguments({"task_id": task_id, "download_to": download_to, "name": name}),
        context,
    )


def register(broker: AsyncBroker) -> tuple[Any, Any]:
    """The two tasks on this broker. Its own acknowledgement would come too early, and also after an error."""
    buying = broker.register_task(generate, task_name=GENERATE_TASK, ack_type="manual")
    waiting = broker.register_task(wait, task_name=WAIT_TASK, ack_type="manual")
    return buying, waiting


async def _carried(worker_context: WorkerContext, order: JobMessage, context: Context) -> dict[str, Any]:
    """The end of the order, told. Where it has to be carried on elsewhere, its message is given back.

    A store that fails in a way of its own, or a slip of ours, must not leave a paid job to nobody: it is begun again
    until it is a case of too many deliveries.
    """
    pause = FIRST_PAUSE
    try:
        while True:
            try:
                return (await Fulfilment(worker_context, order, read_enqueued_at(context.message)).carry()).told()
            except (ShutdownRequested, asyncio.CancelledError):
                raise
            except Exception:
                LOG.exception("an order could not be carried, trying again", extra={"idempotency_key": order.key})
            async with worker_context.shutdown.scope():
                await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
    except ShutdownRequested:
        if not context.is_ackable and context.broker.is_worker_process:  # nobody but us knows of it any more
            await context.requeue()
        raise NoResultError from None
