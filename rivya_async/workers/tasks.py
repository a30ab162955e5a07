"""The ready tasks with their middleware, and the session for tasks of users.

The middleware mints keys before a message is sent, and acknowledges it after its result is saved.
"""

from __future__ import annotations

import math
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

from taskiq import Context, TaskiqDepends, TaskiqMiddleware
from taskiq.exceptions import NoResultError

from .._core.errors import ConfigurationError
from .._engine.environment import Environment
from .._engine.shutdown import ShutdownRequested
from .._jobs.transitions import InvalidMessageError, JobState, error_fields
from ..session import RivyaSession
from .context import LOG, WorkerContext, get_worker_context
from .job_message import GENERATE_TASK, MESSAGE_PARSERS, WAIT_TASK, JobMessage, bind_arguments, find_key
from .job_runner import run_job
from .store import DeadLetter, JobRecord

if TYPE_CHECKING:
    from taskiq import AsyncBroker, TaskiqMessage, TaskiqResult

ENQUEUED_AT_LABEL: Final = "rivya_enqueued_at"
"""The message label with the time in epoch seconds at which a job was enqueued first."""

_message_context: ContextVar[Context | None] = ContextVar("rivya_message_context", default=None)


def bind_message_context(context: Annotated[Context, TaskiqDepends()]) -> Context:
    """Stores the context of this task's message, which the middleware acknowledges."""
    _message_context.set(context)
    return context


def read_enqueued_at(message: TaskiqMessage) -> float | None:
    """Returns the time in epoch seconds at which the message was enqueued first; None if it is unknown."""
    try:
        instant = float(message.labels[ENQUEUED_AT_LABEL])
    except (LookupError, TypeError, ValueError, OverflowError):
        return None
    return instant if math.isfinite(instant) else None


async def reject_message(worker_context: WorkerContext, message: TaskiqMessage, reason: object) -> JobRecord:
    """Keeps an invalid message as a dead letter, and records its job as dead unless it has begun."""
    error = InvalidMessageError(f"{message.task_name} cannot be processed: {reason}")
    try:
        arguments = bind_arguments(message.task_name, message.args, message.kwargs)
    except ConfigurationError:
        arguments = message.kwargs
    key, fields = find_key(message.task_name, arguments), error_fields(error)
    LOG.warning("%s", error, extra={"idempotency_key": key})
    await worker_context.store.add_dead_letter(DeadLetter.from_error(error, worker_context.wall(), key=key))
    if key is None:
        return JobRecord(key="", state=JobState.DEAD, **fields)
    worker_context.counters["dead"] += 1
    return await worker_context.store.advance(key, {None, JobState.PLANNED}, JobState.DEAD, **fields)


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
    job = {"model": model, "prompt": prompt, "params": params, "references": references}
    job |= {"client_request_id": client_request_id, "idempotency_key": idempotency_key}
    download = {"download_to": download_to, "name": name}
    return await _process(worker_context, JobMessage.from_generate_arguments(job | download), context)


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
    arguments = {"task_id": task_id, "download_to": download_to, "name": name}
    return await _process(worker_context, JobMessage.from_wait_arguments(arguments), context)


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


class RivyaMiddleware(TaskiqMiddleware):
    """The middleware for `rivya.generate` and `rivya.wait`; it ignores other tasks."""

    def __init__(self, ambient: Environment | None = None) -> None:
        super().__init__()
        self._ambient = ambient or Environment()

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Validates the arguments and mints the key before any purchase. Raises `ConfigurationError`."""
        parse = MESSAGE_PARSERS.get(message.task_name)
        if parse is None:
            return message
        arguments = bind_arguments(message.task_name, message.args, message.kwargs)
        if message.task_name == GENERATE_TASK and arguments.get("idempotency_key") is None:
            arguments["idempotency_key"] = self._ambient.new_idempotency_key()
        message.args, message.kwargs = [], parse(arguments).to_arguments()
        message.labels.setdefault(ENQUEUED_AT_LABEL, str(self._ambient.wall_time()))
        return message

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """Disables Taskiq's acknowledgement and timeout: the sender may not have set the labels."""
        if message.task_name in MESSAGE_PARSERS:
            message.labels["ack_type"] = "manual"
            message.labels.pop("timeout", None)  # a paid job is never abandoned
        return message

    async def on_error(
        self,
        message: TaskiqMessage,
        result: TaskiqResult[Any],  # noqa: ARG002 - Taskiq's signature
        exception: BaseException,
    ) -> None:
        """Keeps an invalid message as a dead letter. After other errors the message is not acknowledged."""
        if message.task_name not in MESSAGE_PARSERS:
            return
        if isinstance(exception, ConfigurationError | TypeError):
            await reject_message(get_worker_context(self.broker), message, exception)
        else:
            _message_context.set(None)

    async def post_save(
        self,
        message: TaskiqMessage,
        result: TaskiqResult[Any],  # noqa: ARG002 - Taskiq's signature
    ) -> None:
        """Acknowledges the message after its result was saved."""
        context = _message_context.get()
        if message.task_name in MESSAGE_PARSERS and context is not None and context.is_ackable:
            with suppress(ShutdownRequested):  # the message stays for the next worker, which finds the job ended
                await get_worker_context(self.broker).retry(context.ack, "acknowledging a message failed")
