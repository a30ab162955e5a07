"""What the sandbox received: the facts to assert on.

Counters cover every request, also those that a fault dropped; the log of single requests keeps the newest `LOG_LENGTH`.
Another thread may ask while requests come in: what is counted is copied first.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Final

import attrs

LOG_LENGTH: Final = 200_000
"""Requests that the log holds; older ones stay in the counters only."""


@attrs.frozen
class LoggedUpload:
    """What an upload said and brought, but for its bytes. `file_id` is None where the file was refused."""

    name: str
    size_bytes: int
    kind: str | None
    model: str | None
    client_request_id: str | None
    file_id: str | None = None


@attrs.frozen
class LoggedRequest:
    """One request as the server saw it.

    `route` names the operation, such as "GET /api/v1/generations/{task_id}", or is None for an unknown path. `at` is
    the arrival on the loop's clock, in seconds. `status` is what was answered, None if the connection was dropped.
    `task_id` is the task asked for or made, where known; `body` is kept for POSTs of JSON, `upload` tells of a file
    that came in whole; `has_authorization` tells whether an Authorization header came along, `is_replay` whether the
    answer was the stored one of an earlier request with the same key.
    """

    method: str
    path: str
    route: str | None
    idempotency_key: str | None
    at: float
    status: int | None
    task_id: str | None
    body: bytes | None
    has_authorization: bool
    upload: LoggedUpload | None = None
    is_replay: bool = False


class RequestLog:
    """A log and counters of all requests. Iterating gives the log in the order in which requests were finished.

    Example: after a fault dropped the first answer, `sandbox.request_log.attempts("order-42") == 2` and
    `sandbox.request_log.purchases_by_key["order-42"] == 1`.
    """

    def __init__(self) -> None:
        self._in_flight = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything received so far; requests that are being handled still count as in flight."""
        self._log: deque[LoggedRequest] = deque(maxlen=LOG_LENGTH)
        self._counts: Counter[tuple[str | None, str]] = Counter()
        self._attempts: Counter[str] = Counter()
        self._purchases = 0
        self._uploads = 0
        self._purchases_by_key: Counter[str] = Counter()
        self._purchases_by_scope: Counter[Sequence[str]] = Counter()
        self._settled: set[str] = set()
        self._peak_in_flight = self._in_flight
        self._statuses: Counter[tuple[str | None, int | None]] = Counter()
        self._replays = 0

    def __iter__(self) -> Iterator[LoggedRequest]:
        return iter(tuple(self._log))

    def __len__(self) -> int:
        """How many requests the log holds."""
        return len(self._log)

    def count(self, route: str | None = None, method: str | None = None) -> int:
        """Requests received, all or those of this route or method; also those dropped or still being handled."""
        return sum(
            count
            for (seen_route, seen_method), count in dict(self._counts).items()
            if route in {None, seen_route} and method in {None, seen_method}
        )

    def attempts(self, key: str) -> int:
        """How many requests carried this Idempotency-Key."""
        return self._attempts[key]

    @property
    def idempotency_keys(self) -> AbstractSet[str]:
        """Every Idempotency-Key seen on a POST."""
        return frozenset(self._attempts)

    @property
    def purchases(self) -> int:
        """How many tasks and chat turns were made, and paid for."""
        return self._purchases

    @property
    def purchases_by_key(self) -> Mapping[str, int]:
        """How many tasks and chat turns each Idempotency-Key made.

        A value above 1 is something bought twice, unless accounts, or tasks and turns, have the key in common.
        """
        return MappingProxyType(self._purchases_by_key)

    @property
    def duplicate_purchases(self) -> Mapping[str, int]:
        """Each Idempotency-Key under which one account has bought more than once by one route, and how many times."""
        return {scope[-1]: count for scope, count in dict(self._purchases_by_scope).items() if count > 1}

    @property
    def replays(self) -> int:
        """How many requests got the stored answer of an earlier one with the same Idempotency-Key."""
        return self._replays

    def count_status(self, status: int | None) -> int:
        """How many requests were answered with this status; None for those whose connection was dropped."""
        return sum(count for (_, seen), count in dict(self._statuses).items() if seen == status)

    def route_counts(self) -> list[tuple[str | None, int, int]]:
        """Each route, how many requests it received, and how many of them were refused, failed or dropped."""
        counts: Counter[str | None] = Counter()
        failed: Counter[str | None] = Counter()
        for (route, _), count in dict(self._counts).items():
            counts[route] += count
        for (route, status), count in dict(self._statuses).items():
            failed[route] += count if status is None or status >= 400 else 0  # noqa: PLR2004  the classes of no
        return [(route, count, failed[route]) for route, count in counts.most_common()]

    @property
    def uploads(self) -> int:
        """How many files were taken and kept."""
        return self._uploads

    @property
    def in_flight(self) -> int:
        """Requests being handled right now."""
        return self._in_flight

    @property
    def peak_in_flight(self) -> int:
        """The most requests that were being handled at once.

        In one process with the client, most are handled in one step of the loop: give the requests a delay, as
        `faults.add(delay=0.05)` does, to see how many a client keeps open.
        """
        return self._peak_in_flight

    @property
    def observed_tasks(self) -> AbstractSet[str]:
        """The ids of the tasks whose end was told in an answer to a poll."""
        return frozenset(self._settled)

    # --- the server's side ------------------------------------------------------------------------------------------

    def record_arrival(self, route: str | None, method: str, key: str | None) -> None:
        """A request has come in."""
        self._counts[route, method] += 1
        if key is not None and method == "POST":
            self._attempts[key] += 1
        self._in_flight += 1
        self._peak_in_flight = max(self._peak_in_flight, self._in_flight)

    def record_purchase(self, key: str | None, scope: Sequence[str] = ()) -> None:
        """A task was made. `scope`: the account and the route, for which alone the key counts, and the key."""
        self._purchases += 1
        if key is not None:
            self._purchases_by_key[key] += 1
            self._purchases_by_scope[scope or (key,)] += 1

    def record_observed(self, task_id: str) -> None:
        """An answer that got through told that a task has ended."""
        self._settled.add(task_id)

    def record_upload(self) -> None:
        """A file was taken."""
        self._uploads += 1

    def record_response(self, request: LoggedRequest) -> None:
        """A request has been answered, or dropped."""
        self._in_flight -= 1
        self._statuses[request.route, request.status] += 1
        self._replays += request.is_replay
        self._log.append(request)
