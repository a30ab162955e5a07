"""The state of the service: accounts, API keys, tasks and credits.

A task's times and outcome are drawn from the seed at its creation. Its status is computed from the time of the request,
so that nothing runs in the background.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import random
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from .api_keys import ApiKey
from .catalogue import Model
from .responses import ApiError, format_timestamp
from .store import StateStore

QUEUE_MEDIANS: Final = {"image": 1.5, "video": 5.0, "audio": 1.0}
"""Median seconds in the queue by category, at speed 1. Invented."""

RUN_MEDIANS: Final = {"image": 12.0, "video": 90.0, "audio": 8.0}
"""Median seconds of processing by category, at speed 1. Invented."""

SIGMA: Final = 0.35
"""Sigma of the lognormal distributions of both durations."""

FAIL_MARKER: Final = "[fail]"
"""Text in a prompt that makes its task fail."""

FAILURE: Final = "The model could not complete this generation."
"""Error message of a failed task."""


@attrs.frozen(kw_only=True)
class Task:
    """A generation whose times and outcome are fixed at its creation. Times are epoch seconds."""

    id: str
    account_id: str
    model: str
    category: str
    prompt: str = ""
    params: Mapping[str, Any] = attrs.field(factory=dict)
    seed: int = 0
    reserved_credits: int = 0
    created_at: float
    starts_at: float
    ends_at: float
    failure: str | None = None

    def status(self, now: float) -> str:
        """Returns `queued`, `processing`, `succeeded` or `failed`."""
        if now < self.starts_at:
            return "queued"
        if now < self.ends_at:
            return "processing"
        return "succeeded" if self.failure is None else "failed"

    @property
    def file_count(self) -> int:
        """The number of files of a success: `params.max_images` if the model has it, else 1."""
        return int(self.params.get("max_images", 1))

    def encode(self, status: str, urls: Sequence[str] = ()) -> bytes:
        """Returns the API's generation object in this status; `urls` are the files of a success."""
        succeeded = status == "succeeded"
        changed_at = {"queued": self.created_at, "processing": self.starts_at}.get(status, self.ends_at)
        generation = {
            "id": self.id,
            "status": status,
            "model": self.model,
            "reserved_credits": self.reserved_credits,
            "final_credits": self.reserved_credits if succeeded else 0,
            "created_at": format_timestamp(self.created_at),
            "updated_at": format_timestamp(changed_at),
            "result": {"primary_url": urls[0], "urls": list(urls)} if succeeded else None,
            "error": {"code": "generation_failed", "message": self.failure} if status == "failed" else None,
        }
        return json.dumps(generation).encode()


@attrs.define
class Account:
    """An account and its credits. `credits` excludes the cost of finished and running purchases.

    `refunded` (by failed tasks) and `reserved` (by running chat turns) follow from the tasks and are not stored.
    """

    id: str
    initial_credits: int
    credits: int
    refunded: int = attrs.field(default=0, init=False)
    reserved: int = attrs.field(default=0, init=False)

    @property
    def balance(self) -> int:
        """The credits that can be spent."""
        return self.credits + self.refunded - self.reserved


class ServiceState:
    """Accounts, API keys and tasks; loaded from `store` and written to it. `now` is in epoch seconds throughout.

    `speed` divides queue and processing times; `failure_rate` is the probability that a task fails; `link_lifetime` is
    the validity of result links in seconds, None for ever. `max_running_jobs` limits the running tasks of each account,
    also while the service runs. Tasks are never removed.
    """

    def __init__(
        self,
        *,
        seed: int | str = 0,
        speed: float = 1.0,
        failure_rate: float = 0.0,
        link_lifetime: float | None = None,
        max_running_jobs: int | None = None,
        store: StateStore | None = None,
    ) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be greater than 0, not {speed!r}")
        if not 0 <= failure_rate <= 1:
            raise ValueError(f"failure_rate must be a probability from 0 to 1, not {failure_rate!r}")
        if link_lifetime is not None and not link_lifetime > 0:
            raise ValueError(f"link_lifetime must be greater than 0, or None, not {link_lifetime!r}")
        self.base_url = ""
        """Address of the server; empty before the first start on any free port."""
        self.seed = seed
        """Seed of ids, durations and failures."""
        self.speed = speed
        self.failure_rate = failure_rate
        self.link_lifetime = link_lifetime
        self.max_running_jobs = max_running_jobs
        self.store = store or StateStore()
        self.accounts = {account.id: account for account in self.store.load(Account)}
        """Accounts by id."""
        self.api_keys = {key.secret: key for key in self.store.load(ApiKey)}
        """API keys by their text."""
        self.tasks: dict[str, Task] = {}
        """Tasks by id."""
        self._refunds: list[tuple[float, str, Task]] = []
        self._running: defaultdict[str, list[float]] = defaultdict(list)  # ends of running tasks by account
        self._refund_lock = threading.Lock()
        for task in self.store.load(Task):
            self._register_task(task)
        self._rng = random.Random(seed)  # noqa: S311  repeatable ids and durations, not a secret

    def create_account(self, name: str, credits: int) -> Account:  # noqa: A002  the API's own word
        """Creates an account; raises ValueError if `credits` is not a number from 0 on."""
        if not isinstance(credits, int | float) or not 0 <= credits < math.inf:
            raise ValueError(f"credits must be a number from 0 on, not {credits!r}")
        account = self.accounts[name] = Account(name, credits, credits)
        self.store.put(name, account)
        return account

    def save_key(self, key: ApiKey) -> None:
        """Adds or replaces an API key."""
        self.api_keys[key.secret] = key
        self.store.put(key.secret, key)

    def create_task(self, account_id: str, model: Model, prompt: str, params: Mapping[str, Any], now: float) -> Task:
        """Creates and charges a task; raises `ApiError` (insufficient_credits) if the account cannot pay.

        Draws the same number of random values for every task, so that one task does not change the next.
        """
        self._check_jobs_limit(account_id, now)
        price = self.reserve(account_id, model, now, params)
        self.charge(account_id, price)
        task_id = f"task_{self._rng.getrandbits(80):020x}"
        queue_deviation, run_deviation, failure_draw = self._rng.gauss(), self._rng.gauss(), self._rng.random()
        starts_at = now + QUEUE_MEDIANS[model.category] * math.exp(SIGMA * queue_deviation) / self.speed
        task = Task(
            id=task_id,
            account_id=account_id,
            model=model.id,
            category=model.category,
            prompt=prompt,
            params=model.filled(params),
            seed=derive_seed(self.seed, task_id, params),
            reserved_credits=price,
            created_at=now,
            starts_at=starts_at,
            ends_at=starts_at + RUN_MEDIANS[model.category] * math.exp(SIGMA * run_deviation) / self.speed,
            failure=FAILURE if failure_draw < self.failure_rate or FAIL_MARKER in prompt else None,
        )
        self._register_task(task)
        self.store.put(task.id, task)
        return task

    def _check_jobs_limit(self, account_id: str, now: float) -> None:
        running = self._running[account_id]
        while running and running[0] <= now:
            heapq.heappop(running)
        if self.max_running_jobs is not None and len(running) >= self.max_running_jobs:
            raise ApiError("rate_limited", f"{len(running)} jobs are running, which is the limit. Wait for one to end.")

    def reserve(self, account_id: str, model: Model, now: float, params: Mapping[str, Any] | None = None) -> int:
        """Reserves the price of a purchase and returns it.

        Raises `ApiError` (insufficient_credits) if the account cannot pay.
        """
        balance, price = self.available_credits(account_id, now), model.price_of(params or {})
        if balance < price:
            raise ApiError(
                "insufficient_credits",
                f"{model.id} needs {price} credit{'' if price == 1 else 's'}, you have {balance}.",
            )
        self.accounts[account_id].reserved += price
        return price

    def charge(self, account_id: str, amount: int) -> None:
        """Spends `amount` of the reserved credits."""
        account = self.accounts[account_id]
        account.reserved -= amount
        account.credits -= amount
        self.store.put(account_id, account)

    def available_credits(self, account_id: str, now: float) -> int:
        """Returns the credits that the account can spend; a failed task is refunded at its end."""
        with self._refund_lock:  # a test may ask in its own thread
            while self._refunds and self._refunds[0][0] <= now:
                _, _, task = heapq.heappop(self._refunds)
                self.accounts[task.account_id].refunded += task.reserved_credits
        return self.accounts[account_id].balance

    def _register_task(self, task: Task) -> None:
        self.tasks[task.id] = task
        heapq.heappush(self._running[task.account_id], task.ends_at)
        if task.failure is not None:
            heapq.heappush(self._refunds, (task.ends_at, task.id, task))


def derive_seed(service_seed: int | str, task_id: str, params: Mapping[str, Any]) -> int:
    """Returns the seed of a task's results: `params.seed` or `seeds` if it is a number from 0 on, else a hash."""
    for name in ("seed", "seeds"):
        value = params.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18  # noqa: PLR2004
        text = value if isinstance(value, str) else f"{value:.0f}" if is_number else ""
        if text.isascii() and text.isdecimal() and len(text) <= 18:  # noqa: PLR2004  fits 64 bits
            return int(text)
    return int.from_bytes(hashlib.sha256(f"{service_seed}/{task_id}".encode()).digest()[:8], "big") >> 1
