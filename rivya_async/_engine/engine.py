"""The parts of one open session, created and closed in order."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from .._core import assumptions
from .._core.limits.rate_controller import RateController
from .._core.polling.adaptive.duration_estimator import DurationEstimator
from .._core.polling.webhook_updates import DeliveryRateEstimator
from .http.request_executor import RequestExecutor
from .http.request_limiter import ClosableSemaphore, RequestLimiter
from .http.stream_client import StreamClient
from .polling.tracked_job import PollFeedback
from .polling.wait_registry import WaitRegistry
from .single_flight import SingleFlightCache
from .timer_queue import TimerQueue
from .transfers.downloader import Downloader
from .transfers.uploader import Uploader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._core.config import Config
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
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport = transport
        self._timers = TimerQueue(self.loop)
        self._limiter = RequestLimiter(
            max_connections,
            self._timers,
            RateController(rate_limit),
            max_outage_wait=retry.max_elapsed,
            uniform=environment.uniform,
        )
        self.executor = RequestExecutor(
            transport,
            self._limiter,
            self._timers,
            config=config,
            retry=retry,
            environment=environment,
            hooks=hooks,
        )
        self.delivery_rate = delivery_rate or DeliveryRateEstimator()
        feedback = PollFeedback(durations or DurationEstimator(), self.delivery_rate)
        self.wait_registry = WaitRegistry(self.executor, self._limiter, self._timers, feedback)
        self._open_streams = ClosableSemaphore(max_connections)
        self.stream_client = StreamClient(self.executor, transport, self._open_streams)
        self.uploader = Uploader(self.executor, transport, RequestLimiter(MAX_UPLOADS, self._timers))
        self.digests: SingleFlightCache[FileStamp, bytes] = SingleFlightCache(max_size=MAX_CACHED_UPLOADS, ttl=math.inf)
        self.uploads: SingleFlightCache[tuple[bytes, str, str], File] = SingleFlightCache(
            max_size=MAX_CACHED_UPLOADS, ttl=assumptions.UPLOAD_LIFETIME
        )
        self._downloads = ClosableSemaphore(MAX_DOWNLOADS)
        self.downloader = Downloader(self.executor, transport, self._downloads, config)
        self._closing: asyncio.Event | None = None

    async def aclose(self) -> None:
        """Ends the waits, lets the requests in flight end, then closes the connections.

        Downloads, uploads and streams are cancelled: transfers cost nothing and can be repeated, and streams have no
        known end. Concurrent calls wait for the first one. Cancelling it closes the connections at once.
        """
        if self._closing is not None:
            await self._closing.wait()
            return
        self._closing = asyncio.Event()
        self.executor.close()
        self._limiter.close()
        self._open_streams.close()
        self._downloads.close()
        self.uploader.close()
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
