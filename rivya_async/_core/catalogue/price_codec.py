"""The learned prices of a model, and their conversion to and from JSON."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, TypeAlias, TypeGuard

import attrs

from ..errors import ConfigurationError
from ..types.generations import Amount
from .price_params import MAX_NAME_LENGTH, MAX_VALUE_LENGTH

FORMAT_VERSION: Final = 1
"""Version of the format of `dump`."""

MAX_MODELS: Final = 128
"""Maximum number of models with learned prices. The model that was bought least recently is dropped."""

MAX_PRICES: Final = 64
"""Maximum number of learned prices of one model. The price that was observed least recently is dropped."""

MAX_TOTAL_PRICES: Final = 1024
"""Maximum number of learned prices of all models. Prices of the model that was bought least recently are dropped.

A dump has about 300 bytes for each price of a model of the catalogue, and at most 2.5 MB.
"""

MAX_NAMES: Final = 12
"""Maximum number of params of one model that are found to change its price by observation."""

MAX_PARAMS: Final = 24
"""Maximum number of params of a job that is observed. Models of the catalogue have at most 9."""

MAX_CREDITS: Final = 1e9
"""Maximum plausible price."""

STEADY_OBSERVATIONS: Final = 10
"""Number of equal prices in a row after which the estimate is this price, although earlier ones were different."""

Values: TypeAlias = Mapping[str, str]
Key: TypeAlias = tuple[tuple[str, str], ...]


@attrs.define
class LearnedPrice:
    """Prices observed for equal values of the params that change the price.

    `highest` never falls. A lower price, however often it is observed, does not show that a job cannot cost as much as
    before: the difference may come from something that is not observed, such as the time of day. So caps rely on the
    highest price, and only estimates follow the latest one. The caller can state another maximum by `prices=`.

    `count` is the number of equal prices in a row. `longest` is the longest text of these jobs, in characters. `others`
    are the remaining params of the first job; a different price shows which of them change the price.
    """

    latest: Amount
    lowest: Amount
    highest: Amount
    count: int = 1
    longest: int = 0
    others: Values = attrs.field(factory=dict)
    is_loaded: bool = False

    @property
    def steady(self) -> Amount | None:
        """The price that all jobs had, or the latest ten; None if it varies."""
        is_steady = self.lowest == self.highest or self.count >= STEADY_OBSERVATIONS
        return self.latest if is_steady else None

    def add(self, price: Amount, length: int) -> None:
        """Records a price."""
        self.is_loaded = False
        self.count = self.count + 1 if price == self.latest else 1
        self.latest = price
        self.longest = max(self.longest, length)
        self.lowest, self.highest = min(self.lowest, price), max(self.highest, price)


@attrs.define
class ModelPrices:
    """Learned prices of one model, the one that was observed last at the end.

    `names` are params that change its price by observation. `highest_dropped` is the highest price that was dropped.
    """

    names: tuple[str, ...] = ()
    prices: OrderedDict[Key, LearnedPrice] = attrs.field(factory=OrderedDict)
    highest_dropped: Amount = 0

    def put(self, key: Key, price: LearnedPrice) -> None:
        self.prices[key] = price
        self.prices.move_to_end(key)
        while len(self.prices) > MAX_PRICES:
            self.drop_oldest()

    def drop_oldest(self) -> None:
        """Drops the price that was observed least recently; caps still rely on its amount."""
        _, price = self.prices.popitem(last=False)
        self.highest_dropped = max(self.highest_dropped, price.highest)

    def add_names(self, names: set[str]) -> None:
        """Adds params to the keys of all prices."""
        self.names = (*self.names, *sorted(names))
        changed = OrderedDict[Key, LearnedPrice]()
        for key, price in self.prices.items():
            added = {name: price.others[name] for name in names if name in price.others}
            price.others = {name: value for name, value in price.others.items() if name not in names}
            changed[price_key({**dict(key), **added})] = price
        self.prices = changed


def price_key(values: Values) -> Key:
    """Returns the key of the price for these values."""
    return tuple(sorted(values.items()))


def is_price(value: Any) -> TypeGuard[Amount]:
    """Returns True for a plausible price. 0 may be a missing member of the response."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MAX_CREDITS


def dump_prices(models: Mapping[str, ModelPrices]) -> dict[str, Any]:
    """Returns the learned prices by model, in their order."""
    return {
        "version": FORMAT_VERSION,
        "models": {
            name: {
                "names": list(model.names),
                "prices": [_dump_price(*item) for item in model.prices.items()],
                "highest_dropped": model.highest_dropped,
            }
            for name, model in models.items()
        },
    }


def load_prices(dump: Mapping[str, Any]) -> dict[str, ModelPrices]:
    """Restores the result of `dump_prices`. Raises `ConfigurationError` for any other value."""
    if not isinstance(dump, Mapping) or "version" not in dump:
        raise _invalid_dump("it has no version")
    if dump["version"] != FORMAT_VERSION:
        raise ConfigurationError(
            f"the prices are of version {dump['version']!r:.40}, and this release reads version {FORMAT_VERSION}: "
            "leave them out, and the session starts without them"
        )
    models = dump.get("models")
    if not isinstance(models, Mapping) or not all(isinstance(name, str) for name in models):
        raise _invalid_dump("models must be a dictionary by names")
    newest = islice(models.items(), max(0, len(models) - MAX_MODELS), None)
    return {name: _load_model(f"models[{name!r:.80}]", value) for name, value in newest}


def _dump_price(key: Key, price: LearnedPrice) -> dict[str, Any]:
    return {
        "params": dict(key),
        "others": dict(price.others),
        "credits": [price.latest, price.lowest, price.highest],
        "count": price.count,
        "longest": price.longest,
    }


def _load_model(where: str, value: Any) -> ModelPrices:
    names, prices = (value.get("names"), value.get("prices")) if isinstance(value, Mapping) else (None, None)
    if not isinstance(prices, list) or not isinstance(names, list):
        raise _invalid_dump(f"{where} must have the lists names and prices")
    if len(names) > MAX_NAMES or not all(map(_is_name, names)):
        raise _invalid_dump(f"{where}['names'] must have at most {MAX_NAMES} names")
    dropped = value.get("highest_dropped", 0)
    if dropped != 0 and not is_price(dropped):
        raise _invalid_dump(f"{where}['highest_dropped'] must be a price, or 0")
    model = ModelPrices(tuple(dict.fromkeys(names)), highest_dropped=dropped)
    for entry in prices[-MAX_PRICES:]:
        model.put(*_load_price(f"{where}['prices']", entry if isinstance(entry, Mapping) else {}))
    return model


def _load_price(where: str, entry: Mapping[str, Any]) -> tuple[Key, LearnedPrice]:
    values, others = entry.get("params"), entry.get("others")
    if not _is_values(values) or not _is_values(others):
        raise _invalid_dump(f"{where} must have params and others with short texts")
    if not _is_prices(entry.get("credits")):
        raise _invalid_dump(f"{where} must have the latest, the lowest and the highest price")
    count, longest = entry.get("count"), entry.get("longest")
    if not _is_count(count) or not _is_count(longest):
        raise _invalid_dump(f"{where} must have the whole numbers count and longest")
    latest, lowest, highest = entry["credits"]
    return price_key(values), LearnedPrice(latest, lowest, highest, count, longest, others, is_loaded=True)


def _is_prices(value: Any) -> bool:
    """Returns True for a list of the latest, the lowest and the highest price."""
    if not isinstance(value, list) or len(value) != 3 or not all(map(is_price, value)):  # noqa: PLR2004 - as listed
        return False
    latest, lowest, highest = value
    return bool(lowest <= latest <= highest)


def _is_values(value: Any) -> TypeGuard[Values]:
    return (
        isinstance(value, Mapping)
        and len(value) <= MAX_PARAMS
        and all(map(_is_name, value))
        and all(isinstance(text, str) and len(text) <= MAX_VALUE_LENGTH for text in value.values())
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME_LENGTH


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _invalid_dump(reason: str) -> ConfigurationError:
    return ConfigurationError(f"invalid prices, {reason}: pass the unchanged result of dump()")
