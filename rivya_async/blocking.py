"""The session for code without an event loop: Django, Flask, Celery and scripts.

    with BlockingSession() as session:
        job = session.generate("z-image", "A red kite")

`BlockingSession` has the methods, arguments and errors of `RivyaSession`, and waits in the calling thread. Its
generators are plain ones. The methods are built from those of `RivyaSession`; type checkers and editors read
`blocking.pyi`, which `python -m tests.typing.blocking_stub` writes.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Self

from ._blocking_loop import BlockingLoop, Caller
from ._core.argument_advice import check_arguments
from ._core.errors import ConfigurationError
from ._core.types.record import Record
from ._engine.streaming.chat_stream import ChatStream
from .resources import Resource
from .session import RivyaSession

if TYPE_CHECKING:
    from ._core.chat.accumulator import ChatEvent

OMITTED_METHODS: Final = frozenset({"aclose", "catalogue", "resolve_references", "start", "with_options"})
"""Methods of `RivyaSession` that have another form here, or that are for this package only."""


class BlockingObject:
    """Object with the public members of an object of a `RivyaSession`, which `resolve` finds."""

    def __init__(self, loop: BlockingLoop, resolve: Callable[[RivyaSession], Any]) -> None:
        self._loop = loop
        self._resolve = resolve

    @property
    def _target(self) -> Any:
        return self._resolve(self._loop.session)


def _blocking_class(kind: type) -> Any:
    """Returns the class with the public members of `kind`, whose methods wait in the calling thread."""
    members: dict[str, Any] = {"__doc__": _without_example(kind.__doc__), "__module__": __name__}
    for name, member in inspect.getmembers_static(kind):
        if name.startswith("_") or name in OMITTED_METHODS:
            continue
        if inspect.isfunction(member):
            members[name] = _method(member)
        elif isinstance(member, property):
            members[name] = _property(name, member.__doc__)
        elif isinstance(member, Resource):
            members[name] = _property(name, member.kind.__doc__, _blocking_class(member.kind))
    name = "Blocking" + kind.__name__.removeprefix("Rivya").removesuffix("Resource")
    globals()[name] = cls = type(name, (BlockingObject,), members)
    return cls


def _without_example(doc: str | None) -> str:
    return inspect.cleandoc(doc or "").partition("\n\n>>> ")[0]


def _like(function: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Copies signature and docstring, without its async example."""

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        functools.update_wrapper(method, function).__doc__ = _without_example(function.__doc__)
        return method

    return decorate


def _property(name: str, doc: str | None, cls: type[BlockingObject] | None = None) -> property:
    def read(self: BlockingObject) -> Any:
        if cls is None:
            return getattr(self._target, name)
        return cls(self._loop, lambda _session: getattr(self._target, name))  # holds its owner, which closes the loop

    return property(read, doc=doc)


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    def start(self: BlockingObject, caller: Caller, args: Any, kwargs: Any) -> Any:
        check_arguments(function, kwargs)
        options = {name: _forward(caller, name, value) for name, value in kwargs.items()}
        return function(self._target, *args, **options)

    @_like(function)
    def call(self: BlockingObject, /, *args: Any, **kwargs: Any) -> Any:
        async def run(caller: Caller) -> Any:
            result = start(self, caller, args, kwargs)
            return await result if inspect.iscoroutine(result) else result

        result = self._loop.call(run)
        return BlockingChatStream(self._loop, lambda _: (self, result)[1]) if isinstance(result, ChatStream) else result

    @_like(function)
    def iterate(self: BlockingObject, /, *args: Any, **kwargs: Any) -> Any:
        caller = Caller()
        forward = caller.forward_items if function is RivyaSession.map else list
        args = tuple(forward(each) if _is_lazy(each) else each for each in args)
        kwargs = {name: forward(each) if _is_lazy(each) else each for name, each in kwargs.items()}
        yield from self._loop.iterate(start(self, caller, args, kwargs), caller)

    return iterate if inspect.isasyncgenfunction(function) else call


def _is_lazy(argument: object) -> bool:
    return isinstance(argument, Iterable) and not isinstance(argument, str | list | tuple | set | dict | Record)


def _forward(caller: Caller, name: str, argument: Any) -> Any:
    return caller.forward(argument) if name.startswith("on_") and callable(argument) else argument


class BlockingChatStream(_blocking_class(ChatStream)):
    """A streamed completion: iterate over it for the text, or over `events()` for every event."""

    def __enter__(self) -> Self:
        self._loop.call(lambda _: self._target.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._loop.call(lambda _: self._target.__aexit__(*error))

    def __iter__(self) -> Iterator[str]:
        return self._loop.iterate(self._target)

    def events(self) -> Iterator[ChatEvent]:
        """Iterates over all events, including unknown types. Raises as the iteration over the text does."""
        return self._loop.iterate(self._target.events())


class BlockingSession(_blocking_class(RivyaSession)):
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

    @functools.wraps(RivyaSession.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("http") is not None:
            raise ConfigurationError("http belongs to another event loop: a BlockingSession makes its own connections")
        super().__init__(BlockingLoop(functools.partial(RivyaSession, *args, **kwargs)), lambda session: session)
        self._is_view = False
        self._loop.close_with(self)

    @_like(RivyaSession.with_options)
    def with_options(self, **options: Any) -> Self:  # noqa: D102 - that of `RivyaSession`
        view = object.__new__(type(self))
        resolve = functools.lru_cache(1)(lambda session: self._resolve(session).with_options(**options))
        BlockingObject.__init__(view, self._loop, resolve)
        view._is_view = True
        resolve(self._loop.session)  # raises for invalid options
        return view

    def close(self) -> None:
        """Closes the session as `RivyaSession.aclose` does, and ends its thread. A view closes nothing."""
        if not self._is_view:
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._target).replace("RivyaSession", "BlockingSession")
