"""The sandbox as a server on loopback: start it, use it, close it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from os import PathLike
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from .api import ROUTES, Api
from .api_keys import ALL_SCOPES, ApiKey, mint
from .dashboard import DashboardHandlers
from .faults.fault import DELIVERY
from .faults.registry import FaultRegistry
from .rate_limit import WINDOW, RateLimit
from .request_handler import RequestHandler
from .request_log import RequestLog
from .service_state import Account, ServiceState
from .store import StateStore

MAIN: Final = "main"
"""The account of `api_key`."""

BACKLOG: Final = 4096
"""Connections that may wait to be accepted."""

SHUTDOWN_TIMEOUT: Final = 0.1
"""Seconds that requests in progress get when the sandbox is closed."""


LINGERING_TIME: Final = 1.0
"""Seconds for which the rest of a body is read that was refused before it had come."""


class Sandbox:
    """A server of our own that speaks the public API, for tests and for first steps: nothing is bought.

    - `seed`: everything that is random follows from it: keys, ids, durations, failures, pictures.
    - `speed`: how many times faster than life jobs run; at 1 an image takes about 12 seconds, a video 90, a sound 8,
      and a chat model says 40 words a second.
    - `credits`: what the main account holds at the start.
    - `failure_rate`: the probability, from 0 to 1, that a job ends as failed. A job whose prompt contains "[fail]"
      always does.
    - `rate_limit`: requests per key in a window of `rate_window` seconds; None is no limit.
    - `api_key`: the main key; made from the seed if not given.
    - `allow_local_webhooks`: lets webhooks be plain http and on this machine, which the service refuses. Events of
      ended jobs are delivered while the sandbox runs, to this machine only; `speed` shortens the pauses between
      attempts.
    - `link_lifetime`: seconds after which the link of a result, as a reading of its job told it, answers 403; a new
      reading tells a new one. None: it is good for ever.
    - `state`: a file that keeps all that the service would remember over restarts, kill -9 included: jobs, credits,
      answers under idempotency keys, uploaded files (beside it), chat sessions, webhooks, deliveries, accounts and
      keys. What was answered is written. One sandbox at a time has it, until it is closed.
    - `clock`: gives the sandbox's time in epoch seconds; tests hand in their own. Where it leaps, deliveries see it
      with the next purchase, or when an endpoint is made or changed.

    `port` 0 takes any free port and keeps it when the sandbox is closed and started again, as a service that was down.
    ValueError for a number of these that makes no sense, and for a file that is no state or that another sandbox has;
    OSError if the port is taken, or if the state cannot be written.

    Example:
        async with Sandbox(speed=1000) as sandbox:
            print(sandbox.base_url, sandbox.api_key)
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        speed: float = 20.0,
        credits: int = 1_000_000,  # noqa: A002  the API's own word
        failure_rate: float = 0.0,
        rate_limit: int | None = None,
        rate_window: float = WINDOW,
        api_key: str | None = None,
        allow_local_webhooks: bool = False,
        link_lifetime: float | None = None,
        state: str | PathLike[str] | None = None,
        clock: Callable[[], float] = time.time,  # noqa: TID251  the other side's clock, not the client's
    ) -> None:
        self._store = StateStore(state)
        life_seed = seed if self._store.life == 1 else f"{seed}/{self._store.life}"  # no id comes twice
        self.service_state = ServiceState(seed=life_seed, speed=speed, failure_rate=failure_rate, store=self._store)
        self.request_log = RequestLog()
        self.faults = FaultRegistry([DELIVERY, *(route.name for route in ROUTES)], seed)
        self._clock = clock
        self._host = host
        self._port = port
        self._seed = seed
        self._credits = credits
        self._minted: Counter[str] = Counter()
        self.api_key = api_key or mint(seed, MAIN)
        if self.api_key not in self.service_state.keys:
            self.service_state.add_key(self._account(MAIN), secret=self.api_key)
        if link_lifetime is not None and not link_lifetime > 0:
            raise ValueError(f"link_lifetime must be greater than 0, or None, not {link_lifetime!r}")
        self._api = Api(
            self.service_state, self.request_log, allow_local_webhooks=allow_local_webhooks, link_lifetime=link_lifetime
        )
        if port:
            self._api.base_url = self._address()
        self._door = RequestHandler(self._api, self.faults, RateLimit(rate_limit, rate_window), clock)
        self._page = DashboardHandlers(self._api, self.faults, clock)
        self._runner: web.ServerRunner | None = None

    @property
    def base_url(self) -> str:
        """Such as "http://127.0.0.1:49152", no slash at the end. RuntimeError before the first start at any port."""
        if not self._api.base_url:
            raise RuntimeError("the sandbox has not been started: use `async with Sandbox() as sandbox`")
        return self._api.base_url

    @property
    def credits(self) -> int:
        """What the main account can spend now."""
        return self.credits_of(self.api_key)

    def credits_of(self, key: str) -> int:
        """What the account of this API key can spend now, whatever the key may do. ValueError for an unknown key."""
        return self.service_state.credits(self._known(key).account_id, self._clock())

    @property
    def spent(self) -> int:
        """What the main account has spent, or holds for open jobs; a failed job has given back what it held."""
        return self.service_state.accounts[self._known(self.api_key).account_id].opened_with - self.credits

    @property
    def unobserved_tasks(self) -> list[str]:
        """The ids of the tasks whose end nobody has been told, by a poll or by a webhook."""
        told = self.request_log.observed_tasks | self._api.webhooks.told
        return [task_id for task_id in list(self.service_state.tasks) if task_id not in told]

    def add_key(
        self,
        account: str | None = None,
        *,
        scopes: AbstractSet[str] = ALL_SCOPES,
        credits: int | None = None,  # noqa: A002  the API's own word
        revoked: bool = False,
        expired: bool = False,
    ) -> str:
        """Another API key: of the account of this name, or of the main one, which is "main".

        An account that is not there yet is opened with `credits`, or as many as the main one had; `credits` without a
        name opens one. Accounts see nothing of each other. With the same `seed`, the same calls give the same keys,
        also over a restart with `state`. ValueError for a scope that the service does not have, and for credits that
        make no sense.
        """
        unknown = scopes - ALL_SCOPES
        if unknown:
            raise ValueError(f"there is no scope {min(unknown)!r}; the scopes are {', '.join(sorted(ALL_SCOPES))}")
        if account is None:
            account = MAIN if credits is None else self.service_state.new_name()
        what = f"{account} {sorted(scopes)} {revoked} {expired}"
        self._minted[what] += 1
        secret = mint(self._seed, f"{what} {self._minted[what]}")
        if secret not in self.service_state.keys:
            owner = self._account(account, credits)
            self.service_state.add_key(owner, secret=secret, scopes=scopes, revoked=revoked, expired=expired)
        return secret

    def revoke_key(self, key: str) -> None:
        """Refuse this key from now on, as revoked. ValueError for an unknown key."""
        self.service_state.end_key(self._known(key), revoked=True)

    def expire_key(self, key: str) -> None:
        """Refuse this key from now on, as expired. ValueError for an unknown key."""
        self.service_state.end_key(self._known(key), expired=True)

    def _known(self, key: str) -> ApiKey:
        found = self.service_state.keys.get(key)
        if found is None:
            raise ValueError("this is no API key of the sandbox")
        return found

    def _account(self, name: str, credits: int | None = None) -> Account:  # noqa: A002
        known = self.service_state.accounts.get(name)
        return known or self.service_state.open_account(name, self._credits if credits is None else credits)

    @property
    def rate_limit(self) -> int | None:
        """Requests per key in a window; None is no limit. Set it at any time, and counting begins anew."""
        return self._door.rate_limit.limit

    @rate_limit.setter
    def rate_limit(self, limit: int | None) -> None:
        self._door.rate_limit = RateLimit(limit, self._door.rate_limit.window)

    async def start(self) -> Self:
        """Listen. RuntimeError if it does already."""
        if self._runner is not None:
            raise RuntimeError("the sandbox is running already")
        self._store.open()
        server = web.Server(self._serve, access_log=None, lingering_time=LINGERING_TIME)
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_TIMEOUT)
        self._runner = runner
        try:
            await self._store.written()
            await runner.setup()
            await web.TCPSite(runner, self._host, self._port, backlog=BACKLOG).start()
        except BaseException:
            await self.aclose()
            raise
        self._port = runner.addresses[0][1]
        self._api.base_url = self._address()
        self._api.webhooks.open(self._clock, self.faults)
        return self

    def _address(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        desk = self._page if self._page.is_meant(request) else self._door
        return await desk.serve(request)

    async def aclose(self) -> None:
        """Stop listening and close every connection; the world is kept. Does nothing if it is not running."""
        runner, self._runner = self._runner, None
        try:
            if runner is not None:
                await runner.cleanup()
        finally:
            try:
                await self._api.webhooks.aclose()
            finally:
                await self._store.aclose()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
