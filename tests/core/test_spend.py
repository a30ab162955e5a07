"""The spend ledger: reservations, charges, final costs and caps."""

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
    BadRequestError,
    ConfigurationError,
    IdempotencyConflictError,
    InsufficientCreditsError,
    InternalServerError,
    InvalidRequestError,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitError,
    RequestNotSentError,
    ResponseDecodeError,
    SpendLimitError,
)
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.spend import (
    Reservation,
    SpendLedger,
    SpendSummary,
    may_have_purchased,
    validate_cap,
    validate_prices,
)
from rivya_async._core.types.chat import ChatCompletion, ChatCredits
from rivya_async._core.types.generations import Generation
from rivya_async._core.types.purchase_cost import GENERATIONS_PATH, Charge, PurchaseCost

REJECTED = InsufficientCreditsError("too poor", status=402)
CHAT = "/api/v1/chat/completions"
CONNECTION_LOST = OutcomeUnknownError("no answer")


def job(number: int = 1, reserved: float = 5, status: str = "queued", final: float = 0) -> Generation:
    return Generation(f"task_{number}", status, "z-image", reserved, final)


def buy(ledger: SpendLedger, key: str, price: float | None, record: Generation) -> None:
    ledger.reserve(key, price)
    ledger.confirm(key, Charge.from_generation(record))


def test_purchase_from_reservation_to_final_cost() -> None:
    ledger = SpendLedger(max_spend=100)
    spend = SpendSummary(ledger)
    ledger.reserve("a", 5)
    assert (spend.reserved, spend.final, spend.total, dict(spend)) == (5, 0, 5, {})
    ledger.confirm("a", Charge.from_generation(job(reserved=7)))
    assert (spend.reserved, spend.total, spend["a"]) == (7, 7, PurchaseCost(7, None, "task_1"))
    ledger.on_generation(job(reserved=7, status="processing"))
    assert spend.reserved == 7
    ledger.on_generation(job(reserved=7, status="succeeded", final=6))
    ledger.on_generation(job(reserved=7, status="succeeded", final=6))
    assert (spend.reserved, spend.final, spend.total) == (0, 6, 6)
    assert spend["a"] == PurchaseCost(7, 6, "task_1")
    assert spend["a"].credits == 6
    assert repr(spend) == "<SpendSummary: 0 reserved, 6 final, 1 purchases>"
    assert (list(spend), len(spend), "a" in spend, "b" in spend) == (["a"], 1, True, False)


def test_prices_are_learned_from_charges() -> None:
    ledger = SpendLedger()
    request = GenerationRequest("z-image", "A kite")
    ledger.reserve("a", None, request=request)
    ledger.confirm("a", Charge.from_generation(job(reserved=7)))
    ledger.on_generation(job(reserved=7, status="succeeded", final=6))
    ((values, price),) = ledger.prices.prices_of("z-image")
    assert (values, price.latest, price.highest) == ({}, 7, 7)
    assert list(ledger.prices.prices_of("another")) == []


def test_failed_job_returns_credits() -> None:
    ledger = SpendLedger(max_spend=5)
    buy(ledger, "a", 5, job())
    with pytest.raises(SpendLimitError):
        ledger.reserve("b", 5)
    ledger.on_generation(job(status="failed"))
    assert SpendSummary(ledger).total == 0
    ledger.reserve("b", 5)


def test_cap_rejects_without_reservation() -> None:
    ledger = SpendLedger(max_spend=10)
    buy(ledger, "a", 6, job(reserved=6))
    with pytest.raises(SpendLimitError, match=r"costs 5 credits, and with 6 counted .* max_spend=10") as raised:
        ledger.reserve("b", 5)
    assert (raised.value.limit, raised.value.counted, raised.value.price) == (10, 6, 5)
    assert not isinstance(raised.value, ConfigurationError)
    assert pickle.loads(pickle.dumps(raised.value)).limit == 10
    assert ledger.reserved == 6
    ledger.reserve("c", 4)
    assert ledger.reserved == 10


def test_max_reserved_is_separate_cap() -> None:
    ledger = SpendLedger(max_reserved=5)
    for number in range(10):
        buy(ledger, str(number), 5, job(number))
        with pytest.raises(SpendLimitError, match="max_reserved=5"):
            ledger.reserve("more", 1)
        ledger.on_generation(job(number, status="succeeded", final=5))
    assert (ledger.reserved, ledger.final) == (0, 50)


def test_free_job_passes_every_cap() -> None:
    ledger = SpendLedger(max_spend=0)
    buy(ledger, "a", 0, job(reserved=0))
    with pytest.raises(SpendLimitError):
        ledger.reserve("b", 1)


def test_price_is_not_needed_without_cap() -> None:
    ledger = SpendLedger()
    assert not ledger.needs_price("a")
    buy(ledger, "a", None, job(reserved=5))
    assert ledger.reserved == 5
    assert SpendLedger(max_reserved=1).needs_price("a")
    assert SpendLedger(max_spend=0).needs_price("a")


# --- one key ----------------------------------------------------------------------------------------------------------


def test_same_key_counts_once() -> None:
    ledger = SpendLedger(max_spend=5)
    buy(ledger, "a", 5, job())
    assert not ledger.needs_price("a")
    buy(ledger, "a", None, job())
    assert ledger.reserved == 5
    buy(ledger, "a", None, job(status="succeeded", final=5))
    buy(ledger, "a", None, job())
    assert (ledger.reserved, ledger.final) == (0, 5)


def test_concurrent_purchases_with_same_key_count_once() -> None:
    ledger = SpendLedger(max_spend=5)
    ledger.reserve("a", 5)
    assert ledger.needs_price("a")  # another body under this key may cost more
    ledger.reserve("a", 5)
    ledger.release("a", REJECTED)
    assert ledger.reserved == 5
    ledger.confirm("a", Charge.from_generation(job()))
    assert (ledger.reserved, ledger.costs["a"]) == (5, PurchaseCost(5, None, "task_1"))
    for ends in ([True, False], [False, True], [False, False]):
        ledger = SpendLedger(max_spend=5)
        ledger.reserve("a", 5)
        ledger.reserve("a", None)
        for is_bought in ends:
            if is_bought:
                ledger.confirm("a", Charge.from_generation(job(reserved=4)))
            else:
                ledger.release("a", CONNECTION_LOST)
        assert ledger.costs == {"a": PurchaseCost(4, None, "task_1") if True in ends else PurchaseCost(5)}
        assert ledger.reserved == ledger.costs["a"].reserved


def test_unknown_outcome_counts_until_confirmed() -> None:
    ledger = SpendLedger(max_spend=5)
    ledger.reserve("a", 5)
    ledger.release("a", CONNECTION_LOST)
    assert ledger.costs == {"a": PurchaseCost(5)}
    assert ledger.costs["a"].credits == 5
    with pytest.raises(SpendLimitError):
        ledger.reserve("b", 1)
    buy(ledger, "a", None, job(reserved=3))
    assert (ledger.reserved, ledger.costs) == (3, {"a": PurchaseCost(3, None, "task_1")})


def test_unknown_outcome_ends_with_proof_of_no_purchase() -> None:
    ledger = SpendLedger(max_spend=5)
    ledger.reserve("a", 5)
    ledger.release("a", CONNECTION_LOST)
    for inconclusive in (
        RequestNotSentError("x"),
        RateLimitError("x", status=429),
        AuthenticationError("x", status=401),
    ):
        ledger.reserve("a", None)
        ledger.release("a", inconclusive)
        assert (ledger.reserved, ledger.costs) == (5, {"a": PurchaseCost(5)})
    ledger.reserve("a", None)
    ledger.release("a", REJECTED)
    assert (ledger.reserved, ledger.costs) == (0, {})
    assert ledger.needs_price("a")


def test_rejection_does_not_release_other_purchases() -> None:
    ledger = SpendLedger()
    buy(ledger, "a", None, job())
    ledger.reserve("a", None)
    ledger.release("a", REJECTED)
    assert ledger.costs == {"a": PurchaseCost(5, None, "task_1")}
    for errors in ([CONNECTION_LOST, REJECTED], [REJECTED, CONNECTION_LOST]):
        ledger = SpendLedger(max_spend=5)
        ledger.reserve("a", 5)
        ledger.reserve("a", None)
        for error in errors:
            ledger.release("a", error)
        assert (ledger.reserved, ledger.costs) == (5, {"a": PurchaseCost(5)})


def test_expired_key_buys_second_job() -> None:
    ledger = SpendLedger()
    buy(ledger, "a", None, job(1, reserved=3))
    buy(ledger, "a", None, job(2, reserved=4))
    assert (ledger.reserved, ledger.costs["a"].task_id) == (7, "task_2")
    ledger.on_generation(job(1, status="succeeded", final=3))
    assert ledger.reserved == 7  # the first job has no key any more, and still counts
    ledger.on_generation(job(2, status="succeeded", final=4))
    assert (ledger.reserved, ledger.final) == (3, 4)


def chat_charge(**stated: float) -> Charge:
    answer = ChatCompletion("chatcmpl_1", credits=ChatCredits(**stated) if stated else None)  # type: ignore[arg-type]
    return Charge.from_completion(answer, CHAT)


def test_concurrent_purchases_with_same_key_count_with_the_highest_price() -> None:
    ledger = SpendLedger(max_spend=5)
    ledger.reserve("a", 1)
    with pytest.raises(SpendLimitError) as raised:
        ledger.reserve("a", 6)
    assert (raised.value.counted, raised.value.price) == (1, 5)
    ledger.reserve("a", 4)
    ledger.reserve("a", 2)
    assert ledger.reserved == 4
    for _ in range(3):
        ledger.release("a", REJECTED)
    assert (ledger.reserved, ledger.costs) == (0, {})


def test_chat_turn_is_final_at_once() -> None:
    ledger = SpendLedger(max_spend=5)
    ledger.reserve("a", 5, CHAT)
    assert ledger.needs_price("a", CHAT)
    ledger.confirm("a", chat_charge(reserved=3, final=2))
    assert ledger.costs == {"a": PurchaseCost(3, 2, "chatcmpl_1", CHAT)}
    assert not ledger.needs_price("a", CHAT)
    ledger.reserve("a", None, CHAT)
    ledger.confirm("a", chat_charge(reserved=3, final=2))
    assert (ledger.reserved, ledger.final) == (0, 2)
    with pytest.raises(SpendLimitError):
        ledger.reserve("b", 4, CHAT)


@pytest.mark.parametrize(
    ("stated", "cost"),
    [
        ({}, PurchaseCost(5, None, "chatcmpl_1", CHAT)),
        ({"reserved": 3}, PurchaseCost(3, None, "chatcmpl_1", CHAT)),
        ({"final": 2}, PurchaseCost(5, 2, "chatcmpl_1", CHAT)),
    ],
    ids=str,
)
def test_missing_credits_count_as_reserved(stated: dict[str, float], cost: PurchaseCost) -> None:
    ledger = SpendLedger(max_spend=5)
    ledger.reserve("a", 5, CHAT)
    ledger.confirm("a", chat_charge(**stated))
    assert ledger.costs == {"a": cost}
    assert ledger.reserved + ledger.final == cost.credits


def test_key_at_two_endpoints_is_two_purchases() -> None:
    ledger = SpendLedger(max_spend=8)
    buy(ledger, "a", 5, job())
    assert ledger.needs_price("a", CHAT)
    with pytest.raises(SpendLimitError):
        ledger.reserve("a", 4, CHAT)
    ledger.reserve("a", 3, CHAT)
    ledger.release("a", CONNECTION_LOST, CHAT)
    assert (ledger.reserved, ledger.costs) == (8, {"a": PurchaseCost(3, path=CHAT)})
    ledger.reserve("a", None, CHAT)
    ledger.confirm("a", chat_charge(reserved=3, final=1))
    assert (ledger.reserved, ledger.final) == (5, 1)
    ledger.on_generation(job(status="succeeded", final=5))
    assert ledger.reserved == 5  # it has no key any more, and still counts


def test_foreign_jobs_are_not_counted() -> None:
    ledger = SpendLedger()
    ledger.on_generation(job(status="succeeded", final=5))
    assert (ledger.reserved, ledger.final, ledger.costs) == (0, 0, {})


def test_old_purchases_remain_in_totals() -> None:
    ledger = SpendLedger(remembered=3)
    for number in range(5):
        buy(ledger, str(number), None, job(number))
    assert list(ledger.costs) == ["2", "3", "4"]
    for number in range(5):
        ledger.on_generation(job(number, status="succeeded", final=4))
    assert (ledger.reserved, ledger.final) == (10, 12)
    ledger.reserve("x", None)
    ledger.release("x", CONNECTION_LOST)
    assert list(ledger.costs) == ["3", "4", "x"]
    assert not ledger._keys_by_task_id
    assert not ledger._pending


# --- errors that prove that nothing was bought ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "may_be"),
    [
        (ConfigurationError("x"), False),
        (RequestNotSentError("x", attempts=5), False),
        (RateLimitError("x", status=429, attempts=5), False),
        (IdempotencyConflictError("x", status=409, attempts=1), False),
        (InsufficientCreditsError("x", status=402, attempts=3), False),
        (BadRequestError("x", status=400, attempts=3), False),
        (InvalidRequestError("x"), False),
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
        (RuntimeError("internal error"), True),
    ],
    ids=lambda value: type(value).__name__ + str(getattr(value, "attempts", "")),
)
def test_may_have_purchased(error: BaseException, may_be: bool) -> None:
    assert may_have_purchased(error) is may_be


def test_gateway_proves_nothing_about_earlier_attempts() -> None:
    for kind in (BadRequestError, InsufficientCreditsError):
        page = kind("x", attempts=2)
        page.has_envelope = False
        assert may_have_purchased(page)
        page.attempts = 1
        assert not may_have_purchased(page)


def test_unreadable_amounts_do_not_lower_the_spend() -> None:
    ledger = SpendLedger(max_spend=100)
    odd = {"reserved_credits": "4", "final_credits": None}
    ledger.reserve("order-1", 7)
    ledger.confirm("order-1", Charge.from_generation(Generation("task_1", "queued", extra=odd)))
    assert ledger.reserved == 7
    ledger.on_generation(Generation("task_1", "succeeded", extra=odd))
    assert (ledger.reserved, ledger.final) == (0, 7)
    ledger.reserve("order-2", 7)
    ledger.confirm(
        "order-2", Charge.from_generation(Generation("task_2", "failed", "", 3, extra={"final_credits": "0"}))
    )
    assert (ledger.reserved, ledger.final) == (0, 10)


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
    validated = validate_prices(prices)
    prices.clear()
    assert (validated, validate_prices(None)) == ({"m": 5}, {})
    with pytest.raises(ConfigurationError, match="mapping"):
        validate_prices([("m", 5)])  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="not None"):
        validate_prices({"m": None})  # type: ignore[dict-item]


# --- any sequence of operations ---------------------------------------------------------------------------------------


class LedgerMachine(RuleBasedStateMachine):
    """Any sequence of operations keeps totals equal to the entries, and within the caps."""

    reservations = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = SpendLedger(max_spend=60, max_reserved=25)
        self.tasks: dict[str, int] = {}
        self.open: list[tuple[str, int]] = []

    @rule(target=reservations, key=st.sampled_from("abcdefgh"), price=st.integers(0, 12))
    def hold(self, key: str, price: int) -> str | None:
        before = self.ledger.reserved, self.ledger.final
        price = self.tasks.setdefault(key, price)  # one job and one price per key
        counts = self.ledger.needs_price(key)
        try:
            self.ledger.reserve(key, price)
        except SpendLimitError:
            assert counts
            assert (self.ledger.reserved, self.ledger.final) == before
            assert sum(before) + price > 60 or before[0] + price > 25
            return None
        self.open.append((key, price))
        return key

    @rule(key=reservations, error=st.sampled_from([REJECTED, CONNECTION_LOST]))
    def fail(self, key: str | None, error: Exception) -> None:
        if key is not None and key in dict(self.open):
            self.open.remove((key, dict(self.open)[key]))
            self.ledger.release(key, error)

    @rule(key=reservations)
    def succeed(self, key: str | None) -> None:
        if key is not None and key in dict(self.open):
            price = dict(self.open)[key]
            self.open.remove((key, price))
            self.ledger.confirm(key, Charge.from_generation(Generation(f"task_{key}", "queued", "m", price)))

    @rule(key=st.sampled_from("abcdefgh"), is_good=st.booleans())
    def end(self, key: str, is_good: bool) -> None:
        status, final = ("succeeded", self.tasks.get(key, 0)) if is_good else ("failed", 0)
        self.ledger.on_generation(Generation(f"task_{key}", status, "m", self.tasks.get(key, 0), final))

    @invariant()
    def totals_are_the_entries(self) -> None:
        costs = self.ledger.costs
        in_progress = {key: price for key, price in self.open if key not in costs}
        assert self.ledger.reserved == sum(cost.reserved for cost in costs.values() if cost.final is None) + sum(
            in_progress.values()
        )
        assert self.ledger.final == sum(cost.final or 0 for cost in costs.values())

    @invariant()
    def no_cap_is_passed(self) -> None:
        assert self.ledger.reserved + self.ledger.final <= 60
        assert self.ledger.reserved <= 25


TestLedger = LedgerMachine.TestCase


@given(st.lists(st.integers(1, 9), max_size=30), st.integers(0, 60))
def test_cap_accepts_exact_amount(prices: list[int], cap: int) -> None:
    ledger = SpendLedger(max_spend=cap)
    for number, price in enumerate(prices):
        fits = ledger.reserved + price <= cap
        try:
            ledger.reserve(str(number), price)
        except SpendLimitError:
            assert not fits
        else:
            assert fits


def test_reservation_is_confirmed_or_released() -> None:
    ledger = SpendLedger(max_spend=10)
    ledger.reserve("a", 5)
    with Reservation(ledger, "a", GENERATIONS_PATH) as reservation:
        reservation.confirm(Charge.from_generation(job()))
    ledger.reserve("b", 5)
    with pytest.raises(InsufficientCreditsError), Reservation(ledger, "b", GENERATIONS_PATH):
        raise REJECTED
    assert (ledger.reserved, list(ledger.costs)) == (5, ["a"])


@pytest.mark.parametrize(
    ("record", "reserved", "final"),
    [
        (Generation("task_1", "queued"), None, None),
        (Generation("task_1", "queued", "m", 3), 3, None),
        (Generation("task_1", "succeeded", "m", 3), 3, 3),
        (Generation("task_1", "succeeded", "m", 3, 2), 3, 2),
        (Generation("task_1", "succeeded"), None, None),
        (Generation("task_1", "failed", "m", 3), 3, 0),
    ],
)
def test_omitted_amounts_of_a_record(record: Generation, reserved: int | None, final: int | None) -> None:
    charge = Charge.from_generation(record)
    assert (charge.reserved, charge.final) == (reserved, final)
