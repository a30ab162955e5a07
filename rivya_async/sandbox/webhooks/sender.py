"""Carries events to the endpoints, on this machine and nowhere else: one task that waits, and those that it sends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Final

import aiohttp

from ..._core.signature import RIVYA
from ..faults.fault import DELIVERY
from ..faults.injection import alter_body, filter_headers
from ..faults.registry import FaultRegistry
from ..store import StateStore
from .delivery_queue import DeliveryQueue, WebhookDelivery
from .url_validation import is_on_this_machine

TIMEOUT: Final = 10.0
"""Seconds that a receiver has, whatever the speed. Assumed."""

MOST_AT_ONCE: Final = 64

SHORTEST_PAUSE: Final = 0.001
"""Seconds: a clock that stands still, as in tests, must not make the loop spin."""

LOST: Final = "The sandbox was told to lose this."

USER_AGENT: Final = "Rivya-Webhooks/1.0 (sandbox)"

logger = logging.getLogger(__name__)


class WebhookSender:
    """Sends what is due while it is open. `clock` gives epoch seconds."""

    def __init__(
        self, deliveries: DeliveryQueue, faults: FaultRegistry, clock: Callable[[], float], store: StateStore
    ) -> None:
        self._deliveries = deliveries
        self._faults = faults
        self._clock = clock
        self._store = store
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

    async def send(self, delivery: WebhookDelivery) -> None:
        """Send it now, and note what came of it."""
        try:
            status, error = await self._sent(delivery)
        except (aiohttp.ClientError, OSError, ValueError) as failure:  # ValueError: a URL that passes the rule only
            status, error = None, _told(failure)
        except BaseException:
            self._deliveries.put_back(delivery)
            raise
        self._deliveries.ended(delivery, self._clock(), status=status, error=error)
        if self._store.is_behind:
            await self._store.written()

    async def aclose(self) -> None:
        """Cut what is on its way: it is due again when the sandbox is started again."""
        self._round.cancel()
        try:
            await asyncio.wait([self._round])
        finally:
            await self._http.close()
        if not self._round.cancelled():
            self._round.result()  # it broke down before: whoever closes shall hear of it

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                for delivery in self._deliveries.take_due(self._clock(), self._free):
                    self._free -= 1
                    group.create_task(self._send_in_place(delivery))
                due = self._deliveries.next_due() if self._free else None
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if due is None else max(SHORTEST_PAUSE, due - self._clock())):
                        await self._woken.wait()

    async def _send_in_place(self, delivery: WebhookDelivery) -> None:
        try:
            await self.send(delivery)
        except Exception:
            logger.exception("the delivery %s could not be sent", delivery.id)
        finally:
            self._free += 1
            self.wake()

    async def _sent(self, delivery: WebhookDelivery) -> tuple[int | None, str | None]:
        """The status of the answer, or the reason why there is none; as a fault says, if one strikes."""
        if not is_on_this_machine(delivery.endpoint.url):
            return None, "The sandbox sends to this machine only."
        fault = self._faults.match(DELIVERY, "", delivery.event.id)
        if fault is None:
            return await self._post(delivery, delivery.event.body, self._headers(delivery)), None
        await asyncio.sleep(fault.delay)
        if fault.drop and not fault.act:
            return None, LOST
        body = alter_body(delivery.event.body if fault.body is None else fault.body, fault)
        headers = self._headers(delivery) if fault.age is None else self._headers(delivery, body, fault.age)
        status = await self._post(delivery, body, {**filter_headers(headers, fault), **fault.headers})
        return (None, LOST) if fault.drop else (status, None)

    def _headers(self, delivery: WebhookDelivery, body: bytes | None = None, age: float = 0.0) -> dict[str, str]:
        """Signed for what was to be sent, or for `body`; `age` seconds ago."""
        event, at = delivery.event, int(self._clock() - age)
        return {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Rivya-Event-Id": event.id,
            "Rivya-Event-Type": event.type,
            "Rivya-Delivery-Id": delivery.id,
            **RIVYA.sign(
                event.body if body is None else body, delivery.endpoint.secret, message_id=event.id, timestamp=at
            ),
        }

    async def _post(self, delivery: WebhookDelivery, body: bytes, headers: Mapping[str, str]) -> int:
        url, data = delivery.endpoint.url, BytesIO(body)  # a fault may make it large, and aiohttp warns of large bytes
        with self._deliveries.in_hand(delivery):
            async with self._http.post(url, data=data, headers=headers, allow_redirects=False) as response:
                self._deliveries.answered(delivery, response.status)
                return response.status


def _told(failure: Exception) -> str:
    if isinstance(failure, TimeoutError):
        return f"The receiver did not answer within {TIMEOUT:g} seconds."
    return f"The receiver could not be reached: {type(failure).__name__}."
