"""An in-memory service with models, credits and generations, as a handler for `FakeTransport`."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from .._core.public_module import set_public_module
from .fake_transport import BASE_URL, FakeRequest, FakeResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..sandbox.service_state import Task

START_TIME: Final = 1_767_225_600.0
"""Creation time of the first generation, in seconds since 1970: 1 January 2026."""

ROUTES: Final = frozenset({"/api/v1/models", "/api/v1/credits", "/api/v1/generations"})
"""Paths that return 405 for other methods."""

JSON_HEADERS: Final = {"Content-Type": "application/json"}


class FakeService:
    """A handler for `FakeTransport` with the sandbox's models, a credit balance and generations.

    A generation ends at its poll number `polls_until_done`, independent of the clock. A prompt with "[fail]" fails and
    its credits are returned. Invalid requests are rejected as in the sandbox, a repeated idempotency key returns the
    first response, and result URLs return real files. All other routes return 404: use the sandbox for files, chat and
    webhooks. Wrap the service in a function to change single responses.

    >>> service = FakeService(credits=100, polls_until_done=1)
    >>> def without_credits(request):
    ...     if request.method == "POST":
    ...         return FakeResponse.error(402, "insufficient_credits")
    ...     return service(request)
    >>> async def main(handler):
    ...     async with FakeTransport(handler).session() as session:
    ...         job = await session.generate("z-image", "A red kite")
    ...         return job.status, await session.credits.retrieve()
    >>> asyncio.run(main(service))
    ('succeeded', Credits(current_credits=99, extra={}))
    >>> asyncio.run(main(without_credits))
    Traceback (most recent call last):
    ...
    rivya_async.InsufficientCreditsError: ...
    """

    def __init__(self, *, credits: float = 1_000_000, polls_until_done: int = 2) -> None:  # noqa: A002 - the API's own word
        from ..sandbox.catalogue import load_catalogue
        from ..sandbox.results import RenderCache

        if polls_until_done < 1:
            raise ValueError(f"polls_until_done must be at least 1, not {polls_until_done!r}.")
        self.credits = credits
        """Balance of the account in credits."""
        self._polls_until_done = polls_until_done
        self._catalogue = load_catalogue()
        self._results = RenderCache()
        self._tasks: dict[str, Task] = {}
        self._polls: Counter[str] = Counter()
        self._purchases: dict[str, tuple[Any, FakeResponse]] = {}

    async def __call__(self, request: FakeRequest) -> FakeResponse:
        """Handles a request."""
        path = request.path.removeprefix(BASE_URL).partition("?")[0]
        match request.method, *path.removeprefix("/").split("/"):
            case "GET", "api", "v1", "models":
                return FakeResponse(body=self._catalogue.listing, headers=JSON_HEADERS)
            case "GET", "api", "v1", "credits":
                return FakeResponse(json={"current_credits": self.credits})
            case "POST", "api", "v1", "generations":
                return self._create_generation(request)
            case "GET", "api", "v1", "generations", task_id if task_id in self._tasks:
                return self._poll(self._tasks[task_id])
            case "GET", "results", task_id, name if task_id in self._tasks:
                return await self._fetch_result(self._tasks[task_id], name)
        status, code = (405, "method_not_allowed") if path in ROUTES else (404, "not_found")
        return FakeResponse.error(status, code, f"FakeService has no {request.method} {path}.")

    def _create_generation(self, request: FakeRequest) -> FakeResponse:
        try:
            body = request.json
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return FakeResponse.error(400, "validation_failed", "The body must be a JSON object.")
        key = request.idempotency_key
        if key in self._purchases:
            first_body, response = self._purchases[key]
            if body != first_body:
                return FakeResponse.error(409, "idempotency_conflict", "The key was used with another body.")
            return response
        response = self._purchase(body)
        if key is not None and response.status == HTTPStatus.OK:
            self._purchases[key] = body, response
        return response

    def _purchase(self, body: Mapping[str, Any]) -> FakeResponse:
        from ..sandbox.service_state import FAIL_MARKER, FAILURE, Task
        from ..sandbox.validation import validate_generation

        if found := validate_generation(self._catalogue, body):
            return FakeResponse.error(400, "validation_failed", " ".join(found))
        model = self._catalogue.models[body["model"]]
        price = model.price_of(body.get("params") or {})
        if self.credits < price:
            return FakeResponse.error(402, "insufficient_credits", f"You have {self.credits}.")
        self.credits -= price
        number, prompt = len(self._tasks) + 1, body.get("prompt") or ""
        created_at = START_TIME + number
        task = self._tasks[f"task_{number}"] = Task(
            id=f"task_{number}",
            account_id="",
            model=model.id,
            category=model.category,
            prompt=prompt,
            params=model.filled(body.get("params") or {}),
            seed=number,
            reserved_credits=price,
            created_at=created_at,
            starts_at=created_at + 1,
            ends_at=created_at + self._polls_until_done,
            failure=FAILURE if FAIL_MARKER in prompt else None,
        )
        return FakeResponse(body=task.encode("queued"), headers=JSON_HEADERS)

    def _poll(self, task: Task) -> FakeResponse:
        """Returns the generation; each poll advances it by one second."""
        from ..sandbox.results import result_urls

        self._polls[task.id] += 1
        status = task.status(task.created_at + self._polls[task.id])
        if status == "failed" and self._polls[task.id] == self._polls_until_done:
            self.credits += task.reserved_credits
        urls = result_urls(BASE_URL, task, None) if status == "succeeded" else ()
        return FakeResponse(body=task.encode(status, urls), headers=JSON_HEADERS)

    async def _fetch_result(self, task: Task, name: str) -> FakeResponse:
        from ..sandbox.responses import ApiError

        try:
            file = await self._results.get(task, name)
        except ApiError as error:
            return FakeResponse.error(error.status, error.code, error.message)
        return FakeResponse(body=file.data, headers={"Content-Type": file.mime_type})


set_public_module("rivya_async.testing", FakeService)
