"""Many workers in the place of one session: the same calls, carried out wherever there is a worker."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from redis.exceptions import RedisError
from taskiq.exceptions import SendTaskError

from .._core import errors
from .._core.errors import APIStatusError, DownloadError, OutcomeUnknownError, RequestNotSentError, RivyaError
from .._core.generation_request import raise_if_failed
from .._core.http.error_responses import status_error_class
from .._core.types.generations import Generation
from .order import Order
from .record import JobRecord
from .states import IN_DOUBT, UNBOUGHT, JobState

if TYPE_CHECKING:
    from pathlib import Path

    from .._core.generation_request import GenerationRequest
    from .._core.types.generations import SavedFile
    from ..resources.files import Files
    from ..resources.generations import Generations
    from ..resources.models import Models
    from ..session import RivyaSession
    from .worker import RivyaWorker

LOG: Final = logging.getLogger("rivya_async.workers")

LOOK: Final = 0.2
"""Seconds between two looks at what has changed..."""

OVERLAP: Final = 1.0
"""... each of which goes back so far before the last: what is written at one moment is not seen at one..."""

SWEEP: Final = 5.0
"""... and seconds between two looks at everything that is waited for."""

PAGE: Final = 500
"""Records that are read at once."""

FAREWELL: Final = 5.0
"""Seconds that cancelled orders may take to be withdrawn."""

Waiter = tuple[Callable[["JobRecord"], bool], asyncio.Future["JobRecord"]]


class Fleet:
    """Orders jobs of the workers at a broker, and waits for them: for whoever drives many jobs, such as a batch.

    It takes the place of `session` where jobs are bought and waited for; the catalogue, uploads and downloads are the
    session's. Use it as an async context manager, beside a `worker` whose broker is started.
    """

    def __init__(self, worker: RivyaWorker, session: RivyaSession) -> None:
        self._worker = worker
        self._session = session
        self._orders: dict[str, Order] = {}
        self._keys: dict[str, str] = {}  # of what was bought here, by its task id
        self._waiters: defaultdict[str, list[Waiter]] = defaultdict(list)
        self._watching: asyncio.Task[None] | None = None
        self._withdrawing: asyncio.Task[None] | None = None
        self._is_stopped = False

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._withdrawing is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(FAREWELL):
                        await self._withdrawing
        finally:
            if self._watching is not None:
                self._watching.cancel()
                await asyncio.wait([self._watching])

    # --- as a session -------------------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """Where the service is that the session talks to, and the workers should."""
        return self._session.base_url

    @property
    def models(self) -> Models:
        """The session's."""
        return self._session.models

    @property
    def files(self) -> Files:
        """The session's."""
        return self._session.files

    @property
    def generations(self) -> Generations:
        """The session's."""
        return self._session.generations

    def download(
        self, generation_or_url: Generation | str, to: str | os.PathLike[str], *, name: str, overwrite: bool
    ) -> Coroutine[Any, Any, list[Path]]:
        """To this machine, by the session."""
        return self._session.download(generation_or_url, to, name=name, overwrite=overwrite)

    async def submit(self, request: GenerationRequest, *, idempotency_key: str) -> Generation:
        """Have a worker buy it; its record, once it is bought.

        Raises what `RivyaSession.submit` raises, as the worker met it, and `RequestNotSentError` where the order cannot
        be noted or was withdrawn, `OutcomeUnknownError` where the broker may have taken it. Cancelling it withdraws the
        order, unless a worker is about to buy it already; then it goes on, and the same key leads to it.
        """
        order = Order(key=idempotency_key, request=request)
        try:
            record = await self._carried(order, _is_decided)
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    await self._withdraw([order.key])
            raise
        if record.state in UNBOUGHT:  # held, as the account is at fault: whoever drives many jobs wants to know
            await self._withdraw([order.key])
        if record.task_id is None or record.generation is None:
            raise refusal(record)
        self._keys[record.task_id] = order.key
        return record.generation

    async def wait_for(self, generation_or_task_id: Generation | str, *, raise_on_failure: bool = True) -> Generation:
        """Have a worker wait for it; its terminal record.

        Raises `GenerationFailedError`, unless `raise_on_failure=False`, and `NotFoundError`. Cancelling it leaves the
        worker waiting.
        """
        bought = generation_or_task_id
        task_id = bought.id if isinstance(bought, Generation) else bought
        key = self._keys.pop(task_id, None)
        record = None if key is None else await self._until(key, lambda record: record.has_ended)
        if record is None or record.state is JobState.WITHDRAWN:  # of elsewhere, or lost by the store
            record = await self._carried(Order.to_wait({"task_id": task_id}), lambda record: record.has_ended)
        if record.state is JobState.DEAD or record.generation is None:
            raise refusal(record)
        return raise_if_failed(record.generation) if raise_on_failure else record.generation

    async def save(self, job: Generation, folder: os.PathLike[str], name: str) -> Sequence[SavedFile]:
        """Have a worker save the files of an ended job in a folder on its side. Raises `DownloadError`."""
        order = Order.to_wait({"task_id": job.id, "download_to": str(folder), "name": name})
        record = await self._carried(order, lambda record: bool(record.files) or record.error is not None)
        if not record.files:
            raise DownloadError(record.error or "it was not saved")
        return record.files

    def stop(self) -> None:
        """Withdraw every order that no worker has begun: nothing more is bought."""
        if not self._is_stopped:
            self._is_stopped = True
            self._withdrawing = asyncio.create_task(self._withdraw(list(self._orders)))

    # --- orders -------------------------------------------------------------------------------------------------------

    async def _carried(self, order: Order, is_due: Callable[[JobRecord], bool]) -> JobRecord:
        """Enqueue it; its record, once that is due."""
        self._orders[order.key] = order
        try:
            await self._order(order)
            return await self._until(order.key, is_due)
        finally:
            self._orders.pop(order.key, None)

    async def _order(self, order: Order) -> None:
        """Enqueue it, unless somebody carries it already, or it has ended."""
        if self._is_stopped:
            raise RequestNotSentError("the orders were stopped: nothing was bought")
        task = self._worker.generate if order.request is not None else self._worker.wait
        try:
            if await self._worker.enlist(order.key):
                await task.kiq(**order.arguments())
        except RedisError as error:
            raise RequestNotSentError(f"the order cannot be noted, nothing was bought: {error}") from error
        except SendTaskError as error:
            told = f"the broker did not take the order, or its answer was lost: {error.__cause__}"
            raise OutcomeUnknownError(told, idempotency_key=order.key) from error

    async def _withdraw(self, keys: Sequence[str]) -> None:
        advance = self._worker.store.advance
        for first in range(0, len(keys), PAGE):
            page = keys[first : first + PAGE]
            withdrawn = (advance(key, {JobState.QUEUED}, JobState.WITHDRAWN) for key in page)
            for record in await asyncio.gather(*withdrawn):
                self._tell(record)

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def _until(self, key: str, is_due: Callable[[JobRecord], bool]) -> JobRecord:
        waiter: Waiter = (is_due, asyncio.get_running_loop().create_future())
        self._waiters[key].append(waiter)
        try:
            await self._look([key])
            return await waiter[1]
        finally:
            self._waiters[key].remove(waiter)
            if not self._waiters[key]:
                del self._waiters[key]

    async def _watch(self) -> None:
        """Tell who waits of what has changed, until it is cancelled."""
        loop = asyncio.get_running_loop()
        moment, swept = math.inf, loop.time()
        while True:
            try:
                moment, changed = await self._worker.store.changed_since(moment - OVERLAP)
                if loop.time() - swept > SWEEP:
                    swept, changed = loop.time(), list(self._waiters)
                await self._look([key for key in changed if key in self._waiters])
            except Exception as error:  # noqa: BLE001 - who waits must not wait for ever; the next look may go well
                LOG.warning("what workers have done could not be seen: %s", error)
            await asyncio.sleep(LOOK)

    async def _look(self, keys: Sequence[str]) -> None:
        for first in range(0, len(keys), PAGE):
            page = keys[first : first + PAGE]
            for key, record in zip(page, await self._worker.store.read(page), strict=True):
                if record is not None:
                    self._tell(record)
                elif key in self._orders:  # the store has lost it, and the queue very likely too
                    await self._order(self._orders[key])
                else:
                    self._tell(JobRecord(key=key, state=JobState.WITHDRAWN))

    def _tell(self, record: JobRecord) -> None:
        for is_due, future in self._waiters.get(record.key, ()):
            if not future.done() and is_due(record):
                future.set_result(record)


def _is_decided(record: JobRecord) -> bool:
    """Whether it is bought, or why it is not is known."""
    return record.state not in UNBOUGHT or record.status is not None


def refusal(record: JobRecord) -> RivyaError:
    """What a worker met, as an error of the class that it had there."""
    told, key, code = record.error or "no reason given", record.key, record.error_code or ""
    if record.state is JobState.WITHDRAWN:
        return RequestNotSentError(
            "the order was withdrawn before a worker began it: nothing was bought", idempotency_key=key
        )
    if code == IN_DOUBT:
        return OutcomeUnknownError(told, idempotency_key=key)
    if record.status is not None:
        kind = status_error_class(record.status, code)
        return kind(told, status=record.status, code=code, idempotency_key=key)
    named = getattr(errors, code, RivyaError)
    is_ours = isinstance(named, type) and issubclass(named, RivyaError) and not issubclass(named, APIStatusError)
    return (named if is_ours else RivyaError)(told, idempotency_key=key)
