"""The noun: a worker, which puts the SDK on a broker of Taskiq."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

from redis.exceptions import RedisError
from taskiq import InMemoryBroker, TaskiqEvents

from .._core.errors import ConfigurationError, NotSent
from .._core.settings import Settings
from .._engine.ambient import Ambient
from .._engine.stop import Stop
from .._jobs.transitions import UNPURCHASED, JobState
from ..session import RivyaSession
from . import tasks
from .brokers import broker_at, store_at
from .clerk import Clerk
from .desk import DESK, Desk
from .memory_store import MemoryStore
from .pulse import Pulse
from .record import NO_ERROR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from taskiq import AsyncBroker, TaskiqState

    from .._core.policies import RateLimit
    from .._engine.hooks import Hooks
    from .record import JobRecord
    from .store import Store

PATIENCE: Final = 30.0
"""Seconds in which the store must have answered: a worker that cannot begin ends, and is started again."""

FAREWELL: Final = 8.0
"""Seconds that each part of closing may take: Redis may be away for good."""


class RivyaWorker:
    """Puts a session, and two ready tasks, on a broker of Taskiq.

    Make it beside the broker, in the module that workers and those who enqueue both import. In a worker process the
    session is opened as the broker starts, with `session_options` as `RivyaSession` takes them, and closed as it stops;
    elsewhere no session is opened, and no API key is needed.

    `store` is what processes share: a `RedisStore`, or left out a `MemoryStore`, for the in-memory broker only.
    `rate_limit` is the limit of the account: with a `RedisStore` all workers keep it together, as they keep what 429s
    teach where it is left out.

    `generate` and `wait` are the tasks `rivya.generate` and `rivya.wait`: `await worker.generate.kiq("z-image", "A red
    kite")` enqueues a job. Its idempotency key is minted then and travels with it, so that it is bought once however
    often its message is delivered.

    >>> async def main():
    ...     async with Sandbox(speed=100) as sandbox:
    ...         quick = PollPolicy(first=0.1, base=0.1, adaptive=False)
    ...         worker = RivyaWorker(InMemoryBroker(), api_key=sandbox.api_key, base_url=sandbox.base_url, poll=quick)
    ...         await worker.broker.startup()
    ...         task = await worker.generate.kiq("z-image", "A red kite")
    ...         result = await task.wait_result(timeout=60)
    ...         await worker.broker.shutdown()
    ...         return result.return_value["state"]
    >>> asyncio.run(main())
    'succeeded'
    """

    def __init__(
        self,
        broker: AsyncBroker,
        *,
        store: Store | None = None,
        rate_limit: RateLimit | None = None,
        **session_options: Any,
    ) -> None:
        if store is None and not isinstance(broker, InMemoryBroker):
            raise ConfigurationError(
                "workers on several processes share what they know: RivyaWorker(broker, store=RedisStore(url))"
            )
        inspect.signature(RivyaSession).bind_partial(**session_options)
        self.hooks: list[Hooks] = list(session_options.pop("hooks", ()))
        """Who is told of what the session does; add yours before the broker is started."""
        self.broker = broker
        self.store: Store = store or MemoryStore()
        self._rate_limit = rate_limit
        self._options = session_options
        self._ambient = Ambient()
        self._desk: Desk | None = None
        self._pulse: Pulse | None = None
        self.generate, self.wait = tasks.register(broker)
        broker.add_middlewares(Clerk(self._ambient))
        broker.add_event_handler(TaskiqEvents.CLIENT_STARTUP, self._open_store)
        broker.add_event_handler(TaskiqEvents.CLIENT_SHUTDOWN, self._close_store)
        broker.add_event_handler(TaskiqEvents.WORKER_STARTUP, self._open)
        broker.add_event_handler(TaskiqEvents.WORKER_SHUTDOWN, self._close)

    @classmethod
    def at(cls, url: str, *, queue: str = "rivya", rate_limit: RateLimit | None = None, **session_options: Any) -> Self:
        """A worker on `broker_at(url)` with the store beside it: `memory://`, or `redis://...`."""
        broker, store = broker_at(url, queue=queue), store_at(url, queue=queue)
        return cls(broker, store=store, rate_limit=rate_limit, **session_options)

    @property
    def session(self) -> RivyaSession:
        """The open session of this worker process; `ConfigurationError` where there is none."""
        if self._desk is None:
            raise ConfigurationError("there is a session only in a worker process, while its broker runs")
        return self._desk.session

    @property
    def queue_depth(self) -> int | None:
        """Messages that wait for a worker, as seen within the last seconds; None where that is not known."""
        return None if self._pulse is None or self._pulse.depth is None else self._pulse.depth.waiting

    @property
    def rate(self) -> float | None:
        """Requests per second that all workers together send at most, as last seen; None where nothing bounds them."""
        return None if self._pulse is None else self._pulse.rate

    def drain(self) -> None:
        """Buy nothing more and hand back what is open. Does nothing outside of a worker process.

        Answers to purchases on their way are waited for, five seconds at most.
        """
        if self._desk is not None:
            self._desk.stop.set()

    async def read(self, idempotency_keys: Sequence[str]) -> list[JobRecord | None]:
        """What has become of these orders; None for one that nobody has begun yet, or that was forgotten."""
        return await self.store.read(idempotency_keys)

    async def enlist(self, idempotency_key: str) -> bool:
        """Note an order before it is enqueued; False where it need not be, since a worker has it or it has ended.

        One that was given up, withdrawn or not saved goes on where it was: what may have been bought is asked for under
        the same key, as long as the service remembers it. Needed only for orders that are enqueued more than once.
        """
        (record,) = await self.store.read([idempotency_key])
        if record is None:
            await self.store.advance(idempotency_key, {None}, JobState.PLANNED)
        elif record.is_revivable:
            await self.store.advance(idempotency_key, {record.state}, record.revived_state, **NO_ERROR, deliveries=0)
        else:
            return record.state in UNPURCHASED
        return True

    @asynccontextmanager
    async def started(self, patience: float = PATIENCE) -> AsyncIterator[None]:
        """The broker started, for who orders, and shut down at the end. `NotSent` where it is not reached in time."""
        try:
            async with asyncio.timeout(patience):
                await self.broker.startup()
                await self.store.beats()
        except (TimeoutError, OSError, RedisError) as error:
            await self._shut_down()
            raise NotSent("the broker does not answer: is Redis there, and is it this one?") from error
        try:
            yield
        finally:
            await self._shut_down()

    async def _shut_down(self) -> None:
        with suppress(TimeoutError):  # Redis may be away for good
            async with asyncio.timeout(FAREWELL):
                await self.broker.shutdown()

    # --- with the broker ----------------------------------------------------------------------------------------------

    async def _open_store(self, _: TaskiqState) -> None:
        await self.store.open()

    async def _close_store(self, _: TaskiqState) -> None:
        await self.store.aclose()

    async def _open(self, state: TaskiqState) -> None:
        options = self._options
        Settings.resolve(os.environ, api_key=options.get("api_key"), base_url=options.get("base_url")).required_key()
        await self.store.open()
        name = f"{socket.gethostname()}-{os.getpid()}"
        self._pulse = Pulse(self.broker, self.store, name, rate_limit=self._rate_limit)
        session = RivyaSession(
            **{**options, "rate_limit": self._pulse.limit, "hooks": [*self.hooks, *self._pulse.hooks]}
        )
        self._desk = Desk(
            session=session, store=self.store, stop=Stop(), wall=self._ambient.wall, uniform=self._ambient.uniform
        )
        setattr(state, DESK, self._desk)
        try:
            await session.__aenter__()
            async with asyncio.timeout(PATIENCE):
                await self._pulse.start(self._desk)
        except BaseException:
            await self._close(state)
            raise

    async def _close(self, state: TaskiqState) -> None:
        desk, pulse = self._desk, self._pulse
        self._desk = self._pulse = None
        if desk is None or pulse is None:
            return
        desk.stop.set()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    await desk.empty()
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    await pulse.aclose(desk)
        finally:
            setattr(state, DESK, None)
            await desk.session.aclose()
            await self.store.aclose()
