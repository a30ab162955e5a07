"""A batch over its SQLite journal, which is run until all rows have ended."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from rivya_async._jobs.transitions import ENDED, JobState
from rivya_async.batch import Batch, Row, RowRecord

from .faults import Fault, FaultPlan
from .scenario import Scenario
from .service import MODELS
from .simulator import Process, SimulationFailure, Simulator, location


class BatchScenario(Scenario):
    """A batch over its SQLite journal, run again until all rows have ended."""

    name = "batch"

    def __init__(self, simulator: Simulator, plan: FaultPlan) -> None:
        super().__init__(simulator, plan)
        rng = self.rng
        folder = self.create_folder()
        self.journal = folder / "kites.journal"
        self.rows = [
            Row(number=n, line=n, model=rng.choice(list(MODELS)), prompt=f"row {n}{' [fail]' * (rng.random() < 0.1)}")
            for n in range(1, rng.choice([2, 4, 8, 14]))
        ]
        self.download_to = folder / "out" if rng.random() < 0.5 else None
        self.max_in_flight = rng.choice([1, 3, 100])
        self.retry_failed = rng.choice([0, 0, 1])
        self.may_be_away_long = rng.random() < 0.4
        self.batch: Batch | None = None
        self.is_finished = False
        self.records: list[Any] = []
        self.monitor.max_purchases = lambda _: 1 + self.retry_failed

    def start(self) -> None:
        self.spawn(0)

    def spawn(self, number: int) -> None:
        process = self.create_process(number)
        process.start(self._run(process))

    def draw_downtime(self, value: float) -> float:
        return 30 * 3600.0 if self.may_be_away_long and value < 0.5 else super().draw_downtime(value)

    def is_done(self) -> bool:
        return self.is_finished and not self.simulator.processes

    async def _run(self, process: Process) -> None:
        while not self.is_finished:
            work = asyncio.create_task(self._run_batch(process))
            self.cancellable[process][work] = None
            await asyncio.wait([work])
            if not work.cancelled():
                work.result()
            await asyncio.sleep(self.rng.choice([1.0, 30.0]))
        self.simulator.schedule(
            self.simulator.now, lambda: self.simulator.end_process(process) if process.is_alive else None
        )

    async def _run_batch(self, process: Process) -> None:
        batch = self.batch = Batch.open(self.journal, id="kites")
        process.on_death.append(lambda: _close_files(batch))
        session, transport, _ = self.open_session(process, hooks=batch.hooks)
        try:
            async with batch, session:
                await batch.add(self.rows)
                run = batch.run(
                    session,
                    download_to=self.download_to,
                    max_in_flight=self.max_in_flight,
                    retry_failed=self.retry_failed,
                )
                async for record in run:
                    self.cover(f"row {record.state}")
                    self._move_other_version(record)
                self.records = [record async for record in batch.records()]
                self._check_journal(batch)
        finally:
            self.batch = None
            if process.is_alive:
                for _ in range(5):  # the event loop closes the generators of a cancelled run
                    await asyncio.sleep(0)
                self.close_session(process, transport)
                self._check_tasks(process)

    def _move_other_version(self, record: RowRecord) -> None:
        """Follows the advice of an error: a killed process saved a version of the file that the service changed."""
        found = re.match(r"(.+) is there already and is another file: move it away", record.error or "")
        if found is not None:
            Path(found[1]).unlink()
            self.cover("file moved away")

    def _check_tasks(self, process: Process) -> None:
        current = asyncio.current_task()
        found = [task for task in process.loop.open_tasks() if task not in {process.main, current}]
        if found:
            self.simulator.fail("a closed batch leaves nothing", f"tasks: {[location(task) for task in found]}")

    def _check_journal(self, batch: Batch) -> None:
        total = sum(record.credits for record in self.records)
        if batch.credits != total:
            self.simulator.fail(
                "credits held equal credits open", f"{batch.credits} in the journal, {total} in its rows"
            )
        ended = ENDED - ({JobState.SUCCEEDED} if self.download_to is not None else set())
        self.is_finished = all(record.state in ended for record in self.records)

    def apply(self, fault: Fault, process: Process, value: float) -> bool:
        if fault.kind == "close":
            if self.batch is None or self.batch._run is None:
                return False
            with process.running():
                self.batch.stop()
            return True
        return super().apply(fault, process, value)

    def check_end(self) -> None:
        by_prompt = {record.row.prompt: record for record in self.records}
        for task_id, purchase in self.service.purchases.items():
            record = by_prompt[purchase.task.prompt]
            is_earlier = record.purchase > 1 and purchase.task.failure is not None
            is_in_doubt = record.state is JobState.DEAD and record.error_type == "JobInDoubtError"
            if record.task_id != task_id and not is_earlier and not is_in_doubt:
                raise SimulationFailure(
                    "the caller knows every purchase", f"{task_id} of {purchase.task.prompt}: {record}"
                )
            if record.state is JobState.DEAD:
                self.cover(f"row dead: {record.error_type}")
        if all(record.state is not JobState.DEAD for record in self.records):
            spent = sum(
                purchase.task.reserved_credits
                for purchase in self.service.purchases.values()
                if purchase.task.failure is None
            )
            if spent != sum(record.credits for record in self.records):
                raise SimulationFailure("credits held equal credits open", f"{spent} spent, not what the journal says")
        for record in self.records:
            for file in record.files:
                self.check_file(self.journal.parent / file.path, record.task_id or "")


def _close_files(batch: Batch) -> None:
    """Closes the connections of a killed process, without a commit."""
    batch._journal._lock.close()
    connection = batch._journal._writer._connection
    if connection is not None:
        connection.close()
