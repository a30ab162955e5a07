"""`WebhookReceiver`: what comes is checked, handled once, and answered in time."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import time
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar, overload

from .._core import assumptions
from .._core.errors import ConfigurationError, WebhookVerificationError
from .._core.webhooks import signatures
from . import answer
from .crew import Crew
from .seen import Seen
from .served import MAX_BODY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from aiohttp import web

    from .._core.types.generations import Generation
    from .._core.webhooks.records import WebhookEvent
    from .._core.webhooks.signatures import Scheme
    from .answer import Answer
    from .asgi import AsgiApp
    from .crew import Handler

    AnyHandler = TypeVar("AnyHandler", bound=Handler)

ANY: Final = "*"
"""The type of events that have no handler of their own."""

logger = logging.getLogger(__name__)


class _Waits(Protocol):
    def expect_deliveries(self) -> None: ...

    def settle(self, generation: Generation) -> object: ...


class _Session(Protocol):
    """What is asked of a session."""

    @property
    def generations(self) -> _Waits: ...


class WebhookReceiver:
    """Takes deliveries: checks each, hands its event to the handler of its type, once, and answers in time.

    - `secret`, `scheme`, `tolerance`, `clock`: as for `verify`. A blank secret is a `ConfigurationError` at once.
    - `session`: a `RivyaSession` on the same event loop; an event settles the waits for its job before it is handled,
      and the session polls less while events come (`session.generations.expect_deliveries()`).
    - `answer_within`: seconds that an answer waits for the handler. One that is done by then is answered with 200, one
      that raised with 500, so that the service delivers the event again; one that is still at work with 202.
    - `window`: seconds for which handled events are remembered, the latest 100,000 of them: what comes again is
      answered with 200 and not handled. An event whose handler raised is not remembered: it is handled again when it
      comes again, also if that was after the 202, which ends the retries of the service.
    - `max_running`, `max_waiting`: handlers at work at once, and events that wait for one; beyond that the answer is
      503, and the service tries again.
    - `max_body`: bytes that an event may have; more is answered with 413.
    - `close_within`: seconds that `aclose` waits for handlers before it cuts them.

    What fails is logged with the event's id by the loggers under `rivya_async.receiver`. What is remembered lives in
    this process: where several share the deliveries, or the process may end, let handlers stand a second call with the
    same `event.id` (contract section 11: at least once, in any order; the statuses are ours).

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
    ...             answer = await receiver.receive(body, headers)
    ...             print(answer.status.value, answer.text)
    >>> asyncio.run(main())
    made: task_1
    200 handled
    200 handled before
    """

    def __init__(
        self,
        secret: str | Sequence[str],
        *,
        session: _Session | None = None,
        scheme: Scheme = signatures.RIVYA,
        tolerance: float = assumptions.SIGNATURE_TOLERANCE,
        answer_within: float = 1.0,
        window: float = 86_400.0,
        max_running: int = 100,
        max_waiting: int = 10_000,
        max_body: int = MAX_BODY,
        close_within: float = 10.0,
        clock: Callable[[], float] = time.time,  # noqa: TID251  the sender's time is wall time
    ) -> None:
        try:
            self._verifier = signatures.Verifier(secret, scheme=scheme, tolerance=tolerance)
        finally:
            del secret  # no traceback shows it
        self._settle = None if session is None else session.generations.settle
        if session is not None:
            session.generations.expect_deliveries()
        self._clock = clock
        self._answer_within = _seconds("answer_within", answer_within)
        self._close_within = _seconds("close_within", close_within)
        self.max_body = _count("max_body", max_body, 1)
        self._seen = Seen(_seconds("window", window))
        self._bounds = _count("max_running", max_running, 1), _count("max_waiting", max_waiting, 0)
        self._handlers: dict[str, Handler] = {}
        self._crew: Crew | None = None
        self._is_closed = False

    @overload
    def on(self, event_type: str) -> Callable[[AnyHandler], AnyHandler]: ...

    @overload
    def on(self, event_type: str, handler: AnyHandler) -> AnyHandler: ...

    def on(self, event_type: str, handler: AnyHandler | None = None) -> AnyHandler | Callable[[AnyHandler], AnyHandler]:
        """Have events of this type handled by a function that is `async` and takes the `WebhookEvent`.

        As a decorator, `@receiver.on("generation.failed")`, or as a call, `receiver.on("generation.failed", handler)`.
        The type "*" stands for all that have no handler of their own. Raises `ConfigurationError` for a handler that
        is not async, or for a second one of a type.

        >>> from rivya_async.receiver import WebhookReceiver
        >>> receiver = WebhookReceiver("whsec_a1b2")
        >>> @receiver.on("*")
        ... async def log(event):
        ...     print(event.type)
        """
        if not isinstance(event_type, str):
            raise ConfigurationError('say of which type: @receiver.on("generation.succeeded"), or "*" for the others')
        if handler is None:
            return lambda given: self.on(event_type, given)
        if not callable(handler) or _is_plain(handler):
            raise ConfigurationError(f"a handler is an async function of one event, not {handler!r:.80}")
        if event_type in self._handlers:
            raise ConfigurationError(f"{event_type} has a handler already: let one function call both")
        self._handlers[event_type] = handler
        return handler

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Take one delivery and say what to answer: for frameworks other than those that have an app here.

        `body` and `headers` as for `verify`. Raises `ConfigurationError` for a body that is no bytes and for headers
        that are no text, else nothing.
        Cancelling it ends the wait for the answer; the handler goes on.
        """
        if self._is_closed:
            return answer.CLOSED
        if isinstance(body, bytes) and len(body) > self.max_body:
            return answer.TOO_LARGE
        try:
            event = self._verifier.verify(body, headers, now=self._clock())
        except WebhookVerificationError as error:
            logger.warning("a delivery was refused: %s", error)
            return answer.refused(error.message)
        return await self._take(event)

    def asgi_app(self) -> AsgiApp:
        """An ASGI app that takes deliveries at whatever path it is mounted, and needs no framework.

        Served by itself it closes the receiver in the end; a framework that mounts it does not tell it of the end:
        there put `async with receiver:` into the framework's own lifespan.

        >>> from rivya_async.receiver import WebhookReceiver
        >>> app = WebhookReceiver("whsec_a1b2").asgi_app()
        """
        from .asgi import AsgiApp

        return AsgiApp(self)

    def aiohttp_app(self) -> web.Application:
        """An app for aiohttp's server, to be run, or mounted with `add_subapp`; it closes the receiver in the end.

        It takes deliveries at every path under its own.

        >>> from rivya_async.receiver import WebhookReceiver
        >>> app = WebhookReceiver("whsec_a1b2").aiohttp_app()
        """
        from .aiohttp_web import new_app

        return new_app(self)

    def open(self) -> None:
        """Take deliveries again, after a close. A new receiver is open."""
        self._is_closed = False

    async def aclose(self) -> None:
        """Answer 503 from now on, and wait for the handlers; what is not done within `close_within` is cut and logged.

        Cancelling it cuts them at once.
        """
        self._is_closed = True
        if self._crew is None:
            return
        try:
            await self._crew.aclose(self._close_within)
        finally:
            if self._is_closed:  # it was not opened again meanwhile
                self._crew = None

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _take(self, event: WebhookEvent) -> Answer:
        if self._crew is None:
            self._crew = Crew(*self._bounds, self._remember)
        task = self._crew.at_work(event.id)
        if task is None:
            if self._seen.knows(event.id, asyncio.get_running_loop().time()):
                return answer.REPEATED
            self._settle_waits(event)
            handler = self._handlers.get(event.type, self._handlers.get(ANY))
            if handler is None:
                return answer.NOT_WANTED
            if self._crew.is_full:
                return answer.FULL
            task = self._crew.start(handler, event)
        await asyncio.wait([task], timeout=self._answer_within)
        if not task.done():
            return answer.AT_WORK
        return answer.HANDLED if _went_well(task) else answer.FAILED

    def _settle_waits(self, event: WebhookEvent) -> None:
        """A wait that cannot be settled is not the handler's business: it goes on with its polls."""
        generation = event.generation
        if self._settle is None or generation is None:
            return
        try:
            self._settle(generation)
        except Exception:
            logger.exception("the waits for %s could not be settled by the event %r", generation.id, event.id)

    def _remember(self, event_id: str) -> None:
        self._seen.add(event_id, asyncio.get_running_loop().time())


def _is_plain(handler: Handler) -> bool:
    """Whether it is a function that is not async; of other objects that are called, nobody knows."""
    inner = inspect.unwrap(handler)  # what a decorator made of it
    return inspect.isroutine(inner) and not inspect.iscoroutinefunction(inner)


def _went_well(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is None


def _seconds(name: str, given: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < math.inf:
        raise ConfigurationError(f"{name} must be a number of seconds from 0 on, not {given!r:.40}")
    return given


def _count(name: str, given: int, least: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise ConfigurationError(f"{name} must be a whole number from {least} on, not {given!r:.40}")
    return given
