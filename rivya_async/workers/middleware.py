"""What happens to messages on their way: they get a key before they leave, and are acknowledged after the end."""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any, Final

from taskiq import Context, TaskiqDepends, TaskiqMiddleware

from .._core.errors import ConfigurationError
from .._engine.ambient import Ambient
from .context import WorkerContext, get_worker_context
from .job_message import GENERATE_TASK, MESSAGE_PARSERS, bind_arguments
from .store import DeadLetter

if TYPE_CHECKING:
    from taskiq import TaskiqMessage, TaskiqResult

LOG: Final = logging.getLogger("rivya_async.workers")

PAUSE: Final = 1.0
"""Seconds between tries to acknowledge a message."""

_held: ContextVar[Context | None] = ContextVar("rivya_message", default=None)


def bind_message_context(context: Annotated[Context, TaskiqDepends()]) -> Context:
    """The message of this task, which is ours to acknowledge from now on."""
    _held.set(context)
    return context


ENQUEUED_AT_LABEL: Final = "rivya_ordered_at"
"""The label that tells when an order was enqueued first."""


def read_enqueued_at(message: TaskiqMessage) -> float | None:
    """When it was enqueued first, in seconds since the epoch; None where nobody has said so."""
    try:
        return float(message.labels[ENQUEUED_AT_LABEL])
    except (KeyError, ValueError):
        return None


class RivyaMiddleware(TaskiqMiddleware):
    """Looks after the messages of the ready tasks; those of others are none of its business."""

    def __init__(self, ambient: Ambient | None = None) -> None:
        super().__init__()
        self._ambient = ambient or Ambient()

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        """Check the order and mint its key, so that it is known before anybody buys. Raises `ConfigurationError`."""
        read = MESSAGE_PARSERS.get(message.task_name)
        if read is None:
            return message
        arguments = bind_arguments(message.task_name, message.args, message.kwargs)
        if message.task_name == GENERATE_TASK and arguments.get("idempotency_key") is None:
            arguments["idempotency_key"] = self._ambient.mint_key()
        message.args, message.kwargs = [], read(arguments).arguments()
        message.labels.setdefault(ENQUEUED_AT_LABEL, str(self._ambient.wall()))
        return message

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        """See that nobody else acknowledges it: whoever enqueued it may not have known the label."""
        if message.task_name in MESSAGE_PARSERS:
            message.labels["ack_type"] = "manual"
            message.labels.pop("timeout", None)  # a paid job is not abandoned
        return message

    async def on_error(
        self,
        message: TaskiqMessage,
        result: TaskiqResult[Any],  # noqa: ARG002 - Taskiq's signature
        exception: BaseException,
    ) -> None:
        """Keep what can be no order as a dead letter. What else goes wrong is no reason to forget a message."""
        if message.task_name not in MESSAGE_PARSERS:
            return
        if isinstance(exception, ConfigurationError | TypeError):
            worker_context = get_worker_context(self.broker)
            key = message.kwargs.get("idempotency_key")
            told = f"{message.task_name} cannot be carried out: {exception}"
            await worker_context.store.add_dead_letter(
                DeadLetter(reason=told, code="invalid", key=key, at=self._ambient.wall())
            )
        else:
            _held.set(None)

    async def post_save(
        self,
        message: TaskiqMessage,
        result: TaskiqResult[Any],  # noqa: ARG002 - Taskiq's signature
    ) -> None:
        """Acknowledge what has come to its end, once its result is saved."""
        context = _held.get()
        if message.task_name in MESSAGE_PARSERS and context is not None and context.is_ackable:
            await _acknowledged(context, get_worker_context(self.broker))


async def _acknowledged(context: Context, worker_context: WorkerContext) -> None:
    """Until the broker has heard it; a drain leaves it to whoever gets the message next."""
    while not worker_context.shutdown.is_set:
        try:
            return await context.ack()
        except Exception as error:  # noqa: BLE001 - every broker has errors of its own, and the order is done
            LOG.warning("a message could not be acknowledged, trying again: %s", error)
        await asyncio.sleep(PAUSE)
    return None
