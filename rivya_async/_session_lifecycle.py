"""The opening and closing of a session: its engine, its event loop and its process."""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING, Self

from ._core.config import Config
from ._core.errors import ConfigurationError, SessionClosedError
from ._core.http.messages import RequestOptions
from ._core.limits.external_limiter import ExternalRateLimiter
from ._core.policies import RateLimit, RetryPolicy
from ._core.polling.adaptive.duration_estimator import DurationEstimator
from ._core.polling.webhook_updates import DeliveryRateEstimator
from ._engine.connection import Connection
from ._engine.engine import Engine, warn_unclosed
from ._engine.environment import Environment
from ._engine.hooks import Hooks
from ._engine.logs import with_log
from .resources.job_operations import JobOperations

if TYPE_CHECKING:
    from types import TracebackType


class SessionLifecycle:
    """Methods to open and close a session. A view of a session shares the engine of its `_root`."""

    _root: SessionLifecycle | None
    _engine: Engine | None
    _closed: bool
    _pid: int
    _config: Config
    _connection: Connection
    _retry: RetryPolicy
    _rate_limit: RateLimit | ExternalRateLimiter | None
    _max_connections: int
    _hooks: tuple[Hooks, ...]
    _environment: Environment
    _durations: DurationEstimator
    _delivery_rate: DeliveryRateEstimator
    _jobs: JobOperations
    _options: RequestOptions | None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self) -> None:
        """Opens the session, so that the first call does not block the loop. `async with` calls it.

        Imports and the TLS context are prepared in a thread, once per process. Further calls do nothing. Raises
        `SessionClosedError` for a closed session. Safe to cancel.
        """
        if not self._closed:
            await self._connection.prepare()
        self._open_engine()

    async def aclose(self) -> None:
        """Closes the session. Concurrent calls wait for the first one; later calls do nothing.

        Waits end with `SessionClosedError`. Pauses between attempts end. Requests in flight finish within
        `Timeouts.total` seconds, or `Timeouts.chat`; no new request starts. Downloads, uploads and streams are aborted.
        Cancelling `aclose` aborts the requests in flight and closes the connections at once: a request that the service
        may have processed raises `OutcomeUnknownError` with its key. Cancelling a concurrent `aclose` aborts nothing.
        """
        engine, was_closed = self._engine, self._closed
        if (
            self._root is not None or engine is None or self._pid != os.getpid()
        ):  # another session or process owns the engine
            self._closed = True
            return
        if engine.loop is asyncio.get_running_loop():
            self._closed = True
            self._finalizer.detach()
            await engine.aclose()
        elif not was_closed:
            if not engine.loop.is_closed():
                raise ConfigurationError("this session belongs to another event loop: close it there")
            self._closed = True
            self._finalizer.detach()
            engine.transport.abandon()

    def _open_engine(self) -> Engine:
        """Returns the engine, created on first use. Raises for a closed session, another loop and a forked process."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "a RivyaSession runs on asyncio, and no asyncio event loop is running here. Use asyncio.run(...), or "
                "the asyncio backend of anyio"
            ) from None
        if self._closed:
            raise SessionClosedError("this session is closed: create a new RivyaSession")
        if self._root is not None:
            engine = self._root._open_engine()  # noqa: SLF001 - of the same class
            if self._engine is None:
                self._engine = engine.with_options(self._retry, self._options or RequestOptions())
            return self._engine
        if self._pid != os.getpid():
            raise ConfigurationError("this session was created before a fork: create a RivyaSession in each process")
        if self._engine is None:
            transport = self._connection.open()
            self._engine = Engine(
                transport,
                config=self._config,
                retry=self._retry,
                environment=self._environment,
                hooks=with_log(self._hooks),
                max_connections=min(self._max_connections, transport.max_connections),
                rate_limit=self._rate_limit,
                durations=self._durations,
                delivery_rate=self._delivery_rate,
                open_jobs=self._jobs.preflight.open_jobs,
                options=self._options,
            )
            self._finalizer = weakref.finalize(self, warn_unclosed, self._engine, repr(self), self._pid)
        elif self._engine.loop is not loop:
            raise ConfigurationError("this session belongs to another event loop: create a RivyaSession for each loop")
        return self._engine
