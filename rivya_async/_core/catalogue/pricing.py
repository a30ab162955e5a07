"""Estimates of the price of a job, from the catalogue and from learned prices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs

from .. import assumptions
from ..public_module import set_public_module
from ..types.generations import Amount
from ..types.record import Record
from .learned_prices import LearnedPrices, count_inputs, price_values
from .price_codec import Values
from .price_params import REFERENCE_COUNT, UNREADABLE, compare_values, covers, is_price_param, price_value

if TYPE_CHECKING:
    from .model_param import ModelParam


class PricedModel(Protocol):
    """The members of a model that its price depends on."""

    @property
    def id(self) -> str: ...

    @property
    def params(self) -> tuple[ModelParam, ...]: ...

    @property
    def base_credits(self) -> Amount | None: ...

    @property
    def billing_type(self) -> str | None: ...

    @property
    def is_chat(self) -> bool: ...


@attrs.frozen
class PriceEstimate(Record):
    """Estimate of the credits that a job, or a chat turn, reserves.

    `kind` is `exact` for a price of the catalogue that no param of the job changes, `learned` for a price that earlier
    purchases with these params had (all of them, or the latest ten), `lower_bound` for a price that the params of the
    job may raise, and `unknown` with `credits` None. A chat turn is never `exact` or `learned`. `source` says in words
    where the price comes from. `max_credits` is the amount on which a spend cap relies: the highest price known for the
    model, or that of the session's `prices`; None if it is not known.

    >>> print(PriceEstimate(7, "lower_bound", "base_credits of the catalogue"))
    at least 7 credits
    """

    credits: Amount | None
    kind: Literal["exact", "learned", "lower_bound", "unknown"]
    source: str
    max_credits: Amount | None = None

    def __str__(self) -> str:
        if self.credits is None:
            return "unknown" if self.max_credits is None else f"at most {format_amount(self.max_credits)}"
        return f"at least {format_amount(self.credits)}" if self.kind == "lower_bound" else format_amount(self.credits)


@attrs.frozen
class _KnownPrice:
    """Price that is known for some values. `length` is the longest text that had it; None if texts do not matter.

    `steady` is the price of the next such job; None if it varies.
    """

    values: Values
    lowest: Amount
    highest: Amount
    steady: Amount | None
    length: int | None = None
    is_loaded: bool = False

    def covers(self, job: _PricedJob) -> bool:
        """Returns True if a job costs at most as much, as far as the order of its values is known."""
        return covers(self.values, job.values) and (self.length is None or job.length <= self.length)

    def is_covered_by(self, job: _PricedJob) -> bool:
        """Returns True if a job costs at least as much, as far as the order of its values is known."""
        return covers(job.values, self.values) and (self.length is None or job.length >= self.length)


def catalogue_price(model: PricedModel) -> int | None:
    """Returns the price of the default settings of a model, rounded up; None if the catalogue has no fixed one."""
    price = model.base_credits
    is_fixed = model.billing_type in assumptions.FIXED_PRICE_BILLING_TYPES
    return math.ceil(price) if is_fixed and price is not None and 0 <= price < math.inf else None


def estimate_price(
    model: PricedModel, prompt: str | None, params: Mapping[str, Any], references: int, learned: LearnedPrices
) -> PriceEstimate:
    """Returns the estimate of the price of a job."""
    references, length = count_inputs(prompt, params, references)
    estimate = _PricedJob(model, params, references, length, learned).estimate()
    if model.is_chat:
        estimate = _chat_estimate(estimate)
    given = learned.given.get(model.id)
    if given is None:
        return estimate
    source = f"{estimate.source}; prices= states at most {format_amount(given)}"
    return attrs.evolve(estimate, source=source, max_credits=given)


def _chat_estimate(estimate: PriceEstimate) -> PriceEstimate:
    """Returns the estimate of a turn, whose history and attachments are not known. Then it is never exact."""
    kind: Literal["lower_bound", "unknown"] = "unknown" if estimate.credits is None else "lower_bound"
    source = f"{estimate.source}; attachments, history and options may raise the price of a turn"
    return attrs.evolve(estimate, kind=kind, source=source)


class _PricedJob:
    """Job of a model, with the facts that its price depends on."""

    def __init__(
        self, model: PricedModel, params: Mapping[str, Any], references: int, length: int, learned: LearnedPrices
    ) -> None:
        self.model = model
        self.base = catalogue_price(model)
        self.length = length
        self._names = learned.names_of(model.id)
        self._price_params = price_params(model, self._names)
        self.defaults = {
            param.key: price_value(param.default)
            for param in model.params
            if param.key in self._price_params and param.default is not None
        }
        if REFERENCE_COUNT in self._names:
            self.defaults[REFERENCE_COUNT] = "0"
        self.values = self._complete(price_values(params, references, self._names))
        self._learned = list(self._learned_prices(learned))
        self._highest_dropped = learned.highest_dropped_of(model.id)
        has_learned_base = any(each.values == self.defaults for each in self._learned)
        listed = (
            []
            if self.base is None or has_learned_base
            else [_KnownPrice(self.defaults, self.base, self.base, self.base)]
        )
        self._known = [*self._learned, *listed]

    def estimate(self) -> PriceEstimate:
        """Returns the estimate of the price."""
        seen = [each for each in self._learned if each.values == self.values]
        if seen and UNREADABLE not in self.values.values():
            return self._estimate_seen(seen)
        if self.base is None:
            return self._estimate_without_base()
        changed = {name: value for name, value in self.values.items() if self.defaults.get(name) != value}
        if not changed:
            settings = "the price of the default settings" if self._price_params else "the price of this model"
            return PriceEstimate(self.base, "exact", f"base_credits of the catalogue, {settings}", self.base)
        defaults = ((value, self.defaults.get(name, UNREADABLE)) for name, value in changed.items())
        may_cost_less = any(compare_values(value, default) == -1 for value, default in defaults)
        settings = ", ".join(f"{name}={value}" for name, value in changed.items())
        return PriceEstimate(
            self._highest_lower_bound(0 if may_cost_less else self.base),
            "lower_bound",
            f"base_credits of the catalogue is {self.base}, and {settings} may change the price",
            self._highest_known(),
        )

    def _estimate_seen(self, seen: list[_KnownPrice]) -> PriceEstimate:
        """Returns the estimate for values with which jobs were bought before."""
        lowest, highest = min(each.lowest for each in seen), max(each.highest for each in seen)
        unit = "turns of this model" if self.model.is_chat else "jobs with these params"
        source = f"reserved credits of earlier {unit}"
        if self.model.billing_type == assumptions.CHAT_BILLING_TYPE:
            source += "; the final price depends on the tokens"
        if not any(each.covers(self) for each in seen):
            return PriceEstimate(lowest, "lower_bound", f"{source}, whose texts were shorter")
        steady = {each.steady for each in seen}
        if len(steady) == 1 and (price := steady.pop()) is not None:
            return PriceEstimate(price, "learned", source, self._highest(seen))
        known = f"{source}: {lowest} to {format_amount(highest)}"
        return PriceEstimate(lowest, "lower_bound", known, self._highest(seen))

    def _estimate_without_base(self) -> PriceEstimate:
        least = self._highest_lower_bound(0)
        if least:
            source = "reserved credits of smaller jobs of this model"
            return PriceEstimate(least, "lower_bound", source, self._highest_known())
        billing = self.model.billing_type or "no billing type"
        source = f"the catalogue has no price of {self.model.id} ({billing})"
        return PriceEstimate(None, "unknown", source, self._highest_known())

    def _highest_lower_bound(self, least: Amount) -> Amount:
        return max(least, *(each.lowest for each in self._known if each.is_covered_by(self)), 0)

    def _highest_known(self) -> Amount | None:
        """Returns the highest price known for the model, if a known price is at least that of this job."""
        if not any(each.covers(self) for each in self._known):
            return None
        return max(self._highest(self._known), self._highest_dropped)

    def _highest(self, prices: list[_KnownPrice]) -> Amount:
        """Returns the highest of these prices, and of the catalogue's if one was loaded: it may be outdated."""
        is_loaded = any(each.is_loaded for each in prices)
        return max(*(each.highest for each in prices), self.base if is_loaded and self.base is not None else 0)

    def _complete(self, values: Values) -> dict[str, str]:
        """Returns the values with the defaults of params that were left out."""
        has_one_price = self.model.id in assumptions.ONE_PRICE_MODELS
        return {
            **self.defaults,
            **{name: value for name, value in values.items() if name in self._names or not has_one_price},
        }

    def _learned_prices(self, learned: LearnedPrices) -> Iterator[_KnownPrice]:
        for values, price in learned.prices_of(self.model.id):
            length = None if self.base is not None else price.longest
            is_varied = length is not None and price.lowest != price.highest  # perhaps the texts differed
            steady = None if is_varied else price.steady
            yield _KnownPrice(self._complete(values), price.lowest, price.highest, steady, length, price.is_loaded)


def price_params(model: PricedModel, names: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Returns the params of a model that may change its price: by their names in the catalogue, or by `names`."""
    has_one_price = model.id in assumptions.ONE_PRICE_MODELS
    known = [param.key for param in model.params if is_price_param(param.key, param.default) and not has_one_price]
    return tuple(dict.fromkeys([*known, *names]))


def format_amount(amount: Amount) -> str:
    """Returns a number of credits with its unit."""
    return f"{amount:,} credit{'' if amount == 1 else 's'}"


set_public_module("rivya_async", PriceEstimate)
