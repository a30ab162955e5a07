"""Where a purchase passes on its way: checked against the catalogue, and held under the caps of the session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

from .._core.catalogue.validation import format_problems, unknown_model_problem
from .._core.chat.request import ChatRequest, check_chat_request
from .._core.errors import (
    ConfigurationError,
    RequestNotSentError,
    RivyaError,
    SpendLimitError,
    SubmitTimeoutError,
    ValidationFailed,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .._core.catalogue.model import Model
    from .._core.generation_request import GenerationRequest
    from .._core.spend import SpendLedger
    from .._core.types.generations import Amount


class PurchasePreflight:
    """Asks `catalogue` only where a check or a price needs it. `prices` come before what the catalogue says."""

    def __init__(
        self, catalogue: Callable[[], Awaitable[Mapping[str, Model]]], purse: SpendLedger, prices: Mapping[str, Amount]
    ) -> None:
        self.ledger = purse
        self._catalogue = catalogue
        self._prices = prices

    async def validate(self, job: GenerationRequest, deadline: float | None = None) -> GenerationRequest:
        """The job with its params as they must travel. Raises `ValidationFailed` with every problem of it."""
        model = await self._get_model(job.model, deadline)
        job = attrs.evolve(job, params=model.coerce(job.params))
        model.check(job.prompt, job.params, job.references)
        return job

    async def validate_chat(self, turn: ChatRequest) -> None:
        """Raise `ValidationFailed` with every problem of a message."""
        check_chat_request(turn, await self._read_catalogue())

    async def reserve(
        self, order: GenerationRequest | ChatRequest, key: str, path: str, deadline: float | None = None
    ) -> None:
        """Count the price of a purchase before it is sent, if the caps allow. What came of it is told to the purse."""
        price = await self._price(order, deadline) if self.ledger.needs_price(key, path) else None
        self.ledger.reserve(key, price, path)

    async def _price(self, order: GenerationRequest | ChatRequest, deadline: float | None) -> Amount:
        if order.model in self._prices:
            return self._prices[order.model]
        model = await self._get_model(order.model, deadline)
        if isinstance(order, ChatRequest):
            price = model.estimate_credits(order.message)
        else:
            price = model.estimate_credits(order.prompt, order.params, order.references)
        if price is None:
            raise SpendLimitError(
                f"the catalogue does not say what {model.id} costs ({model.billing_type}), so no cap can be held. "
                "Nothing was sent: say what a job or a turn costs at most, by "
                f"RivyaSession(prices={{{model.id!r}: ...}})"
            )
        return price

    async def _get_model(self, model_id: str, deadline: float | None) -> Model:
        catalogue = await self._read_catalogue(deadline)
        if model_id not in catalogue:
            problem = unknown_model_problem(model_id, catalogue)
            raise ValidationFailed(format_problems(model_id, [problem]), problems=(problem,))
        return catalogue[model_id]

    async def _read_catalogue(self, deadline: float | None = None) -> Mapping[str, Model]:
        """The catalogue, by a deadline on the loop's clock."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self._catalogue()
        except TimeoutError:
            raise SubmitTimeoutError("the deadline passed while the catalogue was read: nothing was bought") from None
        except ConfigurationError:
            raise
        except RivyaError as error:
            raise RequestNotSentError(
                f"the catalogue could not be read, so nothing was bought: {error}", request_id=error.request_id
            ) from error
