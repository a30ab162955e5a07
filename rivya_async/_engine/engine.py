"""The parts of one open session, created and closed in order."""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import os
import warnings
import weakref
from typing import TYPE_CHECKING, Final

from .._core import assumptions
from .._core.limits.rate_controller import RateController
from .._core.open_jobs import OpenJobs
from .._core.polling.adaptive.duration_estimator import DurationEstimator
from .._core.polling.webhook_updates import DeliveryRateEstimator
from .http.request_executor import RequestExecutor
from .http.request_limiter import ClosableSemaphore, RequestLimiter
from .http.stream_client import StreamClient
from .polling.poll_feedback import PollFeedback
from .polling.wait_registry import WaitRegistry
from .purchase_queue import PurchaseQueue
from .single_flight import SingleFlightCache
from .timer_queue import TimerQueue
from .transfers.downloader import Downloader
from .transfers.uploader import Uploader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._core.config import Config
    from .._core.http.messages import RequestOptions
    from .._core.limits.external_limiter import ExternalRateLimiter
    from .._core.policies import RateLimit, RetryPolicy
    from .._core.types.generations import File
    from .environment import Environment
    from .hooks import Hooks
    from .http.transport import Transport
    from .transfers.upload_source import FileStamp

MAX_DOWNLOADS: Final = 16
"""Downloads in flight per session."""

MAX_UPLOADS: Final = 4
"""Uploads in flight per session."""

MAX_CACHED_UPLOADS: Final = 4096
"""Uploaded files, and digests of files, that a session caches."""


_logger = logging.getLogger("rivya_async")


class Engine:
    """The parts of one session, bound to the loop that runs when it is created."""

    def __init__(
        self,
        transport: Transport,
        *,
        config: Config,
        retry: RetryPolicy,
        environment: Environment,
        hooks: Sequence[Hooks],
        max_connections: int,
        rate_limit: RateLimit | ExternalRateLimiter | None = None,
        durations: DurationEstimator | None = None,
        delivery_rate: DeliveryRateEstimator | None = None,
        open_jobs: OpenJobs | None = None,
        options: RequestOptions | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        for hook in hooks:
            transport = hook.wrap_transport(transport)
        self.transport = transport
        self._config = config
        self._environment = environment
        self._hooks = hooks
        self._timers = TimerQueue(self.loop)
        self._limiter = RequestLimiter(
            max_connections,
            self._timers,
            RateController(rate_limit),
            max_outage_wait=retry.max_elapsed,
            uniform=environment.uniform,
        )
        self._executors: weakref.WeakSet[RequestExecutor] = weakref.WeakSet()
        self._uploaders: weakref.WeakSet[Uploader] = weakref.WeakSet()
        self._open_streams = ClosableSemaphore(max_connections)
        self._upload_limiter = RequestLimiter(MAX_UPLOADS, self._timers)
        self._downloads = ClosableSemaphore(MAX_DOWNLOADS)
        self._closing: asyncio.Event | None = None
        self._create_clients(retry, options)
        self.delivery_rate = delivery_rate or DeliveryRateEstimator()
        feedback = PollFeedback(durations or DurationEstimator(), self.delivery_rate)
        self.wait_registry = WaitRegistry(self.executor, self._limiter, self._timers, feedback)
        self._open_jobs = OpenJobs() if open_jobs is None else open_jobs
        self.purchase_queue = PurchaseQueue(
            self._limiter,
            self.wait_registry,
            self._open_jobs,
            self._timers,
            retry=retry,
            uniform=environment.uniform,
        )
        self.digests: SingleFlightCache[FileStamp, bytes] = SingleFlightCache(max_size=MAX_CACHED_UPLOADS, ttl=math.inf)
        self.uploads: SingleFlightCache[tuple[bytes, str, str], File] = SingleFlightCache(
            max_size=MAX_CACHED_UPLOADS, ttl=assumptions.UPLOAD_LIFETIME
        )

    def with_options(self, retry: RetryPolicy, options: RequestOptions) -> Engine:
        """Returns an engine that shares everything but retries, timeouts and headers. Only this one is closed."""
        view = copy.copy(self)
        view._create_clients(retry, options)  # noqa: SLF001 - of the same class
        return view

    def _create_clients(self, retry: RetryPolicy, options: RequestOptions | None) -> None:
        self.executor = RequestExecutor(
            self.transport,
            self._limiter,
            self._timers,
            config=self._config,
            retry=retry,
            environment=self._environment,
            hooks=self._hooks,
            options=options,
        )
        self._executors.add(self.executor)
        self.stream_client = StreamClient(self.executor, self.transport, self._open_streams)
        self.uploader = Uploader(self.executor, self.transport, self._upload_limiter)
        self._uploaders.add(self.uploader)
        self.downloader = Downloader(self.executor, self.transport, self._downloads, self._config)

    async def aclose(self) -> None:
        """Ends the waits, lets the requests in flight end, then closes the connections.

        Downloads, uploads and streams are cancelled: transfers cost nothing and can be repeated, and streams have no
        known end. Concurrent calls wait for the first one. Cancelling it closes the connections at once.
        """
        if self._closing is not None:
            await self._closing.wait()
            return
        self._closing = asyncio.Event()
        self.warn_open_jobs()
        for executor in self._executors:
            executor.close()
        self.purchase_queue.close()
        self._limiter.close()
        self._open_streams.close()
        self._downloads.close()
        for uploader in self._uploaders:
            uploader.close()
        try:
            await self.wait_registry.aclose()
            await self._limiter.aclose()
            await self.uploads.aclose()
            await self.digests.aclose()
            await self.uploader.aclose()
        finally:
            self._timers.close()
            try:
                await self.transport.aclose()
            finally:
                self._closing.set()

    def warn_open_jobs(self) -> None:
        """Logs a warning with the ids of the open jobs, once."""
        if (warning := self._open_jobs.closing_warning()) is not None:
            _logger.warning(warning)


_FORKED_ENGINES: Final[list[Engine]] = []
"""Engines of the parent process. Closing them in a child would remove the parent's sockets from its event loop."""


def warn_unclosed(engine: Engine, description: str, pid: int) -> None:
    """Releases the connections of an unclosed session and warns. Runs before the session's parts are finalized."""
    if pid != os.getpid():
        _FORKED_ENGINES.append(engine)
        return
    try:
        engine.transport.abandon()
    finally:
        engine.warn_open_jobs()
        warnings.warn(f"{description} was never closed: use `async with`", ResourceWarning, stacklevel=2)
