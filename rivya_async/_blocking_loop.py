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
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

from ._core.errors import ConfigurationError, SessionClosedError
from ._engine.hooks import INTERRUPT_HANDLER
from .session import RivyaSession

EXIT_TIMEOUT: Final = 5.0
"""Seconds at the exit of the process for requests in flight. Then they are aborted."""

_END: Final = object()
_LOOPS: Final[weakref.WeakSet[BlockingLoop]] = weakref.WeakSet()
_FORKED: Final[list[object]] = []
"""Sessions, threads and loops of the parent process: finalizers must not run in the child."""


class Caller:
    """The thread of a call. It runs functions for the loop until the call ends."""

    def __init__(self) -> None:
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.is_done = False

    def interrupt(self, error: BaseException) -> None:
        """Raises an error of a hook in the calling thread, or reports it to the loop once the call has ended."""
        if self.is_done:
            asyncio.get_running_loop().call_exception_handler({"message": "a hook raised", "exception": error})
            return

        def fail() -> None:
            raise error

        self.inbox.put(fail)

    def run(self, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Runs a function in the calling thread; returns its result as a future."""
        future: Future[Any] = Future()

        def execute() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args))
                except StopIteration as error:  # no future accepts it
                    future.set_exception(RuntimeError(f"a callback raised {error!r}"))
                except Exception as error:  # noqa: BLE001 - raised in the coroutine that waits for the result
                    future.set_exception(error)

        self.inbox.put(execute)
        return asyncio.wrap_future(future)

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
        self._closed = False
        self._reset()
        _LOOPS.add(self)

    def _reset(self) -> None:
        self.session = self._make_session()
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopped = asyncio.Event()
        self._close_timeout: float | None = None

    def after_fork(self) -> None:
        """Replaces the session in a child process. The thread of the parent does not exist there."""
        _FORKED.append(vars(self).copy())
        if not self._closed:
            self._reset()

    def close_with(self, owner: object) -> None:
        """Closes the loop at exit, and when its owner is garbage-collected, with a `ResourceWarning`."""
        weakref.finalize(owner, self._abandon, repr(owner)).atexit = False
        atexit.register(self.close, EXIT_TIMEOUT)  # runs before the finalizers of `weakref`, which are registered first

    def call(self, make: Callable[[Caller], Awaitable[Any]], caller: Caller | None = None) -> Any:
        """Runs a coroutine on the loop and returns its result."""
        is_whole = caller is None
        inbox = (caller := caller or Caller()).inbox

        async def main() -> None:
            INTERRUPT_HANDLER.set(caller.interrupt)
            try:
                inbox.put((await make(caller), None))
            except (SystemExit, KeyboardInterrupt) as error:  # raised in the calling thread; here they end the loop
                inbox.put((None, error))
            except BaseException as error:
                inbox.put((None, error))
                raise

        future = self._start(main)
        try:
            while callable(message := inbox.get()):
                message()
        except BaseException as interrupt:  # such as Ctrl-C
            future.cancel()
            while callable(message := inbox.get()):
                pass
            _add_notes(interrupt, *message)
            raise
        finally:
            caller.is_done = is_whole
        result, error = message
        if isinstance(error, asyncio.CancelledError):
            error = SessionClosedError("the session was closed during this call: create a new BlockingSession")
            _add_notes(error, *message)
        if error is not None:
            raise error
        return result

    def iterate(self, items: AsyncIterator[Any], caller: Caller | None = None) -> Generator[Any]:
        """Yields the items of an async iterator, and closes it."""
        caller = caller or Caller()
        try:
            while (item := self.call(lambda _: anext(items, _END), caller)) is not _END:
                yield item
        finally:
            close = getattr(items, "aclose", None)
            if close is not None and threading.current_thread() is not self._thread:  # the loop closes abandoned ones
                with suppress(SessionClosedError):
                    self.call(lambda _: close(), caller)
            caller.is_done = True

    def _start(self, main: Callable[[], Any]) -> Future[None]:
        """Starts a coroutine. Once it is scheduled it will end, since a closing loop cancels its tasks."""
        if threading.current_thread() is self._thread:
            raise ConfigurationError(
                "a blocking call in the thread of the session's event loop would never end: hooks must not make calls"
            )
        with self._lock:
            if self._closed:
                raise SessionClosedError("this session is closed: create a new BlockingSession")
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._run, args=[loop], name="rivya-session", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system permits no more threads
                    loop.close()
                    raise
                self._loop, self._thread = loop, thread
            return asyncio.run_coroutine_threadsafe(main(), self._loop)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        await self._stopped.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._close_timeout):
                await self.session.aclose()

    def close(self, timeout: float | None = None, *, wait: bool = True) -> None:
        """Closes the session and waits for the end of its thread. Aborts its requests after `timeout` seconds."""
        atexit.unregister(self.close)
        with self._lock:
            self._closed, self._close_timeout = True, timeout
        if self._loop is not None and self._thread is not None:
            with suppress(RuntimeError):  # the loop is closed, or this is its thread
                self._loop.call_soon_threadsafe(self._stopped.set)
                if wait:
                    self._thread.join()

    def _abandon(self, description: str) -> None:
        was_open = self._loop is not None and not self._closed
        self.close(wait=False)
        if was_open:
            warnings.warn(f"{description} was never closed: use `with`", ResourceWarning, stacklevel=2)


def _add_notes(interrupt: BaseException, result: Any, error: BaseException | None) -> None:
    """Adds the notes of a cancelled call, which name its task and its key, or its late result."""
    for note in [*getattr(error, "__notes__", []), *([str(error)] if str(error or "") else [])]:
        interrupt.add_note(note)
    if result is not None and result is not _END:
        interrupt.add_note(f"the call had already returned {result!r}")


def _after_fork() -> None:
    for loop in list(_LOOPS):
        loop.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
