"""`WebhookReceiver`: verifies deliveries, handles each event once, and responds in time."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar, overload
from weakref import WeakKeyDictionary

from .._core import assumptions
from .._core.errors import ConfigurationError, WebhookVerificationError
from .._core.webhooks import signatures
from . import protocol
from .handler_pool import DedupCache, HandlerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from aiohttp import web

    from .._core.types.generations import Generation
    from .._core.webhooks.records import WebhookEvent
    from .._core.webhooks.signatures import Scheme
    from .apps import AsgiApp
    from .handler_pool import Handler
    from .protocol import WebhookResponse

    AnyHandler = TypeVar("AnyHandler", bound=Handler)

ANY: Final = "*"
"""The event type that stands for all types without a handler of their own."""

logger = logging.getLogger(__name__)


class _Generations(Protocol):
    def expect_deliveries(self) -> None: ...

    def settle(self, generation: Generation) -> object: ...


class _Session(Protocol):
    """The part of a `RivyaSession` that a receiver uses."""

    @property
    def generations(self) -> _Generations: ...


class WebhookReceiver:
    """A receiver of webhook deliveries with one async handler per event type.

    - `secret`, `scheme`, `tolerance`, `clock`: as for `verify`. A blank secret raises `ConfigurationError` at once.
    - `session`: a `RivyaSession` on the same event loop. An event ends the waits for its job before its handler runs,
      and the session polls less while events arrive (`session.generations.expect_deliveries()`).
    - `response_timeout`: maximum seconds that a response waits for the handler. The response is 200 if the handler
      succeeded by then, 500 if it raised (the service delivers the event again), and 202 if it is still running.
      A 202 needs an event loop that outlives the request: `async with receiver:` in the lifespan of the application,
      or a call of `open` there, shows the receiver that it has one. On other loops, such as those of `asyncio.run`,
      of Flask's async views and of `asgiref.async_to_sync`, the response waits until the handler has finished.
    - `dedup_window`: seconds for which handled events are remembered (the latest 100,000): a repeated delivery gets
      200 and is not handled. An event whose handler raised is not remembered. It is handled again when it is
      delivered again, even after a 202, which ends the retries of the service.
    - `max_running`, `max_waiting`: limits of running handlers, and of events that wait for one, on each event loop.
      Beyond both the response is 503, and the service tries again.
    - `max_body_size`: limit in bytes of a body; a larger one gets 413.
    - `close_timeout`: maximum seconds that `aclose` waits for handlers before it cancels them.

    Failures are logged with the event's id by the loggers under `rivya_async.receiver`. Handled events are remembered
    in this process only: with several processes, or after a restart, handlers must tolerate a second call with the
    same `event.id`. Events are delivered at least once, in any order.

    >>> from rivya_async.receiver import RIVYA, WebhookReceiver
    >>> async def main():
    ...     async with WebhookReceiver("whsec_a1b2", clock=lambda: 1_778_486_405) as receiver:
    ...         @receiver.on("generation.succeeded")
    ...         async def store(event):
    ...             print("made:", event.generation.id)
    ...         body = (b'{"id": "evt_1", "type": "generation.succeeded",'
    ...                 b' "data": {"id": "task_1", "status": "succeeded", "model": "z-image"}}')
    ...         headers = RIVYA.sign(body, "whsec_a1b2", message_id="evt_1", timestamp=1_778_486_400)
    ...         for _ in range(2):
    ...             response = await receiver.receive(body, headers)
    ...             print(response.status.value, response.text)
    >>> asyncio.run(main())
    made: task_1
    200 handled
    200 handled before
    """

    def __init__(
        self,
        secret: str | Iterable[str],
        *,
        session: _Session | None = None,
        scheme: Scheme = signatures.RIVYA,
        tolerance: float = assumptions.SIGNATURE_TOLERANCE,
        response_timeout: float = 1.0,
        dedup_window: float = 86_400.0,
        max_running: int = 100,
        max_waiting: int = 10_000,
        max_body_size: int = protocol.MAX_BODY_SIZE,
        close_timeout: float = 10.0,
        clock: Callable[[], float] = time.time,  # noqa: TID251  the sender's time is wall time
    ) -> None:
        try:
            self._verifier = signatures.Verifier(secret, scheme=scheme, tolerance=tolerance)
        finally:
            del secret  # keeps it out of tracebacks
        self._settle = None if session is None else session.generations.settle
        if session is not None:
            session.generations.expect_deliveries()
        self._clock = clock
        self._response_timeout = _check_seconds("response_timeout", response_timeout)
        self._close_timeout = _check_seconds("close_timeout", close_timeout)
        self.max_body_size = _check_count("max_body_size", max_body_size, 1)
        self._handled_events = DedupCache(_check_seconds("dedup_window", dedup_window))
        self._limits = _check_count("max_running", max_running, 1), _check_count("max_waiting", max_waiting, 0)
        self._handlers: dict[str, Handler] = {}
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, HandlerPool] = WeakKeyDictionary()
        self._lasting_loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False

    @overload
    def on(self, event_type: str) -> Callable[[AnyHandler], AnyHandler]: ...

    @overload
    def on(self, event_type: str, handler: AnyHandler) -> AnyHandler: ...

    def on(self, event_type: str, handler: AnyHandler | None = None) -> AnyHandler | Callable[[AnyHandler], AnyHandler]:
        """Registers an `async` function that takes the `WebhookEvent` as the handler of an event type.

        As a decorator, `@receiver.on("generation.failed")`, or as a call, `receiver.on("generation.failed", handler)`.
        The type "*" stands for all types without a handler of their own. Raises `ConfigurationError` for a handler
        that is not async, or for a second handler of a type.

        >>> from rivya_async.receiver import WebhookReceiver
        >>> receiver = WebhookReceiver("whsec_a1b2")
        >>> @receiver.on("*")
        ... async def log(event):
        ...     print(event.type)
        """
        if not isinstance(event_type, str):
            raise ConfigurationError('the event type is missing: @receiver.on("generation.succeeded"), or "*" for all')
        if handler is None:
            return lambda function: self.on(event_type, function)
        if not callable(handler) or _is_sync_function(handler):
            raise ConfigurationError(f"a handler must be an async function of one event, not {handler!r:.80}")
        if event_type in self._handlers:
            raise ConfigurationError(f"{event_type} already has a handler: let one function call both")
        self._handlers[event_type] = handler
        return handler

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> WebhookResponse:
        """Handles one delivery and returns the response: for frameworks other than those that have an app here.

        `body` and `headers` as for `verify`. Raises `ConfigurationError` for a body that is not bytes and for headers
        that are not text, else nothing. Cancellation ends the wait for the handler, not the handler.
        """
        if self._is_closed:
            return protocol.CLOSED
        if isinstance(body, bytes | bytearray | memoryview) and len(body) > self.max_body_size:
            return protocol.BODY_TOO_LARGE
        try:
            event = self._verifier.verify(body, headers, now=self._clock())
        except WebhookVerificationError as error:
            logger.warning("a delivery was rejected: %s", error)
            return protocol.bad_request(error.message)
        return await self._dispatch(event)

    def asgi_app(self) -> AsgiApp:
        """Creates an ASGI app that takes deliveries at every path under its mount point.

        Served alone it closes the receiver at shutdown. A framework that mounts it does not forward the shutdown:
        use `async with receiver:` in the framework's own lifespan.
        """
        from .apps import AsgiApp

        return AsgiApp(self)

    def aiohttp_app(self) -> web.Application:
        """Creates an app for aiohttp's server, to run or to mount with `add_subapp`; shutdown closes the receiver."""
        from .apps import create_aiohttp_app

        return create_aiohttp_app(self)

    def open(self) -> None:
        """Accepts deliveries, also after a close. A new receiver accepts them too.

        On an event loop, it also states that this loop outlives its requests.
        """
        self._is_closed = False
        with suppress(RuntimeError):  # no running loop
            self._lasting_loop = asyncio.get_running_loop()

    async def aclose(self) -> None:
        """Responds 503 from now on, waits up to `close_timeout` for the handlers, then cancels and logs the rest.

        Cancelling this call cancels the handlers at once.
        """
        self._is_closed = True
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            return
        try:
            await pool.aclose(self._close_timeout)
        finally:
            if self._is_closed:  # `open` may have been called meanwhile
                self._pools.pop(loop, None)

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _dispatch(self, event: WebhookEvent) -> WebhookResponse:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            pool = self._pools[loop] = HandlerPool(*self._limits, self._mark_handled)
        task = pool.find_task(event.id)
        if task is None:
            if self._handled_events.contains(event.id, loop.time()):
                return protocol.ALREADY_HANDLED
            if any(each.find_task(event.id) for other, each in [*self._pools.items()] if not other.is_closed()):
                return protocol.HANDLED_ELSEWHERE
            self._settle_waits(event)
            handler = self._handlers.get(event.type, self._handlers.get(ANY))
            if handler is None:
                return protocol.NO_HANDLER
            if pool.is_full:
                return protocol.OVERLOADED
            task = pool.start(handler, event)
        await asyncio.wait([task], timeout=self._response_timeout)
        if not task.done():
            if loop is self._lasting_loop or _is_loop_of_runner():
                return protocol.STILL_RUNNING
            await asyncio.wait([task])
        return protocol.HANDLER_FAILED if task.cancelled() or task.exception() is not None else protocol.HANDLED

    def _settle_waits(self, event: WebhookEvent) -> None:
        """Ends the session's waits for the event's job. After an error they continue with their polls."""
        generation = event.generation
        if self._settle is None or generation is None:
            return
        try:
            self._settle(generation)
        except Exception:
            logger.exception("the waits for %s were not ended by event %r", generation.id, event.id)

    def _mark_handled(self, event_id: str) -> None:
        self._handled_events.add(event_id, asyncio.get_running_loop().time())


def _is_sync_function(handler: Handler) -> bool:
    """Returns whether it is certainly not async; a callable object of another kind may be."""
    function = inspect.unwrap(handler)
    return inspect.isroutine(function) and not inspect.iscoroutinefunction(function)


def _is_loop_of_runner() -> bool:
    """Returns whether an `asyncio.Runner` runs the loop: it keeps the loop for further calls, unlike `asyncio.run`."""
    frame = sys._getframe()  # noqa: SLF001 - asyncio has no other way to find the caller of a loop
    while frame.f_back is not None and frame.f_code is not asyncio.Runner.run.__code__:
        frame = frame.f_back
    return frame.f_back is not None and frame.f_back.f_code is not asyncio.run.__code__


def _check_seconds(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigurationError(f"{name} must be a number of seconds from 0 on, not {value!r:.40}")
    return value


def _check_count(name: str, value: int, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ConfigurationError(f"{name} must be a whole number from {minimum} on, not {value!r:.40}")
    return value
