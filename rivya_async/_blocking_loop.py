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
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import suppress
from typing import Any, Final

from ._core.errors import ConfigurationError, SessionClosedError
from .session import RivyaSession

EXIT_TIMEOUT: Final = 5.0
"""Seconds at the exit of the process for requests in flight. Then they are aborted."""

_END: Final = object()
_LOOPS: Final[weakref.WeakSet[BlockingLoop]] = weakref.WeakSet()
_FORKED: Final[list[object]] = []
"""Sessions and threads of the parent process: finalizers must not run in the child."""


class Caller:
    """The thread of a call. It runs callbacks of the loop until the call ends."""

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

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

    async def forward_items(self, items: Iterable[Any]) -> AsyncIterator[Any]:
        """Yields items that the calling thread creates, since database cursors are bound to a thread."""
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

    def after_fork(self) -> None:
        """Replaces the session in a child process. The thread of the parent does not exist there."""
        _FORKED.append((self.session, self._thread, self._loop, self._main))
        self._reset()
        if not self._closed:
            self.session = self._make_session()

    def close_with(self, owner: object) -> None:
        """Closes the loop at exit, and when its owner is garbage-collected, with a `ResourceWarning`."""
        weakref.finalize(owner, self._abandon, repr(owner)).atexit = False
        atexit.register(self.close, EXIT_TIMEOUT)  # runs before the finalizers of `weakref`, which are registered first

    def call(self, make: Callable[[Caller], Awaitable[Any]], caller: Caller | None = None) -> Any:
        """Runs a coroutine on the loop and returns its result."""
        inbox = (caller := caller or Caller()).inbox
        tasks: list[asyncio.Task[Any]] = []

        async def main() -> Any:
            return await make(caller)

        def start() -> None:
            tasks.append(asyncio.get_running_loop().create_task(main()))
            tasks[0].add_done_callback(inbox.put)

        loop = self._schedule(start)
        try:
            while not isinstance(message := inbox.get(), asyncio.Task):
                message()
        except BaseException as interrupt:  # such as Ctrl-C
            with suppress(RuntimeError):  # the loop is closed: the inbox has the end
                loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            while not isinstance(message := inbox.get(), asyncio.Task):
                pass
            for note in _notes_of(message):
                interrupt.add_note(note)
            raise
        if message.cancelled():
            error = SessionClosedError("the session was closed during this call: create a new BlockingSession")
            for note in _notes_of(message):
                error.add_note(note)
            raise error
        return message.result()

    def iterate(self, items: AsyncIterator[Any], caller: Caller | None = None) -> Generator[Any]:
        """Yields the items of an async iterator, and closes it."""
        try:
            while (item := self.call(lambda _: anext(items, _END), caller)) is not _END:
                yield item
        finally:
            close = getattr(items, "aclose", None)
            # In its thread, the loop closes a generator that is garbage-collected.
            if close is not None and threading.current_thread() is not self._thread:
                with suppress(SessionClosedError):
                    self.call(lambda _: close(), caller)

    def _schedule(self, start: Callable[[], None]) -> asyncio.AbstractEventLoop:
        """Starts a call. What is scheduled before the loop is closed will end: `asyncio.run` cancels its task."""
        if threading.current_thread() is self._thread:
            raise ConfigurationError(
                "a blocking call in the thread of the session's event loop would never end: hooks must not make calls"
            )
        with self._lock:
            if self._closed:
                raise SessionClosedError("this session is closed: create a new BlockingSession")
            if self._loop is None:
                ready = threading.Event()
                self._thread = threading.Thread(target=self._run, args=[ready], name="rivya-session", daemon=True)
                self._thread.start()
                ready.wait()
            with suppress(RuntimeError):  # the loop is closed
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(start)
                    return self._loop
        raise SessionClosedError("the event loop of this session has ended: create a new BlockingSession")

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(ready))
        finally:
            ready.set()

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._main, stopped = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()
        self._stop = stopped.set
        ready.set()
        await stopped.wait()
        await self.session.aclose()

    def close(self, timeout: float | None = None) -> None:
        """Closes the session and waits for the end of its thread; after `timeout` seconds, aborts its requests."""
        atexit.unregister(self.close)
        with self._lock:
            self._closed = True
            loop, thread, main = self._loop, self._thread, self._main
        if loop is not None and thread is not None and main is not None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._stop)
                thread.join(timeout)
                if thread.is_alive():
                    loop.call_soon_threadsafe(main.cancel)
                    thread.join(timeout)

    def _abandon(self, description: str) -> None:
        atexit.unregister(self.close)
        loop, was_closed, self._closed = self._loop, self._closed, True
        if loop is not None and not was_closed:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._stop)
            warnings.warn(f"{description} was never closed: use `with`", ResourceWarning, stacklevel=2)


def _notes_of(task: asyncio.Task[Any]) -> list[str]:
    """Returns the notes of a cancelled call, which name its task and its key, or its late result."""
    try:
        result = task.result()
    except BaseException as error:  # noqa: BLE001 - also the CancelledError of the task
        return [*getattr(error, "__notes__", []), *([str(error)] if str(error) else [])]
    return [] if result is None or result is _END else [f"the call had already returned {result!r}"]


def _after_fork() -> None:
    for loop in list(_LOOPS):
        loop.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
