"""What a session spends: bookkeeping by idempotency key, and the caps that it holds. Pure: it is told what happens.

A price is held before a job is sent and gives way to what its record says: `reserved_credits` while the job is open,
`final_credits` at its end. A purchase that may have been made keeps its price until its key tells more.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Self

import attrs

from .catalogue.validation import shorten
from .errors import (
    APIStatusError,
    ConfigurationError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    RateLimitError,
    RequestNotSentError,
    SpendLimitError,
    ValidationFailed,
)
from .http.retry import outcome_is_ambiguous
from .types.generations import Amount
from .types.purchase_cost import GENERATIONS_PATH, Charge, PurchaseCost

if TYPE_CHECKING:
    from types import TracebackType

    from .types.generations import Generation

MAX_REMEMBERED_KEYS: Final = 100_000
"""Keys of which a session knows the cost. Of older ones only the totals remain."""


class SpendSummary(Mapping[str, PurchaseCost]):
    """What a session has spent: the `PurchaseCost` of each purchase by its idempotency key, read only, and the totals.

    It is a view: it tells the present. It remembers the newest 100,000 keys; the totals count all. Only what this
    session bought is in it, and only ends that it saw, by a wait or a read, are final.

    >>> async def buy(session):
    ...     await session.generate("z-image", "A red kite", idempotency_key="order-42")
    ...     return session.spend["order-42"].final, session.spend.total
    >>> in_sandbox(buy)
    (1, 1)
    """

    def __init__(self, purse: SpendLedger) -> None:
        self._ledger = purse

    def __getitem__(self, idempotency_key: str) -> PurchaseCost:
        return self._ledger.costs[idempotency_key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ledger.costs)

    def __len__(self) -> int:
        return len(self._ledger.costs)

    def __repr__(self) -> str:
        return f"<Spend: {self.reserved} reserved, {self.final} final, {len(self)} purchases>"

    @property
    def reserved(self) -> Amount:
        """Credits held by jobs whose end was not seen, by purchases on their way, and by those that are in doubt."""
        return self._ledger.reserved

    @property
    def final(self) -> Amount:
        """Credits that ended jobs have cost."""
        return self._ledger.final

    @property
    def total(self) -> Amount:
        """What counts against `max_spend`: reserved and final."""
        return self._ledger.reserved + self._ledger.final


@attrs.define
class _PendingReservation:
    """Purchases on their way under one key: one price, however many they are."""

    price: Amount
    count: int = 1
    may_have_bought: bool = False


class SpendLedger:
    """The book itself. Every `hold` is followed by one `bought` or one `came_to_nothing` under the same key."""

    def __init__(
        self,
        *,
        max_spend: Amount | None = None,
        max_reserved: Amount | None = None,
        remembered: int = MAX_REMEMBERED_KEYS,
    ) -> None:
        self.reserved: Amount = 0
        self.final: Amount = 0
        self.costs: OrderedDict[str, PurchaseCost] = OrderedDict()
        self._max_spend = max_spend
        self._max_reserved = max_reserved
        self._max_remembered = remembered
        self._pending: dict[tuple[str, str], _PendingReservation] = {}
        self._keys_by_task_id: dict[str, str] = {}  # of what has not ended, by its task id

    def needs_price(self, key: str, path: str = GENERATIONS_PATH) -> bool:
        """Whether a purchase under this key must have a price: there is a cap, and it is not counted already."""
        is_capped = self._max_spend is not None or self._max_reserved is not None
        return is_capped and not self._is_counted(key, path) and (path, key) not in self._pending

    def reserve(self, key: str, price: Amount | None, path: str = GENERATIONS_PATH) -> None:
        """Count a purchase before it is sent; the same key counts once. Raises `SpendLimitError`, and counts nothing.

        `price` is None where nobody asked for it, as `needs_price` says.
        """
        if (path, key) in self._pending:
            self._pending[path, key].count += 1
            return
        owed = price if self.needs_price(key, path) and price is not None else 0
        self._check_cap("max_spend", self._max_spend, self.reserved + self.final, owed)
        self._check_cap("max_reserved", self._max_reserved, self.reserved, owed)
        self._pending[path, key] = _PendingReservation(owed)
        self.reserved += owed

    def confirm(self, key: str, receipt: Charge) -> None:
        """The purchase is made: its receipt says what it holds, and what it has cost if it has ended."""
        flight = self._pending[receipt.path, key]
        reserved = flight.price if receipt.reserved is None else receipt.reserved
        self.reserved -= flight.price
        flight.price = 0
        if not self._is_counted(key, receipt.path) or self.costs[key].task_id != receipt.id:
            self._record(key, PurchaseCost(reserved, None, receipt.id, receipt.path))
        self._finish(key, receipt.path, flight)
        if receipt.final is not None:
            self._finalize(receipt.id, receipt.final)

    def release(self, key: str, error: BaseException, path: str = GENERATIONS_PATH) -> None:
        """The purchase has failed; its price goes on counting if it may have been made all the same."""
        flight = self._pending[path, key]
        flight.may_have_bought |= may_have_purchased(error)
        if proves_not_purchased(error) and flight.count == 1 and not flight.may_have_bought:
            self._remove_unconfirmed(key, path)
        self._finish(key, path, flight)

    def on_generation(self, generation: Generation) -> None:
        """A record was seen; it settles the cost if it is terminal, ours, and not settled yet."""
        if generation.is_terminal:
            self._finalize(generation.id, generation.final_credits)

    def _is_counted(self, key: str, path: str) -> bool:
        """Whether the key is entered for a purchase here: what was bought elsewhere under it is another one [14.15]."""
        return key in self.costs and self.costs[key].path == path

    def _check_cap(self, name: str, cap: Amount | None, counted: Amount, owed: Amount) -> None:
        if cap is None or not owed or counted + owed <= cap:
            return
        raise SpendLimitError(
            f"this purchase costs {owed} credits, and with {counted} counted so far it would pass {name}={cap}. "
            "Nothing was sent: let open ones end, whose unused credits come back, or open a session with higher caps",
            limit=cap,
            counted=counted,
            price=owed,
        )

    def _finish(self, key: str, path: str, flight: _PendingReservation) -> None:
        flight.count -= 1
        if flight.count:
            return
        del self._pending[path, key]
        self.reserved -= flight.price
        if flight.may_have_bought and not self._is_counted(key, path):
            self._record(key, PurchaseCost(flight.price, path=path))

    def _remove_unconfirmed(self, key: str, path: str) -> None:
        """The key has told that nothing was bought under it."""
        if self._is_counted(key, path) and self.costs[key].task_id is None:
            self.reserved -= self.costs.pop(key).reserved

    def _record(self, key: str, cost: PurchaseCost) -> None:
        old = self.costs.get(key)
        if old is not None and old.path == cost.path and old.task_id is None:
            self.reserved -= old.reserved
        elif old is not None:  # sold elsewhere, or sold again by a service that has forgotten the key: both count
            self._keys_by_task_id.pop(str(old.task_id), None)
        self.reserved += cost.reserved
        self.costs[key] = cost
        if cost.task_id is not None:
            self._keys_by_task_id[cost.task_id] = key
        self._evict_oldest()

    def _finalize(self, task_id: str, final: Amount) -> None:
        key = self._keys_by_task_id.pop(task_id, None)
        if key is None:
            return
        self.reserved -= self.costs[key].reserved
        self.final += final
        self.costs[key] = attrs.evolve(self.costs[key], final=final)

    def _evict_oldest(self) -> None:
        while len(self.costs) > self._max_remembered:
            _, cost = self.costs.popitem(last=False)
            self._keys_by_task_id.pop(str(cost.task_id), None)


def validate_cap(name: str, cap: Amount | None) -> Amount | None:
    """A number of credits that was handed in as `name`, or None; a `ConfigurationError` for what is neither."""
    if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int | float) or not 0 <= cap < math.inf):
        raise ConfigurationError(f"{name} must be a number of credits from 0 on, not {shorten(cap)}")
    return cap


def validate_prices(prices: Mapping[str, Amount] | None) -> Mapping[str, Amount]:
    """Credits by model id, as they were handed in; a `ConfigurationError` for anything else."""
    if prices is not None and not isinstance(prices, Mapping):
        raise ConfigurationError(f"prices must be a mapping of model ids to credits, not {shorten(prices)}")
    for model_id, price in (prices or {}).items():
        if validate_cap(f"the price of {model_id!r}", price) is None:
            raise ConfigurationError(f"the price of {model_id!r} must be a number of credits, not None")
    return dict(prices or {})


def may_have_purchased(error: BaseException) -> bool:
    """Whether a purchase that ended with this error may have been made.

    The first five are raised only if no attempt leaves a doubt.
    """
    if isinstance(
        error, ConfigurationError | SpendLimitError | RequestNotSentError | RateLimitError | IdempotencyConflictError
    ):
        return False
    if proves_not_purchased(error):
        return False
    if isinstance(error, APIStatusError):
        return outcome_is_ambiguous(error) or error.attempts > 1
    return True


def proves_not_purchased(error: BaseException) -> bool:
    """Whether it says that no attempt has bought: the service looks for the key before it looks at the job [14.15]."""
    return isinstance(error, InsufficientCreditsError | ValidationFailed)


class Reservation:
    """A purchase on its way, whose price is held: what is raised in here tells the purse what became of it."""

    __slots__ = ("_key", "_ledger", "_path")

    def __init__(self, purse: SpendLedger, key: str, path: str) -> None:
        self._ledger = purse
        self._key = key
        self._path = path

    def __enter__(self) -> Self:
        return self

    def confirm(self, receipt: Charge) -> None:
        """It is bought."""
        self._ledger.confirm(self._key, receipt)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._ledger.release(self._key, error, self._path)
