"""The noun: a batch of jobs, kept in a journal, carried by as many runs as it takes."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .._core.errors import ConfigurationError
from .._core.spend import validate_cap
from .._engine.bounded_map import bounded_map
from .._engine.environment import Environment
from .._engine.shutdown import ShutdownSignal
from .._engine.transfers.file_io import staging_dir
from .again import again
from .journal import Journal
from .polls import PollCount
from .states import State
from .worker import Run, Worker

if TYPE_CHECKING:
    from .._core.types.generations import Amount
    from .._engine.hooks import Hooks
    from .bad_row import BadRow
    from .carrier import Carrier, Saver
    from .planning import Planned
    from .record import RowRecord
    from .row import Row

PATIENCE: float = 600.0
"""Seconds for which a run tries to buy a row while the service is away."""


class Batch:
    """Jobs that are bought, waited for and saved, whatever happens to the process meanwhile.

    Every purchase is in the journal before it is sent, under a key that follows from batch and row. After any end of
    the process (kill -9, a full disk, a power cut) `run` goes on where it was, and buys nothing twice as long as the
    service remembers its keys (assumed: 24 hours; later a purchase that is in doubt is given up, with that reason).

    >>> from rivya_async.batch import Row
    >>> async def kites(session):
    ...     rows = [Row(number=n, line=n, model="z-image", prompt=f"Kite number {n}") for n in range(1, 4)]
    ...     async with Batch.open("kites.journal") as batch:
    ...         await batch.add(rows)
    ...         return [record.state.value async for record in batch.run(session, download_to="kites")]
    >>> in_sandbox(kites)
    ['downloaded', 'downloaded', 'downloaded']
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._polls = PollCount()
        self._ambient = Environment()
        self._run: Run | None = None
        self._left: AsyncGenerator[RowRecord] | None = None  # what is carried, while whoever reads it has the word
        self._ending = asyncio.Lock()  # held by whoever closes what is carried
        self._halted: Exception | None = None

    @classmethod
    def open(cls, journal: str | os.PathLike[str], *, id: str | None = None) -> Self:  # noqa: A002  the word for it
        """The batch of this journal, a new one if the file is not there.

        `id` names a new batch; left out it is the name of the journal without its ending. Keys follow from it: where a
        journal was lost, a new one of the same name buys nothing a second time within the service's memory.

        Raises `JournalError` if another process has the journal, it is none, or the disk does not take it, and
        `ConfigurationError` if it is that of another batch. Needs no event loop; blocks for a moment.
        """
        if id is not None and not id.strip():
            raise ConfigurationError("the id of a batch must not be empty")
        return cls(Journal(Path(journal), id, Environment().wall_time()))

    @property
    def id(self) -> str:
        """The name from which the keys of its purchases follow."""
        return self._journal.batch_id

    @property
    def path(self) -> Path:
        """The file of its journal."""
        return self._journal.path

    @property
    def counts(self) -> Counter[State]:
        """How many rows are in which state now."""
        return +self._journal.counts

    @property
    def credits(self) -> Amount:
        """What all rows have cost and hold, in all runs."""
        return self._journal.credits

    @property
    def halted(self) -> Exception | None:
        """Why the last run stopped buying before it had bought everything; None if it did not."""
        return self._halted

    @property
    def hooks(self) -> Sequence[Hooks]:
        """For `RivyaSession(hooks=batch.hooks)`: then the journal knows how often each job was polled."""
        return [self._polls]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Write what is left and let others have the journal. Raises `JournalError` if it cannot be written.

        A run whose loop was left ends here, as one that is cancelled does. Whoever cancels waits until it is done.
        """
        async with self._ending:
            if self._left is not None:
                await self._left.aclose()
        await self._journal.aclose()

    async def add(self, rows: Iterable[Row | BadRow], *, keep_going: bool = False) -> Planned:
        """Take in rows, such as those of a `Manifest`: all of them or none. They are read in a thread.

        If there are bad ones none is taken, and `BadRows` tells of them; with `keep_going` the good ones are.

        A row that is known by its name, or else its number, is taken once. One whose content has changed since is
        taken as it is now if nothing was bought for it; else it is told as a conflict, and stays what it was. Cancelled
        while they are read it takes in none. Raises `JournalError`, and what `rows` raises.
        """
        self._check_idle()
        return await self._journal.plan(rows, keep_going=keep_going)

    async def retry(self, states: Iterable[State] = (State.FAILED, State.DEAD)) -> int:
        """Have the next run try failed or dead rows again; how many they are.

        A failed job is bought again, under a new key. A dead row goes on where it was given up; if it was in doubt
        whether it had been bought, it is bought anew.
        """
        self._check_idle()
        chosen = [State(state) for state in states]
        if not set(chosen) <= {State.FAILED, State.DEAD}:
            raise ConfigurationError("only rows that are failed or dead can be tried again")
        count = 0
        async for record in self.records(*chosen):
            changes = again(record)
            self._journal.advance(record, changes.pop("state"), **changes)
            count += 1
        await self._journal.written()
        return count

    async def records(self, *states: State) -> AsyncGenerator[RowRecord]:
        """What the journal holds: the rows in one of these states, or all, as they were planned. Raises `JournalError`.

        Few of them are in memory at a time. Of a run that is on, the latest moment may be missing.
        """
        place = 0
        while True:
            place, records = await self._journal.page(states or tuple(State), place)
            if not records:
                return
            for record in records:
                yield record

    def stop(self) -> None:
        """End the run gently: `run` comes to its end soon. Does nothing where none is on.

        Nothing more is bought; the answers to purchases on their way are waited for, five seconds at most; what is open
        is left as it is noted, for the next run.
        """
        if self._run is not None:
            self._run.stop.set()

    def run(
        self,
        session: Carrier,
        *,
        max_in_flight: int = 100,
        download_to: str | os.PathLike[str] | None = None,
        save: Saver | None = None,
        max_spend: Amount | None = None,
        retry_failed: int = 0,
        patience: float = PATIENCE,
    ) -> AsyncGenerator[RowRecord]:
        """Carry every row that is not at its end, and yield it when it is, or when this run can do no more for it.

        What was begun goes first. At most `max_in_flight` rows are under way. With `download_to` results are saved in
        that folder under the rows' names, and a row is done when its files are there; `save` has somebody else put them
        there, such as workers. In the place of a session may stand a `workers.Fleet`. `max_spend` bounds the credits of
        the whole batch, over all its runs. `retry_failed` is how often a job that the service ended as failed may be
        bought again, each time under a new key. While the service is away a row is tried for `patience` seconds.

        No failure of a row is raised: look at `state` and `error`. What would stop every other row too (no credits, a
        bad key, `max_spend`) ends the buying, and `halted` says why. Raises `ConfigurationError` before anything is
        sent, also where a sandbox has made the jobs and the session talks to the service, and `JournalError` where the
        journal cannot be written: nothing is bought from then on.

        Leaving the loop, or cancelling, drops what is on its way: it is all in the journal, and the next run goes on.
        """
        run = Run(
            session=session,
            journal=self._journal,
            polls=self._polls,
            stop=ShutdownSignal(),
            wall=self._ambient.wall_time,
            uniform=self._ambient.uniform,
            download_to=None if download_to is None else Path(download_to),
            save=save,
            max_spend=validate_cap("max_spend", max_spend),
            retry_failed=_whole("retry_failed", retry_failed, least=0),
            patience=patience,
        )
        return self._carried(run, _whole("max_in_flight", max_in_flight, least=1))

    async def _carried(self, run: Run, limit: int) -> AsyncGenerator[RowRecord]:
        self._check_idle()
        self._run, self._halted, self._ending = run, None, asyncio.Lock()
        try:
            number = await self._journal.begin_run(run.wall(), run.session.base_url)
            carrying = bounded_map(
                self._source(run), lambda record: Worker(run, record).work(), limit=limit, ordered=False
            )
            try:
                async for record in carrying:
                    self._left = carrying
                    yield record
                    self._left = None
            finally:
                async with self._ending:  # a loop that was broken off is ended by the event loop, and by `aclose`
                    await carrying.aclose()
            await self._journal.written()
            await self._journal.end_run(number, run.wall())
            if run.download_to is not None:
                with suppress(OSError):  # it is not there, or holds what goes on in the next run
                    staging_dir(run.download_to, self.id).rmdir()
        finally:
            self._run, self._left, self._halted = None, None, run.halted

    async def _source(self, run: Run) -> AsyncIterator[RowRecord]:
        """What there is to do, what is begun first."""
        begun = [State.INTENT, State.SUBMITTED, *([State.SUCCEEDED] if run.download_to is not None else [])]
        async for record in self.records(*begun):
            if run.stop.is_set:
                return
            yield record
        if run.retry_failed:
            async for record in self.records(State.FAILED):
                if run.stop.is_set or run.halted is not None:
                    return
                if record.purchase <= run.retry_failed:
                    yield record
        async for record in self.records(State.PLANNED):
            if run.stop.is_set or run.halted is not None:
                return
            yield record

    def _check_idle(self) -> None:
        if self._run is not None:
            raise ConfigurationError("this batch is running: wait for the end of its run, or stop it")


def _whole(name: str, value: int, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{name} must be a whole number from {least} on, not {value!r}")
    return value
