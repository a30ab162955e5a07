"""A client that has jobs bought and awaited by workers, with the calls of a session."""

from __future__ import annotations

import asyncio
import math
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import attrs
from redis.exceptions import RedisError
from taskiq.exceptions import SendTaskError

from .._core.errors import (
    ConfigurationError,
    DownloadError,
    InvalidRequestError,
    OutcomeUnknownError,
    RequestNotSentError,
    ResponseDecodeError,
    RivyaError,
    SessionClosedError,
    SpendLimitError,
)
from .._core.generation_request import raise_if_failed
from .._core.http.error_responses import status_error_class
from .._core.types.generations import Generation
from .._core.types.purchase_cost import Charge
from .._jobs.transitions import UNPURCHASED, InvalidRecordError, JobInDoubtError, JobState
from .context import repeat, wait_at_most
from .heartbeat import load_prices
from .job_message import JobMessage
from .store import JobRecord

if TYPE_CHECKING:
    from pathlib import Path

    from .._core.generation_request import GenerationRequest
    from .._core.types.generations import SavedFile
    from ..session import RivyaSession
    from .worker import RivyaWorker

POLL_INTERVAL: Final = 0.2
"""Seconds between two reads of the store's changes."""

POLL_OVERLAP: Final = 1.0
"""Seconds by which each read of the changes overlaps the last: concurrent writes become visible late."""

FULL_READ_INTERVAL: Final = 5.0
"""Seconds between two reads of all awaited records."""

BATCH_SIZE: Final = 500
"""Maximum number of records in one read or withdrawal."""

IN_DOUBT: Final = frozenset({JobInDoubtError.__name__, InvalidRecordError.__name__})
"""Error types of jobs that may have been purchased."""

ERRORS_BY_NAME: Final[Mapping[str, type[RivyaError]]] = {
    kind.__name__: kind
    for kind in (
        *(ConfigurationError, InvalidRequestError, SpendLimitError, RequestNotSentError, OutcomeUnknownError),
        *(ResponseDecodeError, SessionClosedError, DownloadError),
    )
}
"""The errors without an HTTP status that a worker may record."""

WITHDRAW_TIMEOUT: Final = 5.0
"""Maximum seconds for the withdrawal of cancelled jobs."""

Condition = Callable[[JobRecord], bool]
_Waiter = tuple[Condition, asyncio.Future[JobRecord]]


class RemoteJobClient:
    """Enqueues jobs for workers and waits for them: for programs that run many jobs, such as a batch.

    It replaces `session` where jobs are bought and awaited; the catalogue, uploads and downloads are the session's. Use
    it as an async context manager, with a `worker` whose broker is started.
    """

    def __init__(self, worker: RivyaWorker, session: RivyaSession) -> None:
        self._worker = worker
        self.base_url = session.base_url
        """Origin of the service."""
        self.models = session.models
        """Models of the session."""
        self.prices = session.prices
        """Prices of the session."""
        self.files = session.files
        """Files of the session."""
        self.generations = session.generations
        """Generations of the session."""
        self._session = session
        self._messages: dict[str, JobMessage] = {}
        self._keys_by_task_id: dict[str, str] = {}
        self._waiters: defaultdict[str, list[_Waiter]] = defaultdict(list)
        self._changes_since = math.inf
        self._last_full_read = -math.inf
        self._poll_task: asyncio.Task[None] | None = None
        self._withdraw_task: asyncio.Task[None] | None = None
        self._is_stopped = False

    async def __aenter__(self) -> Self:
        load_prices(self._session, await self._worker.store.load_observations() or {})
        self._last_full_read = asyncio.get_running_loop().time()
        polls = repeat(self._read_changes, POLL_INTERVAL, "reads of the progress of jobs")
        self._poll_task = asyncio.create_task(polls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._withdraw_task is not None:
                await wait_at_most(WITHDRAW_TIMEOUT, self._withdraw_task)
        finally:
            if self._poll_task is not None:
                self._poll_task.cancel()
                await asyncio.wait([self._poll_task])

    # --- the calls of a session ---------------------------------------------------------------------------------------

    async def submit(self, request: GenerationRequest, *, idempotency_key: str) -> Generation:
        """Has a worker buy a job and returns its record.

        Raises the errors of `RivyaSession.submit` as the worker got them, `RequestNotSentError` if the job cannot be
        registered or was withdrawn, and `OutcomeUnknownError` if the broker may have accepted it. Cancellation
        withdraws the job, unless a worker is already buying it; then it continues, and the same key leads to it.
        """
        message = JobMessage(key=idempotency_key, request=request)
        try:
            is_new, record = await self._enqueue_and_wait(message, _purchase_is_decided)
        except asyncio.CancelledError:
            await wait_at_most(WITHDRAW_TIMEOUT, self._withdraw([message.key]))
            raise
        if record.state in UNPURCHASED:  # the account blocks all purchases: the caller decides what to do
            await self._withdraw([message.key])
        if record.task_id is None or record.generation is None:
            raise error_from_record(record)
        self._keys_by_task_id[record.task_id] = message.key
        self._session.prices.observe(request, Charge.from_generation(record.generation).reserved, record.task_id)
        return attrs.evolve(record.generation, replayed=record.replayed or not is_new)

    async def wait_for(self, generation_or_task_id: Generation | str, *, raise_on_failure: bool = True) -> Generation:
        """Has a worker wait for a job and returns its terminal record.

        Raises `GenerationFailedError`, unless `raise_on_failure=False`, and `NotFoundError`. Cancellation does not stop
        the worker's wait.
        """
        bought = generation_or_task_id
        task_id = bought.id if isinstance(bought, Generation) else bought
        key = self._keys_by_task_id.pop(task_id, None)
        record = None if key is None else await self._wait_until(key, _has_ended)
        if record is None or record.state is JobState.WITHDRAWN:  # bought by another process, or lost by the store
            message = JobMessage.from_wait_arguments({"task_id": task_id})
            _, record = await self._enqueue_and_wait(message, _has_ended)
        if record.state is JobState.DEAD or record.generation is None:
            raise error_from_record(record)
        return raise_if_failed(record.generation) if raise_on_failure else record.generation

    async def save(self, job: Generation, folder: os.PathLike[str], name: str) -> Sequence[SavedFile]:
        """Has a worker save the files of an ended job in a folder of the worker. Raises `DownloadError`."""
        message = JobMessage.from_wait_arguments({"task_id": job.id, "download_to": str(folder), "name": name})
        _, record = await self._enqueue_and_wait(message, lambda record: bool(record.files) or record.error is not None)
        if not record.files:
            raise DownloadError(record.error or "the files were not saved: the worker gave no reason")
        return record.files

    async def download(
        self, source: Generation | str, to: os.PathLike[str] | str = ".", **options: Any
    ) -> Sequence[Path]:
        """Saves the files of a job here. Reads its links from the service: the store is open to other programs."""
        current = await self.generations.retrieve(source.id) if isinstance(source, Generation) else source
        return await self._session.download(current, to, **options)

    def stop(self) -> None:
        """Withdraws all jobs that no worker has started: nothing more is bought."""
        if not self._is_stopped:
            self._is_stopped = True
            self._withdraw_task = asyncio.create_task(self._withdraw(list(self._messages)))

    # --- enqueueing ---------------------------------------------------------------------------------------------------

    async def _enqueue_and_wait(self, message: JobMessage, condition: Condition) -> tuple[bool, JobRecord]:
        self._messages[message.key] = message
        try:
            is_new = await self._enqueue(message)
            return is_new, await self._wait_until(message.key, condition)
        finally:
            self._messages.pop(message.key, None)

    async def _enqueue(self, message: JobMessage) -> bool:
        """Enqueues a message. Returns False if a worker has the job already, or it has ended."""
        if self._is_stopped:
            raise RequestNotSentError("the client was stopped: nothing was bought")
        task = self._worker.generate if message.request is not None else self._worker.wait
        try:
            is_new = await self._worker.register(message.key)
            if is_new:
                await task.kiq(**message.to_arguments())
        except RedisError as error:
            raise RequestNotSentError(f"registering the job failed, nothing was bought: {error}") from error
        except SendTaskError as error:
            reason = f"the broker did not accept the job, or its reply was lost: {error.__cause__}"
            raise OutcomeUnknownError(reason, idempotency_key=message.key) from error
        return is_new

    async def _withdraw(self, keys: Sequence[str]) -> None:
        advance = self._worker.store.advance
        for batch in _batches(keys):
            withdrawals = (advance(key, {JobState.PLANNED}, JobState.WITHDRAWN) for key in batch)
            for record in await asyncio.gather(*withdrawals):
                self._notify(record)

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def _wait_until(self, key: str, condition: Condition) -> JobRecord:
        waiter: _Waiter = (condition, asyncio.get_running_loop().create_future())
        self._waiters[key].append(waiter)
        try:
            await self._read_records([key])
            return await waiter[1]
        finally:
            self._waiters[key].remove(waiter)
            if not self._waiters[key]:
                del self._waiters[key]

    async def _read_changes(self) -> None:
        """Notifies the waiters of changed records, and now and then of all."""
        now = asyncio.get_running_loop().time()
        since = self._changes_since - POLL_OVERLAP
        self._changes_since, changed = await self._worker.store.read_changes(since)
        if now - self._last_full_read > FULL_READ_INTERVAL:
            self._last_full_read, changed = now, list(self._waiters)
        await self._read_records([key for key in changed if key in self._waiters])

    async def _read_records(self, keys: Sequence[str]) -> None:
        for batch in _batches(keys):
            for key, record in zip(batch, await self._worker.store.read(batch), strict=True):
                if record is not None:
                    self._notify(record)
                elif key in self._messages:  # the store has lost the record, and probably the queue its message
                    await self._enqueue(self._messages[key])
                else:
                    self._notify(JobRecord(key=key, state=JobState.WITHDRAWN))

    def _notify(self, record: JobRecord) -> None:
        for condition, future in self._waiters.get(record.key, ()):
            if not future.done() and condition(record):
                future.set_result(record)


def error_from_record(record: JobRecord) -> RivyaError:
    """Returns the error that a worker got, in its class."""
    reason, key, code = record.error or "no reason given", record.key, record.error_code
    if record.state is JobState.WITHDRAWN:
        return RequestNotSentError(
            "the job was withdrawn before a worker started it: nothing was bought", idempotency_key=key
        )
    if record.error_type in IN_DOUBT:
        return OutcomeUnknownError(reason, idempotency_key=key)
    if record.status is not None:
        kind = status_error_class(record.status, code)
        return kind(reason, status=record.status, code=code, idempotency_key=key)
    return ERRORS_BY_NAME.get(record.error_type or "", RivyaError)(reason, idempotency_key=key)


_has_ended: Final[Condition] = attrgetter("has_ended")


def _purchase_is_decided(record: JobRecord) -> bool:
    """Returns whether the job is bought, or its error is known."""
    return record.state not in UNPURCHASED or record.status is not None


def _batches(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[first : first + BATCH_SIZE] for first in range(0, len(keys), BATCH_SIZE)]
