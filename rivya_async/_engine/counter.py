"""Where a job passes on its way to be bought: checked against the catalogue, and held under the caps of the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .._core.errors import ConfigurationError, NotSent, RivyaError, SpendLimitReached, ValidationFailed
from .._core.model import unknown_model
from .._core.problem import told

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .._core.generation_request import GenerationRequest
    from .._core.model import Model
    from .._core.records import Amount, Generation
    from .._core.spend import Purse


class Counter:
    """Asks `catalogue` only where a check or a price needs it. `prices` come before what the catalogue says."""

    def __init__(
        self, catalogue: Callable[[], Awaitable[Mapping[str, Model]]], purse: Purse, prices: Mapping[str, Amount]
    ) -> None:
        self.purse = purse
        self._catalogue = catalogue
        self._prices = prices

    async def checked(self, job: GenerationRequest) -> GenerationRequest:
        """The job with its params as they must travel. Raises `ValidationFailed` with every problem of it."""
        model = await self._model(job)
        job = attrs.evolve(job, params=model.coerce(job.params))
        model.check(job.prompt, job.params, job.references)
        return job

    async def pay(self, job: GenerationRequest, key: str, purchase: Callable[[], Awaitable[Generation]]) -> Generation:
        """Make the purchase, if the caps allow; its price counts from before it is sent."""
        price = await self._price(job) if self.purse.needs_price(key) else None
        self.purse.hold(key, price)
        try:
            bought = await purchase()
        except BaseException as error:
            self.purse.came_to_nothing(key, error)
            raise
        self.purse.bought(key, bought)
        return bought

    async def _price(self, job: GenerationRequest) -> Amount:
        if job.model in self._prices:
            return self._prices[job.model]
        model = await self._model(job)
        price = model.estimate_credits(job.prompt, job.params, job.references)
        if price is None:
            raise SpendLimitReached(
                f"the catalogue does not say what a job for {model.id} costs ({model.billing_type}), so no cap can be "
                f"held. Nothing was sent: say what it costs at most, by RivyaSession(prices={{{model.id!r}: ...}})"
            )
        return price

    async def _model(self, job: GenerationRequest) -> Model:
        try:
            catalogue = await self._catalogue()
        except ConfigurationError:
            raise
        except RivyaError as error:
            raise NotSent(
                f"the catalogue could not be read, so the job was not sent: {error}", request_id=error.request_id
            ) from error
        if job.model not in catalogue:
            problem = unknown_model(job.model, catalogue)
            raise ValidationFailed(told(job.model, [problem]), problems=(problem,))
        return catalogue[job.model]
