"""An event loop in a daemon thread, for one session, and the calls of other threads to it."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import os
import queue
import threading
import warnings
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterable
from contextlib import aclosing, suppress
from typing import Any, Final, TypeVar

import attrs

from ._core.errors import ConfigurationError, SessionClosedError
from .session import RivyaSession

T = TypeVar("T")

EXIT_TIMEOUT: Final = 5.0
"""Seconds at the exit of the process for requests in flight. Then they are aborted."""

_END: Final = object()
_LOOPS: Final[weakref.WeakSet[BlockingLoop]] = weakref.WeakSet()
_FORKED: Final[list[object]] = []
"""Sessions and threads of the parent process: finalizers must not run in the child."""


@attrs.frozen
class _Item:
    """Item of a generator. The generator continues when `resume` is called on the loop."""

    value: Any
    resume: Callable[[], object]


class Caller:
    """The thread of a call, which receives items and runs callbacks until the call ends."""

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    async def send(self, item: Any) -> None:
        """Hands an item over, and waits until the next one is wanted."""
        loop, resumed = asyncio.get_running_loop(), asyncio.Event()
        self.inbox.put(_Item(item, lambda: loop.call_soon_threadsafe(resumed.set)))
        await resumed.wait()

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Runs a function in the calling thread and returns its result."""
        loop, result = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

        def finish(setter: Callable[[Any], None], value: Any) -> None:
            if not result.done():
                setter(value)

        def execute() -> None:
            try:
                value = function(*args)
            except Exception as error:  # noqa: BLE001 - raised in the coroutine that runs the callback
                loop.call_soon_threadsafe(finish, result.set_exception, error)
            else:
                loop.call_soon_threadsafe(finish, result.set_result, value)

        self.inbox.put(execute)
        return await result

    def forward(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a callback for the loop that runs in the calling thread. Coroutine functions run on the loop."""
        return function if inspect.iscoroutinefunction(function) else lambda *args: self.run(function, *args)

    async def forward_items(self, items: Iterable[T]) -> AsyncIterator[T]:
        """Yields items that the calling thread creates, one at a time."""
        iterator = await self.run(iter, items)
        while (item := await self.run(next, iterator, _END)) is not _END:
            yield item


class BlockingLoop:
    """The loop of a session. It starts with the first call; a forked process has a new one."""

    def __init__(self, make_session: Callable[[], RivyaSession]) -> None:
        self._make_session = make_session
        self.session = make_session()
        self._closed = False
        self._reset()
        _LOOPS.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._callers: set[Caller] = set()

    def after_fork(self) -> None:
        """Replaces the session in a child process. The thread of the parent does not exist there."""
        _FORKED.append((self.session, self._thread, self._loop, self._main))
        self._reset()
        if not self._closed:
            self.session = self._make_session()

    def close_with(self, owner: object) -> None:
        """Closes the loop when its owner is garbage-collected, with a `ResourceWarning`."""
        weakref.finalize(owner, self._abandon, repr(owner)).atexit = False
        atexit.unregister(_close_all)
        atexit.register(_close_all)  # after the finalizers of `weakref` are registered, so that it runs before them

    def run(self, make: Callable[[Caller], Coroutine[Any, Any, T]]) -> T:
        """Runs a coroutine on the loop and returns its result."""
        steps = self._call(make, Caller())
        try:
            while True:
                next(steps)
        except StopIteration as end:
            result: T = end.value
            return result

    def iterate(self, make: Callable[[Caller], AsyncGenerator[T]], caller: Caller) -> Generator[T]:
        """Yields the items of an async generator, which runs in one task."""

        async def send_items(caller: Caller) -> None:
            async with aclosing(make(caller)) as items:
                async for item in items:
                    await caller.send(item)

        yield from self._call(send_items, caller)

    def _call(self, make: Callable[[Caller], Coroutine[Any, Any, Any]], caller: Caller) -> Generator[Any, None, Any]:
        """Yields the items that a coroutine sends, and returns its result."""
        tasks: list[asyncio.Task[Any]] = []

        def start() -> None:
            tasks.append(asyncio.get_running_loop().create_task(make(caller)))
            tasks[0].add_done_callback(caller.inbox.put)

        def cancel() -> None:
            tasks[0].cancel()

        loop = self._enter(caller)
        try:
            with suppress(RuntimeError):  # the loop is closed: the inbox has the end
                loop.call_soon_threadsafe(start)
            while isinstance(message := caller.inbox.get(), _Item) or callable(message):
                if isinstance(message, _Item):
                    yield message.value
                    message.resume()
                else:
                    message()
        except BaseException as interrupt:  # such as Ctrl-C, or a generator that is closed early
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(cancel)
            while isinstance(message := caller.inbox.get(), _Item) or callable(message):
                pass
            for note in _notes_of(message):
                interrupt.add_note(note)
            raise
        finally:
            self._callers.discard(caller)
        return _result_of(message)

    def _enter(self, caller: Caller) -> asyncio.AbstractEventLoop:
        """Registers a call and returns the loop, which is started if necessary."""
        if threading.current_thread() is self._thread:
            raise ConfigurationError(
                "a blocking call in the thread of the session's event loop would never end: hooks must not make calls"
            )
        with self._lock:
            if self._closed:
                raise SessionClosedError("this session is closed: create a new BlockingSession")
            if self._loop is None:
                ready = threading.Event()
                self._thread = threading.Thread(target=self._serve, args=[ready], name="rivya-session", daemon=True)
                self._thread.start()
                ready.wait()
            self._callers.add(caller)
            loop = self._loop
        if loop is None:
            raise SessionClosedError("the event loop of this session has ended: create a new BlockingSession")
        return loop

    def _serve(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._keep_open(ready))
        finally:
            ready.set()
            with self._lock:
                self._closed = True
                for caller in self._callers:
                    caller.inbox.put(None)

    async def _keep_open(self, ready: threading.Event) -> None:
        self._loop, self._main, stopped = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()
        self._stop = stopped.set
        ready.set()
        await stopped.wait()
        await self.session.aclose()

    def close(self, timeout: float | None = None) -> None:
        """Closes the session and waits for the end of its thread; after `timeout` seconds, aborts its requests."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._stop)
            thread.join(timeout)
            if thread.is_alive() and self._main is not None:
                loop.call_soon_threadsafe(self._main.cancel)
                thread.join(timeout)

    def _abandon(self, description: str) -> None:
        loop, was_closed, self._closed = self._loop, self._closed, True
        if loop is not None and not was_closed:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._stop)
            warnings.warn(f"{description} was never closed: use `with`", ResourceWarning, stacklevel=2)


def _result_of(task: asyncio.Task[Any] | None) -> Any:
    if task is None or task.cancelled():
        error = SessionClosedError("the session was closed during this call: create a new BlockingSession")
        for note in _notes_of(task):
            error.add_note(note)
        raise error
    return task.result()


def _notes_of(task: asyncio.Task[Any] | None) -> list[str]:
    """Returns the notes of a cancelled call, which name its task and its key, or its late result."""
    if task is None:
        return []
    try:
        result = task.result()
    except BaseException as error:  # noqa: BLE001 - also the CancelledError of the task
        return [*getattr(error, "__notes__", []), *([str(error)] if str(error) else [])]
    return [] if result is None else [f"the call had already returned {result!r}"]


def _close_all() -> None:
    for loop in list(_LOOPS):
        loop.close(EXIT_TIMEOUT)


def _after_fork() -> None:
    for loop in list(_LOOPS):
        loop.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
