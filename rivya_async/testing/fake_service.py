"""A service in memory that sells: what most tests of your own code need of it."""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from .fake_transport import BASE_URL, FakeRequest, FakeResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..sandbox.task import Task

BEGIN: Final = 1_767_225_600.0
"""Epoch seconds at which the first job was ordered: it is always the first of January 2026."""

TAKEN: Final = frozenset({"/api/v1/models", "/api/v1/credits", "/api/v1/generations"})
"""Paths at which another method is the wrong one."""

AS_JSON: Final = {"Content-Type": "application/json"}


class FakeService:
    """For a `FakeTransport`: the sandbox's models, a balance, and jobs that end when they have been looked at.

    A job is queued when it is ordered and has ended by the `looks`-th look, whatever the clock says; one whose prompt
    contains "[fail]" fails, and its `credits` come back. Orders are refused as the sandbox refuses them, a key buys
    once, links give real files. It keeps what `rivya_async.testing.contract` says of models, the balance, failures and
    generations. Whatever else is asked is a 404: for files, chat and webhooks there is the sandbox.

    Where your test wants one thing otherwise, wrap it in a function of yours.

    >>> usual = FakeService(credits=100, looks=1)
    >>> def poor(request):
    ...     if request.method == "POST":
    ...         return FakeResponse.error(402, "insufficient_credits")
    ...     return usual(request)
    >>> async def main(service):
    ...     async with FakeTransport(service).session(poll=PollPolicy(first=0.01, floor=0.01)) as session:
    ...         job = await session.generate("z-image", "A red kite")
    ...         return job.status, await session.credits.retrieve()
    >>> asyncio.run(main(usual))
    ('succeeded', Credits(current_credits=99, extra={}))
    >>> asyncio.run(main(poor))
    Traceback (most recent call last):
    ...
    rivya_async._core.errors.InsufficientCredits: ...
    """

    def __init__(self, *, credits: float = 1_000_000, looks: int = 2) -> None:  # noqa: A002 - the API's own word
        from ..sandbox.catalogue import load_catalogue
        from ..sandbox.results import RenderCache

        if looks < 1:
            raise ValueError(f"looks is a number from 1 on, not {looks!r}: a job is queued when it is ordered")
        self.credits = credits
        self._looks = looks
        self._catalogue = load_catalogue()
        self._render_cache = RenderCache()
        self._tasks: dict[str, Task] = {}
        self._seen: Counter[str] = Counter()
        self._bought: dict[str, tuple[Any, FakeResponse]] = {}

    async def __call__(self, request: FakeRequest) -> FakeResponse:
        """Answer a request."""
        path = request.path.removeprefix(BASE_URL).partition("?")[0]
        match request.method, *path.removeprefix("/").split("/"):
            case "GET", "api", "v1", "models":
                return FakeResponse(body=self._catalogue.listing, headers=AS_JSON)
            case "GET", "api", "v1", "credits":
                return FakeResponse(json={"current_credits": self.credits})
            case "POST", "api", "v1", "generations":
                return self._order(request)
            case "GET", "api", "v1", "generations", task_id if task_id in self._tasks:
                return self._look(self._tasks[task_id])
            case "GET", "results", task_id, name if task_id in self._tasks:
                return await self._file(self._tasks[task_id], name)
        status, code = (405, "method_not_allowed") if path in TAKEN else (404, "not_found")
        return FakeResponse.error(status, code, f"FakeService has no {request.method} {path}.")

    def _order(self, request: FakeRequest) -> FakeResponse:
        try:
            body = request.json
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return FakeResponse.error(400, "validation_failed", "The body must be a JSON object.")
        key = request.idempotency_key
        if key in self._bought:
            before, answer = self._bought[key]
            same = before == body
            return answer if same else FakeResponse.error(409, "idempotency_conflict", "The key had another body.")
        answer = self._buy(body)
        if key is not None and answer.status == HTTPStatus.OK:
            self._bought[key] = body, answer
        return answer

    def _buy(self, body: Mapping[str, Any]) -> FakeResponse:
        from ..sandbox.service_state import FAIL_MARKER
        from ..sandbox.task import Task, encode_generation
        from ..sandbox.validation import validate_generation

        if found := validate_generation(self._catalogue, body):
            return FakeResponse.error(400, "validation_failed", " ".join(found))
        model = self._catalogue.models[body["model"]]
        if self.credits < model.price:
            return FakeResponse.error(402, "insufficient_credits", f"You have {self.credits}.")
        self.credits -= model.price
        number, prompt = len(self._tasks) + 1, body.get("prompt") or ""
        at = BEGIN + number
        task = self._tasks[f"task_{number}"] = Task(
            id=f"task_{number}",
            account_id="",
            model=model.id,
            category=model.category,
            prompt=prompt,
            params=model.filled(body.get("params") or {}),
            seed=number,
            reserved_credits=model.price,
            created_at=at,
            starts_at=at + 1,
            ends_at=at + self._looks,
            failure="The model could not complete this generation." if FAIL_MARKER in prompt else None,
        )
        return FakeResponse(body=encode_generation(task, "queued"), headers=AS_JSON)

    def _look(self, task: Task) -> FakeResponse:
        """Each look is a second of the job's life."""
        from ..sandbox.results import result_urls
        from ..sandbox.task import encode_generation

        self._seen[task.id] += 1
        status = task.status(task.created_at + self._seen[task.id])
        if status == "failed" and self._seen[task.id] == self._looks:
            self.credits += task.reserved_credits
        urls = result_urls(BASE_URL, task, None) if status == "succeeded" else ()
        return FakeResponse(body=encode_generation(task, status, urls), headers=AS_JSON)

    async def _file(self, task: Task, name: str) -> FakeResponse:
        from ..sandbox.responses import ApiError

        try:
            file = await self._render_cache.get(task, name)
        except ApiError as refused:
            return FakeResponse.error(refused.status, refused.code, refused.message)
        return FakeResponse(body=file.data, headers={"Content-Type": file.mime_type})
