"""The requests that the sandbox received, for assertions.

Counters cover every request, also dropped ones; the log keeps the newest `LOG_LENGTH`. Other threads may read while
requests arrive, so counters are copied before they are iterated.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Final

import attrs

LOG_LENGTH: Final = 200_000
"""Requests kept in the log; older ones are counted only."""


@attrs.frozen
class LoggedUpload:
    """The fields of an upload; `file_id` is None if the file was rejected."""

    name: str
    """File name."""
    size_bytes: int
    """Size in bytes."""
    kind: str | None
    """`image`, `video` or `audio`."""
    model: str | None
    """Id of the model, if one was sent."""
    client_request_id: str | None
    """The client's id of the upload."""
    file_id: str | None = None


@attrs.frozen
class LoggedRequest:
    """One request as the server received it.

    - `route`: the operation, such as "GET /api/v1/generations/{task_id}"; None for an unknown path.
    - `at`: arrival in seconds, on the clock of the event loop.
    - `status`: the response's status; None if the connection was dropped.
    - `task_id`: the requested or created task, if known.
    - `body`: the body of a POST with JSON. `upload`: the file of an upload that arrived completely.
    - `is_replay`: the response was the stored one of an earlier request with the same Idempotency-Key.
    """

    method: str
    """HTTP method."""
    path: str
    """Path with the query."""
    route: str | None
    idempotency_key: str | None
    """Idempotency key, if one was sent."""
    at: float
    status: int | None
    task_id: str | None
    body: bytes | None
    has_authorization: bool
    """True if an API key was sent."""
    upload: LoggedUpload | None = None
    is_replay: bool = False


class RequestLog:
    """A log and counters of all requests. Iteration yields the logged requests in the order of their responses.

    - `purchases`: the number of purchased tasks and chat turns.
    - `replays`: the number of requests answered with the stored response of an earlier one.
    - `uploads`: the number of accepted files.
    - `in_flight`: the number of requests that are being handled.
    - `peak_in_flight`: the largest number of requests in flight at once. A client in the same process has most requests
      handled within one step of the event loop: delay the responses, as `faults.add(delay=0.05)` does, to measure the
      client's concurrency.

    Example: after a fault dropped the first response, `sandbox.request_log.attempts("order-42") == 2` and
    `sandbox.request_log.purchases_by_key["order-42"] == 1`.
    """

    def __init__(self) -> None:
        self.in_flight = 0
        self.clear()

    def clear(self) -> None:
        """Forgets all requests, but for the number of those in flight."""
        self._log: deque[LoggedRequest] = deque(maxlen=LOG_LENGTH)
        self._counts: Counter[tuple[str | None, str]] = Counter()
        self._attempts: Counter[str] = Counter()
        self.purchases = 0
        self.uploads = 0
        self._purchases_by_key: Counter[str] = Counter()
        self._purchases_by_scope: Counter[Sequence[str]] = Counter()
        self._observed_tasks: set[str] = set()
        self.peak_in_flight = self.in_flight
        self._statuses: Counter[tuple[str | None, int | None]] = Counter()
        self.replays = 0

    def __iter__(self) -> Iterator[LoggedRequest]:
        return iter(tuple(self._log))

    def __len__(self) -> int:
        return len(self._log)

    def count(self, route: str | None = None, method: str | None = None) -> int:
        """Returns the number of requests, of all or of this route or method; includes dropped and running ones."""
        return sum(
            count
            for (counted_route, counted_method), count in dict(self._counts).items()
            if route in {None, counted_route} and method in {None, counted_method}
        )

    def count_status(self, status: int | None) -> int:
        """Returns the number of responses with this status; None counts dropped connections."""
        return sum(count for (_, counted), count in dict(self._statuses).items() if counted == status)

    def route_counts(self) -> list[tuple[str | None, int, int]]:
        """Returns each route with its number of requests and of those that were rejected, failed or dropped."""
        counts: Counter[str | None] = Counter()
        failures: Counter[str | None] = Counter()
        for (route, _), count in dict(self._counts).items():
            counts[route] += count
        for (route, status), count in dict(self._statuses).items():
            failures[route] += count if status is None or status >= 400 else 0  # noqa: PLR2004  error statuses
        return [(route, count, failures[route]) for route, count in counts.most_common()]

    def attempts(self, key: str) -> int:
        """Returns the number of requests with this Idempotency-Key."""
        return self._attempts[key]

    @property
    def idempotency_keys(self) -> AbstractSet[str]:
        """Every Idempotency-Key of a POST."""
        return frozenset(self._attempts)

    @property
    def purchases_by_key(self) -> Mapping[str, int]:
        """The number of purchased tasks and chat turns by Idempotency-Key.

        A value above 1 is a double purchase, unless several accounts or routes used the key.
        """
        return MappingProxyType(self._purchases_by_key)

    @property
    def duplicate_purchases(self) -> Mapping[str, int]:
        """The Idempotency-Keys with which one account purchased more than once on one route, and the number."""
        return {scope[-1]: count for scope, count in dict(self._purchases_by_scope).items() if count > 1}

    @property
    def observed_tasks(self) -> AbstractSet[str]:
        """The ids of the tasks whose end a poll response reported."""
        return frozenset(self._observed_tasks)

    def record_arrival(self, route: str | None, method: str, key: str | None) -> None:
        """Counts a request at its arrival."""
        self._counts[route, method] += 1
        if key is not None and method == "POST":
            self._attempts[key] += 1
        self.in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight)

    def record_purchase(self, key: str | None, scope: Sequence[str] = ()) -> None:
        """Counts a purchase. `scope`: account, route and key; a key is unique within account and route."""
        self.purchases += 1
        if key is not None:
            self._purchases_by_key[key] += 1
            self._purchases_by_scope[scope or (key,)] += 1

    def record_observed(self, task_id: str) -> None:
        """Records that a delivered response reported the end of a task."""
        self._observed_tasks.add(task_id)

    def record_response(self, request: LoggedRequest) -> None:
        """Logs a request that was answered or dropped."""
        self.in_flight -= 1
        self._statuses[request.route, request.status] += 1
        self.replays += request.is_replay
        self._log.append(request)
