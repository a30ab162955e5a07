"""The state of the service: accounts, API keys, tasks and credits.

A task's times and outcome are drawn from the seed at its creation. Its state is computed from the time of the request,
so that nothing runs in the background.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import random
import threading
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

import attrs

from .api_keys import ApiKey
from .catalogue import Model
from .responses import ApiError
from .store import StateStore
from .task import Task

QUEUE_MEDIANS: Final = {"image": 1.5, "video": 5.0, "audio": 1.0}
"""Median seconds in the queue by category, at speed 1. Invented."""

RUN_MEDIANS: Final = {"image": 12.0, "video": 90.0, "audio": 8.0}
"""Median seconds of processing by category, at speed 1. Invented."""

SIGMA: Final = 0.35
"""Sigma of the lognormal distributions of both durations."""

FAIL_MARKER: Final = "[fail]"
"""Text in a prompt that makes its task fail."""


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
        self.speed = speed
        self.failure_rate = failure_rate
        self.link_lifetime = link_lifetime
        self.max_running_jobs = max_running_jobs
        self.store = store or StateStore()
        self.accounts = {account.id: account for account in self.store.load(Account)}
        self.api_keys = {key.secret: key for key in self.store.load(ApiKey)}
        self.tasks: dict[str, Task] = {}
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
        """Creates and charges a task; raises `ApiError` (insufficient_credits) if the account cannot pay."""
        self._check_jobs_limit(account_id, now)
        self.reserve(account_id, model, now)
        self.charge(account_id, model.price)
        task = self._draw_task(account_id, model, prompt, params, now)
        self._register_task(task)
        self.store.put(task.id, task)
        return task

    def _check_jobs_limit(self, account_id: str, now: float) -> None:
        running = self._running[account_id]
        while running and running[0] <= now:
            heapq.heappop(running)
        if self.max_running_jobs is not None and len(running) >= self.max_running_jobs:
            raise ApiError("rate_limited", f"{len(running)} jobs are running, which is the limit. Wait for one to end.")

    def reserve(self, account_id: str, model: Model, now: float) -> None:
        """Reserves the model's price; raises `ApiError` (insufficient_credits) if the account cannot pay."""
        balance = self.available_credits(account_id, now)
        if balance < model.price:
            raise ApiError(
                "insufficient_credits", f"{model.id} needs {_count_credits(model.price)}, you have {balance}."
            )
        self.accounts[account_id].reserved += model.price

    def charge(self, account_id: str, amount: int) -> None:
        """Spends `amount` of the reserved credits."""
        account = self.accounts[account_id]
        account.reserved -= amount
        account.credits -= amount
        self.store.put(account_id, account)

    def release_hold(self, account_id: str, amount: int) -> None:
        """Returns reserved credits that were not spent."""
        self.accounts[account_id].reserved -= amount

    def get_task(self, account_id: str, task_id: str) -> Task | None:
        """Returns the task if it exists and belongs to this account."""
        task = self.tasks.get(task_id)
        return task if task is not None and task.account_id == account_id else None

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

    def _draw_task(self, account_id: str, model: Model, prompt: str, params: Mapping[str, Any], now: float) -> Task:
        """Draws the same number of random values for every task, so that one task does not change the next."""
        task_id = f"task_{self._rng.getrandbits(80):020x}"
        queue_deviation, run_deviation, failure_draw = self._rng.gauss(), self._rng.gauss(), self._rng.random()
        starts_at = now + QUEUE_MEDIANS[model.category] * math.exp(SIGMA * queue_deviation) / self.speed
        fails = failure_draw < self.failure_rate or FAIL_MARKER in prompt
        return Task(
            id=task_id,
            account_id=account_id,
            model=model.id,
            category=model.category,
            prompt=prompt,
            params=model.filled(params),
            seed=derive_seed(self.seed, task_id, params),
            reserved_credits=model.price,
            created_at=now,
            starts_at=starts_at,
            ends_at=starts_at + RUN_MEDIANS[model.category] * math.exp(SIGMA * run_deviation) / self.speed,
            failure="The model could not complete this generation." if fails else None,
        )


def _count_credits(amount: int) -> str:
    return f"{amount} credit" if amount == 1 else f"{amount} credits"


def derive_seed(service_seed: int | str, task_id: str, params: Mapping[str, Any]) -> int:
    """Returns the seed of a task's results: `params.seed` or `seeds` if it is a number from 0 on, else a hash."""
    for name in ("seed", "seeds"):
        value = params.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18  # noqa: PLR2004
        text = value if isinstance(value, str) else f"{value:.0f}" if is_number else ""
        if text.isascii() and text.isdecimal() and len(text) <= 18:  # noqa: PLR2004  fits 64 bits
            return int(text)
    return int.from_bytes(hashlib.sha256(f"{service_seed}/{task_id}".encode()).digest()[:8], "big") >> 1
