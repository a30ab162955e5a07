"""The other side: the handlers and the state of the sandbox, called without sockets, and the network before them."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import asyncio
import attrs
from multidict import CIMultiDict

from rivya_async._core.errors import OutcomeUnknownError, RequestNotSentError
from rivya_async._core.http.messages import MultipartForm, Request, Response
from rivya_async._core.http.operations import read_generation
from rivya_async.sandbox.api import ROUTES, Api
from rivya_async.sandbox.api_keys import ApiKey, RateLimiter, generate_api_key
from rivya_async.sandbox.catalogue import MODELS_FILE, Catalogue, parse_catalogue
from rivya_async.sandbox.faults.registry import FaultRegistry
from rivya_async.sandbox.media.request import Artifact
from rivya_async.sandbox.request_handler import RequestHandler
from rivya_async.sandbox.request_context import RequestContext
from rivya_async.sandbox.responses import ApiError, ApiResponse, error_body
from rivya_async.sandbox.results import encode_with_links, result_names
from rivya_async.sandbox.router import Router
from rivya_async.sandbox.service_state import ServiceState
from rivya_async.sandbox.task import Task, encode_generation
from rivya_async.testing.virtual_time import EPOCH

from .faults import Fault, FaultPlan
from .simulator import Process, SimulationFailure, Simulator

if TYPE_CHECKING:
    from .invariants import Monitor

BASE_URL: Final = "http://rivya.test"
API_KEY: Final = generate_api_key(0, "simulation")
CREDITS: Final = 1_000_000
PURCHASE: Final = "POST /api/v1/generations"
MODELS: Final = {"z-image": 1, "seedream-4-0": 6, "sora-2": 6, "elevenlabs-sound-effect-v2": 3}
"""The models of the simulated service, with their prices."""

PAGE: Final = b"<html><head><title>Gateway</title></head><body>Something else has answered.</body></html>"
PAGE_STATUSES: Final = (401, 403, 404, 407, 421, 499)
REFUSAL_STATUSES: Final = (400, 413, 415, 422)
SERVER_STATUSES: Final = (500, 502, 503, 504)
RETRY_AFTERS: Final = ("0", "1", "2", "5", "20", "60", "300")
MAX_REPLICA_LAG: Final = 8.0
"""Seconds by which a replica of the service may be behind, less than `NOT_FOUND_GRACE`."""

ODD_BODIES: Final = (
    *(b"null", b"[]", b"{}", b"", b'"ok"', b"7", PAGE, b'{"status": "queued"}', b'{"id": 5, "status": "queued"}'),
    *(b'{"data": {"id": "task_1"}}', b'{"id": "", "status": "queued"}', b'{"id": "task_other", "status": "succeeded"'),
)


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
        return Artifact(self.content(task.id, self.version[task.id]), "image/png", ".png")

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
    """The service: what the sandbox does, at the virtual time of the service's own clock."""

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
        self.api.generations.cache = self.files  # type: ignore[assignment]  # the same interface
        self.api.generations.on_create = self._on_create
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


def to_response(response: ApiResponse) -> Response:
    headers = CIMultiDict({"Content-Type": response.content_type, **response.headers})
    return Response(response.status, headers, response.body)


def page(status: int, **headers: str) -> Response:
    """Returns the page of a gateway."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, CIMultiDict({"Content-Type": "text/html", **named}), PAGE)


def envelope(status: int, code: str, headers: Mapping[str, str] | None = None) -> Response:
    """Returns an error of the API."""
    body = error_body(code, "Rejected.", "req_fault")
    return Response(status, CIMultiDict({"Content-Type": "application/json", **(headers or {})}), body)


class Exchange:
    """One request on its way, and the future of its response."""

    def __init__(self, network: Network, transport: SimulatedTransport, request: Request) -> None:
        self.number = next(network.numbers)
        self.network = network
        self.transport = transport
        self.request = request
        self.future: asyncio.Future[Response] = transport.process.loop.create_future()

    def succeed(self, response: Response, delay: float) -> None:
        self.network.simulator.schedule(self.network.simulator.now + delay, lambda: self._end(response))

    def fail(self, error: Exception, delay: float) -> None:
        self.network.simulator.schedule(self.network.simulator.now + delay, lambda: self._end(error))

    def _end(self, outcome: Response | Exception) -> None:
        if self.future.done() or not self.transport.process.is_alive:
            return
        text = type(outcome).__name__ if isinstance(outcome, Exception) else str(outcome.status)
        self.network.simulator.record("response", self.number, text)
        self.network.monitor.on_response(self.transport, self.request, outcome)
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Network:
    """The way to the service, with latencies, losses and gateways."""

    def __init__(self, simulator: Simulator, service: Service, plan: FaultPlan, monitor: Monitor) -> None:
        self.simulator = simulator
        self.service = service
        self.plan = plan
        self.monitor = monitor
        self.numbers = itertools.count()
        self.outage_until = 0.0
        self._rng = random.Random(f"{simulator.seed}/network")
        self._latency = self._rng.choice([0.001, 0.02, 0.02, 0.1, 0.5])

    def latency(self) -> float:
        return self._rng.lognormvariate(0.0, 0.6) * self._latency

    def begin(self, transport: SimulatedTransport, request: Request) -> Exchange:
        """Sends a request."""
        exchange = Exchange(self, transport, request)
        key = request.idempotency_key
        self.simulator.record("request", exchange.number, transport.process.name, request.method, request.path, key)
        self.monitor.on_request(transport, request)
        exchange.fail(OutcomeUnknownError("the response took too long"), transport.timeout)
        if self.simulator.now < self.outage_until:
            if self._rng.random() < 0.5:
                exchange.fail(RequestNotSentError("refused"), self.latency())
            else:
                exchange.succeed(page(503), self.latency())
            return exchange
        fault = self.plan.of_request(exchange.number)
        if fault is None or not self._apply(fault, exchange):
            self._pass_on(exchange, self.latency())
        return exchange

    def _apply(self, fault: Fault, exchange: Exchange) -> bool:
        """Applies a fault; returns False where it does not fit the request."""
        apply = FAULT_FUNCTIONS.get(fault.kind)
        if apply is None or not apply(self, exchange, fault.value):
            return False
        self.note(fault)
        return True

    def note(self, fault: Fault) -> None:
        self.plan.applied.append(fault)
        self.simulator.coverage[f"fault: {fault.kind}"] += 1
        self.simulator.record("fault", fault.kind)

    def _pass_on(
        self,
        exchange: Exchange,
        delay: float,
        *,
        held: float = 0.0,
        change: Callable[[Response], Response | Exception | None] = lambda response: response,
    ) -> None:
        """Lets the service act after a delay, hold the key, and respond with the changed response, if any."""
        simulator = self.simulator

        def arrive() -> None:
            request = exchange.request
            headers = request.headers(API_KEY, "simulation")
            context, response = self.service.handle(
                request.method, request.path, headers, request.body or b"", exchange.transport
            )
            simulator.record("service", exchange.number, response.status, context.task_id)
            simulator.schedule(simulator.now + held, lambda: finish(context, response))

        def finish(context: RequestContext, response: ApiResponse) -> None:
            self.service.finish(context, response)
            outcome = change(to_response(response))
            if isinstance(outcome, Exception):
                exchange.fail(outcome, self.latency())
            elif outcome is not None:
                exchange.succeed(outcome, self.latency())

        simulator.schedule(simulator.now + delay, arrive)

    # --- downloads ----------------------------------------------------------------------------------------------------

    async def fetch(self, transport: SimulatedTransport, url: str, headers: Mapping[str, str]) -> BodyStream:
        """Requests a file."""
        number = next(self.numbers)
        self.simulator.record("fetch", number, transport.process.name, url, headers.get("Range"))
        fault = self.plan.of_request(number)
        kind, value = ("", 0.0) if fault is None else (fault.kind, fault.value)
        await asyncio.sleep(self.latency())
        if self.simulator.now < self.outage_until or kind == "not sent":
            self._note_download(fault, kind == "not sent")
            raise RequestNotSentError("refused")
        sent = dict(headers)
        if kind == "other file" and urlsplit(url).path.startswith("/results/"):
            self.service.files.version[urlsplit(url).path.split("/")[2]] += 1
        if kind == "ignores If-Range":
            sent.pop("If-Range", None)
        context, answer = self.service.handle("GET", url, sent, b"")
        self.service.finish(context, answer)
        response, limit = to_response(answer), None
        statuses = {"expired link": 403, "5xx": 503, "4xx page": 404, "429": 429, "redirect page": 302}
        if kind in statuses:
            response = page(statuses[kind])
        elif kind == "odd 2xx":
            response = page(200)
        elif kind in {"broken off", "dropped after", "truncated"}:
            limit = int(value * len(response.body))
        if kind in {"other file", "ignores If-Range", *statuses, "odd 2xx", "broken off", "dropped after", "truncated"}:
            self._note_download(fault, True)
        response.headers["Content-Length"] = str(len(response.body))  # type: ignore[index]  # a CIMultiDict
        return BodyStream(self, response, limit, 1 + int(self._rng.random() * 3) * 32_768)

    def _note_download(self, fault: Fault | None, is_applied: bool) -> None:  # noqa: FBT001
        if fault is not None and is_applied:
            self.note(fault)


class BodyStream:
    """The body of a file, in chunks, which may break off after `limit` bytes."""

    def __init__(self, network: Network, response: Response, limit: int | None, chunk_size: int) -> None:
        self.head = attrs.evolve(response, body=b"")
        self._network = network
        self._remaining = response.body if limit is None else response.body[:limit]
        self._breaks_off = limit is not None
        self._chunk_size = max(512, chunk_size)

    async def read(self) -> bytes:
        await asyncio.sleep(self._network.latency() / 10)
        chunk, self._remaining = self._remaining[: self._chunk_size], self._remaining[self._chunk_size :]
        if not chunk and self._breaks_off:
            raise OutcomeUnknownError("the connection was lost")
        return chunk


class SimulatedTransport:
    """The transport of one session."""

    max_connections = 1_000

    def __init__(self, network: Network, process: Process, timeout: float) -> None:
        self._network = network
        self.process = process
        self.timeout = timeout
        self.in_flight = 0
        self.is_closed = False
        self._exchanges: dict[Exchange, None] = {}

    async def send(self, request: Request) -> Response:
        assert not self.is_closed, "a request over a closed transport"
        self.in_flight += 1
        exchange = self._network.begin(self, request)
        self._exchanges[exchange] = None
        try:
            return await exchange.future
        except asyncio.CancelledError:
            self._network.monitor.on_cancelled(
                self, request, was_answered=exchange.future.done() and not exchange.future.cancelled()
            )
            raise
        finally:
            self.in_flight -= 1
            del self._exchanges[exchange]

    @asynccontextmanager
    async def fetch(self, url: str, headers: Mapping[str, str], *, only_public: bool) -> AsyncIterator[BodyStream]:  # noqa: ARG002
        assert not self.is_closed, "a request over a closed transport"
        self.in_flight += 1
        try:
            yield await self._network.fetch(self, url, headers)
        finally:
            self.in_flight -= 1

    def stream(self, request: Request) -> Any:
        raise NotImplementedError(request)

    async def upload(self, request: Request, form: MultipartForm, file: AsyncIterator[bytes]) -> Response:
        raise NotImplementedError(request, form, file)

    async def aclose(self) -> None:
        self.is_closed = True
        for exchange in self._exchanges:
            if not exchange.future.done():
                exchange.future.set_exception(OutcomeUnknownError("the session was closed"))

    def abandon(self) -> None:
        self.is_closed = True


# --- faults of requests -----------------------------------------------------------------------------------------------


def _choose(options: Any, value: float) -> Any:
    return options[int(value * len(options))]


def _error(kind: type[Exception]) -> Callable[[Network, Exchange, float], bool]:
    def apply(network: Network, exchange: Exchange, value: float) -> bool:
        exchange.fail(kind("the network has failed"), value * network.latency())
        return True

    return apply


def _answer(response: Callable[[float], Response]) -> Callable[[Network, Exchange, float], bool]:
    """The response of a gateway that passes nothing on."""

    def apply(network: Network, exchange: Exchange, value: float) -> bool:
        exchange.succeed(response(value), network.latency())
        return True

    return apply


def _change(
    change: Callable[[Response, float], Response | Exception | None],
) -> Callable[[Network, Exchange, float], bool]:
    """A change of the response after the service has acted."""

    def apply(network: Network, exchange: Exchange, value: float) -> bool:
        network._pass_on(exchange, network.latency(), change=lambda response: change(response, value))
        return True

    return apply


def _silence(network: Network, exchange: Exchange, value: float) -> bool:
    return True  # until the timeout


def _slow(network: Network, exchange: Exchange, value: float) -> bool:
    network._pass_on(exchange, 2 * value * exchange.transport.timeout)  # it may arrive after the timeout
    return True


def _slow_response(network: Network, exchange: Exchange, value: float) -> bool:
    network._pass_on(exchange, network.latency(), held=1.5 * value * exchange.transport.timeout)
    return True


def _duplicated(network: Network, exchange: Exchange, value: float) -> bool:
    """A second copy of the request arrives later. That of a rejected one would buy what the client knows as unbought."""
    copy = Exchange(network, exchange.transport, exchange.request)

    def change(response: Response) -> Response:
        if response.is_success:
            network._pass_on(copy, value * 30.0, change=lambda _: None)
        return response

    network._pass_on(exchange, network.latency(), change=change)
    return True


def _retry_after(value: float) -> Response:
    return envelope(429, "rate_limited", {"Retry-After": _choose(RETRY_AFTERS, value)})


def _retry_after_date(network: Network, exchange: Exchange, value: float) -> bool:
    if value < 0.7:
        return _answer(lambda rest: _retry_after(rest / 0.7))(network, exchange, value)
    now = network.service.now()
    headers = {"Date": formatdate(now, usegmt=True), "Retry-After": formatdate(now + 100 * (value - 0.7), usegmt=True)}
    exchange.succeed(envelope(429, "rate_limited", headers), network.latency())
    return True


def _server_error(value: float) -> Response:
    status = _choose(SERVER_STATUSES, value)
    return page(status) if value * 100 % 1 < 0.5 else envelope(status, "internal_error")


def _odd_body(response: Response, value: float) -> Response:
    return attrs.evolve(response, status=200, body=_choose(ODD_BODIES, value))


def _truncated(response: Response, value: float) -> Response:
    return attrs.evolve(response, body=response.body[: int(value * len(response.body))])


def _unknown_members(response: Response, value: float) -> Response:
    record = json.loads(response.body)
    odd: Mapping[str, Any] = _choose(
        [{"created_at": 7}, {"updated_at": "soon"}, {"error": "none"}, {"new": {"a": [1]}}, {"result": "later"}], value
    )
    if "result" in odd and record.get("status") == "succeeded":
        odd = {"priority": None}
    return attrs.evolve(response, body=json.dumps({**record, **odd}).encode())


def _task_of(network: Network, exchange: Exchange) -> Task | None:
    request = exchange.request
    return network.service.state.tasks.get(request.path.rpartition("/")[2]) if request.method == "GET" else None


def _stale_read(network: Network, exchange: Exchange, value: float) -> bool:
    task = _task_of(network, exchange)
    if task is None:
        return False
    at = max(task.created_at, network.service.now() - value * MAX_REPLICA_LAG)
    body = network.service.read(task, at)
    exchange.succeed(Response(200, CIMultiDict({"Content-Type": "application/json"}), body), network.latency())
    return True


def _not_found_yet(network: Network, exchange: Exchange, value: float) -> bool:
    task = _task_of(network, exchange)
    if task is None or network.service.now() - task.created_at > MAX_REPLICA_LAG - network._latency * 4:
        return False
    exchange.succeed(envelope(404, "not_found"), network.latency())
    return True


FAULT_FUNCTIONS: Final[Mapping[str, Callable[[Network, Exchange, float], bool]]] = {
    "not sent": _error(RequestNotSentError),
    "dropped before": _error(OutcomeUnknownError),
    "dropped after": _change(lambda _, __: OutcomeUnknownError("the connection was lost")),
    "silent before": _silence,
    "silent after": _change(lambda _, __: None),
    "slow": _slow,
    "slow response": _slow_response,
    "duplicated": _duplicated,
    "429": _answer(lambda _: envelope(429, "rate_limited")),
    "429 with Retry-After": _retry_after_date,
    "429 page": _answer(lambda _: page(429)),
    "4xx page": _answer(lambda value: page(_choose(PAGE_STATUSES, value))),
    "4xx page after": _change(lambda _, value: page(_choose(PAGE_STATUSES, value))),
    "refused by a page": _answer(lambda value: page(_choose(REFUSAL_STATUSES, value))),
    "5xx": _answer(_server_error),
    "5xx after": _change(lambda _, value: _server_error(value)),
    "503 disabled": _answer(lambda _: envelope(503, "public_api_disabled")),
    "408 or 425": _answer(lambda value: page(408 if value < 0.5 else 425)),
    "redirect page": _answer(lambda _: page(302, Location="https://login.test/")),
    "odd 2xx": _change(_odd_body),
    "truncated": _change(_truncated),
    "unknown members": _change(
        lambda response, value: _unknown_members(response, value) if response.is_success else response
    ),
    "stale read": _stale_read,
    "not found yet": _not_found_yet,
}


# --- webhooks ---------------------------------------------------------------------------------------------------------


class Webhooks:
    """The deliveries of the service: the end of each task, to the receivers of all processes."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._simulator = network.simulator
        self._numbers = itertools.count()
        self._rng = random.Random(f"{network.simulator.seed}/webhooks")
        self.receivers: dict[Process, Callable[[Any], object]] = {}
        network.service.on_create.append(self._on_create)

    def _on_create(self, task: Task) -> None:
        fault = self._network.plan.of_webhook(next(self._numbers))
        kind, value = ("", 0.0) if fault is None else (fault.kind, fault.value)
        if fault is not None:
            self._network.note(fault)
        delay = {"webhook late": value * 60.0, "webhook at once": 0.0}.get(kind, self._network.latency())
        if kind == "webhook of an older state":
            self._deliver_at(task, task.created_at, delay + value * 20.0, encode_generation(task, "queued"))
        if kind == "webhook without links":
            record = json.loads(self._network.service.read(task, task.ends_at))
            self._deliver_at(task, task.ends_at, delay, json.dumps({**record, "result": None}).encode())
        elif kind != "webhook lost":
            for copy in range(2 if kind == "webhook doubled" else 1):
                self._deliver_at(task, task.ends_at, delay + copy * value * 10.0, None)

    def _deliver_at(self, task: Task, ended_at: float, delay: float, body: bytes | None) -> None:
        """Delivers the record once the service's clock has reached the end, and `delay` seconds have passed."""

        def deliver() -> None:
            late_by = ended_at - self._network.service.now()
            if late_by > 0:  # the clock of the service was set back
                self._simulator.schedule(self._simulator.now + late_by + delay, deliver)
                return
            record = body or self._network.service.read(task, task.ends_at)
            generation = read_generation(Response(200, CIMultiDict(), record))
            self._simulator.record("webhook", task.id, generation.status)
            self._network.monitor.on_webhook(generation)
            for process, receive in list(self.receivers.items()):
                if process.is_alive:
                    process.loop.call_soon(receive, generation)

        due = self._simulator.now + max(0.0, ended_at - self._network.service.now()) + delay
        self._simulator.schedule(due, deliver)
