"""The moving parts of one open session, put together and taken apart in order."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from .._core import assumed
from .._core.budget import Budget
from .._core.deliveries import Deliveries
from .._core.durations import Durations
from .caller import Caller
from .downloader import Downloader
from .experience import Experience
from .gate import Gate
from .scheduler import Scheduler
from .shared import Shared
from .streamer import Opening, Streamer
from .uploader import Uploading
from .waits import Waits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._core.allowance import Allowance
    from .._core.policies import RateLimit, RetryPolicy
    from .._core.records import File
    from .._core.settings import Settings
    from .ambient import Ambient
    from .hooks import Hooks
    from .source import PathStamp
    from .transport import Transport

MAX_DOWNLOADS: Final = 16
"""Transfers at once: they go to other hosts and have a bound of their own."""

MAX_UPLOADS: Final = 4
"""Transfers at once to the service: long ones keep no place from calls and polls."""

MOST_REMEMBERED: Final = 4096
"""Uploads, and digests of files, that a session remembers."""


class Engine:
    """Bound to the loop that runs when it is made."""

    def __init__(
        self,
        transport: Transport,
        *,
        settings: Settings,
        retry: RetryPolicy,
        ambient: Ambient,
        hooks: Sequence[Hooks],
        max_connections: int,
        rate_limit: RateLimit | Allowance | None = None,
        durations: Durations | None = None,
        deliveries: Deliveries | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport = transport
        self._scheduler = Scheduler(self.loop)
        gate = Gate(
            max_connections,
            self._scheduler,
            Budget(rate_limit),
            patience=retry.max_elapsed,
            uniform=ambient.uniform,
        )
        self.caller = Caller(
            transport,
            gate,
            self._scheduler,
            settings=settings,
            retry=retry,
            ambient=ambient,
            hooks=hooks,
        )
        self.deliveries = deliveries or Deliveries()
        experience = Experience(durations or Durations(), self.deliveries)
        self.waits = Waits(self.caller, gate, self._scheduler, experience)
        self._opener = Caller(
            Opening(transport),
            gate,
            self._scheduler,
            settings=settings,
            retry=retry,
            ambient=ambient,
            hooks=hooks,
        )
        self._streams = Gate(max_connections, self._scheduler)
        self.streamer = Streamer(self._opener, self._streams, settings)
        self._uploading = Uploading(transport)
        self.uploader = Caller(
            self._uploading,
            Gate(MAX_UPLOADS, self._scheduler),
            self._scheduler,
            settings=settings,
            retry=retry,
            ambient=ambient,
            hooks=hooks,
        )
        self.digests: Shared[PathStamp, bytes] = Shared(most=MOST_REMEMBERED, seconds=math.inf)
        self.uploads: Shared[tuple[bytes, str, str], File] = Shared(
            most=MOST_REMEMBERED, seconds=assumed.UPLOAD_IS_GOOD_FOR
        )
        self._closing: asyncio.Event | None = None
        self.downloader = Downloader(
            transport, Gate(MAX_DOWNLOADS, self._scheduler), retry, ambient, is_own=settings.is_own, hooks=hooks
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
        self.caller.close()
        self._opener.close()
        self._streams.close()
        self.downloader.close()
        self.uploader.close()
        self._uploading.cut()
        try:
            await self.waits.aclose()
            await self.caller.aclose()
            await self.uploads.aclose()
            await self.digests.aclose()
            await self.uploader.aclose()
        finally:
            self._scheduler.close()
            try:
                await self.transport.aclose()
            finally:
                self._closing.set()
