"""The jobs of one command, as the command shows them."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import attrs

from .._core.errors import GenerationFailedError
from .._jobs.transitions import JobState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .._core.generation_request import GenerationRequest
    from .._core.types.generations import Amount, Generation
    from .._engine.transfers.partial_file import Exists

LOCAL_STATUSES = {JobState.PLANNED: "waiting", JobState.INTENT: "buying"}
"""Statuses of jobs that the service does not know yet."""


@attrs.define(eq=False)
class Job:
    """A job and its progress. `request` is None for a job that another process purchased: it has a task id.

    `folder` is where its files are saved. `replayed` is true if an earlier command has bought it under the same key.
    `began` and `ended` are in seconds of the monotonic clock.
    """

    number: int
    request: GenerationRequest | None = None
    task_id: str | None = None
    state: JobState = attrs.field(default=attrs.Factory(lambda job: _initial_state(job.request), takes_self=True))
    is_checked: bool = True
    estimated_credits: Amount | None = None
    generation: Generation | None = None
    error: Exception | None = None
    folder: Path | None = None
    files: Sequence[Path] = ()
    replayed: bool = False
    intent_at: float | None = None
    submitted_at: float | None = None
    ended_at: float | None = None
    downloaded_at: float | None = None
    began: float | None = None
    ended: float | None = None

    @property
    def model(self) -> str:
        """The model's id; empty until the service has described the job of another process."""
        return self.generation.model if self.generation else self.request.model if self.request else ""

    @property
    def prompt(self) -> str:
        """The prompt; empty where this process does not know it."""
        return (self.request.prompt if self.request else None) or ""

    @property
    def key(self) -> str:
        """The idempotency key of the purchase; empty where another process made it."""
        return (self.request.idempotency_key if self.request else None) or ""

    @property
    def status(self) -> str:
        """One word for people: the service's status, or a local one before, after and beside it."""
        if self.error is not None:
            return "failed" if isinstance(self.error, GenerationFailedError) else "error"
        if self.state is JobState.SUCCEEDED and self.folder is not None:
            return "saving"
        return LOCAL_STATUSES.get(self.state) or (self.generation.status if self.generation else "open")

    @property
    def has_ended(self) -> bool:
        """True where nothing is left to do for it here."""
        return self.ended is not None

    @property
    def credits(self) -> Amount:
        """The credits that it cost, or holds while it is open."""
        if self.generation is None:
            return 0
        return self.generation.final_credits if self.generation.is_terminal else self.generation.reserved_credits

    @property
    def seconds(self) -> float | None:
        """The seconds since it began, or that it took."""
        if self.began is None:
            return None
        return (monotonic() if self.ended is None else self.ended) - self.began


@attrs.define
class JobList:
    """All jobs of a command, for the summary of an interruption.

    `folder` is where files were to go, and `exists` the rule for those that exist. `again` is the command that repeats
    a request that is not for a job.
    """

    jobs: list[Job] = attrs.field(factory=list)
    folder: str | None = None
    exists: Exists | None = None
    again: str | None = None

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    @property
    def open(self) -> list[Job]:
        """Jobs that are purchased and not finished here: another command can continue them."""
        return [job for job in self.jobs if job.task_id is not None and not job.has_ended]

    @property
    def unknown(self) -> list[Job]:
        """Jobs whose purchase may have been sent and was not answered."""
        return [job for job in self.jobs if job.state is JobState.INTENT and not job.has_ended]


def _initial_state(request: GenerationRequest | None) -> JobState:
    return JobState.SUBMITTED if request is None else JobState.PLANNED
