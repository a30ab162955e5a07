"""The noun `models`: the catalogue, read once and kept for a while."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from .._core.catalogue.validation import unknown_model_problem
from .._core.errors import ConfigurationError, NotFoundError, RivyaError, copy_error
from .._core.http import operations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._core.catalogue.model import Model
    from .._engine.engine import Engine

TIME_TO_LIVE: Final = 300.0
"""Seconds for which a catalogue that was read is good."""


class Models:
    """The catalogue. Public: no API key is needed."""

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine
        self._lock = asyncio.Lock()
        self._models: dict[str, Model] = {}
        self._good_until = float("-inf")
        self._failure: RivyaError | None = None
        self._failed_at = float("-inf")

    async def list(self) -> list[Model]:
        """Every model, also those that cannot be called yet, in the service's order.

        Read once and kept for five minutes; callers at the same time share one request. Raises what any read can
        raise. Safe to cancel.
        """
        return list((await self.catalogue()).values())

    async def retrieve(self, model_id: str) -> Model:
        """One model of the catalogue.

        Raises `NotFoundError`, with the nearest ids, for a name that it does not hold.
        """
        if not isinstance(model_id, str):
            raise ConfigurationError(f"a model is named by a string, such as 'z-image', not by {model_id!r}")
        catalogue = await self.catalogue()
        if model_id not in catalogue:
            raise NotFoundError(unknown_model_problem(model_id, catalogue).message, code="not_found")
        return catalogue[model_id]

    async def catalogue(self) -> Mapping[str, Model]:
        """Every model by its id; see `list`."""
        engine = self._engine()
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        async with self._lock:
            if self._failure is not None and self._failed_at > asked_at:
                raise copy_error(self._failure)  # of the read that this caller waited for
            if asked_at >= self._good_until:
                try:
                    answer = await engine.executor.execute(operations.list_models())
                except RivyaError as error:
                    self._failure, self._failed_at = copy_error(error), loop.time()
                    raise
                self._models = {model.id: model for model in answer.data}
                self._good_until = asked_at + TIME_TO_LIVE
        return self._models
