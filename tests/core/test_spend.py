"""The book of a session: prices held, records entered, ends settled, and caps that nothing passes."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from rivya_async._core.errors import (
    APIDisabledError,
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitError,
    RequestNotSentError,
    ResponseDecodeError,
    SpendLimitError,
    ValidationFailed,
)
from rivya_async._core.spend import SpendLedger, SpendSummary, may_have_purchased, validate_cap, validate_prices
from rivya_async._core.types.chat import ChatCompletion, ChatCredits
from rivya_async._core.types.generations import Generation
from rivya_async._core.types.purchase_cost import Charge, PurchaseCost

REFUSED = InsufficientCreditsError("too poor", status=402)
CHAT = "/api/v1/chat/completions"
LOST = OutcomeUnknownError("no answer")


def job(number: int = 1, reserved: float = 5, status: str = "queued", final: float = 0) -> Generation:
    return Generation(f"task_{number}", status, "z-image", reserved, final)


def buy(purse: SpendLedger, key: str, price: float | None, record: Generation) -> None:
    purse.reserve(key, price)
    purse.confirm(key, Charge.from_generation(record))


def test_purchase_from_reservation_to_final_cost() -> None:
    purse = SpendLedger(max_spend=100)
    spend = SpendSummary(purse)
    purse.reserve("a", 5)
    assert (spend.reserved, spend.final, spend.total, dict(spend)) == (5, 0, 5, {})
    purse.confirm("a", Charge.from_generation(job(reserved=7)))
    assert (spend.reserved, spend.total, spend["a"]) == (7, 7, PurchaseCost(7, None, "task_1"))
    purse.on_generation(job(reserved=7, status="processing"))
    assert spend.reserved == 7
    purse.on_generation(job(reserved=7, status="succeeded", final=6))
    purse.on_generation(job(reserved=7, status="succeeded", final=6))
    assert (spend.reserved, spend.final, spend.total) == (0, 6, 6)
    assert spend["a"] == PurchaseCost(7, 6, "task_1")
    assert spend["a"].credits == 6
    assert repr(spend) == "<SpendSummary: 0 reserved, 6 final, 1 purchases>"
    assert (list(spend), len(spend), "a" in spend, "b" in spend) == (["a"], 1, True, False)


def test_failed_job_returns_credits() -> None:
    purse = SpendLedger(max_spend=5)
    buy(purse, "a", 5, job())
    with pytest.raises(SpendLimitError):
        purse.reserve("b", 5)
    purse.on_generation(job(status="failed"))
    assert SpendSummary(purse).total == 0
    purse.reserve("b", 5)


def test_cap_rejects_without_reservation() -> None:
    purse = SpendLedger(max_spend=10)
    buy(purse, "a", 6, job(reserved=6))
    with pytest.raises(SpendLimitError, match=r"costs 5 credits, and with 6 counted .* max_spend=10") as raised:
        purse.reserve("b", 5)
    assert (raised.value.limit, raised.value.counted, raised.value.price) == (10, 6, 5)
    assert not isinstance(raised.value, ConfigurationError)
    assert pickle.loads(pickle.dumps(raised.value)).limit == 10
    assert purse.reserved == 6
    purse.reserve("c", 4)
    assert purse.reserved == 10


def test_max_reserved_is_separate_cap() -> None:
    purse = SpendLedger(max_reserved=5)
    for number in range(10):
        buy(purse, str(number), 5, job(number))
        with pytest.raises(SpendLimitError, match="max_reserved=5"):
            purse.reserve("more", 1)
        purse.on_generation(job(number, status="succeeded", final=5))
    assert (purse.reserved, purse.final) == (0, 50)


def test_free_job_passes_every_cap() -> None:
    purse = SpendLedger(max_spend=0)
    buy(purse, "a", 0, job(reserved=0))
    with pytest.raises(SpendLimitError):
        purse.reserve("b", 1)


def test_price_is_not_needed_without_cap() -> None:
    purse = SpendLedger()
    assert not purse.needs_price("a")
    buy(purse, "a", None, job(reserved=5))
    assert purse.reserved == 5
    assert SpendLedger(max_reserved=1).needs_price("a")
    assert SpendLedger(max_spend=0).needs_price("a")


# --- one key ----------------------------------------------------------------------------------------------------------


def test_same_key_counts_once() -> None:
    purse = SpendLedger(max_spend=5)
    buy(purse, "a", 5, job())
    assert not purse.needs_price("a")
    buy(purse, "a", None, job())
    assert purse.reserved == 5
    buy(purse, "a", None, job(status="succeeded", final=5))
    buy(purse, "a", None, job())
    assert (purse.reserved, purse.final) == (0, 5)


def test_concurrent_purchases_with_same_key_count_once() -> None:
    purse = SpendLedger(max_spend=5)
    purse.reserve("a", 5)
    assert not purse.needs_price("a")
    purse.reserve("a", None)
    purse.release("a", REFUSED)
    assert purse.reserved == 5
    purse.confirm("a", Charge.from_generation(job()))
    assert (purse.reserved, purse.costs["a"]) == (5, PurchaseCost(5, None, "task_1"))
    for ends in ([True, False], [False, True], [False, False]):
        purse = SpendLedger(max_spend=5)
        purse.reserve("a", 5)
        purse.reserve("a", None)
        for is_bought in ends:
            if is_bought:
                purse.confirm("a", Charge.from_generation(job(reserved=4)))
            else:
                purse.release("a", LOST)
        assert purse.costs == {"a": PurchaseCost(4, None, "task_1") if True in ends else PurchaseCost(5)}
        assert purse.reserved == purse.costs["a"].reserved


def test_unknown_outcome_counts_until_confirmed() -> None:
    purse = SpendLedger(max_spend=5)
    purse.reserve("a", 5)
    purse.release("a", LOST)
    assert purse.costs == {"a": PurchaseCost(5)}
    assert purse.costs["a"].credits == 5
    with pytest.raises(SpendLimitError):
        purse.reserve("b", 1)
    buy(purse, "a", None, job(reserved=3))
    assert (purse.reserved, purse.costs) == (3, {"a": PurchaseCost(3, None, "task_1")})


def test_unknown_outcome_ends_with_proof_of_no_purchase() -> None:
    purse = SpendLedger(max_spend=5)
    purse.reserve("a", 5)
    purse.release("a", LOST)
    for says_nothing in (
        RequestNotSentError("x"),
        RateLimitError("x", status=429),
        AuthenticationError("x", status=401),
    ):
        purse.reserve("a", None)
        purse.release("a", says_nothing)
        assert (purse.reserved, purse.costs) == (5, {"a": PurchaseCost(5)})
    purse.reserve("a", None)
    purse.release("a", REFUSED)
    assert (purse.reserved, purse.costs) == (0, {})
    assert purse.needs_price("a")


def test_rejection_does_not_release_other_purchases() -> None:
    purse = SpendLedger()
    buy(purse, "a", None, job())
    purse.reserve("a", None)
    purse.release("a", REFUSED)
    assert purse.costs == {"a": PurchaseCost(5, None, "task_1")}
    for errors in ([LOST, REFUSED], [REFUSED, LOST]):
        purse = SpendLedger(max_spend=5)
        purse.reserve("a", 5)
        purse.reserve("a", None)
        for error in errors:
            purse.release("a", error)
        assert (purse.reserved, purse.costs) == (5, {"a": PurchaseCost(5)})


def test_expired_key_buys_second_job() -> None:
    purse = SpendLedger()
    buy(purse, "a", None, job(1, reserved=3))
    buy(purse, "a", None, job(2, reserved=4))
    assert (purse.reserved, purse.costs["a"].task_id) == (7, "task_2")
    purse.on_generation(job(1, status="succeeded", final=3))
    assert purse.reserved == 7  # the first is not known by name any more: it goes on counting
    purse.on_generation(job(2, status="succeeded", final=4))
    assert (purse.reserved, purse.final) == (3, 4)


def turn(**told: float) -> Charge:
    answer = ChatCompletion("chatcmpl_1", credits=ChatCredits(**told) if told else None)  # type: ignore[arg-type]
    return Charge.from_completion(answer, CHAT)


def test_chat_turn_is_final_at_once() -> None:
    purse = SpendLedger(max_spend=5)
    purse.reserve("a", 5, CHAT)
    assert not purse.needs_price("a", CHAT)
    purse.confirm("a", turn(reserved=3, final=2))
    assert purse.costs == {"a": PurchaseCost(3, 2, "chatcmpl_1", CHAT)}
    purse.reserve("a", None, CHAT)
    purse.confirm("a", turn(reserved=3, final=2))
    assert (purse.reserved, purse.final) == (0, 2)
    with pytest.raises(SpendLimitError):
        purse.reserve("b", 4, CHAT)


@pytest.mark.parametrize(
    ("told", "cost"),
    [
        ({}, PurchaseCost(5, None, "chatcmpl_1", CHAT)),
        ({"reserved": 3}, PurchaseCost(3, None, "chatcmpl_1", CHAT)),
        ({"final": 2}, PurchaseCost(5, 2, "chatcmpl_1", CHAT)),
    ],
    ids=str,
)
def test_missing_credits_count_as_reserved(told: dict[str, float], cost: PurchaseCost) -> None:
    purse = SpendLedger(max_spend=5)
    purse.reserve("a", 5, CHAT)
    purse.confirm("a", turn(**told))
    assert purse.costs == {"a": cost}
    assert purse.reserved + purse.final == cost.credits


def test_key_at_two_endpoints_is_two_purchases() -> None:
    purse = SpendLedger(max_spend=8)
    buy(purse, "a", 5, job())
    assert purse.needs_price("a", CHAT)
    with pytest.raises(SpendLimitError):
        purse.reserve("a", 4, CHAT)
    purse.reserve("a", 3, CHAT)
    purse.release("a", LOST, CHAT)
    assert (purse.reserved, purse.costs) == (8, {"a": PurchaseCost(3, path=CHAT)})
    purse.reserve("a", None, CHAT)
    purse.confirm("a", turn(reserved=3, final=1))
    assert (purse.reserved, purse.final) == (5, 1)
    purse.on_generation(job(status="succeeded", final=5))
    assert purse.reserved == 5  # not known by name any more: it goes on counting


def test_foreign_jobs_are_not_counted() -> None:
    purse = SpendLedger()
    purse.on_generation(job(status="succeeded", final=5))
    assert (purse.reserved, purse.final, purse.costs) == (0, 0, {})


def test_old_purchases_remain_in_totals() -> None:
    purse = SpendLedger(remembered=3)
    for number in range(5):
        buy(purse, str(number), None, job(number))
    assert list(purse.costs) == ["2", "3", "4"]
    for number in range(5):
        purse.on_generation(job(number, status="succeeded", final=4))
    assert (purse.reserved, purse.final) == (10, 12)
    purse.reserve("x", None)
    purse.release("x", LOST)
    assert list(purse.costs) == ["3", "4", "x"]
    assert not purse._keys_by_task_id
    assert not purse._pending


# --- which errors say that nothing was bought -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "may_be"),
    [
        (ConfigurationError("x"), False),
        (RequestNotSentError("x", attempts=5), False),
        (RateLimitError("x", status=429, attempts=5), False),
        (IdempotencyConflictError("x", status=409, attempts=1), False),
        (InsufficientCreditsError("x", status=402, attempts=3), False),
        (ValidationFailed("x", status=400, attempts=3), False),
        (ValidationFailed("x"), False),
        (AuthenticationError("x", status=401, attempts=1), False),
        (AuthenticationError("x", status=401, attempts=2), True),
        (NotFoundError("x", status=404, attempts=1), False),
        (APIStatusError("x", status=418, attempts=1), False),
        (APIStatusError("x", status=408, attempts=1), True),
        (InternalServerError("x", status=500, attempts=1), True),
        (APIDisabledError("x", status=503, attempts=1), True),
        (OutcomeUnknownError("x", attempts=1), True),
        (ResponseDecodeError("x"), True),
        (asyncio.CancelledError(), True),
        (KeyboardInterrupt(), True),
        (RuntimeError("a fault of ours"), True),
    ],
    ids=lambda value: type(value).__name__ + str(getattr(value, "attempts", "")),
)
def test_may_have_purchased(error: BaseException, may_be: bool) -> None:
    assert may_have_purchased(error) is may_be


# --- caps and prices --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [-1, float("nan"), float("inf"), True, "5", [5]])
def test_rejects_invalid_cap(cap: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_spend must be a number of credits"):
        validate_cap("max_spend", cap)
    with pytest.raises(ConfigurationError, match="the price of 'm' must be a number of credits"):
        validate_prices({"m": cap})


def test_accepts_valid_caps_and_prices() -> None:
    assert [validate_cap("x", cap) for cap in (None, 0, 2.5, 10**30)] == [None, 0, 2.5, 10**30]
    prices = {"m": 5}
    kept = validate_prices(prices)
    prices.clear()
    assert (kept, validate_prices(None)) == ({"m": 5}, {})
    with pytest.raises(ConfigurationError, match="mapping"):
        validate_prices([("m", 5)])  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="not None"):
        validate_prices({"m": None})  # type: ignore[dict-item]


# --- whatever happens -------------------------------------------------------------------------------------------------


class Book(RuleBasedStateMachine):
    """Any order of holds, answers, errors and ends: the totals are what the entries say, and no cap is passed."""

    flights = Bundle("flights")

    def __init__(self) -> None:
        super().__init__()
        self.purse = SpendLedger(max_spend=60, max_reserved=25)
        self.tasks: dict[str, int] = {}
        self.open: list[tuple[str, int]] = []

    @rule(target=flights, key=st.sampled_from("abcdefgh"), price=st.integers(0, 12))
    def hold(self, key: str, price: int) -> str | None:
        before = self.purse.reserved, self.purse.final
        price = self.tasks.setdefault(key, price)  # a key is one job, of one price
        counts = self.purse.needs_price(key)
        try:
            self.purse.reserve(key, price)
        except SpendLimitError:
            assert counts
            assert (self.purse.reserved, self.purse.final) == before
            assert sum(before) + price > 60 or before[0] + price > 25
            return None
        self.open.append((key, price))
        return key

    @rule(key=flights, error=st.sampled_from([REFUSED, LOST]))
    def fail(self, key: str | None, error: Exception) -> None:
        if key is not None and key in dict(self.open):
            self.open.remove((key, dict(self.open)[key]))
            self.purse.release(key, error)

    @rule(key=flights)
    def succeed(self, key: str | None) -> None:
        if key is not None and key in dict(self.open):
            price = dict(self.open)[key]
            self.open.remove((key, price))
            self.purse.confirm(key, Charge.from_generation(Generation(f"task_{key}", "queued", "m", price)))

    @rule(key=st.sampled_from("abcdefgh"), is_good=st.booleans())
    def end(self, key: str, is_good: bool) -> None:
        status, final = ("succeeded", self.tasks.get(key, 0)) if is_good else ("failed", 0)
        self.purse.on_generation(Generation(f"task_{key}", status, "m", self.tasks.get(key, 0), final))

    @invariant()
    def totals_are_the_entries(self) -> None:
        costs = self.purse.costs
        flying = {key: price for key, price in self.open if key not in costs}
        assert self.purse.reserved == sum(cost.reserved for cost in costs.values() if cost.final is None) + sum(
            flying.values()
        )
        assert self.purse.final == sum(cost.final or 0 for cost in costs.values())

    @invariant()
    def no_cap_is_passed(self) -> None:
        assert self.purse.reserved + self.purse.final <= 60
        assert self.purse.reserved <= 25


TestBook = Book.TestCase


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(0, 60))
def test_cap_accepts_exact_amount(prices: list[int], cap: int) -> None:
    purse = SpendLedger(max_spend=cap)
    for number, price in enumerate(prices):
        fits = purse.reserved + price <= cap
        try:
            purse.reserve(str(number), price)
        except SpendLimitError:
            assert not fits
        else:
            assert fits
