"""Carries one row as far as it gets in this run: claims it, buys it, waits for it, saves what comes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from .._core import assumptions
from .._core.catalogue.validation import unknown_model_problem
from .._core.errors import ConfigurationError, JournalError, RivyaError, SpendLimitError, ValidationFailed
from .._core.generation_request import GenerationRequest
from .._core.http.retry import is_transient
from .._core.http.serialization import encode_json
from .._core.idempotency import key_time_left
from .._core.spend import may_have_purchased
from .._engine.shutdown import GRACE_SECONDS, ShutdownRequested
from .._engine.transfers.file_io import move_into_place, run_in_thread_uncancellable, staging_dir
from .again import anew
from .reference import as_reference
from .states import State
from .verdict import GivenUp, Verdict, verdict

if TYPE_CHECKING:
    from .._core.catalogue.model import Model
    from .._core.types.generations import Amount, Generation
    from .._core.types.saved_file import SavedFile
    from .._engine.shutdown import ShutdownSignal
    from .carrier import Carrier, Saver
    from .journal import Journal
    from .polls import PollCount
    from .record import RowRecord

FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 60.0
"""Seconds between tries to buy a row, when a whole call with all its attempts came to nothing."""

SMALL: Final = 1024 * 1024
"""Bytes of a file that is hashed on the loop, in less than a millisecond: a thread would take longer to be asked."""

NOTHING_BOUGHT: Final = {"body": None, "expected_credits": None, "intent_at": None}
"""Of a row that can be bought under the same key as if nothing had been."""


@attrs.define(kw_only=True)
class Run:
    """What all rows of one run share. `halted` is why nothing more is bought, once there is a reason."""

    session: Carrier
    journal: Journal
    polls: PollCount
    stop: ShutdownSignal
    wall: Callable[[], float]
    uniform: Callable[[], float]
    download_to: Path | None = None
    save: Saver | None = None
    max_spend: Amount | None = None
    retry_failed: int = 0
    patience: float = 0.0
    halted: Exception | None = None


def check_spend(cap: Amount, counted: Amount, price: Amount) -> None:
    """Raise `SpendLimitError` where a purchase would pass the cap."""
    if counted + price > cap:
        raise SpendLimitError(
            f"the next row costs {price} credits, and with {counted} counted so far the batch would pass "
            f"max_spend={cap}: nothing more is bought",
            limit=cap,
            counted=counted,
            price=price,
        )


class Worker:
    """One row in one run. It never buys what the journal does not hold as an intent on the disk."""

    def __init__(self, run: Run, record: RowRecord) -> None:
        self._run = run
        self._journal = run.journal
        self.record = record
        self._request: GenerationRequest | None = None
        self._job: Generation | None = None
        self._is_in_doubt = record.state is State.INTENT  # of an earlier process: perhaps it was sent

    async def work(self) -> RowRecord:
        """The row at the end of its way, or where the way ended. Raises only `JournalError`."""
        try:
            await self._carry()
        except ShutdownRequested:
            pass
        except JournalError:
            raise
        except (RivyaError, GivenUp, OSError) as error:
            self._took_amiss(error)
        return self.record

    async def _carry(self) -> None:
        while self._is_to_be_bought or self.record.state is State.SUBMITTED:
            if self._is_to_be_bought:
                await self._patiently(self._purchase)
            else:
                await self._wait()
        if self.record.state is State.SUCCEEDED and self._run.download_to is not None:
            await self._save(self._run.download_to)

    @property
    def _is_to_be_bought(self) -> bool:
        if self.record.state is State.FAILED:
            return self.record.purchase <= self._run.retry_failed
        return self.record.state in {State.PLANNED, State.INTENT}

    # --- buying -------------------------------------------------------------------------------------------------------

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> None:
        """Again and again, with growing pauses, while what goes wrong is of a kind that passes."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + self._run.patience, FIRST_PAUSE
        while True:
            try:
                return await step()
            except RivyaError as error:
                if self.record.state is State.INTENT and may_have_purchased(error):
                    self._is_in_doubt = True
                if not is_transient(error, may_have_acted=self._is_in_doubt) or loop.time() + pause > until:
                    raise
                self._note(error)
            try:
                async with self._run.stop.scope():
                    await asyncio.sleep(pause * (0.5 + self._run.uniform() / 2))
            except ShutdownRequested:
                if self.record.state is State.INTENT and not self._is_in_doubt:  # nothing was bought, that is sure
                    self.record = self._journal.advance(self.record, State.PLANNED, **NOTHING_BOUGHT)
                raise
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _purchase(self) -> None:
        if self.record.state is not State.INTENT:
            await self._claim()
        if self._is_in_doubt and not key_time_left(self.record.intent_at, self._run.wall()):
            raise GivenUp(
                "it may have been bought, but the service has forgotten the key by now: look for it in the account's "
                "list of jobs; `rivya batch retry` buys it anew",
                "in_doubt",
            )
        if self.record.state is State.INTENT:
            await self._buy()

    async def _claim(self) -> None:
        """Write down what is about to be bought. When this returns it is on the disk, and nobody wants us to stop."""
        run = self._run
        async with run.stop.scope():
            catalogue = await run.session.models.catalogue()
            try:
                job, price = self._wanted(catalogue)
                if job.paths:
                    job = await run.session.files.resolve_references(job, None)
                body = encode_json(job.to_wire()).decode()
            except (ConfigurationError, ValidationFailed) as error:
                raise GivenUp(str(error), "invalid") from error
            except OSError as error:
                if isinstance(error, RivyaError):
                    raise
                raise GivenUp(f"a reference cannot be read: {error}", "invalid") from error
        if run.stop.is_set or run.halted is not None:
            raise ShutdownRequested
        if run.max_spend is not None and price is not None:
            check_spend(run.max_spend, self._journal.credits, price)
        purchase = {
            **(anew(self.record) if self.record.state is State.FAILED else {}),
            "body": body,
            "expected_credits": price,
            "intent_at": run.wall(),
        }
        self.record = self._journal.advance(self.record, State.INTENT, **purchase)
        self._request, self._is_in_doubt = job, False
        await self._journal.written()
        if run.stop.is_set:
            self.record = self._journal.advance(self.record, State.PLANNED, **NOTHING_BOUGHT)
            raise ShutdownRequested

    def _wanted(self, catalogue: Mapping[str, Model]) -> tuple[GenerationRequest, Amount | None]:
        """The job of this row, and what it will cost."""
        row, cap = self.record.row, self._run.max_spend
        if row.model not in catalogue:
            raise ConfigurationError(unknown_model_problem(row.model, catalogue).message)
        model = catalogue[row.model]
        params = model.coerce(row.params)
        references = [as_reference(each) for each in row.references]
        job = GenerationRequest(
            row.model, row.prompt, params=params, references=references, client_request_id=row.client_request_id
        )
        model.check(row.prompt, params, references)
        price = model.estimate_credits(row.prompt, params, references)
        if price is None and cap is not None:
            raise ConfigurationError(
                f"the catalogue does not say what {model.id} costs ({model.billing_type}), so that max_spend cannot be "
                "held: put such rows into a batch of their own, without max_spend"
            )
        return job, price

    async def _buy(self) -> None:
        run = self._run
        request = self._request or GenerationRequest(**json.loads(self.record.body or "{}"))
        async with run.stop.scope(GRACE_SECONDS):
            self._job = await run.session.submit(request, idempotency_key=self.record.key)
        self.record = self._journal.advance(
            self.record,
            State.SUBMITTED,
            task_id=self._job.id,
            reserved_credits=self._job.reserved_credits,
            submitted_at=run.wall(),
            error=None,
            error_code=None,
        )

    # --- waiting and saving -------------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        run, task_id = self._run, self.record.task_id or ""
        run.polls.begin(task_id)
        try:
            async with run.stop.scope():
                job = await run.session.wait_for(self._job or task_id, raise_on_failure=False)
        finally:
            polls = self.record.polls + run.polls.end(task_id)
            if polls:
                self.record = self._journal.note(self.record, polls=polls)
        self._job = job
        reason = job.error
        self.record = self._journal.advance(
            self.record,
            State.SUCCEEDED if job.succeeded else State.FAILED,
            final_credits=job.final_credits,
            urls=job.urls,
            duration=None if job.duration is None else job.duration.total_seconds(),
            ended_at=run.wall(),
            error_code=None if job.succeeded else reason.code if reason is not None else "unknown",
            error=None if job.succeeded else reason.message if reason is not None else "no reason given",
        )

    async def _save(self, folder: Path) -> None:
        run, row = self._run, self.record.row
        async with run.stop.scope():
            job = self._job or await run.session.generations.retrieve(self.record.task_id or "")
            if not job.urls:
                raise GivenUp("it has succeeded, but the service names no file of it: ask the support", "no_files")
            name = f"{row.identity}{{ext}}" if len(job.urls) == 1 else f"{row.identity}.{{index}}{{ext}}"
            save = run.save or self._saved_here
            files = await save(job, folder, name)
        self.record = self._journal.advance(
            self.record, State.DOWNLOADED, files=tuple(files), downloaded_at=run.wall(), error=None, error_code=None
        )

    async def _saved_here(self, job: Generation, folder: Path, name: str) -> list[SavedFile]:
        run = self._run
        room = staging_dir(folder, self.record.batch_id)
        paths = await run.session.download(job, room, name=name, overwrite=True)
        return [await _placed(path, folder, run.journal.path.parent) for path in paths]

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    def _took_amiss(self, error: Exception) -> None:
        """Write down what an error means for the row, and for all that are not bought yet."""
        found = verdict(self.record.state, error, in_doubt=self._is_in_doubt, just_bought=self._is_just_bought)
        if found in {Verdict.BACK, Verdict.HALT} and not is_transient(error, may_have_acted=self._is_in_doubt):
            self._run.halted = self._run.halted or error
        if self.record.state is State.FAILED:
            return  # why it failed is of more interest
        told = _told(error)
        if found is Verdict.BACK:
            self.record = self._journal.advance(self.record, State.PLANNED, **NOTHING_BOUGHT, **told)
        elif found is Verdict.DEAD:
            is_untouched = self.record.state is State.INTENT and not isinstance(error, GivenUp)
            self.record = self._journal.advance(
                self.record, State.DEAD, **(NOTHING_BOUGHT if is_untouched else {}), **told
            )
        else:
            self._note(error)

    def _note(self, error: Exception) -> None:
        if self.record.state is not State.FAILED:
            self.record = self._journal.note(self.record, **_told(error))

    @property
    def _is_just_bought(self) -> bool:
        return self._run.wall() - (self.record.submitted_at or 0.0) < assumptions.NOT_FOUND_GRACE


def _told(error: Exception) -> dict[str, Any]:
    code = getattr(error, "code", None) or type(error).__name__
    return {"error_code": str(code), "error": str(error) or type(error).__name__}


async def _placed(path: Path, folder: Path, beside: Path) -> SavedFile:
    if path.stat().st_size <= SMALL:
        return move_into_place(path, folder, beside)
    return await run_in_thread_uncancellable(move_into_place, path, folder, beside)
