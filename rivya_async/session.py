"""The session: the entry point of the SDK."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, NoReturn, Self

from ._core import assumptions
from ._core.argument_advice import advise, explain_arguments
from ._core.catalogue.learned_prices import LearnedPrices
from ._core.config import Config, validate_headers
from ._core.errors import ConfigurationError
from ._core.http.messages import RequestOptions, merge_headers
from ._core.limits.external_limiter import ExternalRateLimiter
from ._core.policies import PollPolicy, RateLimit, RetryPolicy, Timeouts, validate_policy
from ._core.polling.adaptive.duration_estimator import DurationEstimator
from ._core.polling.webhook_updates import DeliveryRateEstimator
from ._core.public_module import set_public_module
from ._core.spend import SpendLedger, SpendSummary, validate_cap, validate_prices
from ._engine.connection import Connection
from ._engine.engine import Engine
from ._engine.environment import Environment
from ._engine.hooks import validate_hooks
from ._engine.logs import configure_logging
from ._engine.purchase_preflight import PurchasePreflight
from ._session_lifecycle import SessionLifecycle
from .resources import resource
from .resources.account import CreditsResource, OpenApi
from .resources.chat import Chat
from .resources.downloads import DownloadMethods, ResultDownloads
from .resources.files import Files
from .resources.generation_methods import GenerationMethods
from .resources.generations import Generations
from .resources.job_operations import JobOperations
from .resources.models import CatalogueCache, Models
from .resources.webhooks import WebhookEvents, Webhooks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from ssl import SSLContext

    import aiohttp

    from ._core.catalogue.model import Model
    from ._core.open_jobs import OpenJob
    from ._engine.hooks import Hooks
    from ._engine.http.transport import Transport


class RivyaSession(SessionLifecycle, GenerationMethods, DownloadMethods):
    """Connections, polls and settings for one account on one event loop.

    Use it as an async context manager, or call `aclose()`. It may be created before the loop runs and binds to the loop
    of its first call. Use on another loop or after a fork raises `ConfigurationError`, use after closing
    `SessionClosedError`.

    `api_key` defaults to `RIVYA_API_KEY`, `base_url` to `RIVYA_BASE_URL` or else `https://rivya.ai`. The key is only
    required by the first call that sends it. Plain http to a host that is neither loopback nor private needs
    `allow_plain_http`. `max_connections` limits the requests in flight, `rate_limit` the requests per second; an
    `ExternalRateLimiter` delegates a shared limit to another component. `hooks` receive attempts, retries, polls, ended
    waits and downloads.

    `headers` are sent with every request to the API, never to other hosts; `user_agent` replaces the `User-Agent`.
    `proxy` is the URL of a proxy, such as `http://user:password@proxy.example:3128`. With `trust_env` the proxy comes
    from `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`; credentials of `.netrc` are never sent to the API. `ssl` is an
    `ssl.SSLContext`, or False to accept any certificate.

    A given `http` session is used with its own connector, proxy, headers and middlewares, and never closed. Its
    middlewares run once per attempt. A `transport` replaces the network, as `testing.FakeTransport` does. With `fast`,
    calls take about half of the CPU time: connections of the session parse responses with httptools, which the extra
    `speed` installs. Uploads, streams, downloads and requests through a proxy still use aiohttp.

    `max_spend` caps the total credits of this session's jobs and chat turns, `max_reserved` the credits of open ones at
    any time. A call that would exceed a cap raises `SpendLimitError`, and nothing is sent. The price is the
    highest that is known (`PriceEstimate.max_credits`), or the maximum per job or turn of a model in `prices`. Without
    either, a call under a cap raises `SpendLimitError`, too. See `spend` and `prices`.

    Closing ends waits with `SessionClosedError` and lets requests in flight finish. No new request starts.

    The logger `rivya_async` warns when a rate limit is met and when the service is down. With the level DEBUG at the
    first call, it also reports every attempt, retry and poll. `RIVYA_LOG=debug` or `RIVYA_LOG=info` shows it on stderr.

    >>> async def main():
    ...     async with Sandbox() as sandbox, RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
    ...         return await session.credits.retrieve()
    >>> asyncio.run(main())
    Credits(current_credits=1000000, extra={})
    """

    generations: Generations = resource(Generations)
    """Jobs: buy them, wait for them, read them."""
    models: Models = resource(Models)
    """The catalogue of models, cached for five minutes."""
    files: Files = resource(Files)
    """Uploads of images, videos and sounds that jobs refer to."""
    chat: Chat = resource(Chat)
    """Chat completions, whole or streamed, and chat sessions."""
    credits: CreditsResource = resource(CreditsResource)
    """The balance of the account."""
    webhooks: Webhooks = resource(Webhooks)
    """The webhook endpoints of the account."""
    webhook_events: WebhookEvents = resource(WebhookEvents)
    """The webhook events of the account, and their deliveries."""
    openapi: OpenApi = resource(OpenApi)
    """The service's OpenAPI document."""

    @explain_arguments
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
        headers: Mapping[str, str] | None = None,
        user_agent: str | None = None,
        proxy: str | None = None,
        trust_env: bool = False,
        ssl: SSLContext | aiohttp.Fingerprint | bool | None = None,
        allow_plain_http: bool = False,
        fast: bool = False,
    ) -> None:
        self._engine: Engine | None = None
        self._closed = False
        self._root = None
        configure_logging()
        try:
            self._config = Config.resolve(
                os.environ,
                api_key=api_key,
                base_url=base_url,
                headers=headers,
                user_agent=user_agent,
                proxy=proxy,
                allow_plain_http=allow_plain_http or transport is not None,
            )
        finally:
            del api_key, base_url, headers, proxy  # a traceback with local variables must not show them
        if isinstance(max_connections, bool) or not isinstance(max_connections, int) or max_connections < 1:
            raise ConfigurationError(f"max_connections must be a positive integer, not {max_connections!r}")
        self._timeouts = validate_policy("timeouts", timeouts, Timeouts())
        self._retry = validate_policy("retry", retry, RetryPolicy())
        if rate_limit is not None and not isinstance(rate_limit, RateLimit | ExternalRateLimiter):
            raise ConfigurationError(
                f"rate_limit must be RateLimit(per_second) or an ExternalRateLimiter, not {rate_limit!r}"
            )
        self._connection = Connection(
            config=self._config,
            timeouts=self._timeouts,
            http=http,
            transport=transport,
            trust_env=trust_env,
            ssl=ssl,
            fast=fast,
        )
        self._hooks = validate_hooks(hooks)
        self._rate_limit = rate_limit
        self._max_connections = max_connections
        self._pid = os.getpid()
        self._environment = Environment()
        self._durations = DurationEstimator()
        self._delivery_rate = DeliveryRateEstimator()
        self._prices = LearnedPrices(validate_prices(prices))
        self._catalogue = CatalogueCache(self._prices)
        ledger = SpendLedger(
            max_spend=validate_cap("max_spend", max_spend),
            max_reserved=validate_cap("max_reserved", max_reserved),
            prices=self._prices,
        )
        self._spend = SpendSummary(ledger)
        self._preflight = PurchasePreflight(
            Models(self._open_engine, self._catalogue).catalogue,
            ledger,
            new_key=self._environment.new_idempotency_key,
            known_models=lambda: self._catalogue.models or _packaged_models(),
        )
        # A transport of the caller does not know the default headers: they are options of each request.
        self._options = None if transport is None or not self._config.headers else RequestOptions(self._config.headers)
        self._create_resources(validate_policy("poll", poll, PollPolicy()))
        if not (self._config.api_key or assumptions.API_KEY_PREFIX).startswith(assumptions.API_KEY_PREFIX):
            warnings.warn(f"the API key does not begin with {assumptions.API_KEY_PREFIX!r}", UserWarning, stacklevel=2)
        if isinstance(rate_limit, ExternalRateLimiter):
            rate_limit.claim()

    def _create_resources(self, poll: PollPolicy) -> None:
        engine = self._open_engine
        self.models = Models(engine, self._catalogue)
        self.files = Files(engine, self.models.retrieve)
        self._jobs = JobOperations(engine, poll, self._preflight, self.files.resolve_references)
        self._downloads = ResultDownloads(engine, self._jobs.record)
        self.generations = Generations(self._jobs, self._delivery_rate)
        self.chat = Chat(engine, self._preflight)
        self.credits = CreditsResource(engine)
        self.openapi = OpenApi(engine)
        self.webhooks = Webhooks(engine)
        self.webhook_events = WebhookEvents(engine)

    @explain_arguments
    def with_options(
        self,
        *,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        poll: PollPolicy | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """Returns a view of this session with other options. Arguments that are left out keep their values.

        The view shares connections, limits, waits, spending, caches and open jobs with this session. `headers` are
        added to the default headers. All waits for a job share its polls, which use the options of this session, and
        downloads use its timeouts.

        Closing a view only ends the view. When this session closes, its views raise `SessionClosedError`.

        >>> async def main():
        ...     async with RivyaSession() as session:
        ...         quick = session.with_options(timeouts=Timeouts(total=5), retry=RetryPolicy(max_attempts=1))
        ...         return (await quick.submit("z-image", "A red kite")).status
        >>> asyncio.run(main())
        'queued'
        """
        inherited = self._options or RequestOptions()
        try:
            added = validate_headers(headers)
        finally:
            del headers
        view = object.__new__(type(self))
        vars(view).update(vars(self))
        view._root = self._root or self
        view._engine = None
        view._retry = validate_policy("retry", retry, self._retry)
        view._options = RequestOptions(
            merge_headers(inherited.headers, added),
            inherited.timeouts if timeouts is None else validate_policy("timeouts", timeouts, self._timeouts),
        )
        view._create_resources(validate_policy("poll", poll, self._jobs.poll))
        return view

    @property
    def spend(self) -> SpendSummary:
        """The credits that this session has spent on jobs and chat turns, per idempotency key and in total."""
        return self._spend

    @property
    def durations(self) -> DurationEstimator:
        """Learned job durations. `dump()` and `load()` transfer them to another process."""
        return self._durations

    @property
    def prices(self) -> LearnedPrices:
        """Prices learned from purchases, and the given ones. `dump()` and `load()` transfer them to another process."""
        return self._prices

    @property
    def open_jobs(self) -> tuple[OpenJob, ...]:
        """The jobs that this session bought and has not seen end, at most the newest 100,000, the oldest first."""
        return tuple(self._jobs.preflight.open_jobs)

    @property
    def undelivered_jobs(self) -> tuple[OpenJob, ...]:
        """The jobs that this session bought and whose end no call has returned yet: print their ids after Ctrl-C.

        These are the `open_jobs`, and before them the jobs that ended in a `map` that was left before it yielded them,
        or in a `generate` that was cancelled while it saved the files. `wait_for(task_id)` and `download(task_id, ...)`
        of any session return their results.
        """
        return tuple(self._jobs.preflight.open_jobs.undelivered)

    @property
    def base_url(self) -> str:
        """The origin of the service."""
        return self._config.base_url

    @property
    def is_local(self) -> bool:
        """True if the service runs on this machine, as the sandbox does."""
        return self._config.is_local

    if not TYPE_CHECKING:  # type checkers would accept every name

        def __getattr__(self, name: str) -> NoReturn:
            message = f"{type(self).__name__!r} object has no attribute {name!r}{advise(name, dir(type(self)))}"
            raise AttributeError(message, name=name, obj=self)

    def __repr__(self) -> str:
        root = self._root or self
        is_open = root._engine is not None  # noqa: SLF001 - of the same class
        state = "closed" if self._closed or root._closed else "open" if is_open else "new"  # noqa: SLF001
        url = self._config.base_url if "_config" in vars(self) else "without settings"  # the constructor raised
        return f"<{type(self).__name__} {url} {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a RivyaSession is not copied or pickled: it owns connections and waits of one event loop. Share it within "
            "the loop, use with_options for other options, or create a session in each process"
        )


def _packaged_models() -> Mapping[str, Model]:
    from .catalogue.functions import models

    return models()


set_public_module("rivya_async", RivyaSession)
