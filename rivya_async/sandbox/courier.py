"""Carries events to the endpoints: one task that waits for what is due, and those that it sends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import aiohttp

from .._core.signature import RIVYA
from .deliveries import Deliveries, Delivery

TIMEOUT: Final = 10.0
"""Seconds that a receiver has, whatever the speed. Assumed."""

MOST_AT_ONCE: Final = 64

USER_AGENT: Final = "Rivya-Webhooks/1.0 (sandbox)"

logger = logging.getLogger(__name__)


class Courier:
    """Sends what is due while it is open. `clock` gives epoch seconds."""

    def __init__(self, deliveries: Deliveries, clock: Callable[[], float]) -> None:
        self._deliveries = deliveries
        self._clock = clock
        self._free = MOST_AT_ONCE
        self._woken = asyncio.Event()
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),  # a receiver may be gone by the next event
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        )
        self._round = asyncio.create_task(self._run())

    def wake(self) -> None:
        """There may be something to do sooner than it was."""
        self._woken.set()

    async def send(self, delivery: Delivery) -> None:
        """Send it now, and note what came of it."""
        try:
            status, error = await self._post(delivery), None
        except (aiohttp.ClientError, OSError, ValueError) as failure:  # ValueError: a URL that passes the rule only
            status, error = None, _told(failure)
        except BaseException:
            self._deliveries.put_back(delivery)
            raise
        self._deliveries.ended(delivery, self._clock(), status=status, error=error)

    async def aclose(self) -> None:
        """Cut what is on its way: it is due again when the sandbox is started again."""
        self._round.cancel()
        with suppress(asyncio.CancelledError):
            await self._round
        await self._http.close()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                for delivery in self._deliveries.take_due(self._clock(), self._free):
                    self._free -= 1
                    group.create_task(self._send_in_place(delivery))
                due = self._deliveries.next_due() if self._free else None
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if due is None else max(0.0, due - self._clock())):
                        await self._woken.wait()

    async def _send_in_place(self, delivery: Delivery) -> None:
        try:
            await self.send(delivery)
        except Exception:
            logger.exception("the delivery %s could not be sent", delivery.id)
        finally:
            self._free += 1
            self.wake()

    async def _post(self, delivery: Delivery) -> int:
        event = delivery.event
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Rivya-Event-Id": event.id,
            "Rivya-Event-Type": event.type,
            "Rivya-Delivery-Id": delivery.id,
            **RIVYA.sign(event.body, delivery.endpoint.secret, message_id=event.id, timestamp=int(self._clock())),
        }
        async with self._http.post(
            delivery.endpoint.url, data=event.body, headers=headers, allow_redirects=False
        ) as response:
            return response.status


def _told(failure: Exception) -> str:
    if isinstance(failure, TimeoutError):
        return f"The receiver did not answer within {TIMEOUT:g} seconds."
    return f"The receiver could not be reached: {type(failure).__name__}."
