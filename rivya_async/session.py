"""The session: what a user opens, uses and closes."""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref
from typing import TYPE_CHECKING, Any, Final, Self

from ._core import assumptions
from ._core.config import Config
from ._core.errors import ConfigurationError
from ._core.generation_request import GenerationRequest, Outcome, Reference
from ._core.limits.external_limiter import ExternalRateLimiter
from ._core.policies import NOT_GIVEN, NotGiven, PollPolicy, RateLimit, RetryPolicy, Timeouts, validate_policy
from ._core.polling.adaptive.duration_estimator import DurationEstimator
from ._core.polling.webhook_updates import DeliveryRateEstimator
from ._core.spend import SpendLedger, SpendSummary, validate_cap, validate_prices
from ._engine.engine import Engine
from ._engine.environment import Environment
from ._engine.hooks import Hooks
from ._engine.polling.update_listener import OnUpdate
from ._engine.purchase_preflight import PurchasePreflight
from .resources.chat import Chat
from .resources.credits import CreditsResource
from .resources.downloads import ResultDownloads
from .resources.files import Files
from .resources.generations import Generations
from .resources.models import Models
from .resources.openapi import OpenApi
from .resources.webhooks import WebhookEvents, Webhooks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    import aiohttp

    from ._core.types.generations import Generation
    from ._engine.http.transport import Transport
    from ._engine.transfers.uploader import OnProgress


class RivyaSession:
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
        self.durations = DurationEstimator()
        """What is known of how long jobs last; `dump()` and `load()` carry it to another process."""
        self._delivery_rate = DeliveryRateEstimator()
        self.models = Models(self._open_engine)
        self.files = Files(self._open_engine, self.models.retrieve)
        self._downloads = ResultDownloads(self._open_engine)
        purse = SpendLedger(
            max_spend=validate_cap("max_spend", max_spend), max_reserved=validate_cap("max_reserved", max_reserved)
        )
        self._spend = SpendSummary(purse)
        counter = PurchasePreflight(self.models.catalogue, purse, validate_prices(prices))
        self.generations = Generations(
            self._open_engine,
            validate_policy("poll", poll, PollPolicy()),
            counter,
            self.files.resolve_references,
            self._delivery_rate,
        )
        self.chat = Chat(self._open_engine, counter)
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

    # --- the main path ------------------------------------------------------------------------------------------------
    # What delegates is no coroutine of its own: that would be half a kilobyte more per waiting job.

    def submit(
        self,
        model: str | GenerationRequest,
        prompt: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        references: Sequence[Reference] = (),
        client_request_id: str | None = None,
        idempotency_key: str | None = None,
        check: bool = False,
    ) -> Coroutine[Any, Any, Generation]:
        """Buy a job and return its first record; a `GenerationRequest` may stand in place of its parts.

        An `Idempotency-Key` is always sent: yours, or one minted for this call and kept over every attempt. Every error
        carries it as `idempotency_key`, so that a repeat with it is the very same purchase. Keys of `params` are never
        renamed; `references` become `params.referenceMediaItems` (contract section 6). A path among them is uploaded
        first, once per content and model; nothing is bought before all are there.

        With `check` the job is first held against the catalogue, which the session reads once in five minutes: values
        are made to travel (`Model.coerce`), and `ValidationFailed` names every problem (`Model.check`), or the nearest
        ids of a model that is not there. Nothing is sent then. `SpendLimitError` where it would pass a cap.

        Raises `ConfigurationError` before anything is sent, `APIStatusError` and its classes, `RequestNotSentError`,
        `OutcomeUnknownError` and `ResponseDecodeError`. Cancelling it drops the request, which may have acted: the
        `CancelledError` has a note with the key. Pass a key of your own if you must know it beforehand.

        >>> async def buy(session):
        ...     job = await session.submit("z-image", "A red kite", params={"aspect_ratio": "16:9"})
        ...     return job.status
        >>> in_sandbox(buy)
        'queued'
        """
        return self.generations.create(
            model,
            prompt,
            params=params,
            references=references,
            client_request_id=client_request_id,
            idempotency_key=idempotency_key,
            check=check,
        )

    def wait_for(
        self,
        generation_or_task_id: Generation | str,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
        raise_on_failure: bool = True,
    ) -> Coroutine[Any, Any, Generation]:
        """Wait until a job has ended and return its terminal record.

        The task may be of this process or another. `timeout` in seconds: None waits for ever, left out
        it is the policy's. `on_update` is called, or awaited, for each changed snapshot, the terminal one last.

        Transient faults of a poll never end a wait before its deadline; a 401 or 403 does, and so does a 404, but for a
        moment after this session's own submit. An unknown status counts as open. All waits for one job share one
        stream of polls.

        Raises `GenerationFailedError` where the service ended the job as failed (unless `raise_on_failure=False`),
        `WaitTimeoutError` with the task id at the timeout: the job goes on, wait again. `SessionClosedError` if the
        session closes. Cancelling it ends this wait only.

        >>> async def resume(session):
        ...     task_id = (await session.submit("z-image", "A red kite")).id
        ...     job = await session.wait_for(task_id, timeout=600)
        ...     return job.status
        >>> in_sandbox(resume)
        'succeeded'
        """
        return self.generations.wait_for(
            generation_or_task_id,
            timeout=timeout,
            poll=poll,
            on_update=on_update,
            raise_on_failure=raise_on_failure,
        )

    def generate(
        self,
        model: str | GenerationRequest,
        prompt: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        references: Sequence[Reference] = (),
        client_request_id: str | None = None,
        idempotency_key: str | None = None,
        check: bool = False,
        timeout: float | NotGiven | None = NOT_GIVEN,
        poll: PollPolicy | None = None,
        on_update: OnUpdate | None = None,
    ) -> Coroutine[Any, Any, Generation]:
        """Buy a job and wait for it: `submit`, then `wait_for`, with the arguments and errors of both.

        `timeout` in seconds bounds both; a purchase on its way is not cut. Its end is a `TimeoutError` either way:
        `SubmitTimeoutError` where nothing was bought, `WaitTimeoutError` with the task id where the job goes on.
        Whatever the service or the network answered to the purchase by then is raised as it is, `OutcomeUnknownError`
        where it may have acted. `on_update` hears of the first record too. Cancelling it after the purchase leaves the
        job running: the `CancelledError` has a note with the task id.

        >>> async def batch(session):
        ...     prompts = ["A red kite", "A blue whale"]
        ...     jobs = await asyncio.gather(*(session.generate("z-image", prompt) for prompt in prompts))
        ...     return [job.status for job in jobs]
        >>> in_sandbox(batch)
        ['succeeded', 'succeeded']
        """
        return self.generations.generate(
            model,
            prompt,
            params=params,
            references=references,
            client_request_id=client_request_id,
            idempotency_key=idempotency_key,
            check=check,
            timeout=timeout,
            poll=poll,
            on_update=on_update,
        )

    def watch(
        self,
        generation_or_task_id: Generation | str,
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[Generation]:
        """Every changed snapshot of a job, the terminal one last; a failed job is yielded, not raised.

        Raises as `wait_for` does otherwise. Leaving the loop ends this wait only; close the generator
        (`contextlib.aclosing`) to end it at once.

        >>> async def follow(session):
        ...     job = await session.submit("z-image", "A red kite")
        ...     return [snapshot.status async for snapshot in session.watch(job)][-1]
        >>> in_sandbox(follow)
        'succeeded'
        """
        return self.generations.watch(generation_or_task_id, timeout=timeout, poll=poll)

    def as_completed(
        self,
        generations_or_task_ids: Iterable[Generation | str],
        *,
        timeout: float | NotGiven | None = NOT_GIVEN,
        poll: PollPolicy | None = None,
    ) -> AsyncGenerator[Generation]:
        """The terminal records of many jobs as they end, failed ones included, each job once.

        `timeout` in seconds bounds the whole loop: then `WaitTimeoutError` names what is still open. A job that cannot
        be waited for (a 404, a 401) does not end the others: its error is raised when they have all ended. Leaving the
        loop ends these waits only.

        >>> async def collect(session):
        ...     jobs = [await session.submit("z-image", prompt) for prompt in ("A red kite", "A blue whale")]
        ...     return {ended.id async for ended in session.as_completed(jobs)} == {job.id for job in jobs}
        >>> in_sandbox(collect)
        True
        """
        return self.generations.as_completed(generations_or_task_ids, timeout=timeout, poll=poll)

    def map(
        self,
        requests: Iterable[GenerationRequest] | AsyncIterable[GenerationRequest],
        *,
        max_in_flight: int = 100,
        ordered: bool = False,
        check: bool = False,
    ) -> AsyncGenerator[Outcome]:
        """Generate a stream of requests of any length, holding at most `max_in_flight` of them.

        Yields an `Outcome` for each, as they end or, with `ordered`, as they were asked for. No failure ends the
        others. What the source raises is raised after the outcomes of all requests taken from it. Leaving the loop
        early cancels what is left: jobs that are bought go on at the service. `check` is that of `submit`.

        >>> async def run(session):
        ...     requests = (GenerationRequest("z-image", f"Poster number {n}") for n in range(5))
        ...     return [outcome.ok async for outcome in session.map(requests, max_in_flight=2)]
        >>> in_sandbox(run)
        [True, True, True, True, True]
        """
        return self.generations.map(requests, max_in_flight=max_in_flight, ordered=ordered, check=check)

    def download(
        self,
        generation_or_url: Generation | str,
        to: str | os.PathLike[str],
        *,
        name: str | None = None,
        overwrite: bool = False,
        max_bytes: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> Coroutine[Any, Any, list[Path]]:
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
        return self._downloads.save(
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
                settings=self._config,
                retry=self._retry,
                ambient=Environment(),
                hooks=self._hooks,
                max_connections=min(self._max_connections, transport.max_connections),
                rate_limit=self._rate_limit,
                durations=self.durations,
                deliveries=self._delivery_rate,
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
