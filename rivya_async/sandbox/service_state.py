"""The sandbox's world: accounts, keys, tasks and credits. It is told the time and rolls seeded dice.

A task's whole life is drawn at its creation; every reading computes the state at the time given. Nothing ticks.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import random
import threading
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import attrs

from .api_error import ApiError
from .api_keys import ALL_SCOPES, ApiKey
from .catalogue import Model
from .store import StateStore
from .task import Task

QUEUE_MEDIANS: Final = {"image": 1.5, "video": 5.0, "audio": 1.0}
"""Median seconds in the queue, per category, at speed 1. Invented."""

RUN_MEDIANS: Final = {"image": 12.0, "video": 90.0, "audio": 8.0}
"""Median seconds of work, per category, at speed 1. Invented."""

SIGMA: Final = 0.35
"""Spread of both: the sigma of a lognormal distribution."""

FAIL_MARKER: Final = "[fail]"
"""A job whose prompt contains this always ends as failed."""


@attrs.define
class Account:
    """Whose credits are spent. `credits`: all that it ever had, without what jobs and chat turns have cost.

    Not stored, since it follows from the jobs and ends with the turns: what failed jobs gave back, and what turns that
    are being answered hold.
    """

    id: str
    opened_with: int
    credits: int
    given_back: int = attrs.field(default=0, init=False)
    held: int = attrs.field(default=0, init=False)

    @property
    def balance(self) -> int:
        """What it can spend."""
        return self.credits + self.given_back - self.held


class ServiceState:
    """Everything that the service would remember; `store` has what an earlier process remembered.

    `speed` divides queue and work times; `failure_rate` is the probability that a job ends as failed. `now` is epoch
    seconds throughout. Tasks are kept for the life of the world.
    """

    def __init__(
        self, *, seed: int | str = 0, speed: float = 1.0, failure_rate: float = 0.0, store: StateStore | None = None
    ) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be greater than 0, not {speed!r}")
        if not 0 <= failure_rate <= 1:
            raise ValueError(f"failure_rate is a probability from 0 to 1, not {failure_rate!r}")
        self.seed = seed
        self.speed = speed
        self.failure_rate = failure_rate
        self.store = store or StateStore()
        self.accounts = {account.id: account for account in self.store.load(Account)}
        self.keys = {key.secret: key for key in self.store.load(ApiKey)}
        self.tasks: dict[str, Task] = {}
        self._refunds: list[tuple[float, str, Task]] = []
        self._giving_back = threading.Lock()
        for task in self.store.load(Task):
            self._take_in(task)
        self._dice = random.Random(seed)  # noqa: S311  a repeatable world, not a secret

    def new_name(self) -> str:
        """A name that no account has."""
        return f"acct_{len(self.accounts) + 1}"

    def open_account(self, name: str, credits: int) -> Account:  # noqa: A002  the API's own word
        """A new account of this name that holds `credits`; ValueError where they are no number of 0 or more."""
        if not isinstance(credits, int | float) or not 0 <= credits < math.inf:
            raise ValueError(f"credits is a number from 0 on, not {credits!r}")
        account = Account(name, credits, credits)
        self.accounts[account.id] = account
        self.store.put(account.id, account)
        return account

    def add_key(
        self,
        account: Account,
        *,
        secret: str,
        scopes: AbstractSet[str] = ALL_SCOPES,
        revoked: bool = False,
        expired: bool = False,
    ) -> ApiKey:
        """A key of `account`."""
        key = ApiKey(secret, account.id, frozenset(scopes), is_revoked=revoked, is_expired=expired)
        self._note(key)
        return key

    def end_key(self, key: ApiKey, *, revoked: bool = False, expired: bool = False) -> None:
        """Refuse a key from now on."""
        self._note(attrs.evolve(key, is_revoked=key.is_revoked or revoked, is_expired=key.is_expired or expired))

    def create(self, account_id: str, model: Model, prompt: str, params: Mapping[str, Any], now: float) -> Task:
        """A new task with its credits reserved; raises `Refused` (insufficient_credits) if the account lacks them."""
        self.hold(account_id, model, now)
        self.spend(account_id, model.price)
        task = self._draw(account_id, model, prompt, params, now)
        self._take_in(task)
        self.store.put(task.id, task)
        return task

    def hold(self, account_id: str, model: Model, now: float) -> None:
        """Set the model's price aside; raises `Refused` (insufficient_credits) if the account lacks it."""
        balance = self.credits(account_id, now)
        if balance < model.price:
            raise ApiError("insufficient_credits", f"{model.id} needs {model.price} credits, you have {balance}.")
        self.accounts[account_id].held += model.price

    def spend(self, account_id: str, amount: int) -> None:
        """Take for good so much of what was held."""
        account = self.accounts[account_id]
        account.held -= amount
        account.credits -= amount
        self.store.put(account_id, account)

    def release_hold(self, account_id: str, amount: int) -> None:
        """Return what was held and not used."""
        self.accounts[account_id].held -= amount

    def task(self, account_id: str, task_id: str) -> Task | None:
        """The task, if it exists and belongs to this account."""
        task = self.tasks.get(task_id)
        return task if task is not None and task.account_id == account_id else None

    def credits(self, account_id: str, now: float) -> int:
        """What the account can still spend. A failed job has given back what it held, once `now` is past its end."""
        with self._giving_back:  # a test may ask in its own thread
            while self._refunds and self._refunds[0][0] <= now:
                _, _, task = heapq.heappop(self._refunds)
                self.accounts[task.account_id].given_back += task.reserved_credits
        return self.accounts[account_id].balance

    def _take_in(self, task: Task) -> None:
        self.tasks[task.id] = task
        if task.failure is not None:
            heapq.heappush(self._refunds, (task.ends_at, task.id, task))

    def _note(self, key: ApiKey) -> None:
        self.keys[key.secret] = key
        self.store.put(key.secret, key)

    def _draw(self, account_id: str, model: Model, prompt: str, params: Mapping[str, Any], now: float) -> Task:
        """The same number of draws for every task, so that one task's fate does not shift the next one's."""
        task_id = f"task_{self._dice.getrandbits(80):020x}"
        queued, worked, luck = (self._dice.gauss(), self._dice.gauss(), self._dice.random())
        starts_at = now + QUEUE_MEDIANS[model.category] * math.exp(SIGMA * queued) / self.speed
        fails = luck < self.failure_rate or FAIL_MARKER in prompt
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
            ends_at=starts_at + RUN_MEDIANS[model.category] * math.exp(SIGMA * worked) / self.speed,
            failure="The model could not complete this generation." if fails else None,
        )


def derive_seed(world_seed: int | str, task_id: str, params: Mapping[str, Any]) -> int:
    """The seed of what a task makes: the caller's own `seed` or `seeds` if it is a number of 0 or more."""
    for name in ("seed", "seeds"):
        given = params.get(name)
        text = given if isinstance(given, str) else f"{given:.0f}" if _is_number(given) else ""
        if text.isascii() and text.isdecimal() and len(text) <= 18:  # noqa: PLR2004  fits 64 bits
            return int(text)
    return int.from_bytes(hashlib.sha256(f"{world_seed}/{task_id}".encode()).digest()[:8], "big") >> 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18  # noqa: PLR2004
