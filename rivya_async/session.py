"""The session: the entry point of the SDK."""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref
from typing import TYPE_CHECKING, Final, Self

from ._core import assumptions
from ._core.config import Config
from ._core.errors import ConfigurationError, SessionClosedError
from ._core.limits.external_limiter import ExternalRateLimiter
from ._core.policies import PollPolicy, RateLimit, RetryPolicy, Timeouts, validate_policy
from ._core.polling.adaptive.duration_estimator import DurationEstimator
from ._core.polling.webhook_updates import DeliveryRateEstimator
from ._core.spend import SpendLedger, SpendSummary, validate_cap, validate_prices
from ._engine.engine import Engine
from ._engine.environment import Environment
from ._engine.hooks import Hooks
from ._engine.purchase_preflight import PurchasePreflight
from .resources.account import CreditsResource, OpenApi
from .resources.chat import Chat
from .resources.downloads import ResultDownloads
from .resources.files import Files
from .resources.generation_methods import GenerationMethods, JobContext
from .resources.generations import Generations
from .resources.models import Models
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
    """Connections, polls and settings for one account on one event loop.

    Use it as an async context manager, or call `aclose()`. It may be created before the loop runs and binds to the loop
    of its first call. Use on another loop or after a fork raises `ConfigurationError`, use after closing
    `SessionClosedError`.

    `api_key` defaults to `RIVYA_API_KEY`, `base_url` to `RIVYA_BASE_URL` or else `https://rivya.ai`. The key is only
    required by the first call that sends it. `max_connections` limits the requests in flight, `rate_limit` the requests
    per second; an `ExternalRateLimiter` delegates a shared limit to another component. A given `http` session is used
    and never closed. A `transport` replaces the network, as `testing.FakeTransport` does. `hooks` receive attempts,
    retries, polls, ended waits and downloads.

    `max_spend` caps the total credits of this session's jobs and chat turns, `max_reserved` the credits of open ones at
    any time. A call that would exceed a cap raises `SpendLimitError`, and nothing is sent. The price is the model's
    `estimate_credits`, or the maximum per job or turn of a model in `prices`; see `spend`.

    Closing ends waits with `SessionClosedError` and lets requests in flight finish. No new request starts.

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
            raise ConfigurationError(f"max_connections must be a positive integer, not {max_connections!r}")
        self._config = Config.resolve(os.environ, api_key=api_key, base_url=base_url)
        self._timeouts = validate_policy("timeouts", timeouts, Timeouts())
        self._retry = validate_policy("retry", retry, RetryPolicy())
        if rate_limit is not None and not isinstance(rate_limit, RateLimit | ExternalRateLimiter):
            raise ConfigurationError(
                f"rate_limit must be RateLimit(per_second) or an ExternalRateLimiter, not {rate_limit!r}"
            )
        if isinstance(rate_limit, ExternalRateLimiter):
            rate_limit.claim()
        self._rate_limit = rate_limit
        self._max_connections = max_connections
        if http is not None and transport is not None:
            raise ConfigurationError(
                "http and transport exclude each other: a transport has its own connections. Pass one of them"
            )
        self._http = http
        self._transport = transport
        self._hooks = _validate_hooks(hooks)
        self._pid = os.getpid()
        self._environment = Environment()
        self.durations = DurationEstimator()
        """Learned job durations. `dump()` and `load()` transfer them to another process."""
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
        """The credits that this session has spent on jobs and chat turns, per idempotency key and in total."""
        return self._spend

    @property
    def base_url(self) -> str:
        """The origin of the service."""
        return self._config.base_url

    @property
    def is_local(self) -> bool:
        """True if the service runs on this machine, as the sandbox does."""
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
        """Closes the session. Concurrent calls wait for the first one; later calls do nothing.

        Waits end with `SessionClosedError`. Pauses between attempts end. Requests in flight finish within
        `Timeouts.total` seconds, or `Timeouts.chat`; no new request starts. Downloads, uploads and streams are aborted.
        Cancelling `aclose` aborts the requests in flight and closes the connections at once: a request that the service
        may have processed raises `OutcomeUnknownError` with its key. Cancelling a concurrent `aclose` aborts nothing.
        """
        engine, was_closed = self._engine, self._closed
        if engine is None or self._pid != os.getpid():  # the engine belongs to the parent process
            self._closed = True
            return
        if engine.loop is asyncio.get_running_loop():
            self._closed = True
            self._finalizer.detach()
            await engine.aclose()
        elif not was_closed:
            if not engine.loop.is_closed():
                raise ConfigurationError("this session belongs to another event loop: close it there")
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
        """Saves the files of a succeeded job, or of one URL, and returns their paths.

        `to` is a folder, created if missing, where files are named after the task and their content type. With a suffix
        it is the name of the first file; further files get a number. With `name` it is always a folder, and `name` is a
        template with `{task_id}`, `{model}`, `{index}` (from 1) and `{ext}` (with its dot).

        Each file is streamed to a hidden file in the same folder, checked for its length, and renamed when complete. An
        interrupted transfer resumes if the host reports a version of the file, by the retry policy counted from the
        last progress. An expired link (400, 401, 403, 404, 410) is refreshed once by reading the job again. If the
        download of a file over 1 MiB is cancelled or fails, the partial file stays, and the next download of the same
        file to the same path resumes it; smaller partial files are deleted. A session downloads at most 16 files at
        once.

        The API key is sent to no other host than the service's own, and not for results. Redirects are followed, but
        not from https to http, and to private addresses only on the host of `base_url`. `on_progress(received, total)`
        is called, or awaited, after each chunk, in bytes; `total` is None if the host does not report the length. Links
        may expire: download soon.

        Raises `ConfigurationError` if the job has no result, a name is invalid, or a file exists and `overwrite` is not
        set; `DownloadError` if the file cannot be written, is larger than `max_bytes`, or a redirect is not followed;
        and what any read can raise.

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
        """Returns the engine, created on first use. Raises for a closed session, another loop and a forked process."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "a RivyaSession runs on asyncio, and no asyncio event loop is running here. Use asyncio.run(...), or "
                "the asyncio backend of anyio"
            ) from None
        if self._closed:
            raise SessionClosedError("this session is closed: create a new RivyaSession")
        if self._pid != os.getpid():
            raise ConfigurationError("this session was created before a fork: create a RivyaSession in each process")
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
            raise ConfigurationError("this session belongs to another event loop: create a RivyaSession for each loop")
        return self._engine

    def _new_transport(self) -> Transport:
        from ._engine.http.aiohttp_transport import AiohttpTransport

        return AiohttpTransport(self._config, self._timeouts, self._http)


_FORKED_ENGINES: Final[list[Engine]] = []
"""Engines of the parent process. Closing them in a child would remove the parent's sockets from its event loop."""


def _warn_unclosed(engine: Engine, description: str, pid: int) -> None:
    """Releases the connections of an unclosed session and warns. Runs before the session's parts are finalized."""
    if pid != os.getpid():
        _FORKED_ENGINES.append(engine)
        return
    try:
        engine.transport.abandon()
    finally:
        warnings.warn(f"{description} was never closed: use `async with`", ResourceWarning, stacklevel=2)


def _validate_hooks(hooks: Sequence[Hooks]) -> tuple[Hooks, ...]:
    if isinstance(hooks, Hooks) or not all(isinstance(each, Hooks) for each in hooks):
        raise ConfigurationError("hooks must be a list of instances of subclasses of Hooks")
    return tuple(hooks)
