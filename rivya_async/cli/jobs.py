"""The jobs of one command, as the command shows them, and the steps of each."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import attrs

from .._core.errors import ConfigurationError, GenerationFailedError, WaitError
from .._engine.environment import Environment
from .._engine.shutdown import ShutdownSignal
from .._jobs.runner import JobContext, JobPolicy, JobRunner
from .._jobs.transitions import JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from .._core.generation_request import GenerationRequest
    from .._core.types.generations import Amount, Generation
    from .._engine.transfers.partial_file import Exists
    from ..session import RivyaSession

LOCAL_STATUSES = {JobState.PLANNED: "waiting", JobState.INTENT: "buying"}
"""Statuses of jobs that the service does not know yet."""


@attrs.define(eq=False)
class Job:
    """A job and its progress. It is its own `JobStore`: nothing is stored, the user repeats the open jobs.

    `request` is None for a job that another process purchased: it has a task id. Its files are saved in `target`.
    `replayed` is true if an earlier command has bought it under the same key. `began` and `ended` are in seconds of the
    monotonic clock. `on_change` is called after each change.
    """

    number: int
    request: GenerationRequest | None = None
    task_id: str | None = None
    state: JobState = attrs.field(default=attrs.Factory(lambda job: _initial_state(job.request), takes_self=True))
    is_checked: bool = True
    estimated_credits: Amount | None = None
    generation: Generation | None = None
    error: Exception | None = None
    target: str | None = None
    files: Sequence[Path] = ()
    replayed: bool = False
    intent_at: float | None = None
    submitted_at: float | None = None
    ended_at: float | None = None
    downloaded_at: float | None = None
    began: float | None = None
    ended: float | None = None
    session: RivyaSession | None = None
    exists: Exists | None = None
    on_change: Callable[[Job], None] = lambda _: None

    @property
    def record(self) -> Self:
        """The job itself."""
        return self

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
        if self.state is JobState.SUCCEEDED and self.target is not None:
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

    def continues(self) -> bool:
        """Returns True where the files of a succeeded job are wanted."""
        return self.state is JobState.SUCCEEDED and self.target is not None

    async def load_request(self) -> GenerationRequest:
        """Returns the request. The session uploads its local files."""
        if self.request is None:
            raise ConfigurationError("this job was purchased by another process: there is nothing to buy")
        return self.request

    async def advance(self, state: JobState, error: Exception | None = None, **changes: Any) -> None:
        """Changes the job."""
        for name, value in {**changes, "state": state, "error": error}.items():
            setattr(self, name, value)
        self.on_change(self)

    def update(self, generation: Generation) -> None:
        """Stores a response to a poll; `advance` stores the last one."""
        if not generation.is_terminal:
            self.generation = generation
            self.on_change(self)

    async def record_error(self, error: Exception, *, will_retry: bool) -> None:  # noqa: ARG002 - nothing is tried again
        """Keeps the error for the end of the command."""
        self.error = error
        if isinstance(error, WaitError):
            self.generation = error.last or self.generation

    async def save_files(self, generation: Generation) -> Sequence[Path]:
        """Saves the files. A file with the name of the task in a folder is of an earlier run."""
        assert self.session is not None  # noqa: S101  a running job has one
        return await self.session.download(generation, self.target or ".", exists=self.exists)

    async def run(self, timeout: float | None) -> None:
        """Processes the job to its end in a context of its own: the error of one job halts no other."""
        ambient = Environment()
        options: dict[str, Any] = {"on_update": self.update} | ({} if timeout is None else {"timeout": timeout})
        context = JobContext(
            session=self.session,
            stop=ShutdownSignal(),
            wall=ambient.wall_time,
            uniform=ambient.uniform,
            policy=JobPolicy(wait_options=options),
        )
        self.began = monotonic()
        await JobRunner(context, self).run()
        self.ended = monotonic()
        self.on_change(self)


@attrs.define
class JobList:
    """All jobs of a command, for the summary of an interruption.

    `target` is where files were to go, and `exists` the rule for those that exist. `again` is the command that repeats
    a request that is not for a job.
    """

    jobs: list[Job] = attrs.field(factory=list)
    target: str | None = None
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
