"""The session: what a user opens, uses and closes."""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref
from typing import TYPE_CHECKING, Final, Self

from ._core import assumptions
from ._core.config import Config
from ._core.errors import ConfigurationError
from ._core.limits.external_limiter import ExternalRateLimiter
from ._core.policies import PollPolicy, RateLimit, RetryPolicy, Timeouts, validate_policy
from ._core.polling.adaptive.duration_estimator import DurationEstimator
from ._core.polling.webhook_updates import DeliveryRateEstimator
from ._core.spend import SpendLedger, SpendSummary, validate_cap, validate_prices
from ._engine.engine import Engine
from ._engine.environment import Environment
from ._engine.hooks import Hooks
from ._engine.purchase_preflight import PurchasePreflight
from .resources.chat import Chat
from .resources.credits import CreditsResource
from .resources.downloads import ResultDownloads
from .resources.files import Files
from .resources.generation_methods import GenerationMethods, JobContext
from .resources.generations import Generations
from .resources.models import Models
from .resources.openapi import OpenApi
from .resources.webhooks import WebhookEvents, Webhooks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    import aiohttp

    from ._core.types.generations import Generation
    from ._engine.http.transport import Transport
    from ._engine.transfers.uploader import OnProgress


class RivyaSession(GenerationMethods):
    """Connections, polls and settings for one account, on one event loop.

    Use it as an async context manager, or call `aclose()`. It may be made before the loop runs and binds to the loop of
    its first call; use on another loop, after closing or after a fork raises `ConfigurationError`.

    `api_key` comes from `RIVYA_API_KEY` if left out, `base_url` from `RIVYA_BASE_URL`, else it is `https://rivya.ai`.
    No key is needed until a call needs one. `max_connections` bounds the requests in flight, `rate_limit` how many go
    out per second; an `ExternalRateLimiter` in its place has somebody else keep a limit that is shared. An `http`
    session that is handed in is used and never closed; a `transport` takes the place of the network, as
    `testing.FakeTransport` does. `hooks` are told of attempts, retries, polls, ends of waits and downloads.

    `max_spend` caps the credits that this session's jobs and chat turns cost in all, `max_reserved` those that open
    ones hold at a time: what would pass a cap raises `SpendLimitError`, and nothing is sent. The price is the model's
    `estimate_credits`, or what `prices` says a job or a turn of a model costs at most; see `spend`.

    Closing is gentle: waits end with `SessionClosedError`, requests in flight come to their end, none begins.

    >>> async def main():
    ...     async with Sandbox() as sandbox, RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
    ...         return await session.credits.retrieve()
    >>> asyncio.run(main())
    Credits(current_credits=1000000, extra={})
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        poll: PollPolicy | None = None,
        rate_limit: RateLimit | ExternalRateLimiter | None = None,
        max_connections: int = 100,
        http: aiohttp.ClientSession | None = None,
        transport: Transport | None = None,
        hooks: Sequence[Hooks] = (),
        max_spend: float | None = None,
        max_reserved: float | None = None,
        prices: Mapping[str, float] | None = None,
    ) -> None:
        self._engine: Engine | None = None
        self._closed = False
        if isinstance(max_connections, bool) or not isinstance(max_connections, int) or max_connections < 1:
            raise ConfigurationError(f"max_connections must be a whole number from 1 on, not {max_connections!r}")
        self._config = Config.resolve(os.environ, api_key=api_key, base_url=base_url)
        self._timeouts = validate_policy("timeouts", timeouts, Timeouts())
        self._retry = validate_policy("retry", retry, RetryPolicy())
        if rate_limit is not None and not isinstance(rate_limit, RateLimit | ExternalRateLimiter):
            raise ConfigurationError(f"rate_limit must be RateLimit(per_second), or an Allowance, not {rate_limit!r}")
        if isinstance(rate_limit, ExternalRateLimiter):
            rate_limit.claim()
        self._rate_limit = rate_limit
        self._max_connections = max_connections
        if http is not None and transport is not None:
            raise ConfigurationError("pass either http or a transport: a transport has connections of its own")
        self._http = http
        self._transport = transport
        self._hooks = _validate_hooks(hooks)
        self._pid = os.getpid()
        self._environment = Environment()
        self.durations = DurationEstimator()
        """What is known of how long jobs last; `dump()` and `load()` carry it to another process."""
        self._delivery_rate = DeliveryRateEstimator()
        self.models = Models(self._open_engine)
        self.files = Files(self._open_engine, self.models.retrieve)
        self._downloads = ResultDownloads(self._open_engine)
        ledger = SpendLedger(
            max_spend=validate_cap("max_spend", max_spend), max_reserved=validate_cap("max_reserved", max_reserved)
        )
        self._spend = SpendSummary(ledger)
        preflight = PurchasePreflight(
            self.models.catalogue,
            ledger,
            validate_prices(prices),
            new_key=self._environment.new_idempotency_key,
        )
        self._jobs = JobContext(
            engine=self._open_engine,
            poll=validate_policy("poll", poll, PollPolicy()),
            preflight=preflight,
            resolve_references=self.files.resolve_references,
        )
        self.generations = Generations(self._jobs, self._delivery_rate)
        self.chat = Chat(self._open_engine, preflight)
        self.credits = CreditsResource(self._open_engine)
        self.openapi = OpenApi(self._open_engine)
        self.webhooks = Webhooks(self._open_engine)
        self.webhook_events = WebhookEvents(self._open_engine)
        key = self._config.api_key
        if key is not None and not key.startswith(assumptions.API_KEY_PREFIX):
            warnings.warn(f"the API key does not begin with {assumptions.API_KEY_PREFIX!r}", UserWarning, stacklevel=2)

    @property
    def spend(self) -> SpendSummary:
        """What this session has spent on jobs and chat turns, by idempotency key and in all; see `SpendSummary`."""
        return self._spend

    @property
    def base_url(self) -> str:
        """Where the service is that this session talks to."""
        return self._config.base_url

    @property
    def is_local(self) -> bool:
        """Whether the service runs on this machine, as the sandbox does."""
        return self._config.is_local

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._engine else "new"
        return f"<RivyaSession {self._config.base_url} {state}>"

    async def __aenter__(self) -> Self:
        self._open_engine()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close gently. Does nothing once it is closed; while it is being closed, waits for the end of that.

        Waits end with `SessionClosedError`; pauses between attempts end, requests on their way come to their end (at
        most `Timeouts.total` seconds, or `Timeouts.chat`), and none begins. Downloads, uploads and streams are cut.
        Cancelling it cuts what is on its way and closes the connections at once: what may have acted then raises
        `OutcomeUnknownError` with its key. A second `aclose` that is cancelled waits no longer, and cuts nothing.
        """
        engine, was_closed = self._engine, self._closed
        if engine is None or self._pid != os.getpid():  # what was forked belongs to the parent
            self._closed = True
            return
        if engine.loop is asyncio.get_running_loop():
            self._closed = True
            self._finalizer.detach()
            await engine.aclose()
        elif not was_closed:
            if not engine.loop.is_closed():
                raise ConfigurationError("this session lives on another event loop: close it there")
            self._closed = True
            self._finalizer.detach()
            engine.transport.abandon()

    async def download(
        self,
        generation_or_url: Generation | str,
        to: str | os.PathLike[str],
        *,
        name: str | None = None,
        overwrite: bool = False,
        max_bytes: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> list[Path]:
        """Save the files of a succeeded job, or of one URL, and return their paths.

        `to` is a folder, made if need be, where files are named after the task and their content type; or, with a
        suffix, the name of the file (of the first file: others get a number). With `name` it is always a folder, and
        names are made of `{task_id}`, `{model}`, `{index}` (from 1) and `{ext}` (with its dot).

        Each file is streamed to a hidden one beside its place, checked for its length, and renamed when whole. What
        breaks off goes on where it ended if the host tells the version of its file, by the retry policy counted from
        the last progress. A link that has expired (400, 401, 403, 404, 410) is refreshed once by reading the job again.
        Of a file over 1 MiB, a download that is cancelled or given up leaves what can be resumed, and the next one of
        the same file to the same place takes it up; else nothing is left. At most 16 files of a session come at once.

        No host but the service's own is ever shown the API key, and neither is the host of the result. Redirects are
        followed, but not from https to http, and not to addresses that are not public, except the host of
        `base_url`. `on_progress(received, total)` is called, or awaited, after each piece; both are bytes, and `total`
        is None where the host does not tell. Links may expire: download soon.

        Raises `ConfigurationError` where the job has no result, a name cannot be, or a file exists and `overwrite` is
        not set; `DownloadError` where the disk does not take the file, it has more than `max_bytes`, or a redirect is
        not followed; and what any read can raise.

        >>> async def save(session):
        ...     kite = await session.generate("z-image", "A red kite")
        ...     return await session.download(kite, "kites", name="{model}-{index:02}{ext}")
        >>> in_sandbox(save)
        [PosixPath('kites/z-image-01.png')]
        """
        return await self._downloads.save(
            generation_or_url, to, name=name, overwrite=overwrite, max_bytes=max_bytes, on_progress=on_progress
        )

    def _open_engine(self) -> Engine:
        """The engine, made on first use. Refuses a closed session, another loop and a forked process."""
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ConfigurationError("this session is closed: make a new RivyaSession")
        if self._pid != os.getpid():
            raise ConfigurationError("this session was made before a fork: make a RivyaSession in each process")
        if self._engine is None:
            transport = self._transport or self._new_transport()
            self._engine = Engine(
                transport,
                config=self._config,
                retry=self._retry,
                environment=self._environment,
                hooks=self._hooks,
                max_connections=min(self._max_connections, transport.max_connections),
                rate_limit=self._rate_limit,
                durations=self.durations,
                delivery_rate=self._delivery_rate,
            )
            self._finalizer = weakref.finalize(self, _warn_unclosed, self._engine, repr(self), self._pid)
        elif self._engine.loop is not loop:
            raise ConfigurationError("this session lives on another event loop: make a RivyaSession for each loop")
        return self._engine

    def _new_transport(self) -> Transport:
        from ._engine.http.aiohttp_transport import AiohttpTransport

        return AiohttpTransport(self._config, self._timeouts, self._http)


_FORKED_ENGINES: Final[list[Engine]] = []
"""Engines of a parent process: to close them in a child would take the parent's sockets from its event loop."""


def _warn_unclosed(engine: Engine, shown: str, pid: int) -> None:
    """What is left to do for a session that nobody closed; called before its parts are finalized."""
    if pid != os.getpid():
        _FORKED_ENGINES.append(engine)
        return
    try:
        engine.transport.abandon()
    finally:
        warnings.warn(f"{shown} was never closed: use `async with`", ResourceWarning, stacklevel=2)


def _validate_hooks(hooks: Sequence[Hooks]) -> tuple[Hooks, ...]:
    if isinstance(hooks, Hooks) or not all(isinstance(listener, Hooks) for listener in hooks):
        raise ConfigurationError("hooks must be a list of objects of a class that derives from Hooks")
    return tuple(hooks)
