"""The sender of webhook deliveries, which sends to this machine only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Final

import aiohttp

from ..._core.webhooks.signatures import RIVYA
from ..faults.fault import DELIVERY, alter_body, alter_headers
from ..faults.registry import FaultRegistry
from ..store import StateStore
from .delivery_queue import DeliveryQueue, WebhookDelivery
from .endpoints import is_loopback_url

TIMEOUT: Final = 10.0
"""Seconds for the response of a receiver, at any speed. Assumed."""

MAX_CONCURRENT_DELIVERIES: Final = 64

MIN_SLEEP: Final = 0.001
"""Seconds; the shortest sleep, so that a clock that stands still, as in tests, causes no busy loop."""

LOST: Final = "The delivery was lost because of a fault."

USER_AGENT: Final = "Rivya-Webhooks/1.0 (sandbox)"

logger = logging.getLogger(__name__)


class WebhookSender:
    """A background task that sends due deliveries. `clock` returns epoch seconds."""

    def __init__(
        self, queue: DeliveryQueue, faults: FaultRegistry, clock: Callable[[], float], store: StateStore
    ) -> None:
        self._queue = queue
        self._faults = faults
        self._clock = clock
        self._store = store
        self._free_slots = MAX_CONCURRENT_DELIVERIES
        self._wakeup = asyncio.Event()
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),  # a receiver may be gone by the next event
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        )
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Checks the queue now."""
        self._wakeup.set()

    async def send(self, delivery: WebhookDelivery) -> None:
        """Sends a delivery and records its result."""
        try:
            status, error = await self._attempt(delivery)
        except (aiohttp.ClientError, OSError, ValueError) as failure:  # ValueError: aiohttp rejects a valid URL
            status, error = None, _describe_failure(failure)
        except BaseException:
            self._queue.requeue(delivery)
            raise
        self._queue.record_result(delivery, self._clock(), status=status, error=error)
        if self._store.has_unwritten:
            await self._store.flush()

    async def aclose(self) -> None:
        """Cancels running deliveries, which are due again at the next start."""
        self._task.cancel()
        try:
            await asyncio.wait([self._task])
        finally:
            await self._http.close()
        if not self._task.cancelled():
            self._task.result()  # raises the error that ended the task

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                self._wakeup.clear()
                for delivery in self._queue.pop_due(self._clock(), self._free_slots):
                    self._free_slots -= 1
                    group.create_task(self._send_in_slot(delivery))
                due_at = self._queue.next_due_at() if self._free_slots else None
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if due_at is None else max(MIN_SLEEP, due_at - self._clock())):
                        await self._wakeup.wait()

    async def _send_in_slot(self, delivery: WebhookDelivery) -> None:
        try:
            await self.send(delivery)
        except Exception:
            logger.exception("webhook delivery %s failed", delivery.id)
        finally:
            self._free_slots += 1
            self.wake()

    async def _attempt(self, delivery: WebhookDelivery) -> tuple[int | None, str | None]:
        """Returns the response's status, or the error; a matching fault is applied."""
        if not is_loopback_url(delivery.endpoint.url):
            return None, "The sandbox sends to this machine only."
        fault = self._faults.match(DELIVERY, "", delivery.event.id)
        if fault is None:
            body = delivery.event.body
            return await self._post(delivery, body, self._signed_headers(delivery, body)), None
        await asyncio.sleep(fault.delay)
        if fault.drop and not fault.act:
            return None, LOST
        body = alter_body(delivery.event.body if fault.body is None else fault.body, fault)
        if fault.age is None:
            headers = self._signed_headers(delivery, delivery.event.body)
        else:
            headers = self._signed_headers(delivery, body, fault.age)
        status = await self._post(delivery, body, alter_headers(headers, fault))
        return (None, LOST) if fault.drop else (status, None)

    def _signed_headers(self, delivery: WebhookDelivery, body: bytes, age: float = 0.0) -> dict[str, str]:
        """Returns the headers with a signature of `body` made `age` seconds ago."""
        event = delivery.event
        return {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Rivya-Event-Id": event.id,
            "Rivya-Event-Type": event.type,
            "Rivya-Delivery-Id": delivery.id,
            **RIVYA.sign(body, delivery.endpoint.secret, message_id=event.id, timestamp=int(self._clock() - age)),
        }

    async def _post(self, delivery: WebhookDelivery, body: bytes, headers: Mapping[str, str]) -> int:
        data = BytesIO(body)  # a fault may make it large, and aiohttp warns of large bytes
        with self._queue.mark_sending(delivery):
            async with self._http.post(
                delivery.endpoint.url, data=data, headers=headers, allow_redirects=False
            ) as response:
                self._queue.record_response(delivery, response.status)
                return response.status


def _describe_failure(failure: Exception) -> str:
    if isinstance(failure, TimeoutError):
        return f"The receiver did not answer within {TIMEOUT:g} seconds."
    return f"The receiver could not be reached: {type(failure).__name__}."
