"""One row of a batch in one run: the journal is the store of its job."""

from __future__ import annotations

import errno
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

import attrs

from .._core.catalogue.validation import unknown_model_problem
from .._core.errors import ConfigurationError, DownloadError, InvalidRequestError, RivyaError, SpendLimitError
from .._core.generation_request import GenerationRequest
from .._core.http.serialization import encode_json
from .._engine.hooks import Hooks, PollDetails
from .._engine.shutdown import ShutdownRequested
from .._jobs.runner import JobContext, JobPolicy, JobRunner, save_files
from .._jobs.transitions import (
    ACCOUNT_ERRORS,
    InvalidJobError,
    JobAbandonedError,
    JobAction,
    JobState,
    NoFilesError,
    error_fields,
)
from .row_reference import parse_reference

if TYPE_CHECKING:
    from .._core.catalogue.learned_prices import LearnedPrices
    from .._core.catalogue.model import Model
    from .._core.types.generations import Amount, Generation, SavedFile
    from ..resources.files import Files
    from ..resources.generations import Generations
    from ..resources.models import Models
    from .journal import Journal
    from .row import RowRecord

UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})
"""Errors of a folder that cannot take the files of any row."""

NOT_PURCHASED: Final = {"body": None, "expected_credits": None, "intent_at": None}
"""Changes of a row that can be purchased under the same key, since nothing was bought."""


class BatchBackend(Protocol):
    """The members of a session that a run uses. An implementation raises the errors of a session."""

    @property
    def base_url(self) -> str: ...  # noqa: D102  as in `RivyaSession`

    @property
    def models(self) -> Models: ...  # noqa: D102  as in `RivyaSession`

    @property
    def prices(self) -> LearnedPrices: ...  # noqa: D102  as in `RivyaSession`

    @property
    def files(self) -> Files: ...  # noqa: D102  as in `RivyaSession`

    @property
    def generations(self) -> Generations: ...  # noqa: D102  as in `RivyaSession`

    def submit(self, request: GenerationRequest, /, *, idempotency_key: str) -> Awaitable[Generation]:
        """Purchases a job under this key."""
        ...

    def wait_for(self, bought: Generation | str, /, *, raise_on_failure: bool) -> Awaitable[Generation]:
        """Waits until the job ends."""
        ...

    def download(
        self, source: Generation | str, /, to: Path, *, name: str, exists: Literal["overwrite"]
    ) -> Awaitable[Sequence[Path]]:
        """Saves the files of a job."""
        ...


FileSaver: TypeAlias = "Callable[[Generation, Path, str], Awaitable[Sequence[SavedFile]]]"
"""A function that saves the files of a job in a folder, under names by a template, outside this process.

It raises `DownloadError`.
"""


class PollCounter(Hooks):
    """The number of polls of each job of a batch. Other jobs of the session are not counted."""

    def __init__(self) -> None:
        self._polls: dict[str, int] = {}

    def begin(self, task_id: str) -> None:
        """Starts counting the polls of this job."""
        self._polls[task_id] = 0

    def end(self, task_id: str) -> int:
        """Stops counting and returns the number."""
        return self._polls.pop(task_id, 0)

    def on_poll(self, details: PollDetails) -> None:
        """Counts a poll."""
        if details.task_id in self._polls:
            self._polls[details.task_id] += 1


def batch_policy(patience: float) -> JobPolicy:
    """Returns the policy of a run that tries to purchase a row for `patience` seconds while the service is away."""
    return JobPolicy(
        retried=frozenset({JobAction.RETRY}),
        retry_for=patience,
        blocking_errors=(*ACCOUNT_ERRORS, SpendLimitError, ConfigurationError),
        repurchase_hint="purchase it again under a new key with `rivya batch retry`",
    )


@attrs.define(kw_only=True)
class RunContext(JobContext):
    """Everything that the rows of one run share."""

    session: BatchBackend
    journal: Journal
    polls: PollCounter
    download_to: Path | None = None
    save: FileSaver | None = None
    max_spend: Amount | None = None
    retry_failed: int = 0


async def run_row(run: RunContext, record: RowRecord) -> RowRecord:
    """Processes a row as far as this run can, and returns its record. Raises only `JournalError`.

    A row that cannot be purchased as it is ends with `InvalidJobError`, a success without a file with `NoFilesError`.
    """
    row = RowStore(run, record)
    try:
        await JobRunner(run, row).run()
    except ShutdownRequested:
        pass
    finally:
        polls = run.polls.end(row.record.task_id or "")
        if polls:  # of a job that has not ended
            row.record = run.journal.update(row.record, polls=row.record.polls + polls)
    return row.record


class RowStore:
    """The journal as the store of one row."""

    def __init__(self, run: RunContext, record: RowRecord) -> None:
        self._run = run
        self.record = record
        self.generation: Generation | None = None
        self._request: GenerationRequest | None = None
        self._purchase: dict[str, Any] = {}
        if record.state is JobState.SUBMITTED:
            run.polls.begin(record.task_id or "")

    def continues(self) -> bool:
        """Returns True where the run saves files, or purchases a failed job again."""
        if self.record.state is JobState.FAILED:
            return self.record.purchase <= self._run.retry_failed
        return self._run.download_to is not None

    async def load_request(self) -> GenerationRequest:
        """Returns the request of the intent, else that of the row after the check against the catalogue."""
        if self.record.state is not JobState.INTENT:
            self._request = await self._prepare_request()
        elif self._request is None:
            self._request = GenerationRequest(**json.loads(self.record.body or "{}"))
        return self._request

    async def _prepare_request(self) -> GenerationRequest:
        session = self._run.session
        catalogue = await session.models.catalogue()
        try:
            request, price = self._check(catalogue)
            check_spend(self._run.max_spend, self._run.journal.credits, price)  # before anything is uploaded
            if request.paths:
                request = await session.files.resolve_references(request, None)
            self._purchase = {"body": encode_json(request.to_wire()).decode(), "expected_credits": price}
        except (ConfigurationError, InvalidRequestError) as error:
            raise InvalidJobError(str(error)) from error
        except OSError as error:
            if isinstance(error, RivyaError):
                raise
            raise InvalidJobError(f"a reference cannot be read: {error}") from error
        return request

    def _check(self, catalogue: Mapping[str, Model]) -> tuple[GenerationRequest, Amount | None]:
        """Returns the request of the row, and its highest known price."""
        row = self.record.row
        if row.model not in catalogue:
            raise ConfigurationError(unknown_model_problem(row.model, catalogue).message)
        model = catalogue[row.model]
        params = model.coerce(row.params)
        references = [parse_reference(each) for each in row.references]
        request = GenerationRequest(
            row.model, row.prompt, params=params, references=references, client_request_id=row.client_request_id
        )
        model.check(row.prompt, params, references)
        estimate = model.estimate_credits(row.prompt, params, references)
        if estimate.max_credits is None and self._run.max_spend is not None:
            raise ConfigurationError(
                f"max_spend cannot be held: the price of this {model.id} is {estimate} ({estimate.source}). State the "
                f"most that a job can cost by RivyaSession(prices={{{model.id!r}: ...}}) or `rivya batch run --price "
                f"{model.id}=...`, or put such rows into a batch of their own, without max_spend"
            )
        return request, estimate.credits if estimate.max_credits is None else estimate.max_credits

    async def advance(self, state: JobState, error: Exception | None = None, **changes: Any) -> None:
        """Moves the row in the journal. An intent is on the disk when this returns."""
        run, record = self._run, self.record
        self.generation = changes.pop("generation", self.generation)
        if state is JobState.INTENT:
            check_spend(run.max_spend, run.journal.credits, self._purchase["expected_credits"])
            again = new_purchase_changes(record) if record.state is JobState.FAILED else {}
            changes = {**again, **self._purchase, **changes}
        elif state is JobState.SUBMITTED and self.generation is not None:
            run.polls.begin(self.generation.id)
            changes["reserved_credits"] = self.generation.reserved_credits
        elif state in {JobState.SUCCEEDED, JobState.FAILED} and self.generation is not None:
            duration = self.generation.duration
            changes |= {
                "final_credits": self.generation.final_credits,
                "urls": self.generation.urls,
                "duration": None if duration is None else duration.total_seconds(),
                "polls": record.polls + run.polls.end(record.task_id or ""),
            }
        elif record.state is JobState.INTENT and not isinstance(error, JobAbandonedError):  # such a one may be in doubt
            changes |= NOT_PURCHASED
        self.record = run.journal.advance(record, state, **error_fields(error), **changes)
        if state is JobState.INTENT:
            await run.journal.flush()

    async def record_error(self, error: Exception, *, will_retry: bool) -> None:  # noqa: ARG002 - the runner's protocol
        """Notes the latest error of the row."""
        self.record = self._run.journal.update(self.record, **error_fields(error))

    async def save_files(self, generation: Generation) -> Sequence[SavedFile]:
        """Saves the files under the name of the row."""
        run, folder, identity = self._run, self._run.download_to or Path(), self.record.row.identity
        if not generation.urls:
            raise NoFilesError("the job has succeeded, but the service names no file of it. Ask the support")
        name = f"{identity}{{ext}}" if len(generation.urls) == 1 else f"{identity}.{{index}}{{ext}}"
        try:
            return await self._save(generation, folder, name)
        except (OSError, DownloadError) as error:
            cause = error.__cause__ if isinstance(error, DownloadError) else error
            if getattr(cause, "errno", None) in UNWRITABLE:
                run.halted = run.halted or error  # no other row could be saved
            raise

    async def _save(self, generation: Generation, folder: Path, name: str) -> Sequence[SavedFile]:
        run = self._run
        if run.save is not None:
            return await run.save(generation, folder, name)
        owner, beside = self.record.batch_id, run.journal.path.parent
        return await save_files(run.session, generation, folder, name=name, owner=owner, relative_to=beside)


def check_spend(cap: Amount | None, counted: Amount, price: Amount | None) -> None:
    """Raises `SpendLimitError` where a purchase would pass the cap."""
    if cap is not None and price is not None and counted + price > cap:
        raise SpendLimitError(
            f"the next row costs {price} credits, and with {counted} counted so far the batch would pass "
            f"max_spend={cap}: nothing more is bought",
            limit=cap,
            counted=counted,
            price=price,
        )


def retry_changes(record: RowRecord) -> dict[str, Any]:
    """Returns the changes of a failed or dead row that is tried again.

    A failed job is purchased again, under a new key. A dead row continues where it was abandoned: it waits for its job
    if it has one, and is planned again if nothing was bought. A row in doubt is purchased again under a new key: its
    owner has seen the doubt.
    """
    state, changes = JobState.PLANNED, {}
    if record.state is JobState.DEAD and record.task_id is not None:
        state = JobState.SUBMITTED
    elif record.state is JobState.FAILED or record.body is not None:
        changes = new_purchase_changes(record)
    return {"state": state, **error_fields(None), **changes}


def new_purchase_changes(record: RowRecord) -> dict[str, Any]:
    """Returns the changes, besides the state, of a row that is purchased again under a new key."""
    forgotten = "body expected_credits task_id reserved_credits final_credits duration intent_at submitted_at ended_at"
    return {
        **dict.fromkeys(forgotten.split()),
        "purchase": record.purchase + 1,
        "replayed": False,
        "earlier_credits": record.earlier_credits if record.replayed else record.credits,
        "polls": 0,
    }
