"""One budget over many processes: each leases a little of the account's rate at a time, and spends it unasked."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from throttled.asyncio import RedisStore as LimiterStore
from throttled.asyncio import Throttled, per_duration
from throttled.exceptions import BaseThrottledError

from .._core.allowance import Allowance
from .._core.errors import Answered, DecodeError, RateLimited
from .._core.learned_rate import LearnedRate
from .._engine.hooks import Hooks
from .redis_options import watched
from .shared_rate import SharedRateState

if TYPE_CHECKING:
    from .._core.policies import RateLimit
    from .._engine.hooks import AttemptDetails

LOG: Final = logging.getLogger("rivya_async.workers")

BUNDLE: Final = 0.1
"""Seconds of the account's rate that one process leases at most at a time..."""

RECORD_TTL: Final = 1.0
"""... and the seconds after which it gives up what it has not used."""

LOOK: Final = 0.25
"""Seconds between two looks at the account while nothing bounds its rate: others may have been refused."""

LONGEST_HOLD: Final = 1.0
"""Seconds after which a hold is looked at again."""

SLOW: Final = 1.0
"""Seconds after which Redis is taken to be away..."""

AWAY: Final = 3.0
"""... and in which it is then not asked again: who waits for an answer grants nothing."""

MOST_HELD: Final = 60.0
"""Seconds for which one refusal holds everybody at most, whatever it asks for."""

PRECISION: Final = 1000
"""Seconds over which the limiter library is told the rate, in whole requests."""


class DistributedLimiter(Hooks):
    """The lessee of one process: serves the session's `allowance` from what all processes share in Redis.

    A rate that nobody configured is learned of the refusals of all processes. While Redis is away the process keeps to
    its share: the last known rate over the number of workers.
    """

    def __init__(self, url: str, namespace: str, limit: RateLimit | None = None) -> None:
        self.allowance = Allowance(self._want)
        self.workers = 1
        """How many processes share the rate, as far as is known."""
        self.rate = math.inf if limit is None else limit.per_second
        """Requests per second of the account, as last seen."""
        self._most = self.rate
        self._burst = None if limit is None else max(1, int(limit.burst))
        self._loop = asyncio.get_running_loop()
        in_haste = {**watched(url), "retry": Retry(NoBackoff(), 0)}
        self._redis = Redis.from_url(url, decode_responses=True, **in_haste)
        self._account = SharedRateState(self._redis, namespace, self._most)
        self._limiter = _LimiterStore(server=url, options={"CONNECTION_POOL_KWARGS": in_haste})
        self._namespace = namespace
        self._asked = asyncio.Event()
        self._alarm = asyncio.Event()
        self._waiting = 0
        self._granted = 0
        self._refused: tuple[float, float] | None = None
        self._leased = (0, -math.inf)  # how many last, and when
        self._own = LearnedRate()
        self._own_hold = -math.inf
        self._is_alone = False
        self._away_until = -math.inf

    # --- told by the session ------------------------------------------------------------------------------------------

    def on_attempt(self, details: AttemptDetails) -> None:
        """Count what is answered, and take note of a refusal."""
        error = details.error
        now = self._loop.time()
        if isinstance(error, RateLimited):
            wait = min(error.retry_after or 1.0, MOST_HELD)
            self._refused = self._refused or (now - details.elapsed, wait)
            if now - details.elapsed > self._own_hold:
                self._own_hold = now + wait
                self._own.refuse(now, wait)
            self._alarm.set()
            self._asked.set()
        elif error is None or isinstance(error, Answered | DecodeError):
            self._granted += 1
            self._own.grant(now)

    def _want(self, waiting: int) -> None:
        self._waiting = waiting
        self._asked.set()

    # --- served by its owner ------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Lease and grant, until it is cancelled."""
        while True:
            await self._until_asked()
            try:
                pause = await self._turn() if self._loop.time() >= self._away_until else self._turn_alone()
            except Exception:
                LOG.exception("the shared budget has met a slip of ours: it goes on")
                pause = AWAY
            if pause:
                await self._rest(pause)
                self._asked.set()

    async def aclose(self) -> None:
        """Let go of the connections. Whoever serves is to be cancelled before."""
        await self._redis.aclose()
        await self._limiter.aclose()

    async def _until_asked(self) -> None:
        """Wait until requests are wanted; what is left of the last lease is given up meanwhile."""
        if not self._asked.is_set() and self.allowance.left:
            try:
                async with asyncio.timeout(RECORD_TTL):
                    await self._asked.wait()
            except TimeoutError:
                self.allowance.withdraw()
        await self._asked.wait()
        self._asked.clear()

    async def _rest(self, pause: float) -> None:
        """A pause, which a refusal ends."""
        self._alarm.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._alarm.wait()

    async def _turn(self) -> float:
        """The seconds until the next turn is due; 0 if it is due when it is asked for."""
        try:
            async with asyncio.timeout(SLOW):
                pause = await self._turn_together()
        except (RedisError, BaseThrottledError, OSError) as error:
            self._away_until = self._loop.time() + AWAY
            self._say_that_it_is_alone(error)
            return self._turn_alone()
        if self._is_alone:
            self._is_alone = False
            LOG.warning("the shared budget can be reached again")
        return pause

    async def _turn_together(self) -> float:
        """Look at the account and lease from it."""
        granted = self._granted
        if granted:
            await self._account.grant(granted)
            self._granted -= granted
        refused = self._refused
        if refused is not None:
            self.allowance.withdraw()
            await self._account.refuse(self._loop.time() - refused[0], refused[1])
            self._refused = None
        view = await self._account.view()
        self.rate = min(self._most, view.rate)
        if view.hold:
            self.allowance.withdraw()
            return min(view.hold, LONGEST_HOLD)
        if math.isinf(self.rate):
            return self._free(granted)
        if math.isinf(self.allowance.left):
            self.allowance.withdraw()
        return 0.0 if self.allowance.left >= 1 else await self._lease()

    def _free(self, granted: int) -> float:
        """Nothing bounds the rate: let all out, and look again soon as long as there is traffic."""
        is_idle = math.isinf(self.allowance.left) and not granted
        if is_idle:
            self.allowance.withdraw()
            return 0.0
        if not math.isinf(self.allowance.left):
            self.allowance.grant(math.inf)
        return LOOK

    async def _lease(self) -> float:
        most = max(1, int(self.rate * BUNDLE))
        requests = self._bundle(most)
        limiter = Throttled(
            using="gcra",
            quota=per_duration(
                timedelta(seconds=PRECISION), max(1, round(self.rate * PRECISION)), burst=max(most, self._burst or 1)
            ),
            store=self._limiter,
            key_prefix=f"{{{self._namespace}}}",
        )
        result = await limiter.limit("account", cost=requests)
        if result.limited:
            return max(result.state.retry_after, 0.001)
        self._leased = (requests, self._loop.time())
        self.allowance.grant(requests)
        return 0.0

    def _bundle(self, most: int) -> int:
        """As many as wait, or as are likely to be wanted before the next lease."""
        requests, at = self._leased
        lately = requests / max(self._loop.time() - at, 1e-3) * BUNDLE
        return min(most, max(1, self._waiting, int(lately)))

    # --- without Redis ------------------------------------------------------------------------------------------------

    def _turn_alone(self) -> float:
        """Grant this process's share of the last known rate."""
        share = self._share
        if math.isinf(share):
            return self._free(self._granted)
        self.allowance.withdraw()
        requests = self._bundle(max(1, int(share * BUNDLE)))
        self.allowance.grant(requests)
        return requests / share

    @property
    def _share(self) -> float:
        """Requests per second of this process alone: its part of what is known, and no more than it learns itself."""
        return min(self.rate / self.workers, self._own.at(self._loop.time()))

    def _say_that_it_is_alone(self, error: Exception) -> None:
        if not self._is_alone:
            self._is_alone = True
            LOG.warning(
                "the shared budget cannot be reached: this worker keeps to its share, %s: %s",
                "which nobody knows yet" if math.isinf(self._share) else f"{self._share:.3g} requests/s",
                error,
            )


class _LimiterStore(LimiterStore):
    """The library's store, which can be closed."""

    async def aclose(self) -> None:
        client: Any = self._backend.get_client()
        await client.aclose()
        await client.connection_pool.disconnect()
