"""A bench for the engine: a transport that is one function, a service that is a dictionary, records in a line."""

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
from rivya_async.resources.generation_methods import JobContext
from rivya_async.resources.generations import Generations
from rivya_async.resources.models import Models
from tests.engine.virtual_time import now, settle

Reply = Response | BaseException
Answering = Callable[[Request], Reply | Awaitable[Reply]]

DAY: Final = datetime(2026, 5, 11, 8, tzinfo=UTC)
JOB: Final = GenerationRequest("z-image", "A red kite")
SETTINGS: Final = Config(api_key="rvya_sk_test", base_url="http://service.test")


# --- answers ----------------------------------------------------------------------------------------------------------


def ok(**members: Any) -> Response:
    return Response(200, {}, json.dumps(members).encode())


def refusal(status: int, code: str | None = None, **headers: str) -> Response:
    """An error of the service, in its envelope; `Retry_After="3"` is a header."""
    error = {"code": code, "message": f"no: {status}", "requestId": "req_1"}
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, _error_body(error))


def _error_body(error: Mapping[str, Any]) -> bytes:
    return json.dumps({"error": error}).encode()


def job(task_id: str, status: str = "queued", at: float | None = None, **members: Any) -> Response:
    """A record as the service sends it; `at` is its `updated_at`, in seconds of the day."""
    updated = {} if at is None else {"updated_at": (DAY + timedelta(seconds=at)).isoformat()}
    result = {"result": {"primary_url": f"http://files.test/{task_id}"}} if status == "succeeded" else {}
    return ok(**{"id": task_id, "status": status, "model": "z-image", **updated, **result, **members})


def record(task_id: str, status: str = "queued", at: float | None = None) -> Generation:
    return Generation(task_id, status, "z-image", updated_at=None if at is None else DAY + timedelta(seconds=at))


TRANSIENT: Final[Mapping[str, Reply]] = {
    "not sent": RequestNotSentError("refused"),
    "outcome unknown": OutcomeUnknownError("dropped"),
    "408": refusal(408),
    "425": refusal(425),
    "429": refusal(429, "rate_limited"),
    "429 bare": Response(429, {}, b""),
    "500": refusal(500, "internal_error"),
    "502 with a page": Response(502, {}, b"<html>Bad Gateway</html>"),
    "503": refusal(503, "public_api_disabled"),
    "504": Response(504, {}, b""),
}


# --- the transport ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Received:
    method: str
    path: str
    key: str | None
    at: float
    body: bytes | None


class ScriptedTransport:
    """Fills the seam with one function, and counts what it receives."""

    def __init__(self, answer: Answering, *, latency: float = 0.0) -> None:
        self.answer = answer
        self.latency = latency
        self.received: list[Received] = []
        self.in_flight = 0
        self.peak = 0
        self.cancelled = 0
        self.closed = False

    async def send(self, request: Request) -> Response:
        assert not self.closed, "sent over a closed transport"
        sent = Received(request.method, request.path, request.idempotency_key, now(), request.body)
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
            raise _anew(reply)
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
    def polls(self) -> list[Received]:
        return [sent for sent in self.received if sent.method == "GET"]

    @property
    def purchases(self) -> list[Received]:
        return [sent for sent in self.received if sent.method == "POST"]

    @property
    def keys(self) -> list[str | None]:
        return [sent.key for sent in self.purchases]

    @property
    def times(self) -> list[float]:
        return [sent.at for sent in self.received]


def _anew(error: BaseException) -> BaseException:
    """One exception object per failure, as a network has it."""
    return type(error)(*error.args)


def script(*replies: Reply, latency: float = 0.0) -> ScriptedTransport:
    """Answers in turn; the last answer is for ever."""
    left = list(replies)
    return ScriptedTransport(lambda _: left.pop(0) if len(left) > 1 else left[0], latency=latency)


async def never(_: Request) -> Reply:
    """An answer that does not come."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable")


# --- the service ------------------------------------------------------------------------------------------------------


class Service:
    """Sells jobs that take `duration` seconds; replays the first answer to a key. `is_down` makes it answer 503."""

    def __init__(self, duration: float = 10.0, *, latency: float = 0.1) -> None:
        self.duration = duration
        self.transport = ScriptedTransport(self._answer, latency=latency)
        self.is_down = False
        self.sold: dict[str, str] = {}
        self.ends_at: dict[str, float] = {}
        self._ids = count(1)

    def sell(self, task_id: str | None = None, duration: float | None = None) -> str:
        """A job that somebody else bought."""
        task_id = task_id or f"task_{next(self._ids)}"
        self.ends_at[task_id] = now() + (self.duration if duration is None else duration)
        return task_id

    def _answer(self, request: Request) -> Reply:
        if self.is_down:
            return refusal(503)
        if request.method == "POST":
            assert request.idempotency_key is not None
            if request.idempotency_key not in self.sold:
                self.sold[request.idempotency_key] = self.sell()
            return job(self.sold[request.idempotency_key])
        task_id = request.path.rpartition("/")[2]
        if task_id not in self.ends_at:
            return refusal(404, "not_found")
        return job(task_id, "succeeded" if now() >= self.ends_at[task_id] else "processing")


# --- the engine -------------------------------------------------------------------------------------------------------


def engine_over(
    transport: ScriptedTransport,
    *,
    retry: RetryPolicy | None = None,
    hooks: Sequence[Hooks] = (),
    max_connections: int = 100,
    uniform: Callable[[], float] = lambda: 0.5,
    settings: Config = SETTINGS,
    wall: Callable[[], float] = DAY.timestamp,
    rate_limit: RateLimit | None = None,
    durations: DurationEstimator | None = None,
) -> Engine:
    """An engine without dice: every draw is `uniform`, keys are key-1, key-2, ..."""
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


def generations_of(engine: Engine, poll: PollPolicy | None = None) -> Generations:
    models = Models(lambda: engine)
    preflight = PurchasePreflight(
        models.catalogue, SpendLedger(), {}, new_key=engine.executor.environment.new_idempotency_key
    )
    jobs = JobContext(lambda: engine, poll or PollPolicy(), preflight, no_files)
    return Generations(jobs, engine.delivery_rate)


async def no_files(job: GenerationRequest, _deadline: float | None) -> GenerationRequest:
    """No test of the engine refers to a file."""
    return job


def purchase(prompt: str = "A red kite", key: str = "key-1") -> Operation[Generation]:
    return create_generation(GenerationRequest("z-image", prompt), key)


def poll_of(task_id: str = "task_1") -> Operation[Generation]:
    return retrieve_generation(task_id)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and see them end so."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await settle()


async def failure_of(awaitable: Awaitable[Any]) -> BaseException:
    """What an awaitable raises."""
    try:
        result = await awaitable
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what the test asked for
        return error
    raise AssertionError(f"returned {result!r}")


async def until(at: float) -> None:
    """Sleep until `now()` is `at`."""
    await asyncio.sleep(at - now())


def ids(records: Iterable[Generation]) -> list[str]:
    return [generation.id for generation in records]
