"""The session for code without an event loop: Django, Flask, Celery and scripts.

    with BlockingSession() as session:
        job = session.generate("z-image", "A red kite")

`BlockingSession` has the methods, arguments and errors of `RivyaSession`, and waits in the calling thread. Its
generators are plain ones.
"""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from ._blocking_loop import BlockingLoop, Caller
from ._core.errors import ConfigurationError
from ._core.types.record import Record
from .resources.account import CreditsResource, OpenApi
from .resources.chat import ChatCompletions, ChatSessions
from .resources.files import Files
from .resources.generations import Generations
from .resources.models import Models
from .resources.webhooks import WebhookEvents, Webhooks
from .session import RivyaSession

if TYPE_CHECKING:
    from ._core.chat.accumulator import ChatEvent
    from ._core.open_jobs import OpenJob
    from ._core.spend import SpendSummary
    from ._core.types.chat import ChatCompletion
    from ._engine.streaming.chat_stream import ChatStream

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    function: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """Returns a method that waits for the coroutine of the same method of `RivyaSession`."""

    @functools.wraps(function)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        untyped: Any = function  # the keyword arguments are no longer those of `P`

        async def call(caller: Caller) -> T:
            returned: T = await untyped(self._target(), *args, **_forward_callbacks(caller, kwargs))
            return returned

        result: T = self._loop.run(call)
        return result

    return method


def _on_loop(function: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """Returns a method that calls the same method of `RivyaSession` on its event loop."""

    @functools.wraps(function)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        async def call(_caller: Caller) -> T:
            return function(self._target(), *args, **kwargs)

        result: T = self._loop.run(call)
        return result

    return method


def _iterating(
    function: Callable[Concatenate[Any, P], AsyncGenerator[T]], prepare: Callable[[Caller, Any], Any]
) -> Callable[Concatenate[Any, P], Generator[T]]:
    """Returns a generator method over the items of the same method of `RivyaSession`.

    `prepare` converts iterables: the calling thread iterates over them, since database cursors are bound to a thread.
    """

    @functools.wraps(function)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Generator[T]:
        caller = Caller()
        arguments: Any = [prepare(caller, argument) if _is_lazy(argument) else argument for argument in args]
        options: Any = {name: prepare(caller, value) if _is_lazy(value) else value for name, value in kwargs.items()}

        untyped: Any = function  # the arguments are no longer those of `P`

        def items(caller: Caller) -> AsyncGenerator[T]:
            generator: AsyncGenerator[T] = untyped(self._target(), *arguments, **_forward_callbacks(caller, options))
            return generator

        yield from self._loop.iterate(items, caller)

    return method


def _is_lazy(argument: object) -> bool:
    return isinstance(argument, Iterable) and not isinstance(argument, str | list | tuple | set | dict | Record)


def _forward_callbacks(caller: Caller, arguments: dict[str, Any]) -> Any:
    """Returns the keyword arguments with callbacks that run in the calling thread."""
    return {
        name: caller.forward(value) if name.startswith("on_") and callable(value) else value
        for name, value in arguments.items()
    }


class _Delegate:
    """Object whose methods call those of a `RivyaSession`, or of its resource at `path`."""

    def __init__(self, loop: BlockingLoop, session: Callable[[], RivyaSession], path: str = "") -> None:
        self._loop = loop
        self._session = session
        self._path = path

    def _target(self) -> Any:
        session = self._session()
        return attrgetter(self._path)(session) if self._path else session


class BlockingGenerationMethods(_Delegate):
    """Methods to buy jobs and to wait for them."""

    submit = _blocking(RivyaSession.submit)
    wait_for = _blocking(RivyaSession.wait_for)
    generate = _blocking(RivyaSession.generate)
    watch = _iterating(RivyaSession.watch, Caller.forward_items)
    as_completed = _iterating(RivyaSession.as_completed, lambda _caller, jobs: [*jobs])
    map = _iterating(RivyaSession.map, Caller.forward_items)


class BlockingGenerations(BlockingGenerationMethods):
    """Jobs: buy them, wait for them, read them."""

    create = _blocking(Generations.create)
    retrieve = _blocking(Generations.retrieve)
    expect_deliveries = _on_loop(Generations.expect_deliveries)
    settle = _on_loop(Generations.settle)


class BlockingModels(_Delegate):
    """The catalogue of models."""

    list = _blocking(Models.list)
    retrieve = _blocking(Models.retrieve)


class BlockingFiles(_Delegate):
    """Images, videos and sounds that jobs refer to."""

    upload = _blocking(Files.upload)
    check = _blocking(Files.check)
    retrieve = _blocking(Files.retrieve)


class BlockingCredits(_Delegate):
    """The balance of the account."""

    retrieve = _blocking(CreditsResource.retrieve)


class BlockingOpenApi(_Delegate):
    """The service's OpenAPI document."""

    retrieve = _blocking(OpenApi.retrieve)


class BlockingWebhooks(_Delegate):
    """Webhook endpoints of the account."""

    create = _blocking(Webhooks.create)
    list = _blocking(Webhooks.list)
    retrieve = _blocking(Webhooks.retrieve)
    update = _blocking(Webhooks.update)
    delete = _blocking(Webhooks.delete)
    rotate_secret = _blocking(Webhooks.rotate_secret)
    test = _blocking(Webhooks.test)
    deliveries = _blocking(Webhooks.deliveries)


class BlockingWebhookEvents(_Delegate):
    """Events of the account that webhooks report."""

    list = _blocking(WebhookEvents.list)


class BlockingChatStream:
    """A streamed completion: iterate over it for the text, or over `events()` for every event."""

    def __init__(self, events: Generator[Any]) -> None:
        self._events = events
        self._stream: ChatStream | None = None

    def __enter__(self) -> Self:
        self._stream = next(self._events)
        return self

    def __exit__(self, *_error: object) -> None:
        self._events.close()

    def __iter__(self) -> Iterator[str]:
        return (event.delta for event in self.events() if event.delta)

    def events(self) -> Iterator[ChatEvent]:
        """Iterates over all events, including unknown types."""
        return self._events

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_stream"], name)

    if TYPE_CHECKING:
        idempotency_key: str | None
        text: str
        session_id: str | None
        completion: ChatCompletion


def _streaming(
    function: Callable[Concatenate[Any, P], ChatStream],
) -> Callable[Concatenate[Any, P], BlockingChatStream]:
    @functools.wraps(function)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> BlockingChatStream:
        async def events(_caller: Caller) -> AsyncGenerator[Any]:
            async with function(self._target(), *args, **kwargs) as stream:
                yield stream
                async for event in stream.events():
                    yield event

        return BlockingChatStream(self._loop.iterate(events, Caller()))

    return method


class BlockingChatCompletions(_Delegate):
    """Messages to chat models and their answers."""

    create = _blocking(ChatCompletions.create)
    stream = _streaming(ChatCompletions.stream)


class BlockingChatSessions(_Delegate):
    """Chat sessions that were started through the API."""

    list = _blocking(ChatSessions.list)
    retrieve = _blocking(ChatSessions.retrieve)


class BlockingChat:
    """The chat API."""

    def __init__(self, loop: BlockingLoop, session: Callable[[], RivyaSession]) -> None:
        self.completions = BlockingChatCompletions(loop, session, "chat.completions")
        self.sessions = BlockingChatSessions(loop, session, "chat.sessions")


def _viewing(function: Callable[Concatenate[Any, P], RivyaSession]) -> Callable[Concatenate[Any, P], BlockingSession]:
    @functools.wraps(function)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> BlockingSession:
        view = object.__new__(BlockingSession)
        own = function(self._session(), *args, **kwargs)  # raises for invalid options

        def session() -> RivyaSession:  # in a forked process, the session is another one
            return own if os.getpid() == pid else function(self._session(), *args, **kwargs)

        pid = os.getpid()
        view._bind(self._loop, session, is_view=True)
        return view

    return method


def _same_arguments(
    _init: Callable[Concatenate[RivyaSession, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[BlockingSession, P], None]]:
    return lambda init: init


class BlockingSession(BlockingGenerationMethods):
    """A `RivyaSession` for code without an event loop. The arguments are those of `RivyaSession`, except `http`.

    The session runs on an event loop of its own, in a daemon thread that the first call starts. All threads may use it
    at the same time. Callbacks such as `on_update`, and the requests of `map`, run in the calling thread; hooks run in
    the thread of the loop, where no method may be called. After a fork the child process opens a new session with the
    same arguments. Ctrl-C cancels the call; the `KeyboardInterrupt` has a note with the task id or the idempotency key.

    Use it as a context manager, or call `close()`. A session that lives as long as the process is closed at its exit.

        with BlockingSession() as session:
            for outcome in session.map(GenerationRequest("z-image", prompt) for prompt in prompts):
                print(outcome.ok)
    """

    @_same_arguments(RivyaSession.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("http") is not None:
            raise ConfigurationError("http belongs to another event loop: a BlockingSession makes its own connections")
        loop = BlockingLoop(functools.partial(RivyaSession, *args, **kwargs))
        self._bind(loop, lambda: loop.session)
        loop.close_with(self)

    def _bind(self, loop: BlockingLoop, session: Callable[[], RivyaSession], *, is_view: bool = False) -> None:
        super().__init__(loop, session)
        self._is_view = is_view
        self.generations = BlockingGenerations(loop, session, "generations")
        self.models = BlockingModels(loop, session, "models")
        self.files = BlockingFiles(loop, session, "files")
        self.chat = BlockingChat(loop, session)
        self.credits = BlockingCredits(loop, session, "credits")
        self.openapi = BlockingOpenApi(loop, session, "openapi")
        self.webhooks = BlockingWebhooks(loop, session, "webhooks")
        self.webhook_events = BlockingWebhookEvents(loop, session, "webhook_events")

    download = _blocking(RivyaSession.download)
    with_options = _viewing(RivyaSession.with_options)

    @property
    def spend(self) -> SpendSummary:
        """The credits that this session has spent, per idempotency key and in total."""
        return self._session().spend

    @property
    def open_jobs(self) -> tuple[OpenJob, ...]:
        """The jobs that this session bought and has not seen end."""
        return self._session().open_jobs

    @property
    def base_url(self) -> str:
        """The origin of the service."""
        return self._session().base_url

    def close(self) -> None:
        """Closes the session as `RivyaSession.aclose` does, and ends its thread. A view closes nothing."""
        if not self._is_view:
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._session()).replace("RivyaSession", "BlockingSession")
