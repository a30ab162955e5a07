"""The service: the handlers and the state of the sandbox, called without sockets, at the time of its own clock."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import attrs
from multidict import CIMultiDict

from rivya_async.sandbox.api import ROUTES, Api
from rivya_async.sandbox.api_keys import ApiKey, RateLimiter, generate_api_key
from rivya_async.sandbox.catalogue import MODELS_FILE, Catalogue, parse_catalogue
from rivya_async.sandbox.faults.registry import FaultRegistry
from rivya_async.sandbox.media.request import Artifact
from rivya_async.sandbox.request_context import RequestContext, Router
from rivya_async.sandbox.request_handler import RequestHandler
from rivya_async.sandbox.responses import ApiError, ApiResponse
from rivya_async.sandbox.results import encode_with_links, result_names
from rivya_async.sandbox.service_state import ServiceState, Task
from rivya_async.testing.virtual_time import EPOCH

from .simulator import SimulationFailure, Simulator

if TYPE_CHECKING:
    from .network import SimulatedTransport

BASE_URL: Final = "http://rivya.test"
API_KEY: Final = generate_api_key(0, "simulation")
CREDITS: Final = 1_000_000
PURCHASE: Final = "POST /api/v1/generations"
MODELS: Final = {"z-image": 1, "seedream-4-0": 6, "sora-2": 6, "elevenlabs-sound-effect-v2": 3}
"""The models of the simulated service, with their prices."""


@cache
def _catalogue() -> Catalogue:
    """Returns the catalogue of the package with a few models: a session reads it after each start."""
    facts = json.loads(MODELS_FILE.read_text(encoding="utf-8"))
    return parse_catalogue({**facts, "data": [entry for entry in facts["data"] if entry["id"] in MODELS]})


class _IncomingRequest:
    """A request with the members of aiohttp's that the handlers of the sandbox use."""

    can_read_body = False
    transport = None

    def __init__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
        parts = urlsplit(url)
        self.method, self.path, self.headers, self._body = method, parts.path, CIMultiDict(headers), body
        self.query = dict(parse_qsl(parts.query))

    async def read(self) -> bytes:
        return self._body

    @property
    def http_range(self) -> slice:
        return slice(int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")), None, 1)


class _Files:
    """The result files, in place of the rendered ones: random bytes behind the signature of a PNG."""

    def __init__(self, seed: int, sizes: random.Random) -> None:
        self._seed = seed
        self._sizes = sizes
        self._size_of: dict[str, int] = {}
        self.version: Counter[str] = Counter()

    async def get(self, task: Task, name: str) -> Artifact:
        if name not in result_names(task):
            raise ApiError("not_found", "This task has no such file.")
        return Artifact(self.content(task.id, self.version[task.id]), "image/png")

    def content(self, task_id: str, version: int) -> bytes:
        """Returns the bytes of one version of the file. All versions have the same length."""
        if task_id not in self._size_of:
            choices = [400, 5_000, 70_000, 70_000, 200_000, 1_300_000]
            self._size_of[task_id] = self._sizes.choices(choices, [4, 6, 6, 2, 2, 1])[0]
        content = random.Random(f"{self._seed}/{task_id}/{version}").randbytes(self._size_of[task_id])
        return b"\x89PNG\r\n\x1a\n" + content


@attrs.frozen
class Purchase:
    task: Task
    key: str | None
    at: float
    """The virtual time of the purchase."""
    sender: SimulatedTransport | None


class Service:
    """The service: the sandbox's handlers and state, at the virtual time of the service's own clock."""

    def __init__(
        self,
        simulator: Simulator,
        *,
        speed: float,
        failure_rate: float,
        rate_limit: int | None = None,
        rate_window: float = 60.0,
        jobs_limit: int | None = None,
        link_lifetime: float | None = None,
    ) -> None:
        self._simulator = simulator
        self.clock_offset = 0.0
        state = ServiceState(seed=simulator.seed, speed=speed, failure_rate=failure_rate, link_lifetime=link_lifetime)
        state.base_url = BASE_URL
        state.create_account("main", CREDITS)
        state.save_key(ApiKey(API_KEY, "main"))
        self.state = state
        with mock.patch("rivya_async.sandbox.api.load_catalogue", _catalogue):
            self.api = Api(state)
        self.files = _Files(simulator.seed, random.Random(f"{simulator.seed}/sizes"))
        self.api.result_cache = self.files  # type: ignore[assignment]  # the same interface
        self.api.webhooks.schedule_event = self._on_create  # type: ignore[method-assign]  # sent by `webhooks.py`
        self.on_create: list[Callable[[Task], None]] = []
        faults = FaultRegistry([route.name for route in ROUTES])
        self._handler = RequestHandler(self.api, faults, RateLimiter(rate_limit, rate_window), self.now)
        self._router = Router(ROUTES)
        self._jobs_limit = jobs_limit
        self.purchases: dict[str, Purchase] = {}

    def now(self) -> float:
        return EPOCH + self._simulator.now + self.clock_offset

    def _on_create(self, task: Task) -> None:
        for listener in self.on_create:
            listener(task)

    def handle(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        sender: SimulatedTransport | None = None,
    ) -> tuple[RequestContext, ApiResponse]:
        """Acts on a request. Its idempotency key stays in use until `finish`."""
        request: Any = _IncomingRequest(method, url, headers, body)
        route, params = self._router.resolve(method, request.path)
        context = RequestContext(request, route, params, self.now(), request.headers.get("Idempotency-Key"))
        self.api.request_log.record_arrival(None if route is None else route.name, method, context.idempotency_key)
        if self._is_full(context):
            response = ApiError("rate_limited", "Too many jobs are running.").to_response("req_full")
        else:
            response = _run(self._handler._process(context))
        if response.status == 500:
            raise SimulationFailure("the sandbox does not fail", response.body.decode())
        if route is not None and route.name == PURCHASE and response.status == 200 and not context.is_replay:
            assert context.task_id is not None
            task = self.state.tasks[context.task_id]
            self.purchases[task.id] = Purchase(task, context.idempotency_key, self._simulator.now, sender)
        return context, response

    def finish(self, context: RequestContext, response: ApiResponse) -> None:
        """Ends a request: its key is free again, with the response stored."""
        route = None if context.route is None else context.route.name
        self._handler._finish(context, route, self._simulator.now, response.status)

    def _is_full(self, context: RequestContext) -> bool:
        if self._jobs_limit is None or context.route is None or context.route.name != PURCHASE:
            return False
        is_known = any(purchase.key == context.idempotency_key for purchase in self.purchases.values())
        running = sum(task.ends_at > context.now for task in self.state.tasks.values())
        return running >= self._jobs_limit and not is_known

    def read(self, task: Task, at: float) -> bytes:
        """Returns the record of a task as it was at a time of the service's clock."""
        return encode_with_links(self.state, task, at)

    def request_log_duplicates(self) -> Mapping[str, int]:
        return self.api.request_log.duplicate_purchases


def _run(coroutine: Coroutine[Any, Any, ApiResponse]) -> ApiResponse:
    """Returns the result of a handler, which never waits: the state is in memory."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        response: ApiResponse = end.value
        return response
    raise SimulationFailure("the sandbox does not fail", "a handler waits for something")
