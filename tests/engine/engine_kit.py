"""Helpers for tests of the engine: a scripted transport, a fake service, and functions that create records."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

import attrs

from rivya_async._core.config import Config
from rivya_async._core.errors import OutcomeUnknownError, RequestNotSentError
from rivya_async._core.generation_request import GenerationRequest
from rivya_async._core.http.messages import MultipartForm, Request, Response
from rivya_async._core.http.operations import Operation, create_generation, retrieve_generation
from rivya_async._core.policies import PollPolicy, RateLimit, RetryPolicy
from rivya_async._core.polling.adaptive.duration_estimator import DurationEstimator
from rivya_async._core.spend import SpendLedger
from rivya_async._core.types.generations import Generation
from rivya_async._engine.engine import Engine
from rivya_async._engine.environment import Environment
from rivya_async._engine.hooks import Hooks
from rivya_async._engine.http.transport import StreamingResponse
from rivya_async._engine.purchase_preflight import PurchasePreflight
from rivya_async.resources.generations import Generations
from rivya_async.resources.job_operations import JobOperations
from rivya_async.resources.models import Models
from tests.engine.virtual_time import now, settle

Reply = Response | BaseException
ResponseFunction = Callable[[Request], Reply | Awaitable[Reply]]

DAY: Final = datetime(2026, 5, 11, 8, tzinfo=UTC)
JOB: Final = GenerationRequest("z-image", "A red kite")
CONFIG: Final = Config(api_key="rvya_sk_test", base_url="http://service.test")


# --- answers ----------------------------------------------------------------------------------------------------------


def ok(**members: Any) -> Response:
    return Response(200, {}, json.dumps(members).encode())


def error_response(status: int, code: str | None = None, **headers: str) -> Response:
    """Returns an error response of the service. `Retry_After="3"` adds a header."""
    error = {"code": code, "message": f"no: {status}", "requestId": "req_1"}
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, _error_body(error))


def _error_body(error: Mapping[str, Any]) -> bytes:
    return json.dumps({"error": error}).encode()


def job_response(task_id: str, status: str = "queued", at: float | None = None, **members: Any) -> Response:
    """Returns a response with a record. `at` is its `updated_at` in seconds after `DAY`."""
    updated = {} if at is None else {"updated_at": (DAY + timedelta(seconds=at)).isoformat()}
    result = {"result": {"primary_url": f"http://files.test/{task_id}"}} if status == "succeeded" else {}
    return ok(**{"id": task_id, "status": status, "model": "z-image", **updated, **result, **members})


def record(task_id: str, status: str = "queued", at: float | None = None) -> Generation:
    return Generation(task_id, status, "z-image", updated_at=None if at is None else DAY + timedelta(seconds=at))


TRANSIENT: Final[Mapping[str, Reply]] = {
    "not sent": RequestNotSentError("refused"),
    "outcome unknown": OutcomeUnknownError("dropped"),
    "408": error_response(408),
    "425": error_response(425),
    "429": error_response(429, "rate_limited"),
    "429 bare": Response(429, {}, b""),
    "500": error_response(500, "internal_error"),
    "502 with a page": Response(502, {}, b"<html>Bad Gateway</html>"),
    "503": error_response(503, "public_api_disabled"),
    "504": Response(504, {}, b""),
}


# --- the transport ----------------------------------------------------------------------------------------------------


@attrs.frozen
class ReceivedRequest:
    method: str
    path: str
    key: str | None
    at: float
    body: bytes | None


class ScriptedTransport:
    """A transport that calls one function for each request, and records the requests."""

    def __init__(self, answer: ResponseFunction, *, latency: float = 0.0) -> None:
        self.answer = answer
        self.latency = latency
        self.received: list[ReceivedRequest] = []
        self.in_flight = 0
        self.peak = 0
        self.cancelled = 0
        self.closed = False

    async def send(self, request: Request) -> Response:
        assert not self.closed, "sent over a closed transport"
        sent = ReceivedRequest(request.method, request.path, request.idempotency_key, now(), request.body)
        self.received.append(sent)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            reply = self.answer(request)
            if inspect.isawaitable(reply):
                reply = await reply
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1
        if isinstance(reply, BaseException):
            raise _copy_error(reply)
        return reply

    @property
    def max_connections(self) -> int:
        return 1_000_000

    def fetch(
        self, url: str, headers: Mapping[str, str], *, only_public: bool
    ) -> AbstractAsyncContextManager[StreamingResponse]:
        raise NotImplementedError

    def stream(self, request: Request) -> AbstractAsyncContextManager[StreamingResponse]:
        raise NotImplementedError

    async def upload(self, request: Request, form: MultipartForm, file: AsyncIterator[bytes]) -> Response:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.closed = True

    def abandon(self) -> None:
        self.closed = True

    @property
    def polls(self) -> list[ReceivedRequest]:
        return [sent for sent in self.received if sent.method == "GET"]

    @property
    def purchases(self) -> list[ReceivedRequest]:
        return [sent for sent in self.received if sent.method == "POST"]

    @property
    def keys(self) -> list[str | None]:
        return [sent.key for sent in self.purchases]

    @property
    def times(self) -> list[float]:
        return [sent.at for sent in self.received]


def _copy_error(error: BaseException) -> BaseException:
    """Returns a new exception for each failure, as a network does."""
    return type(error)(*error.args)


def scripted_transport(*replies: Reply, latency: float = 0.0) -> ScriptedTransport:
    """Returns a transport that sends the replies in turn, and repeats the last one."""
    left = list(replies)
    return ScriptedTransport(lambda _: left.pop(0) if len(left) > 1 else left[0], latency=latency)


async def no_response(_: Request) -> Reply:
    """Never responds."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable")


# --- the service ------------------------------------------------------------------------------------------------------


class Service:
    """A service whose jobs take `duration` seconds. It replays responses by key. With `is_down` it responds 503."""

    def __init__(self, duration: float = 10.0, *, latency: float = 0.1) -> None:
        self.duration = duration
        self.transport = ScriptedTransport(self._answer, latency=latency)
        self.is_down = False
        self.sold: dict[str, str] = {}
        self.ends_at: dict[str, float] = {}
        self._ids = count(1)

    def sell(self, task_id: str | None = None, duration: float | None = None) -> str:
        """Creates a job that another session submitted."""
        task_id = task_id or f"task_{next(self._ids)}"
        self.ends_at[task_id] = now() + (self.duration if duration is None else duration)
        return task_id

    def _answer(self, request: Request) -> Reply:
        if self.is_down:
            return error_response(503)
        if request.method == "POST":
            assert request.idempotency_key is not None
            if request.idempotency_key not in self.sold:
                self.sold[request.idempotency_key] = self.sell()
            return job_response(self.sold[request.idempotency_key])
        task_id = request.path.rpartition("/")[2]
        if task_id not in self.ends_at:
            return error_response(404, "not_found")
        return job_response(task_id, "succeeded" if now() >= self.ends_at[task_id] else "processing")


# --- the engine -------------------------------------------------------------------------------------------------------


def create_engine(
    transport: ScriptedTransport,
    *,
    retry: RetryPolicy | None = None,
    hooks: Sequence[Hooks] = (),
    max_connections: int = 100,
    uniform: Callable[[], float] = lambda: 0.5,
    settings: Config = CONFIG,
    wall: Callable[[], float] = DAY.timestamp,
    rate_limit: RateLimit | None = None,
    durations: DurationEstimator | None = None,
) -> Engine:
    """Returns a deterministic engine: `uniform` replaces random numbers, and keys are key-1, key-2, ..."""
    keys = count(1)
    return Engine(
        transport,
        config=settings,
        retry=retry or RetryPolicy(),
        environment=Environment(wall_time=wall, uniform=uniform, new_idempotency_key=lambda: f"key-{next(keys)}"),
        hooks=hooks,
        max_connections=max_connections,
        rate_limit=rate_limit,
        durations=durations,
    )


def create_generations(engine: Engine, poll: PollPolicy | None = None, *, knows_open_jobs: bool = False) -> Generations:
    """Returns the resource of an engine. Purchases wait for open jobs only if the engine knows these."""
    models = Models(lambda: engine)
    preflight = PurchasePreflight(
        models.catalogue, SpendLedger(), new_key=engine.executor.environment.new_idempotency_key
    )
    if knows_open_jobs:
        preflight.open_jobs = engine._open_jobs
    jobs = JobOperations(lambda: engine, poll or PollPolicy(), preflight, no_files)
    return Generations(jobs, engine.delivery_rate)


async def no_files(job_response: GenerationRequest, _deadline: float | None) -> GenerationRequest:
    """Replaces the upload of references, which these tests do not have."""
    return job_response


def purchase_operation(prompt: str = "A red kite", key: str = "key-1") -> Operation[Generation]:
    operation = create_generation(GenerationRequest("z-image", prompt), key)
    return Operation(operation.request, lambda response: operation.decode(response)[0])


def poll_operation(task_id: str = "task_1") -> Operation[Generation]:
    return retrieve_generation(task_id)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancels tasks and waits for their ends."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await settle()


async def error_from(awaitable: Awaitable[Any]) -> BaseException:
    """Returns the error that an awaitable raises."""
    try:
        result = await awaitable
    except BaseException as error:  # noqa: BLE001 - the caller checks the type
        return error
    raise AssertionError(f"returned {result!r}")


async def sleep_until(at: float) -> None:
    """Sleeps until `now()` is `at`."""
    await asyncio.sleep(at - now())


def ids(records: Iterable[Generation]) -> list[str]:
    return [generation.id for generation in records]
