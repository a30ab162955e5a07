"""The ready tasks, and the session for tasks of users."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from taskiq import Context, TaskiqDepends
from taskiq.exceptions import NoResultError

from .._engine.shutdown import ShutdownRequested
from ..session import RivyaSession
from .context import WorkerContext, get_worker_context
from .job_message import GENERATE_TASK, WAIT_TASK, JobMessage
from .job_runner import run_job
from .middleware import bind_message_context, read_enqueued_at

if TYPE_CHECKING:
    from taskiq import AsyncBroker


def current_worker_context(context: Annotated[Context, TaskiqDepends()]) -> WorkerContext:
    """Returns the context of the worker that runs this task."""
    return get_worker_context(context.broker)


def current_session(worker_context: Annotated[WorkerContext, TaskiqDepends(current_worker_context)]) -> RivyaSession:
    """Returns the session of the worker that runs this task."""
    return worker_context.session


RivyaSessionDep: Final = TaskiqDepends(current_session)
"""Dependency for tasks of users: `session: Annotated[RivyaSession, RivyaSessionDep]`. Do not close the session."""


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
    """Purchases a job, waits for it, and saves its files if `download_to` names a folder of the workers.

    The idempotency key is minted when the job is enqueued, unless you give one. Returns
    `JobRecord.as_dict()`: no failure is raised, check `state`.
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
    return await _process(worker_context, JobMessage.from_generate_arguments(arguments), context)


async def wait(
    task_id: str,
    *,
    download_to: str | None = None,
    name: str | None = None,
    context: Annotated[Context, TaskiqDepends(bind_message_context)],
    worker_context: Annotated[WorkerContext, TaskiqDepends(current_worker_context)],
) -> dict[str, Any]:
    """Waits for a job that was purchased elsewhere, and saves its files if `download_to` names a folder of the workers.

    Returns what `rivya.generate` returns.
    """
    return await _process(
        worker_context,
        JobMessage.from_wait_arguments({"task_id": task_id, "download_to": download_to, "name": name}),
        context,
    )


def register(broker: AsyncBroker) -> tuple[Any, Any]:
    """Registers both tasks. The broker does not acknowledge them: it would do so too early, and after an error."""
    buying = broker.register_task(generate, task_name=GENERATE_TASK, ack_type="manual")
    waiting = broker.register_task(wait, task_name=WAIT_TASK, ack_type="manual")
    return buying, waiting


async def _process(worker_context: WorkerContext, message: JobMessage, context: Context) -> dict[str, Any]:
    """Returns the result of a message. Gives the message back where another worker has to continue.

    An unexpected error must not leave a paid job without a worker: the message is processed again, until it counts as
    delivered too often.
    """
    delivery = partial(run_job, worker_context, message, read_enqueued_at(context.message))
    try:
        return (await worker_context.retry(delivery, "a message failed", message.key)).as_dict()
    except ShutdownRequested:
        if not context.is_ackable and context.broker.is_worker_process:  # no broker delivers it again
            await context.requeue()
        raise NoResultError from None
