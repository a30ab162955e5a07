"""The middleware for the messages of our tasks: mints keys before sending, acknowledges after the result is saved."""

from __future__ import annotations

import math
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any, Final

from taskiq import Context, TaskiqDepends, TaskiqMiddleware

from .._core.errors import ConfigurationError
from .._engine.environment import Environment
from .._engine.shutdown import ShutdownRequested
from .._jobs.transitions import InvalidMessageError, JobState, error_fields
from .context import LOG, WorkerContext, get_worker_context
from .job_message import GENERATE_TASK, MESSAGE_PARSERS, bind_arguments, find_key
from .record import JobRecord
from .store import DeadLetter

if TYPE_CHECKING:
    from taskiq import TaskiqMessage, TaskiqResult

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
