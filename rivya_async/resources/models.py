"""The resource `models`: the catalogue, with a cache."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from .._core.catalogue.learned_prices import LearnedPrices
from .._core.catalogue.model import bind_prices
from .._core.catalogue.validation import unknown_model_problem
from .._core.errors import ConfigurationError, NotFoundError, RivyaError, copy_error
from .._core.http import operations
from .._core.types.record import RecordList

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._core.catalogue.model import Model
    from .._engine.engine import Engine
    from .._engine.http.request_executor import RequestExecutor

CATALOGUE_TTL: Final = 300.0
"""Seconds for which the catalogue is cached."""


class CatalogueCache:
    """The catalogue that a session has read. Its models use `prices`, which the session learns."""

    def __init__(self, prices: LearnedPrices | None = None) -> None:
        self._prices = prices or LearnedPrices()
        self._lock = asyncio.Lock()
        self.models: Mapping[str, Model] = {}
        """The models by id that were read last, however old they are."""
        self._expires_at = float("-inf")
        self._failure: RivyaError | None = None
        self._failed_at = float("-inf")

    async def read(self, executor: RequestExecutor) -> Mapping[str, Model]:
        """Returns every model by its id. Concurrent callers share one request."""
        loop = asyncio.get_running_loop()
        called_at = loop.time()
        async with self._lock:
            if self._failure is not None and self._failed_at > called_at:
                raise copy_error(self._failure)  # the failed read is the one that this caller waited for
            if called_at >= self._expires_at:
                try:
                    page = await executor.execute(operations.list_models())
                except RivyaError as error:
                    self._failure, self._failed_at = copy_error(error), loop.time()
                    raise
                for model in page.data:
                    bind_prices(model, self._prices)
                self.models = {model.id: model for model in page.data}
                self._expires_at = called_at + CATALOGUE_TTL
        return self.models


class Models:
    """The catalogue of models. Needs no API key."""

    def __init__(self, engine: Callable[[], Engine], cache: CatalogueCache | None = None) -> None:
        self._engine = engine
        self._cache = cache or CatalogueCache()

    async def list(self) -> list[Model]:
        """Returns every model, unavailable ones included, in the service's order.

        The catalogue is cached for five minutes. Concurrent callers share one request. Raises what any read can raise.
        Safe to cancel.
        """
        return RecordList((await self.catalogue()).values())

    async def retrieve(self, model_id: str) -> Model:
        """Returns one model of the catalogue.

        Raises `NotFoundError` with the nearest ids for an unknown id.
        """
        if not isinstance(model_id, str):
            raise ConfigurationError(f"model_id must be a string such as 'z-image', not {model_id!r}")
        catalogue = await self.catalogue()
        if model_id not in catalogue:
            raise NotFoundError(unknown_model_problem(model_id, catalogue).message, code="not_found")
        return catalogue[model_id]

    async def catalogue(self) -> Mapping[str, Model]:
        """Returns every model by its id; see `list`."""
        return await self._cache.read(self._engine().executor)
