"""`RivyaWorker`: the SDK on a Taskiq broker."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from redis.exceptions import RedisError
from taskiq import InMemoryBroker, TaskiqEvents

from .._core.config import Config
from .._core.errors import ConfigurationError, RequestNotSentError
from .._engine.environment import Environment
from .._engine.shutdown import ShutdownRequested, ShutdownSignal
from .._jobs.transitions import UNPURCHASED, JobState
from ..session import RivyaSession
from . import tasks
from .brokers import RivyaStreamsBroker, create_broker, create_store
from .context import CONTEXT_KEY, WorkerContext, wait_at_most
from .heartbeat import Heartbeat
from .memory_store import MemoryStore
from .redis_availability import describe_redis_error, redis_address
from .redis_store import RedisStore
from .store import NO_ERROR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from taskiq import AsyncBroker, TaskiqState

    from .._core.policies import RateLimit
    from .._engine.hooks import Hooks
    from .store import JobRecord, WorkerStore

STARTUP_TIMEOUT: Final = 30.0
"""Maximum seconds until broker and store respond to a client. Workers wait for them without end."""

CLOSE_TIMEOUT: Final = 8.0
"""Maximum seconds for each step of closing: Redis may be down for good."""


class RivyaWorker:
    """A session and two ready tasks on a Taskiq broker.

    Create it beside the broker, in the module that workers and clients both import. In a worker process the session
    opens when the broker starts, with `session_options` of `RivyaSession`, and closes when it stops. Clients open no
    session and need no API key.

    `store` is the state that processes share: a `RedisStore`, or by default a `MemoryStore`, for the in-memory broker
    only. `rate_limit` is the limit of the account: with a `RedisStore` all workers keep it together. Without it they
    share what 429s teach. Files are saved inside `download_root` only: without it nowhere, since everyone who can write
    to the broker names the folder; with the in-memory broker in any folder.

    `generate` and `wait` are the tasks `rivya.generate` and `rivya.wait`: `await worker.generate.kiq("z-image", "A red
    kite")` enqueues a job. Its idempotency key is minted at that moment and is part of the message, so that the job is
    bought once however often the message is delivered.

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
        store: WorkerStore | None = None,
        rate_limit: RateLimit | None = None,
        download_root: str | os.PathLike[str] | None = None,
        **session_options: Any,
    ) -> None:
        if store is None and not isinstance(broker, InMemoryBroker):
            raise ConfigurationError(
                "a broker for several processes needs a shared store: RivyaWorker(broker, store=RedisStore(url))"
            )
        inspect.signature(RivyaSession).bind_partial(**session_options)
        self.hooks: list[Hooks] = list(session_options.pop("hooks", ()))
        """The hooks of the session; add yours before the broker is started."""
        self.broker = broker
        """Broker that holds the messages."""
        self.store: WorkerStore = store or MemoryStore()
        if isinstance(broker, RivyaStreamsBroker) and isinstance(self.store, RedisStore):
            broker.availability = self.store.availability  # one line of the log for an outage
        self._rate_limit = rate_limit
        self._download_root = None if download_root is None else Path(download_root)
        self._session_options = session_options
        self._ambient = Environment()
        self._context: WorkerContext | None = None
        self._heartbeat: Heartbeat | None = None
        self.generate, self.wait = tasks.register(broker)
        broker.add_middlewares(tasks.RivyaMiddleware(self._ambient))
        broker.add_event_handler(TaskiqEvents.CLIENT_STARTUP, lambda _: self.store.open())
        broker.add_event_handler(TaskiqEvents.CLIENT_SHUTDOWN, lambda _: self.store.aclose())
        broker.add_event_handler(TaskiqEvents.WORKER_STARTUP, self._open)
        broker.add_event_handler(TaskiqEvents.WORKER_SHUTDOWN, self._close)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        queue: str = "rivya",
        rate_limit: RateLimit | None = None,
        download_root: str | os.PathLike[str] | None = None,
        **session_options: Any,
    ) -> Self:
        """Creates a worker with the broker and the store of a URL: `memory://`, or `redis://...`."""
        broker, store = create_broker(url, queue=queue), create_store(url, queue=queue)
        return cls(broker, store=store, rate_limit=rate_limit, download_root=download_root, **session_options)

    @property
    def session(self) -> RivyaSession:
        """The open session of this worker process; raises `ConfigurationError` elsewhere."""
        if self._context is None:
            raise ConfigurationError("a session exists only in a worker process, while its broker runs")
        return self._context.session

    @property
    def queue_depth(self) -> int | None:
        """The number of messages that wait for a worker, at the last heartbeat; None if it is unknown."""
        depth = None if self._heartbeat is None else self._heartbeat.queue_depth
        return None if depth is None else depth.waiting

    @property
    def rate(self) -> float | None:
        """The last known limit in requests per second of all workers together; None if there is none."""
        return None if self._heartbeat is None else self._heartbeat.rate

    def drain(self) -> None:
        """Stops purchases and returns open jobs to the queue. Does nothing outside a worker process.

        Waits at most five seconds for the responses to purchases in flight.
        """
        if self._context is not None:
            self._context.shutdown.set()

    async def read_jobs(self, idempotency_keys: Sequence[str]) -> list[JobRecord | None]:
        """Returns the records of jobs; None for a job that no worker has started, or whose record expired."""
        return await self.store.read(idempotency_keys)

    async def register(self, idempotency_key: str) -> bool:
        """Records a job before it is enqueued; returns False if it need not be: a worker has it, or it has ended.

        A dead, withdrawn or unsaved job continues where it was: a purchase that may have been made is repeated under
        the same key, as long as the service remembers the key. Needed only for jobs that are enqueued more than once.
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
    async def lifespan(self, timeout: float = STARTUP_TIMEOUT) -> AsyncIterator[None]:
        """Starts the broker for a client and shuts it down at the end.

        Raises `RequestNotSentError` after the timeout.
        """
        try:
            async with asyncio.timeout(timeout):
                await self.broker.startup()
                await self.store.list_workers()
        except (TimeoutError, OSError, RedisError) as error:
            await self._shut_down()
            raise RequestNotSentError(f"the broker is unavailable: {self._outage_cause(error)}") from error
        try:
            yield
        finally:
            await self._shut_down()

    def _outage_cause(self, error: Exception) -> str:
        if not isinstance(self.store, RedisStore):
            return str(error) or "it does not respond"
        causes = self.store.availability.causes
        return causes[-1] if causes else describe_redis_error(error, redis_address(self.store.url))

    async def _shut_down(self) -> None:
        await wait_at_most(CLOSE_TIMEOUT, self.broker.shutdown())

    # --- event handlers of the broker ---------------------------------------------------------------------------------

    async def _open(self, state: TaskiqState) -> None:
        options = self._session_options
        Config.resolve(os.environ, api_key=options.get("api_key"), base_url=options.get("base_url")).require_api_key()
        shutdown = ShutdownSignal()
        if isinstance(self.store, RedisStore):
            self.store.availability.shutdown = shutdown
        await self.store.open()
        name = f"{socket.gethostname()}-{os.getpid()}"
        self._heartbeat = Heartbeat(self.broker, self.store, name, rate_limit=self._rate_limit)
        session = RivyaSession(**options, **self._heartbeat.limiter_options(self.hooks))
        self._context = WorkerContext(
            session=session,
            store=self.store,
            shutdown=shutdown,
            wall=self._ambient.wall_time,
            uniform=self._ambient.uniform,
            download_root=self._download_root,
            trusts_messages=isinstance(self.broker, InMemoryBroker),
        )
        setattr(state, CONTEXT_KEY, self._context)
        try:
            await session.__aenter__()
            await self._heartbeat.start(self._context)
        except BaseException:
            await self._close(state)
            raise

    async def _close(self, state: TaskiqState) -> None:
        context, heartbeat = self._context, self._heartbeat
        self._context = self._heartbeat = None
        if context is None or heartbeat is None:
            return
        context.shutdown.set()
        try:
            await wait_at_most(CLOSE_TIMEOUT, context.wait_until_idle())
            with suppress(ShutdownRequested):
                await wait_at_most(CLOSE_TIMEOUT, heartbeat.aclose(context))
        finally:
            setattr(state, CONTEXT_KEY, None)
            await context.session.aclose()
            await self.store.aclose()
            await self._flush_telemetry()

    async def _flush_telemetry(self) -> None:
        """Exports the telemetry that hooks have not exported yet."""
        for hook in self.hooks:
            flush = getattr(hook, "flush", None)
            if flush is not None:
                await wait_at_most(CLOSE_TIMEOUT, asyncio.to_thread(flush))
