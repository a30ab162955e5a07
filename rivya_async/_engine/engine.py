"""The moving parts of one open session, put together and taken apart in order."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from .._core import assumptions
from .._core.limits.rate_controller import RateController
from .._core.polling.adaptive.duration_estimator import DurationEstimator
from .._core.polling.webhook_updates import DeliveryRateEstimator
from .http.request_executor import RequestExecutor
from .http.request_limiter import RequestLimiter
from .http.stream_client import StreamClient, StreamOpeningTransport
from .polling.poll_feedback import PollFeedback
from .polling.wait_registry import WaitRegistry
from .single_flight import SingleFlightCache
from .timer_queue import TimerQueue
from .transfers.downloader import Downloader
from .transfers.uploader import UploadTransport

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
"""Transfers at once: they go to other hosts and have a bound of their own."""

MAX_UPLOADS: Final = 4
"""Transfers at once to the service: long ones keep no place from calls and polls."""

MAX_CACHED_UPLOADS: Final = 4096
"""Uploads, and digests of files, that a session remembers."""


class Engine:
    """Bound to the loop that runs when it is made."""

    def __init__(
        self,
        transport: Transport,
        *,
        settings: Config,
        retry: RetryPolicy,
        ambient: Environment,
        hooks: Sequence[Hooks],
        max_connections: int,
        rate_limit: RateLimit | ExternalRateLimiter | None = None,
        durations: DurationEstimator | None = None,
        deliveries: DeliveryRateEstimator | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport = transport
        self._timers = TimerQueue(self.loop)
        gate = RequestLimiter(
            max_connections,
            self._timers,
            RateController(rate_limit),
            patience=retry.max_elapsed,
            uniform=ambient.uniform,
        )
        self.executor = RequestExecutor(
            transport,
            gate,
            self._timers,
            settings=settings,
            retry=retry,
            ambient=ambient,
            hooks=hooks,
        )
        self.delivery_rate = deliveries or DeliveryRateEstimator()
        experience = PollFeedback(durations or DurationEstimator(), self.delivery_rate)
        self.wait_registry = WaitRegistry(self.executor, gate, self._timers, experience)
        self._stream_executor = RequestExecutor(
            StreamOpeningTransport(transport),
            gate,
            self._timers,
            settings=settings,
            retry=retry,
            ambient=ambient,
            hooks=hooks,
        )
        self._stream_limiter = RequestLimiter(max_connections, self._timers)
        self.stream_client = StreamClient(self._stream_executor, self._stream_limiter, settings)
        self._upload_transport = UploadTransport(transport)
        self.upload_executor = RequestExecutor(
            self._upload_transport,
            RequestLimiter(MAX_UPLOADS, self._timers),
            self._timers,
            settings=settings,
            retry=retry,
            ambient=ambient,
            hooks=hooks,
        )
        self.digests: SingleFlightCache[FileStamp, bytes] = SingleFlightCache(most=MAX_CACHED_UPLOADS, seconds=math.inf)
        self.uploads: SingleFlightCache[tuple[bytes, str, str], File] = SingleFlightCache(
            most=MAX_CACHED_UPLOADS, seconds=assumptions.UPLOAD_LIFETIME
        )
        self._closing: asyncio.Event | None = None
        self.downloader = Downloader(
            transport,
            RequestLimiter(MAX_DOWNLOADS, self._timers),
            retry,
            ambient,
            is_own=settings.is_service_host,
            hooks=hooks,
        )

    async def aclose(self) -> None:
        """Begin nothing, release the waits, let the requests in flight end, then close the connections.

        Downloads and uploads are cut: they cost nothing, and may be begun anew. So are streams: nobody knows how long
        they go on. Whoever closes meanwhile waits for the end of it. Cancelled, it cuts all that is left.
        """
        if self._closing is not None:
            await self._closing.wait()
            return
        self._closing = asyncio.Event()
        self.executor.close()
        self._stream_executor.close()
        self._stream_limiter.close()
        self.downloader.close()
        self.upload_executor.close()
        self._upload_transport.cancel_all()
        try:
            await self.wait_registry.aclose()
            await self.executor.aclose()
            await self.uploads.aclose()
            await self.digests.aclose()
            await self.upload_executor.aclose()
        finally:
            self._timers.close()
            try:
                await self.transport.aclose()
            finally:
                self._closing.set()
