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

from .cost import GENERATIONS, Cost, Receipt
from .errors import (
    Answered,
    ConfigurationError,
    IdempotencyConflict,
    InsufficientCredits,
    NotSent,
    RateLimited,
    SpendLimitReached,
    ValidationFailed,
)
from .problem import shown
from .records import Amount
from .retry import leaves_doubt

if TYPE_CHECKING:
    from types import TracebackType

    from .records import Generation

REMEMBERED: Final = 100_000
"""Keys of which a session knows the cost. Of older ones only the totals remain."""


class Spend(Mapping[str, Cost]):
    """What a session has spent: the `Cost` of each purchase by its idempotency key, read only, and the totals.

    It is a view: it tells the present. It remembers the newest 100,000 keys; the totals count all. Only what this
    session bought is in it, and only ends that it saw, by a wait or a read, are final.

    >>> async def buy(session):
    ...     await session.generate("z-image", "A red kite", idempotency_key="order-42")
    ...     return session.spend["order-42"].final, session.spend.total
    >>> in_sandbox(buy)
    (1, 1)
    """

    def __init__(self, purse: Purse) -> None:
        self._purse = purse

    def __getitem__(self, idempotency_key: str) -> Cost:
        return self._purse.costs[idempotency_key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._purse.costs)

    def __len__(self) -> int:
        return len(self._purse.costs)

    def __repr__(self) -> str:
        return f"<Spend: {self.reserved} reserved, {self.final} final, {len(self)} purchases>"

    @property
    def reserved(self) -> Amount:
        """Credits held by jobs whose end was not seen, by purchases on their way, and by those that are in doubt."""
        return self._purse.reserved

    @property
    def final(self) -> Amount:
        """Credits that ended jobs have cost."""
        return self._purse.final

    @property
    def total(self) -> Amount:
        """What counts against `max_spend`: reserved and final."""
        return self._purse.reserved + self._purse.final


@attrs.define
class _Flight:
    """Purchases on their way under one key: one price, however many they are."""

    price: Amount
    count: int = 1
    may_have_bought: bool = False


class Purse:
    """The book itself. Every `hold` is followed by one `bought` or one `came_to_nothing` under the same key."""

    def __init__(
        self, *, max_spend: Amount | None = None, max_reserved: Amount | None = None, remembered: int = REMEMBERED
    ) -> None:
        self.reserved: Amount = 0
        self.final: Amount = 0
        self.costs: OrderedDict[str, Cost] = OrderedDict()
        self._max_spend = max_spend
        self._max_reserved = max_reserved
        self._remembered = remembered
        self._flights: dict[tuple[str, str], _Flight] = {}
        self._keys: dict[str, str] = {}  # of what has not ended, by its task id

    def needs_price(self, key: str, path: str = GENERATIONS) -> bool:
        """Whether a purchase under this key must have a price: there is a cap, and it is not counted already."""
        is_capped = self._max_spend is not None or self._max_reserved is not None
        return is_capped and not self._counts(key, path) and (path, key) not in self._flights

    def hold(self, key: str, price: Amount | None, path: str = GENERATIONS) -> None:
        """Count a purchase before it is sent; the same key counts once. Raises `SpendLimitReached`, and counts nothing.

        `price` is None where nobody asked for it, as `needs_price` says.
        """
        if (path, key) in self._flights:
            self._flights[path, key].count += 1
            return
        owed = price if self.needs_price(key, path) and price is not None else 0
        self._check("max_spend", self._max_spend, self.reserved + self.final, owed)
        self._check("max_reserved", self._max_reserved, self.reserved, owed)
        self._flights[path, key] = _Flight(owed)
        self.reserved += owed

    def bought(self, key: str, receipt: Receipt) -> None:
        """The purchase is made: its receipt says what it holds, and what it has cost if it has ended."""
        flight = self._flights[receipt.path, key]
        reserved = flight.price if receipt.reserved is None else receipt.reserved
        self.reserved -= flight.price
        flight.price = 0
        if not self._counts(key, receipt.path) or self.costs[key].task_id != receipt.id:
            self._enter(key, Cost(reserved, None, receipt.id, receipt.path))
        self._land(key, receipt.path, flight)
        if receipt.final is not None:
            self._settle(receipt.id, receipt.final)

    def came_to_nothing(self, key: str, error: BaseException, path: str = GENERATIONS) -> None:
        """The purchase has failed; its price goes on counting if it may have been made all the same."""
        flight = self._flights[path, key]
        flight.may_have_bought |= may_have_bought(error)
        if settles_the_doubt(error) and flight.count == 1 and not flight.may_have_bought:
            self._withdraw(key, path)
        self._land(key, path, flight)

    def ended(self, generation: Generation) -> None:
        """A record was seen; it settles the cost if it is terminal, ours, and not settled yet."""
        if generation.is_terminal:
            self._settle(generation.id, generation.final_credits)

    def _counts(self, key: str, path: str) -> bool:
        """Whether the key is entered for a purchase here: what was bought elsewhere under it is another one [14.15]."""
        return key in self.costs and self.costs[key].path == path

    def _check(self, name: str, cap: Amount | None, counted: Amount, owed: Amount) -> None:
        if cap is None or not owed or counted + owed <= cap:
            return
        raise SpendLimitReached(
            f"this purchase costs {owed} credits, and with {counted} counted so far it would pass {name}={cap}. "
            "Nothing was sent: let open ones end, whose unused credits come back, or open a session with higher caps",
            limit=cap,
            counted=counted,
            price=owed,
        )

    def _land(self, key: str, path: str, flight: _Flight) -> None:
        flight.count -= 1
        if flight.count:
            return
        del self._flights[path, key]
        self.reserved -= flight.price
        if flight.may_have_bought and not self._counts(key, path):
            self._enter(key, Cost(flight.price, path=path))

    def _withdraw(self, key: str, path: str) -> None:
        """The key has told that nothing was bought under it."""
        if self._counts(key, path) and self.costs[key].task_id is None:
            self.reserved -= self.costs.pop(key).reserved

    def _enter(self, key: str, cost: Cost) -> None:
        old = self.costs.get(key)
        if old is not None and old.path == cost.path and old.task_id is None:
            self.reserved -= old.reserved
        elif old is not None:  # sold elsewhere, or sold again by a service that has forgotten the key: both count
            self._keys.pop(str(old.task_id), None)
        self.reserved += cost.reserved
        self.costs[key] = cost
        if cost.task_id is not None:
            self._keys[cost.task_id] = key
        self._forget_oldest()

    def _settle(self, task_id: str, final: Amount) -> None:
        key = self._keys.pop(task_id, None)
        if key is None:
            return
        self.reserved -= self.costs[key].reserved
        self.final += final
        self.costs[key] = attrs.evolve(self.costs[key], final=final)

    def _forget_oldest(self) -> None:
        while len(self.costs) > self._remembered:
            _, cost = self.costs.popitem(last=False)
            self._keys.pop(str(cost.task_id), None)


def checked_cap(name: str, cap: Amount | None) -> Amount | None:
    """A number of credits that was handed in as `name`, or None; a `ConfigurationError` for what is neither."""
    if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int | float) or not 0 <= cap < math.inf):
        raise ConfigurationError(f"{name} must be a number of credits from 0 on, not {shown(cap)}")
    return cap


def checked_prices(prices: Mapping[str, Amount] | None) -> Mapping[str, Amount]:
    """Credits by model id, as they were handed in; a `ConfigurationError` for anything else."""
    if prices is not None and not isinstance(prices, Mapping):
        raise ConfigurationError(f"prices must be a mapping of model ids to credits, not {shown(prices)}")
    for model_id, price in (prices or {}).items():
        if checked_cap(f"the price of {model_id!r}", price) is None:
            raise ConfigurationError(f"the price of {model_id!r} must be a number of credits, not None")
    return dict(prices or {})


def may_have_bought(error: BaseException) -> bool:
    """Whether a purchase that ended with this error may have been made.

    The first five are raised only if no attempt leaves a doubt.
    """
    if isinstance(error, ConfigurationError | SpendLimitReached | NotSent | RateLimited | IdempotencyConflict):
        return False
    if settles_the_doubt(error):
        return False
    if isinstance(error, Answered):
        return leaves_doubt(error) or error.attempts > 1
    return True


def settles_the_doubt(error: BaseException) -> bool:
    """Whether it says that no attempt has bought: the service looks for the key before it looks at the job [14.15]."""
    return isinstance(error, InsufficientCredits | ValidationFailed)


class Paying:
    """A purchase on its way, whose price is held: what is raised in here tells the purse what became of it."""

    __slots__ = ("_key", "_path", "_purse")

    def __init__(self, purse: Purse, key: str, path: str) -> None:
        self._purse = purse
        self._key = key
        self._path = path

    def __enter__(self) -> Self:
        return self

    def received(self, receipt: Receipt) -> None:
        """It is bought."""
        self._purse.bought(self._key, receipt)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._purse.came_to_nothing(self._key, error, self._path)
