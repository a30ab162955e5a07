"""Jobs of one command: bought, waited for and saved side by side, none ending another; and the ledger of them."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING, Any

import attrs

from .._core.errors import GenerationFailedError, RivyaError, WaitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from .._core.generation_request import GenerationRequest
    from .._core.types.generations import Amount, Generation
    from ..session import RivyaSession


class Stage(StrEnum):
    """How far this command has come with a job; what the service says of it is its record's status."""

    WAITING = "waiting"
    BUYING = "buying"
    BOUGHT = "bought"
    SAVING = "saving"
    DONE = "done"


@attrs.define(eq=False)
class Job:
    """One job and what became of it. `request` is None for a job that another process bought: it has a task id."""

    number: int
    request: GenerationRequest | None = None
    task_id: str | None = None
    stage: Stage = Stage.WAITING
    is_checked: bool = True
    estimated_credits: int | None = None
    record: Generation | None = None
    error: Exception | None = None
    files: list[Path] = attrs.field(factory=list)
    began: float | None = None
    ended: float | None = None

    @property
    def model(self) -> str:
        """The model's id; empty as long as nothing is known of another process's job."""
        return self.record.model if self.record else self.request.model if self.request else ""

    @property
    def prompt(self) -> str:
        """The prompt; empty where this process did not give it."""
        return (self.request.prompt if self.request else None) or ""

    @property
    def idempotency_key(self) -> str | None:
        """The key of the purchase, if this process made it."""
        return self.request.idempotency_key if self.request else None

    @property
    def status(self) -> str:
        """One word for people: the service's status, or ours before, after and beside it."""
        if self.error is not None:
            return "failed" if isinstance(self.error, GenerationFailedError) else "error"
        if self.stage in {Stage.WAITING, Stage.BUYING, Stage.SAVING}:
            return self.stage
        return self.record.status if self.record else "open"

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing left to do for it here."""
        return self.ended is not None

    @property
    def is_open(self) -> bool:
        """Whether it is bought and this command has not finished with it: waiting or saving can be taken up again."""
        return self.task_id is not None and not self.has_ended

    @property
    def outcome_is_unknown(self) -> bool:
        """Whether its purchase was sent off, as far as we know, and never answered."""
        return self.stage is Stage.BUYING and not self.has_ended

    @property
    def credits(self) -> Amount:
        """What it cost, or holds as long as it is open."""
        if self.record is None:
            return 0
        return self.record.final_credits if self.record.is_terminal else self.record.reserved_credits

    @property
    def seconds(self) -> float | None:
        """Seconds since it began, or that it took."""
        if self.began is None:
            return None
        return (monotonic() if self.ended is None else self.ended) - self.began


@attrs.define
class Ledger:
    """All jobs of a command: what is told when it is interrupted."""

    jobs: list[Job] = attrs.field(factory=list)
    folder: str | None = None
    """Where files were to go."""
    again: str | None = None
    """The command that repeats what was sent off and not answered to its end, where that is no job."""

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    @property
    def open(self) -> list[Job]:
        """Bought, not finished with."""
        return [job for job in self.jobs if job.is_open]

    @property
    def unknown(self) -> list[Job]:
        """Purchases that may or may not have been made."""
        return [job for job in self.jobs if job.outcome_is_unknown]


@attrs.frozen(kw_only=True)
class Plan:
    """How the jobs of a command are waited for and where their files go. `timeout` None is the policy's."""

    timeout: float | None = None
    folder: Path | None = None


async def perform_all(session: RivyaSession, jobs: Iterable[Job], plan: Plan, changed: Callable[[Job], None]) -> None:
    """Carry out all jobs at once. A job that goes wrong keeps its error and leaves the others alone.

    `changed` is called after every step of a job. Cancelling it cancels every wait; what is bought goes on.
    """
    async with asyncio.TaskGroup() as group:
        for job in jobs:
            group.create_task(_perform(session, job, plan, changed))


async def _perform(session: RivyaSession, job: Job, plan: Plan, changed: Callable[[Job], None]) -> None:
    job.began = monotonic()
    try:
        await _steps(session, job, plan, changed)
    except (RivyaError, OSError) as error:
        job.error = error
        if isinstance(error, WaitError):
            job.record = error.last or job.record
    job.ended = monotonic()
    changed(job)


async def _steps(session: RivyaSession, job: Job, plan: Plan, changed: Callable[[Job], None]) -> None:
    def saw(record: Generation) -> None:
        job.record = record
        if record.succeeded and plan.folder is not None:
            job.stage = Stage.SAVING
        changed(job)

    if job.request is not None:
        job.stage = Stage.BUYING
        changed(job)
        job.record = await session.submit(job.request)
        job.task_id = job.record.id
    job.stage = Stage.BOUGHT
    if job.record is not None:
        changed(job)
    limit: dict[str, Any] = {} if plan.timeout is None else {"timeout": plan.timeout}
    job.record = await session.wait_for(job.record or job.task_id or "", on_update=saw, **limit)
    if plan.folder is not None:
        job.stage = Stage.SAVING
        # A file that is there is of this very task, from an earlier run.
        job.files = await session.download(job.record, plan.folder, overwrite=True)
    job.stage = Stage.DONE
