"""A fake service under load: spread durations, a rate limit and outages. It records the requests."""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import pairwise
from typing import Literal

from rivya_async._core.errors import OutcomeUnknownError, RequestNotSentError
from rivya_async._core.http.messages import Request, Response
from tests.engine.engine_kit import DAY, ReceivedRequest, Reply, Service, error_response, job_response
from tests.engine.virtual_time import now

Outage = Literal["503", "refused", "hanging"]


class BusyService(Service):
    """A service whose jobs last `duration` seconds in the median, with `sigma` as the deviation of the logarithm.

    It accepts `limit` requests in each window of `window` seconds, and responds 503 to the share `fails` of them.
    From `down[0]` to `down[1]` it is down as `outage` says.
    """

    def __init__(
        self,
        duration: float = 20.0,
        *,
        sigma: float = 0.3,
        latency: float = 0.02,
        limit: int | None = None,
        window: float = 1.0,
        sends_retry_after: bool = True,
        fails: float = 0.0,
        outage: Outage = "503",
        down: tuple[float, float] = (math.inf, math.inf),
        seed: int = 1,
    ) -> None:
        super().__init__(duration, latency=latency)
        self.transport.answer = self._busy_answer
        self.random = random.Random(seed)
        self.sigma = sigma
        self.limit = limit
        self.window = window
        self.sends_retry_after = sends_retry_after
        self.fails = fails
        self.outage = outage
        self.down = down
        self.refused: list[float] = []
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self._in_window: Counter[int] = Counter()

    def sell(self, task_id: str | None = None, duration: float | None = None) -> str:
        if duration is None:
            duration = self.duration * math.exp(self.random.gauss(0.0, self.sigma))
        task_id = super().sell(task_id, duration)
        self.began[task_id] = now()
        return task_id

    def saw_end(self, task_id: str) -> None:
        """Records when a caller received an end."""
        self.ended[task_id] = now()

    @property
    def latencies(self) -> list[float]:
        """Returns the seconds from the end of each job until the caller received it, sorted."""
        return sorted(at - self.ends_at[task_id] for task_id, at in self.ended.items())

    def per_second(self, begin: float, end: float, received: list[ReceivedRequest] | None = None) -> list[int]:
        """Returns the number of requests in each second from `begin` to `end`."""
        seconds = Counter(int(sent.at) for sent in (self.transport.received if received is None else received))
        return [seconds[n] for n in range(int(begin), int(end))]

    def gaps(self, begin: float = 0.0, end: float = math.inf) -> dict[str, list[float]]:
        """Returns the intervals between the polls of each job that were sent from `begin` to `end`."""
        polls: dict[str, list[float]] = defaultdict(list)
        for sent in self.transport.polls:
            if begin <= sent.at < end:
                polls[sent.path.rpartition("/")[2]].append(sent.at)
        return {task_id: [after - before for before, after in pairwise(times)] for task_id, times in polls.items()}

    def _busy_answer(self, request: Request) -> Reply | Awaitable[Reply]:
        if self.down[0] <= now() < self.down[1]:
            return OUTAGES[self.outage]()
        if self.random.random() < self.fails:
            return error_response(503)
        window = int(now() // self.window)
        self._in_window[window] += 1
        if self.limit is not None and self._in_window[window] > self.limit:
            self.refused.append(now())
            wait = str(max(1, math.ceil((window + 1) * self.window - now())))
            return error_response(429, "rate_limited", **({"Retry_After": wait} if self.sends_retry_after else {}))
        return self._timed(self._answer(request))

    def _timed(self, reply: Reply) -> Reply:
        """Adds the times of the service's clock to a record."""
        if not isinstance(reply, Response) or reply.status != 200:
            return reply
        record = json.loads(reply.body)
        task_id, status = record["id"], record["status"]
        at = self.ends_at[task_id] if status == "succeeded" else now()
        created = (DAY + timedelta(seconds=self.began[task_id])).isoformat()
        return job_response(task_id, status, at, created_at=created)


async def _hanging() -> Reply:
    await asyncio.sleep(60.0)
    return OutcomeUnknownError("no answer within 60 s")


OUTAGES: dict[Outage, Callable[[], Reply | Awaitable[Reply]]] = {
    "503": lambda: error_response(503),
    "refused": lambda: RequestNotSentError("refused"),
    "hanging": _hanging,
}
