"""Prices that a session learns from its purchases, by model and by the params that change the price."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from .model_param import DIALOGUE_PARAM, REFERENCES_PARAM
from .price_codec import (
    MAX_MODELS,
    MAX_NAMES,
    MAX_PARAMS,
    MAX_TOTAL_PRICES,
    LearnedPrice,
    ModelPrices,
    Values,
    dump_prices,
    is_price,
    load_prices,
    price_key,
)
from .price_params import REFERENCE_COUNT, UNREADABLE, other_values, select_values

if TYPE_CHECKING:
    from ..generation_request import GenerationRequest
    from ..types.generations import Amount

MAX_OPEN_JOBS: Final = 10_000
"""Maximum number of open jobs whose final credits are learned."""


class LearnedPrices:
    """Prices of a session: those that it was given by `prices`, and those that its purchases reserved.

    Purchases teach the price of their model for their values of the params that change it. Known params are recognised
    by their names; a param that is found to change the price is added. `Model.estimate_credits` uses these prices.

    `dump()` and `load()` transfer them to another process. At most 64 prices per model, and 1,024 in total, are kept:
    those that were observed least recently are dropped. A dump has about 300 bytes per price.

    >>> async def main():
    ...     async with RivyaSession() as session:
    ...         await session.generate("ideogram-v3", "A red kite", params={"rendering_speed": "QUALITY"})
    ...         model = await session.models.retrieve("ideogram-v3")
    ...         return model.estimate_credits("A blue whale", {"rendering_speed": "QUALITY"}).kind
    >>> asyncio.run(main())
    'learned'
    """

    def __init__(self, given: Mapping[str, Amount] | None = None) -> None:
        self.given: Mapping[str, Amount] = given or {}
        """Maximum price of a job or turn by model, as stated by the caller."""
        self._models: OrderedDict[str, ModelPrices] = OrderedDict()
        self._open: OrderedDict[str, LearnedPrice] = OrderedDict()

    def observe(self, request: GenerationRequest, reserved: Amount | None, task_id: str) -> None:
        """Records the credits that a purchase reserved. Ignores implausible ones."""
        if not is_price(reserved):
            return
        params = request.params
        references, length = count_inputs(request.prompt, params, len(request.references))
        model = self._models.get(request.model)
        names = () if model is None else model.names
        values = price_values(params, references, names)
        if len(params) > MAX_PARAMS or UNREADABLE in values.values():
            return
        if model is None:
            model = self._models[request.model] = ModelPrices()
        self._models.move_to_end(request.model)
        price = model.prices.get(key := price_key(values))
        if price is None:
            others = other_values(params, references, names)
            price = LearnedPrice(reserved, reserved, reserved, longest=length, others=others)
        elif price.latest == reserved or not (found := _found_names(model, price, params, references)):
            price.add(reserved, length)
        else:
            model.add_names(found)
            self.observe(request, reserved, task_id)
            return
        is_new = key not in model.prices
        model.put(key, price)
        if is_new:
            self._drop_oldest()
        self._open[task_id] = price
        if len(self._open) > MAX_OPEN_JOBS:
            self._open.popitem(last=False)

    def observe_end(self, task_id: str, final: Amount) -> None:
        """Records the final credits of a purchase of this session. Ignores those of a failed job, which are 0."""
        price = self._open.pop(task_id, None)
        if price is not None and is_price(final):
            price.highest = max(price.highest, final)

    def names_of(self, model: str) -> tuple[str, ...]:
        """Returns the params of a model that change its price by observation."""
        return self._models[model].names if model in self._models else ()

    def prices_of(self, model: str) -> Iterator[tuple[Values, LearnedPrice]]:
        """Yields the learned prices of a model, with the values for which they were observed."""
        if model in self._models:
            for key, price in self._models[model].prices.items():
                yield dict(key), price

    def highest_dropped_of(self, model: str) -> Amount:
        """Returns the highest price of a model that is no longer among its prices; 0 if there is none."""
        return self._models[model].highest_dropped if model in self._models else 0

    def dump(self) -> dict[str, Any]:
        """Returns the learned prices as a dictionary for JSON; another process adds them by `load`."""
        return dump_prices(self._models)

    def load(self, dump: Mapping[str, Any]) -> None:
        """Adds the result of `dump`. Prices that this session has observed itself are kept.

        Caps rely on the highest of the loaded and the observed prices.
        Raises `ConfigurationError` for any other value, and changes nothing then.
        """
        for name, source in load_prices(dump).items():
            model = self._models.get(name)
            if model is None:
                self._models[name] = source
                continue
            names = {*model.names, *source.names}
            if len(names) > MAX_NAMES:
                continue
            model.add_names(names - {*model.names})
            source.add_names(names - {*source.names})
            model.highest_dropped = max(model.highest_dropped, source.highest_dropped)
            own = [(key, price) for key, price in model.prices.items() if not price.is_loaded]
            for key, price in own:
                price.highest = max(price.highest, source.prices[key].highest if key in source.prices else 0)
            for key, price in [*source.prices.items(), *own]:
                model.put(key, price)
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        while len(self._models) > MAX_MODELS:
            self._models.popitem(last=False)
        excess = sum(len(model.prices) for model in self._models.values()) - MAX_TOTAL_PRICES
        for model in self._models.values():
            while excess > 0 and len(model.prices) > 1:
                model.drop_oldest()
                excess -= 1


def count_inputs(prompt: str | None, params: Mapping[str, Any], references: int) -> tuple[int, int]:
    """Returns the number of references, also of those in params, and the number of characters that are charged."""
    items, lines = params.get(REFERENCES_PARAM), params.get(DIALOGUE_PARAM)
    length = len(prompt) if isinstance(prompt, str) else 0
    if isinstance(lines, list | tuple):
        length += sum(map(count_characters, lines))
    return references or (len(items) if isinstance(items, list | tuple) else 0), length


def count_characters(line: object) -> int:
    """Returns the number of characters of a line of a dialogue."""
    text = line.get("text") if isinstance(line, Mapping) else None
    return len(text) if isinstance(text, str) else 0


def price_values(params: Mapping[str, Any], references: int, names: tuple[str, ...] = ()) -> dict[str, str]:
    """Returns the values of a job that change its price."""
    values = select_values(params, names)
    if REFERENCE_COUNT in names:
        values[REFERENCE_COUNT] = str(references)
    return values


def _found_names(model: ModelPrices, price: LearnedPrice, params: Mapping[str, Any], references: int) -> set[str]:
    """Returns the params by which a job differs from an earlier one with another price."""
    others = other_values(params, references, model.names)
    names = {name for name in {*others, *price.others} if others.get(name) != price.others.get(name)}
    return names if len(names) + len(model.names) <= MAX_NAMES else set()
