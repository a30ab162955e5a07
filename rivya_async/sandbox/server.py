"""The sandbox as a server on loopback."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from functools import lru_cache
from importlib.util import find_spec
from ipaddress import ip_address
from os import PathLike
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import attrs
from aiohttp import web

from .api import ROUTES, Api
from .api_keys import ALL_SCOPES, DEFAULT_RATE_WINDOW, ApiKey, RateLimiter, generate_api_key
from .dashboard.handlers import DashboardHandlers
from .faults.fault import DELIVERY
from .faults.registry import FaultRegistry
from .http_server import SandboxServer
from .request_handler import RequestHandler
from .responses import JSON_TYPE, error_body
from .service_state import Account, ServiceState
from .store import StateStore

MAIN_ACCOUNT: Final = "main"
"""Name of the account of `api_key`."""


class Sandbox:
    """A local server of the public API for tests and first steps; purchases cost nothing.

    - `host`: the address or name to listen at. Requests for another host are rejected, so that web sites cannot reach
      the sandbox by a name of their own (DNS rebinding): IP addresses, localhost and this `host` are accepted. Behind a
      name, as in a container, pass the name by which clients connect.
    - `seed`: determines all random values: keys, ids, durations, failures, results. By default it is random, so that
      no id repeats that of an earlier sandbox; `state` keeps it. The attribute `seed` has it.
    - `speed`: divides the durations of jobs; at 1 an image takes about 12 seconds, a video 90, a sound 8, and a chat
      model sends 40 words per second.
    - `credits`: the initial credits of the main account.
    - `failure_rate`: the probability, from 0 to 1, that a job fails. A job whose prompt contains "[fail]" always fails.
    - `rate_limit`: requests per key in a window of `rate_window` seconds; None, the default, is no limit. The service
      has a limit, which is not documented.
    - `max_running_jobs`: further purchases of an account are answered 429 while so many of its jobs run; None, the
      default, is no limit. It can be changed while the sandbox runs: `sandbox.service_state.max_running_jobs`.
    - `api_key`: the main key; derived from the seed by default.
    - `allow_local_webhooks`: permits webhooks with plain http and on this machine, which the service rejects. Events
      are delivered while the sandbox runs, to this machine only; `speed` divides the delays between attempts.
    - `link_lifetime`: seconds after which the result links of a status response answer 403; a new status request
      returns new links. None: links do not expire.
    - `state`: a file that keeps the state of the service over restarts, kill -9 included: jobs, credits, responses
      under idempotency keys, uploaded files (beside it), chat sessions, webhooks, deliveries, accounts and keys. Every
      response is sent after its changes are written. One sandbox at a time can use the file, until it is closed.
    - `clock`: returns the sandbox's time in epoch seconds, for tests. Deliveries notice a leap of it at the next
      purchase, or when an endpoint is created or changed.

    `port` 0 takes any free port and keeps it when the sandbox is closed and started again, like a service outage.
    Raises ImportError without the extra `sandbox`; ValueError for an invalid argument, and for a `state` that is no
    state file or is in use; OSError if the port is taken or the state cannot be written.

    Example:
        async with Sandbox(speed=1000) as sandbox:
            print(sandbox.base_url, sandbox.api_key)
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int | None = None,
        speed: float = 20.0,
        credits: int = 1_000_000,  # noqa: A002  the API's own word
        failure_rate: float = 0.0,
        rate_limit: int | None = None,
        rate_window: float = DEFAULT_RATE_WINDOW,
        max_running_jobs: int | None = None,
        api_key: str | None = None,
        allow_local_webhooks: bool = False,
        link_lifetime: float | None = None,
        state: str | PathLike[str] | None = None,
        clock: Callable[[], float] = time.time,  # noqa: TID251  the server's clock, not the client's
    ) -> None:
        if find_spec("PIL") is None or find_spec("av") is None:
            raise ImportError(
                "the sandbox renders its files with Pillow and PyAV, which are not installed. "
                "Run pip install 'rivya-async[sandbox]'"
            )
        self._store = StateStore(state)
        self.seed = seed = self._store.choose_seed(seed)
        opening = self._store.opening_number
        self.service_state = ServiceState(
            seed=seed if opening == 1 else f"{seed}/{opening}",  # so that no id is used twice
            speed=speed,
            failure_rate=failure_rate,
            link_lifetime=link_lifetime,
            max_running_jobs=max_running_jobs,
            store=self._store,
        )
        """Accounts, API keys and tasks."""
        self.faults = FaultRegistry([DELIVERY, *(route.name for route in ROUTES)], seed)
        """Faults that the sandbox injects."""
        self._clock = clock
        self._host = host
        self._port = port
        self._credits = credits
        self._key_counts: Counter[str] = Counter()
        self.api_key = api_key or generate_api_key(seed, MAIN_ACCOUNT)
        if self.api_key not in self.service_state.api_keys:
            self.service_state.save_key(ApiKey(self.api_key, self._get_or_create_account(MAIN_ACCOUNT).id))
        self._api = Api(self.service_state, allow_local_webhooks=allow_local_webhooks)
        self.request_log = self._api.request_log
        """Requests that the sandbox received."""
        if port:
            self.service_state.base_url = self._address()
        self._handler = RequestHandler(self._api, self.faults, RateLimiter(rate_limit, rate_window), clock)
        self._dashboard = DashboardHandlers(self._api, self.faults, clock)
        self._server: SandboxServer | None = None

    @property
    def base_url(self) -> str:
        """The address, such as "http://127.0.0.1:49152". RuntimeError before the first start on any free port."""
        if not self.service_state.base_url:
            raise RuntimeError("the sandbox has not been started: use `async with Sandbox() as sandbox`")
        return self.service_state.base_url

    @property
    def credits(self) -> int:
        """The credits that the main account can spend."""
        return self.credits_of(self.api_key)

    def credits_of(self, key: str) -> int:
        """Returns the credits that the account of an API key can spend; raises ValueError for an unknown key."""
        return self.service_state.available_credits(self._get_key(key).account_id, self._clock())

    @property
    def spent(self) -> int:
        """The credits that the main account has spent or reserved for open jobs; failed jobs are refunded."""
        account = self.service_state.accounts[self._get_key(self.api_key).account_id]
        return account.initial_credits - self.credits

    @property
    def unobserved_tasks(self) -> list[str]:
        """The ids of the tasks whose end neither a poll nor a webhook has reported."""
        observed = self.request_log.observed_tasks | self._api.webhooks.queue.observed_tasks
        return [task_id for task_id in list(self.service_state.tasks) if task_id not in observed]

    def add_key(
        self,
        account: str | None = None,
        *,
        scopes: AbstractSet[str] = ALL_SCOPES,
        credits: int | None = None,  # noqa: A002  the API's own word
        revoked: bool = False,
        expired: bool = False,
    ) -> str:
        """Adds and returns an API key of the account of this name; of the main one, "main", by default.

        A new account starts with `credits`, by default as many as the main one; `credits` without a name creates an
        account. Accounts are isolated from each other. With the same `seed`, the same calls return the same keys, also
        after a restart with `state`. Raises ValueError for an unknown scope and for invalid credits.
        """
        unknown = scopes - ALL_SCOPES
        if unknown:
            raise ValueError(f"there is no scope {min(unknown)!r}; the scopes are {', '.join(sorted(ALL_SCOPES))}")
        if account is None:
            account = MAIN_ACCOUNT if credits is None else f"acct_{len(self.service_state.accounts) + 1}"
        name = f"{account} {sorted(scopes)} {revoked} {expired}"
        self._key_counts[name] += 1
        secret = generate_api_key(self.seed, f"{name} {self._key_counts[name]}")
        if secret not in self.service_state.api_keys:
            owner = self._get_or_create_account(account, credits)
            key = ApiKey(secret, owner.id, frozenset(scopes), is_revoked=revoked, is_expired=expired)
            self.service_state.save_key(key)
        return secret

    def revoke_key(self, key: str) -> None:
        """Rejects this key as revoked from now on; raises ValueError for an unknown key."""
        self.service_state.save_key(attrs.evolve(self._get_key(key), is_revoked=True))

    def expire_key(self, key: str) -> None:
        """Rejects this key as expired from now on; raises ValueError for an unknown key."""
        self.service_state.save_key(attrs.evolve(self._get_key(key), is_expired=True))

    def _get_key(self, key: str) -> ApiKey:
        found = self.service_state.api_keys.get(key)
        if found is None:
            raise ValueError("this is no API key of the sandbox")
        return found

    def _get_or_create_account(self, name: str, credits: int | None = None) -> Account:  # noqa: A002
        account = self.service_state.accounts.get(name)
        return account or self.service_state.create_account(name, self._credits if credits is None else credits)

    @property
    def rate_limit(self) -> int | None:
        """Requests per key in a window; None is no limit. Setting it restarts the count."""
        return self._handler.rate_limiter.limit

    @rate_limit.setter
    def rate_limit(self, limit: int | None) -> None:
        self._handler.rate_limiter = RateLimiter(limit, self._handler.rate_limiter.window)

    async def start(self) -> Self:
        """Starts to listen; raises RuntimeError if the sandbox is running."""
        if self._server is not None:
            raise RuntimeError("the sandbox is running already")
        self._store.open()
        self._server = SandboxServer(self._handle)
        try:
            await self._store.flush()
            self._port = await self._server.listen(self._host, self._port)
        except BaseException:
            await self.aclose()
            raise
        self.service_state.base_url = self._address()
        self._api.webhooks.start(self._clock, self.faults)
        return self

    def _address(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        host = request.headers.get("Host")
        if host is not None and not _is_allowed_host(host, self._host):
            message = (
                f"This sandbox does not serve {host:.80}: connect by an IP address or as localhost, or pass host=."
            )
            return web.Response(body=error_body("host_rejected", message, "req_0"), status=403, content_type=JSON_TYPE)
        handler = self._dashboard if self._dashboard.serves(request) else self._handler
        return await handler.handle(request)

    async def aclose(self) -> None:
        """Stops to listen and closes every connection; the state is kept. Idempotent."""
        server, self._server = self._server, None
        async with AsyncExitStack() as stack:  # closes in reverse order
            stack.push_async_callback(self._store.aclose)
            stack.push_async_callback(self._api.webhooks.aclose)
            if server is not None:
                stack.push_async_callback(server.aclose)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


@lru_cache
def _is_allowed_host(host: str, bound_host: str) -> bool:
    """Returns True for an IP address, localhost and the bound host: the owner of another name decides its address."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name in {"localhost", bound_host.lower()} or name.endswith(".localhost") or bool(ip_address(name))
    except ValueError:
        return False
