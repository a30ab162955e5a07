"""A batch of jobs: rows in a journal, and runs that purchase, wait for and save them."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from .._core.errors import ConfigurationError
from .._core.spend import validate_cap
from .._core.types.progress import Progress
from .._engine.bounded_map import bounded_map
from .._engine.environment import Environment
from .._engine.polling.waiters import notify_listener
from .._engine.shutdown import ShutdownSignal
from .._engine.transfers.file_io import staging_dir
from .._jobs.transitions import JobState, is_open
from .journal import Journal
from .row_runner import PollCounter, RunContext, batch_policy, retry_changes, run_row

if TYPE_CHECKING:
    from .._core.types.generations import Amount
    from .._engine.hooks import Hooks
    from .planner import PlanResult
    from .row import InvalidRow, Row, RowRecord
    from .row_runner import BatchBackend, FileSaver

PURCHASE_RETRY_TIMEOUT: Final = 600.0
"""Seconds for which a run retries the purchase of a row while the service is unavailable."""


class Batch:
    """Jobs that are purchased, awaited and saved once, also if the process is killed meanwhile.

    Each purchase is in the journal before it is sent, under a key derived from batch and row, so `run` resumes after
    any end of the process. Nothing is purchased twice while the service remembers its keys, which is assumed to be 24
    hours; after that, a purchase in doubt is given up with that reason.

    >>> from rivya_async.batch import Row
    >>> async def main():
    ...     async with RivyaSession() as session:
    ...         rows = [Row(number=n, line=n, model="z-image", prompt=f"Kite number {n}") for n in range(1, 4)]
    ...         async with Batch.open("kites.journal") as batch:
    ...             await batch.add(rows)
    ...             return [record.state.value async for record in batch.run(session, download_to="kites")]
    >>> asyncio.run(main())
    ['downloaded', 'downloaded', 'downloaded']
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._polls = PollCounter()
        self._ambient = Environment()
        self._run: RunContext | None = None
        self._rows_in_progress: AsyncGenerator[RowRecord] | None = None  # while the caller handles a record
        self._closing = asyncio.Lock()  # held while the rows in progress are closed
        self._halted: Exception | None = None

    @classmethod
    def open(cls, journal: str | os.PathLike[str], *, id: str | None = None) -> Self:  # noqa: A002  the word for it
        """Opens the batch of this journal, or creates it. Needs no event loop; blocks for a moment.

        `id` names a new batch; the default is the name of the journal without its extension. Keys are derived from it:
        if a journal is lost, a new one with the same id purchases nothing again while the service remembers its keys.

        Raises `JournalError` if another process has the journal, the file is not one, or the disk rejects it, and
        `ConfigurationError` if it is the journal of another batch.
        """
        if id is not None and not id.strip():
            raise ConfigurationError("the id of a batch must not be empty")
        return cls(Journal(Path(journal), id, Environment().wall_time()))

    @property
    def id(self) -> str:
        """The name from which the keys of purchases are derived."""
        return self._journal.batch_id

    @property
    def path(self) -> Path:
        """The path of the journal."""
        return self._journal.path

    @property
    def counts(self) -> Counter[JobState]:
        """The current number of rows in each state."""
        return +self._journal.counts

    @property
    def credits(self) -> Amount:
        """The credits that all rows have cost and hold, in all runs."""
        return self._journal.credits

    @property
    def service(self) -> str | None:
        """The origin of the service of the latest run, or None before the first run."""
        return self._journal.service

    @property
    def halted(self) -> Exception | None:
        """The error that stopped the purchases of the last run, or None."""
        return self._halted

    @property
    def hooks(self) -> Sequence[Hooks]:
        """Hooks for `RivyaSession(hooks=batch.hooks)` that record the number of polls of each job."""
        return [self._polls]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Writes pending changes and releases the journal, also if it is cancelled. Raises `JournalError`.

        A run whose loop was left is closed, as a cancelled one is.
        """
        async with self._closing:
            if self._rows_in_progress is not None:
                await self._rows_in_progress.aclose()
        await self._journal.aclose()

    async def add(self, rows: Iterable[Row | InvalidRow], *, keep_going: bool = False) -> PlanResult:
        """Adds rows, such as those of a `Manifest`: all or none. They are read in a thread.

        A row is identified by its name, or else by its number, and is added once. If its content has changed since, the
        new content is taken if nothing was purchased for it; otherwise the result lists a conflict and the row keeps
        its content. Cancelling adds none. Raises `InvalidRowsError` if rows are invalid, unless `keep_going` adds the
        valid ones, and `JournalError` and the errors of `rows`.
        """
        self._check_idle()
        return await self._journal.plan(rows, keep_going=keep_going)

    async def retry(self, states: Iterable[JobState] = (JobState.FAILED, JobState.DEAD)) -> int:
        """Makes the next run retry failed or dead rows, and returns their number.

        A failed job is purchased again under a new key. A dead row resumes where it was given up; if its purchase was
        in doubt, it is purchased again.
        """
        self._check_idle()
        chosen = [JobState(state) for state in states]
        if not set(chosen) <= {JobState.FAILED, JobState.DEAD}:
            raise ConfigurationError("only rows that are failed or dead can be retried")
        count = 0
        async for record in self.records(*chosen):
            changes = retry_changes(record)
            self._journal.advance(record, changes.pop("state"), **changes)
            count += 1
        await self._journal.flush()
        return count

    async def records(self, *states: JobState) -> AsyncGenerator[RowRecord]:
        """Yields the rows in one of these states, or all, in the order of the manifest. Raises `JournalError`.

        Few of them are in memory at a time. During a run the latest changes may be missing.
        """
        place = 0
        while True:
            place, records = await self._journal.fetch_page(states or tuple(JobState), place)
            if not records:
                return
            for record in records:
                yield record

    def stop(self) -> None:
        """Ends the current run gently, if there is one.

        Nothing more is purchased. Responses to purchases in flight are awaited for at most five seconds. Open rows stay
        as they are in the journal, for the next run.
        """
        if self._run is not None:
            self._run.stop.set()

    def run(
        self,
        session: BatchBackend,
        *,
        max_in_flight: int = 100,
        download_to: str | os.PathLike[str] | None = None,
        save: FileSaver | None = None,
        max_spend: Amount | None = None,
        retry_failed: int = 0,
        retry_timeout: float = PURCHASE_RETRY_TIMEOUT,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> AsyncGenerator[RowRecord]:
        """Processes every unfinished row, and yields it when it is done or this run cannot do more for it.

        Rows in progress go first. At most `max_in_flight` rows are in progress at a time. `download_to` saves results
        in that folder under the names of the rows, which completes a row; `save` delegates saving, for example to
        workers. `session` may also be a `workers.Fleet`. `max_spend` limits the credits of the batch over all its runs.
        `retry_failed` is how often a job that failed at the service may be purchased again, each time under a new key.
        While the service is unavailable a purchase is retried for `retry_timeout` seconds. `on_progress` is called,
        or awaited, at the start and after each row that this run has finished or leaves open. Its exceptions end the
        run.

        The failure of a row is not raised but is in `state` and `error`. An error that concerns every row (no credits,
        an invalid key, `max_spend`) stops the purchases and is in `halted`. Raises `ConfigurationError` before anything
        is sent, also if the jobs belong to a sandbox and the session to the service, and `JournalError` if the journal
        cannot be written: nothing is purchased from then on.

        Leaving the loop, or cancelling, drops the rows in progress; the next run resumes them.
        """
        run = RunContext(
            session=session,
            journal=self._journal,
            polls=self._polls,
            stop=ShutdownSignal(),
            wall=self._ambient.wall_time,
            uniform=self._ambient.uniform,
            download_to=None if download_to is None else Path(download_to),
            save=save,
            max_spend=validate_cap("max_spend", max_spend),
            retry_failed=_check_integer("retry_failed", retry_failed, minimum=0),
            policy=batch_policy(retry_timeout),
        )
        records = self._process(run, _check_integer("max_in_flight", max_in_flight, minimum=1))
        return records if on_progress is None else self._report(records, run, on_progress)

    async def _report(
        self, records: AsyncGenerator[RowRecord], run: RunContext, on_progress: Callable[[Progress], object]
    ) -> AsyncGenerator[RowRecord]:
        loop, downloads = asyncio.get_running_loop(), run.download_to is not None

        def count_open() -> int:
            return sum(count for state, count in self.counts.items() if is_open(state, downloads=downloads))

        def measure() -> Progress:
            counts, still_open, elapsed = self.counts, count_open(), loop.time() - started_at
            failed, ended = counts[JobState.FAILED] + counts[JobState.DEAD], open_before - still_open
            rate = ended / elapsed if ended > 0 and elapsed > 0 else None
            return Progress(counts.total() - failed - still_open, failed, still_open, self.credits, rate)

        started_at, open_before = loop.time(), count_open()
        async with aclosing(records):
            await notify_listener(on_progress, measure())
            async for record in records:
                await notify_listener(on_progress, measure())
                yield record

    async def _process(self, run: RunContext, limit: int) -> AsyncGenerator[RowRecord]:
        self._check_idle()
        self._run, self._halted, self._closing = run, None, asyncio.Lock()
        try:
            number = await self._journal.begin_run(run.wall(), run.session.base_url)
            await self._journal.observe_prices(run.session.prices)
            rows = bounded_map(self._unfinished(run), lambda record: run_row(run, record), limit=limit, ordered=False)
            try:
                async for record in rows:
                    self._rows_in_progress = rows
                    yield record
                    self._rows_in_progress = None
            finally:
                async with self._closing:  # the event loop closes an abandoned loop, at the same time as `aclose`
                    await rows.aclose()
            await self._journal.flush()
            await self._journal.end_run(number, run.wall())
            if run.download_to is not None:
                with suppress(OSError):  # it does not exist, or holds files that the next run completes
                    staging_dir(run.download_to, self.id).rmdir()
        finally:
            self._run, self._rows_in_progress, self._halted = None, None, run.halted

    async def _unfinished(self, run: RunContext) -> AsyncIterator[RowRecord]:
        """Yields the rows to process, those in progress first, and each once: it may fail and be purchased again."""
        yielded = set[str]()
        saved = [JobState.SUCCEEDED] if run.download_to is not None else []
        async for record in self.records(JobState.INTENT, JobState.SUBMITTED, *saved):
            if run.stop.is_set:
                return
            yielded.add(record.row.identity)
            yield record
        for state in [JobState.FAILED, JobState.PLANNED] if run.retry_failed else [JobState.PLANNED]:
            async for record in self.records(state):
                if run.stop.is_set or run.halted is not None:
                    return
                is_left = state is JobState.PLANNED or record.purchase <= run.retry_failed
                if is_left and record.row.identity not in yielded:
                    yield record

    def _check_idle(self) -> None:
        if self._run is not None:
            raise ConfigurationError("this batch is running. Wait for the end of its run, or stop it")


def _check_integer(name: str, value: int, *, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ConfigurationError(f"{name} must be a whole number from {minimum} on, not {value!r}")
    return value
