"""One rate limit for many processes: each leases a small part of the account's rate and uses it without Redis."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import DataError, RedisError
from throttled.asyncio import RedisStore as ThrottledStore
from throttled.asyncio import Throttled, per_duration
from throttled.exceptions import BaseThrottledError

from .._core.errors import APIStatusError, RateLimitError, ResponseDecodeError
from .._core.limits.external_limiter import ExternalRateLimiter
from .._core.limits.rate_controller import AdaptiveRate
from .._engine.hooks import Hooks
from .context import LOG, wait_at_most
from .redis_availability import connection_options
from .shared_rate import MAX_RETRY_AFTER, SharedRateState

if TYPE_CHECKING:
    from .._core.policies import RateLimit
    from .._engine.hooks import AttemptDetails

LEASE_DURATION: Final = 0.1
"""Maximum seconds of the account's rate in one lease."""

LEASE_TTL: Final = 1.0
"""Seconds after which a process gives up the unused part of its lease."""

UNLIMITED_READ_INTERVAL: Final = 0.25
"""Seconds between two reads of the shared state while the rate is unlimited: another process may get a 429."""

MAX_BLOCK: Final = 1.0
"""Maximum seconds of a block before the shared state is read again."""

REDIS_TIMEOUT: Final = 1.0
"""Seconds without a reply after which Redis counts as down."""

REDIS_RETRY_INTERVAL: Final = 3.0
"""Seconds for which Redis is not called after it was found down: waiting for it would grant nothing."""

QUOTA_PERIOD: Final = 1000
"""Seconds over which throttled-py gets the rate, as whole requests."""


class DistributedLimiter(Hooks):
    """The limiter of one process: fills the session's `allowance` from the rate that all processes share in Redis.

    A rate that is not configured is learned from the 429s of all processes. While Redis is down a process keeps to its
    share: the last known rate divided by the number of workers.
    """

    def __init__(self, url: str, namespace: str, limit: RateLimit | None = None) -> None:
        self.allowance = ExternalRateLimiter(self._on_demand)
        self.workers = 1
        """The number of processes that share the rate, as last known."""
        self.rate = math.inf if limit is None else limit.per_second
        """The account's rate in requests per second, as last known."""
        self._max_rate = self.rate
        self._burst = None if limit is None else max(1, int(limit.burst))
        self._loop = asyncio.get_running_loop()
        options = {**connection_options(url), "retry": Retry(NoBackoff(), 0)}
        self._redis = Redis.from_url(url, decode_responses=True, encoding_errors="replace", **options)
        self._shared_state = SharedRateState(self._redis, namespace, self._max_rate)
        self._lease_store = _ClosableThrottledStore(server=url, options={"CONNECTION_POOL_KWARGS": options})
        self._namespace = namespace
        self._demand = asyncio.Event()
        self._rejection = asyncio.Event()
        self._waiting_requests = 0
        self._accepted = 0
        self._unreported: tuple[float, float] | None = None  # the time of sending and the Retry-After of a 429
        self._last_lease = (0, -math.inf)  # requests, time
        self._local_rate = AdaptiveRate()
        self._local_block_end = -math.inf
        self._is_redis_down = False
        self._next_redis_call = -math.inf

    # --- calls of the session -----------------------------------------------------------------------------------------

    def on_attempt(self, details: AttemptDetails) -> None:
        """Counts accepted requests and records a 429."""
        error = details.error
        now = self._loop.time()
        if isinstance(error, RateLimitError):
            sent_at, wait = now - details.elapsed, min(error.retry_after or 1.0, MAX_RETRY_AFTER)
            self._unreported = self._unreported or (sent_at, wait)
            if sent_at > self._local_block_end:
                self._local_block_end = now + wait
                self._local_rate.on_rejection(now, wait)
            self._rejection.set()
            self._demand.set()
        elif error is None or isinstance(error, APIStatusError | ResponseDecodeError):
            self._accepted += 1
            self._local_rate.on_success(now)

    def _on_demand(self, waiting_requests: int) -> None:
        self._waiting_requests = waiting_requests
        self._demand.set()

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Leases and grants requests until it is cancelled."""
        while True:
            await self._wait_for_demand()
            try:
                pause = await self._refill() if self._loop.time() >= self._next_redis_call else self._refill_locally()
            except Exception:  # noqa: BLE001 - the session depends on this loop
                LOG.exception("the distributed limiter failed, it continues")
                pause = REDIS_RETRY_INTERVAL
            if pause:
                self._rejection.clear()
                await _wait(self._rejection, pause)
                self._demand.set()

    async def aclose(self) -> None:
        """Closes the connections; cancel `run` before."""
        await self._redis.aclose()
        await self._lease_store.aclose()

    async def _wait_for_demand(self) -> None:
        """Waits until requests are waiting; gives up an unused lease meanwhile."""
        if not self._demand.is_set() and self.allowance.available and not await _wait(self._demand, LEASE_TTL):
            self.allowance.revoke()
        await self._demand.wait()
        self._demand.clear()

    async def _refill(self) -> float:
        """Refills the allowance; returns the seconds until the next refill, or 0 to wait for demand."""
        try:
            async with asyncio.timeout(REDIS_TIMEOUT):
                pause = await self._refill_from_redis()
        except (RedisError, BaseThrottledError, OSError, ValueError) as error:
            self._next_redis_call = self._loop.time() + REDIS_RETRY_INTERVAL
            self._warn_redis_down(error)
            return self._refill_locally()
        if self._is_redis_down:
            self._is_redis_down = False
            LOG.warning("the distributed limiter uses Redis again")
        return pause

    async def _refill_from_redis(self) -> float:
        accepted, rejection = self._accepted, self._unreported
        if accepted:
            await self._shared_state.add_accepted(accepted)
            self._accepted -= accepted
        if rejection is not None:
            self.allowance.revoke()
            await self._shared_state.add_rejection(self._loop.time() - rejection[0], rejection[1])
            self._unreported = None
        state = await self._shared_state.read()
        self.rate = min(self._max_rate, state.rate)
        if state.blocked_for:
            self.allowance.revoke()
            return min(state.blocked_for, MAX_BLOCK)
        if math.isinf(self.rate):
            return self._grant_unlimited(accepted)
        if math.isinf(self.allowance.available):
            self.allowance.revoke()
        return 0.0 if self.allowance.available >= 1 else await self._lease()

    def _grant_unlimited(self, accepted: int) -> float:
        """Grants an unlimited rate; the state is read again soon as long as there is traffic."""
        if math.isinf(self.allowance.available):
            if not accepted:
                self.allowance.revoke()
                return 0.0
        else:
            self.allowance.grant(math.inf)
        return UNLIMITED_READ_INTERVAL

    async def _lease(self) -> float:
        max_requests = max(1, int(self.rate * LEASE_DURATION))
        requests = self._lease_size(max_requests)
        quota = per_duration(
            timedelta(seconds=QUOTA_PERIOD),
            max(1, round(self.rate * QUOTA_PERIOD)),
            burst=max(max_requests, self._burst or 1),
        )
        throttled = Throttled(using="gcra", quota=quota, store=self._lease_store, key_prefix=f"{{{self._namespace}}}")
        result = await throttled.limit("account", cost=requests)
        if result.limited:
            if not result.state.retry_after <= MAX_RETRY_AFTER + quota.burst / self.rate:
                raise DataError("the bucket of the shared rate is not plausible")
            return max(result.state.retry_after, 0.001)
        self._last_lease = (requests, self._loop.time())
        self.allowance.grant(requests)
        return 0.0

    def _lease_size(self, max_requests: int) -> int:
        """Returns the waiting requests, or the expected ones until the next lease, if these are more."""
        requests, leased_at = self._last_lease
        expected = requests / max(self._loop.time() - leased_at, 1e-3) * LEASE_DURATION
        return min(max_requests, max(1, self._waiting_requests, int(expected)))

    # --- without Redis ------------------------------------------------------------------------------------------------

    def _refill_locally(self) -> float:
        """Grants this process's share of the last known rate."""
        share = self._local_share
        if math.isinf(share):
            return self._grant_unlimited(self._accepted)
        self.allowance.revoke()
        requests = self._lease_size(max(1, int(share * LEASE_DURATION)))
        self.allowance.grant(requests)
        return requests / share

    @property
    def _local_share(self) -> float:
        """Requests per second: an equal part of the known rate, limited by the rate that the process learns itself."""
        return min(self.rate / self.workers, self._local_rate.rate_at(self._loop.time()))

    def _warn_redis_down(self, error: Exception) -> None:
        if not self._is_redis_down:
            self._is_redis_down = True
            share = self._local_share
            LOG.warning(
                "the distributed limiter cannot use Redis, this worker keeps to its share, %s: %s",
                "which is not known yet" if math.isinf(share) else f"{share:.3g} requests/s",
                error,
            )


class _ClosableThrottledStore(ThrottledStore):
    """throttled-py's store, with a method that closes it."""

    async def aclose(self) -> None:
        client: Any = self._backend.get_client()
        await client.aclose()
        await client.connection_pool.disconnect()


async def _wait(event: asyncio.Event, timeout: float) -> bool:
    """Waits for an event; returns whether it was set within `timeout` seconds."""
    await wait_at_most(timeout, event.wait())
    return event.is_set()
