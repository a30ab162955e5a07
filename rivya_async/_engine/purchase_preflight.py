"""Steps before a purchase is sent: its idempotency key, validation against the catalogue, and the spend caps."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final

import attrs

from .._core.catalogue.validation import format_problems, unknown_model_problem
from .._core.chat.request import ChatRequest, check_chat_request
from .._core.errors import (
    BadRequestError,
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    RequestNotSentError,
    RivyaError,
    SpendLimitError,
    SubmitTimeoutError,
)
from .._core.generation_request import GenerationRequest
from .._core.http.replays import ReplayDetector
from .._core.idempotency import attach_idempotency_key, validate_key
from .._core.masking import clean_message
from .._core.open_jobs import OpenJobs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from types import TracebackType

    from .._core.catalogue.model import Model
    from .._core.spend import SpendLedger
    from .._core.types.generations import Amount, ValidationProblem


MAX_SUGGESTIONS: Final = 3
"""Maximum number of problems that are added to a refusal of the service."""


class PurchasePreflight:
    """Prepares purchases. Reads `catalogue` only where a check or a price needs it."""

    def __init__(
        self,
        catalogue: Callable[[], Awaitable[Mapping[str, Model]]],
        ledger: SpendLedger,
        *,
        new_key: Callable[[], str],
        known_models: Callable[[], Mapping[str, Model]] = dict,
    ) -> None:
        self.ledger = ledger
        self.open_jobs = OpenJobs()
        self.replays = ReplayDetector()
        self._catalogue = catalogue
        self._new_key = new_key
        self._known_models = known_models

    def idempotency_key(self, key: str | None) -> str:
        """Returns the caller's key, validated, or a new one. Raises `ConfigurationError`."""
        if key is None:
            return self._new_key()
        with attach_idempotency_key(key):
            return validate_key(key)

    async def validate(self, request: GenerationRequest, deadline: float | None = None) -> GenerationRequest:
        """Returns the request with converted params. Raises `InvalidRequestError` with every problem."""
        model = await self._get_model(request.model, deadline)
        request = attrs.evolve(request, params=model.coerce(request.params))
        model.check(request.prompt, request.params, request.references)
        return request

    def suggestions(self, request: GenerationRequest) -> Suggestions:
        """Returns a context that adds the problems of this job, by the catalogue, to a refusal of the service."""
        return Suggestions(self, request)

    def find_problems(self, request: GenerationRequest) -> Iterator[ValidationProblem]:
        """Yields the problems of a job by the catalogue that was read last. Sends nothing."""
        models = self._known_models()
        model = models.get(request.model)
        if model is not None:
            yield from model.problems(request.prompt, request.params, request.references)
        elif models:
            yield unknown_model_problem(request.model, models)

    async def validate_chat(self, request: ChatRequest) -> None:
        """Raises `InvalidRequestError` with every problem of a chat request."""
        check_chat_request(request, await self._read_catalogue())

    async def reserve(
        self, request: GenerationRequest | ChatRequest, key: str, path: str, deadline: float | None = None
    ) -> None:
        """Reserves the price of a purchase before it is sent. Raises `SpendLimitError` where it would pass a cap."""
        job = request.to_priced_job() if isinstance(request, ChatRequest) else request
        price = await self._price(job, deadline) if self.ledger.needs_price(key, path) else None
        self.ledger.reserve(key, price, path, job)

    @contextmanager
    def release_on_error(self, key: str, path: str) -> Iterator[None]:
        """Ends a reservation if the block fails, in which nothing is bought."""
        try:
            yield
        except BaseException:
            self.ledger.release(key, RequestNotSentError("the purchase was not sent"), path)
            raise

    async def _price(self, job: GenerationRequest, deadline: float | None) -> Amount:
        """Returns the highest price that a purchase can have. Raises `SpendLimitError` if it is not known."""
        given = self.ledger.prices.given
        if job.model in given:
            return given[job.model]
        model = await self._get_model(job.model, deadline)
        estimate = model.estimate_credits(job.prompt, job.params, job.references)
        if estimate.max_credits is None:
            raise SpendLimitError(
                f"no cap can be kept: the price of this purchase of {model.id} is {estimate} ({estimate.source}). "
                "Nothing was sent: state the most that a job or a turn can cost by "
                f"RivyaSession(prices={{{model.id!r}: ...}}), or buy one like it without a cap and load the prices of "
                "that session (session.prices)"
            )
        return estimate.max_credits

    async def _get_model(self, model_id: str, deadline: float | None) -> Model:
        catalogue = await self._read_catalogue(deadline)
        if model_id not in catalogue:
            problem = unknown_model_problem(model_id, catalogue)
            raise InvalidRequestError(format_problems(model_id, [problem]), problems=(problem,))
        return catalogue[model_id]

    async def _read_catalogue(self, deadline: float | None = None) -> Mapping[str, Model]:
        """Returns the catalogue, read by a deadline on the loop's clock."""
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


class Suggestions:
    """Context that adds the problems of a job, with the nearest valid names, to a refusal of the service.

    A generator with `contextmanager` would need a third of a KiB per queued purchase.
    """

    __slots__ = ("_preflight", "_request")

    def __init__(self, preflight: PurchasePreflight, request: GenerationRequest) -> None:
        self._preflight = preflight
        self._request = request

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, BadRequestError | NotFoundError):
            problems = tuple(islice(self._preflight.find_problems(self._request), MAX_SUGGESTIONS))
            if problems:
                found = "; ".join(problem.message for problem in problems)
                error.message = clean_message(f"{error.message} By the catalogue, {found}.")
                error.args = (error.message,)
