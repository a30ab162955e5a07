"""The network before the service: latencies, losses, gateways, and the transport of a session."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from rivya_async._core.errors import OutcomeUnknownError, RequestNotSentError
from rivya_async._core.http.messages import MultipartForm, Request, Response
from rivya_async.sandbox.request_context import RequestContext
from rivya_async.sandbox.responses import ApiResponse

from .faults import Fault, FaultPlan
from .request_faults import FAULT_FUNCTIONS, page, to_response
from .service import API_KEY, Service
from .simulator import Process, Simulator

if TYPE_CHECKING:
    from .invariants import Monitor


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
        self._download_numbers = itertools.count()
        self.outage_until = 0.0
        self._rng = random.Random(f"{simulator.seed}/network")
        self._latency = self._rng.choice([0.001, 0.02, 0.02, 0.1, 0.5])

    def copy(self, exchange: Exchange) -> Exchange:
        """Returns a second request like this one."""
        return Exchange(self, exchange.transport, exchange.request)

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
        number = next(self._download_numbers)
        self.simulator.record("fetch", number, transport.process.name, url, headers.get("Range"))
        fault = self.plan.of_download(number)
        kind, value = ("", 0.0) if fault is None else (fault.kind, fault.value)
        if fault is not None:
            self.note(fault)
        await asyncio.sleep(self.latency())
        if self.simulator.now < self.outage_until or kind == "file not sent":
            raise RequestNotSentError("refused")
        task_id, sent = urlsplit(url).path.split("/")[2], dict(headers)
        if kind.startswith("file changed"):
            self.service.files.version[task_id] += 1
        if kind == "file changed, If-Range ignored":
            sent.pop("If-Range", None)
        context, answer = self.service.handle("GET", url, sent, b"")
        self.service.finish(context, answer)
        response = to_response(answer)
        if kind == "file link expired":
            response = page(403)
        elif kind == "file 4xx or 5xx":
            response = page((404, 429, 500, 503)[int(value * 4)])
        elif kind == "file page":
            response = page(200)
        response.headers["Content-Length"] = str(len(response.body))  # type: ignore[index]  # a CIMultiDict
        limit = int(value * len(response.body)) if kind == "file broken off" else None
        return BodyStream(self, response, limit, 1 + int(self._rng.random() * 3) * 32_768)


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
    async def fetch(self, url: str, headers: Mapping[str, str], *, only_public: bool) -> AsyncIterator[BodyStream]:
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
