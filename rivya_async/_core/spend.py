"""Ledger of the credits of a session by idempotency key, with its caps.

A price is reserved before a job is sent. Its record replaces it: `reserved_credits` while the job is open,
`final_credits` at its end. A purchase of unknown outcome keeps its price until a call with its key clears it up.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, Self

import attrs

from .catalogue.learned_prices import LearnedPrices
from .catalogue.validation import shorten
from .errors import (
    APIStatusError,
    BadRequestError,
    ConfigurationError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InvalidRequestError,
    RateLimitError,
    RequestNotSentError,
    SessionClosedError,
    SpendLimitError,
)
from .http.retry import outcome_is_ambiguous
from .public_module import set_public_module
from .types.generations import Amount
from .types.purchase_cost import GENERATIONS_PATH, Charge, PurchaseCost

if TYPE_CHECKING:
    from types import TracebackType

    from .generation_request import GenerationRequest
    from .types.generations import Generation

MAX_REMEMBERED_KEYS: Final = 100_000
"""Maximum number of keys with a known cost. Older keys count in the totals only."""


class SpendSummary(Mapping[str, PurchaseCost]):
    """Live, read-only view of the spend of a session: totals, and the `PurchaseCost` of purchases by idempotency key.

    It keeps the newest 100,000 keys; the totals count all. It contains purchases of this session only, and a cost is
    final once a wait or a read of this session has seen the end of the job.

    >>> async def main():
    ...     async with RivyaSession() as session:
    ...         await session.generate("z-image", "A red kite", idempotency_key="order-42")
    ...         return session.spend["order-42"].final, session.spend.total
    >>> asyncio.run(main())
    (1, 1)
    """

    def __init__(self, ledger: SpendLedger) -> None:
        self._ledger = ledger

    def __getitem__(self, idempotency_key: str) -> PurchaseCost:
        return self._ledger.costs[idempotency_key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ledger.costs)

    def __len__(self) -> int:
        return len(self._ledger.costs)

    def __repr__(self) -> str:
        return f"<SpendSummary: {self.reserved} reserved, {self.final} final, {len(self)} purchases>"

    @property
    def reserved(self) -> Amount:
        """Credits reserved by jobs without a seen end, purchases in progress, and purchases of unknown outcome."""
        return self._ledger.reserved

    @property
    def final(self) -> Amount:
        """Credits charged for ended jobs."""
        return self._ledger.final

    @property
    def total(self) -> Amount:
        """Reserved and final credits, which count against `max_spend`."""
        return self._ledger.reserved + self._ledger.final


@attrs.define
class _PendingReservation:
    """Purchases in progress under one key, of which one can be made: the highest price counts."""

    price: Amount
    request: GenerationRequest | None = None
    count: int = 0
    may_have_bought: bool = False


class SpendLedger:
    """Ledger of a session. Each `reserve` is followed by one `confirm` or one `release` under the same key.

    `prices` learns from the charges of purchases.
    """

    def __init__(
        self,
        *,
        max_spend: Amount | None = None,
        max_reserved: Amount | None = None,
        remembered: int = MAX_REMEMBERED_KEYS,
        prices: LearnedPrices | None = None,
    ) -> None:
        self.prices = prices or LearnedPrices()
        self.reserved: Amount = 0
        self.final: Amount = 0
        self.costs: OrderedDict[str, PurchaseCost] = OrderedDict()
        self._max_spend = max_spend
        self._max_reserved = max_reserved
        self._max_remembered = remembered
        self._pending: dict[tuple[str, str], _PendingReservation] = {}
        self._keys_by_task_id: dict[str, str] = {}  # of jobs without a seen end

    def needs_price(self, key: str, path: str = GENERATIONS_PATH) -> bool:
        """Returns True if a purchase under this key needs a price: there is a cap, and the key is not counted yet."""
        is_capped = self._max_spend is not None or self._max_reserved is not None
        return is_capped and not self._is_counted(key, path)

    def reserve(
        self,
        key: str,
        price: Amount | None,
        path: str = GENERATIONS_PATH,
        request: GenerationRequest | None = None,
    ) -> None:
        """Reserves the price of a purchase before it is sent; the same key counts once, with its highest price.

        `price` may be None if `needs_price` is false. The price of `request` is learned when the purchase is confirmed.
        Raises `SpendLimitError` without a reservation.
        """
        pending = self._pending.get((path, key)) or _PendingReservation(0, request)
        amount = price if self.needs_price(key, path) and price is not None else 0
        amount = max(amount - pending.price, 0)
        self._check_cap("max_spend", self._max_spend, self.reserved + self.final, amount)
        self._check_cap("max_reserved", self._max_reserved, self.reserved, amount)
        self._pending[path, key] = pending
        pending.count += 1
        pending.price += amount
        self.reserved += amount

    def confirm(self, key: str, charge: Charge) -> None:
        """Replaces the reservation by the charge of a purchase."""
        pending = self._pending[charge.path, key]
        reserved = pending.price if charge.reserved is None else charge.reserved
        self.reserved -= pending.price
        pending.price = 0
        if pending.request is not None:
            self.prices.observe(pending.request, charge.reserved, charge.id)
        if not self._is_counted(key, charge.path) or self.costs[key].task_id != charge.id:
            self._record(key, PurchaseCost(reserved, None, charge.id, charge.path))
        self._finish(key, charge.path, pending)
        if charge.final is not None:
            self._finalize(charge.id, charge.final)

    def release(self, key: str, error: BaseException, path: str = GENERATIONS_PATH) -> None:
        """Ends the reservation of a failed purchase; its price still counts if the purchase may have been made."""
        pending = self._pending[path, key]
        pending.may_have_bought |= may_have_purchased(error)
        if proves_not_purchased(error) and pending.count == 1 and not pending.may_have_bought:
            self._remove_unconfirmed(key, path)
        self._finish(key, path, pending)

    def on_generation(self, generation: Generation) -> None:
        """Finalizes the cost of a terminal record, if it is a purchase of this session."""
        if generation.is_terminal:
            self._finalize(generation.id, Charge.from_generation(generation).final)

    def _is_counted(self, key: str, path: str) -> bool:
        """Returns True if the key is counted for this endpoint: keys are separate per endpoint [14.15]."""
        return key in self.costs and self.costs[key].path == path

    def _check_cap(self, name: str, cap: Amount | None, counted: Amount, price: Amount) -> None:
        if cap is None or not price or counted + price <= cap:
            return
        raise SpendLimitError(
            f"this purchase costs {price} credits, and with {counted} counted so far it would exceed {name}={cap}. "
            "Nothing was sent: wait until open jobs return unused credits, or open a session with higher caps",
            limit=cap,
            counted=counted,
            price=price,
        )

    def _finish(self, key: str, path: str, pending: _PendingReservation) -> None:
        pending.count -= 1
        if pending.count:
            return
        del self._pending[path, key]
        self.reserved -= pending.price
        if pending.may_have_bought and not self._is_counted(key, path):
            self._record(key, PurchaseCost(pending.price, path=path))

    def _remove_unconfirmed(self, key: str, path: str) -> None:
        """Removes the cost of a purchase that was certainly not made."""
        if self._is_counted(key, path) and self.costs[key].task_id is None:
            self.reserved -= self.costs.pop(key).reserved

    def _record(self, key: str, cost: PurchaseCost) -> None:
        old = self.costs.get(key)
        if old is not None and old.path == cost.path and old.task_id is None:
            self.reserved -= old.reserved
        elif old is not None:  # another endpoint, or an expired key: both purchases count
            self._keys_by_task_id.pop(str(old.task_id), None)
        self.reserved += cost.reserved
        self.costs[key] = cost
        if cost.task_id is not None:
            self._keys_by_task_id[cost.task_id] = key
        self._evict_oldest()

    def _finalize(self, task_id: str, final: Amount | None) -> None:
        key = self._keys_by_task_id.pop(task_id, None)
        if key is None:
            return
        if final is None:
            final = self.costs[key].reserved
        self.prices.observe_end(task_id, final)
        self.reserved -= self.costs[key].reserved
        self.final += final
        self.costs[key] = attrs.evolve(self.costs[key], final=final)

    def _evict_oldest(self) -> None:
        while len(self.costs) > self._max_remembered:
            _, cost = self.costs.popitem(last=False)
            self._keys_by_task_id.pop(str(cost.task_id), None)


def validate_cap(name: str, cap: Amount | None) -> Amount | None:
    """Returns a number of credits or None. Raises `ConfigurationError` for any other value."""
    if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int | float) or not 0 <= cap < math.inf):
        raise ConfigurationError(f"{name} must be a number of credits from 0 on, not {shorten(cap)}")
    return cap


def validate_prices(prices: Mapping[str, Amount] | None) -> Mapping[str, Amount]:
    """Returns credits by model id. Raises `ConfigurationError` for any other value."""
    if prices is not None and not isinstance(prices, Mapping):
        raise ConfigurationError(f"prices must be a mapping of model ids to credits, not {shorten(prices)}")
    for model_id, price in (prices or {}).items():
        if validate_cap(f"the price of {model_id!r}", price) is None:
            raise ConfigurationError(f"the price of {model_id!r} must be a number of credits, not None")
    return dict(prices or {})


NOT_PURCHASED: Final = (
    *(ConfigurationError, SpendLimitError, RequestNotSentError),
    *(SessionClosedError, RateLimitError, IdempotencyConflictError),
)
"""Errors of a purchase that are only raised if the outcome of every attempt is known, and none has bought."""


def may_have_purchased(error: BaseException) -> bool:
    """Returns True if a purchase that failed with this error may have been made."""
    if isinstance(error, NOT_PURCHASED):
        return False
    if proves_not_purchased(error):
        return False
    if isinstance(error, APIStatusError):
        return outcome_is_ambiguous(error) or error.attempts > 1
    return True


def proves_not_purchased(error: BaseException) -> bool:
    """Returns True if no attempt has bought: the service checks the key before the job [14.15].

    The refusal of a gateway says nothing about earlier attempts.
    """
    if isinstance(error, InvalidRequestError):
        return True
    return isinstance(error, InsufficientCreditsError | BadRequestError) and error.has_envelope


class Reservation:
    """Context manager of a purchase in progress, which releases its reservation on an error."""

    __slots__ = ("_key", "_ledger", "_path")

    def __init__(self, ledger: SpendLedger, key: str, path: str) -> None:
        self._ledger = ledger
        self._key = key
        self._path = path

    def __enter__(self) -> Self:
        return self

    def confirm(self, charge: Charge) -> None:
        """Records the charge of the purchase."""
        self._ledger.confirm(self._key, charge)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._ledger.release(self._key, error, self._path)


set_public_module("rivya_async", SpendSummary)
