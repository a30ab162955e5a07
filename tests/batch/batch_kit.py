"""What the tests of batches share: rows, and a batch that is carried against a sandbox."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from rivya_async import PollPolicy, RetryPolicy, RivyaSession
from rivya_async.batch import Batch, InvalidRow, Row, RowRecord
from rivya_async.sandbox import Sandbox

MODELS = "GET /api/v1/models"
SUBMIT = "POST /api/v1/generations"
POLL = "GET /api/v1/generations/{task_id}"
RESULT = "GET /results/{task_id}/{name}"

QUICK = PollPolicy(first=0.01, base=0.02, floor=0.01, cap=0.05, adaptive=False)
HASTY = RetryPolicy(max_attempts=3, base=0.01, cap=0.02)


def rows(count: int, **changes: Any) -> list[Row]:
    return [
        Row(**{"number": number, "line": number + 1, "model": "z-image", "prompt": f"Kite {number}", **changes})
        for number in range(1, count + 1)
    ]


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what other tasks do; some seconds at most."""
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.005)


class Clock:
    """The sandbox's time of day, or later."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead  # noqa: TID251 - the other side's clock


@attrs.define
class Bench:
    """A sandbox, a folder, and as many sessions and batches as a test has use for."""

    sandbox: Sandbox
    folder: Path
    clock: Clock

    @property
    def journal(self) -> Path:
        return self.folder / "kites.journal"

    def session(self, **settings: Any) -> RivyaSession:
        quick: dict[str, Any] = {"poll": QUICK, "retry": HASTY, "base_url": self.sandbox.base_url}
        return RivyaSession(self.sandbox.api_key, **{**quick, **settings})

    async def carry(
        self,
        planned: Iterable[Row | InvalidRow] = (),
        *,
        session: RivyaSession | None = None,
        batch_id: str | None = None,
        **options: Any,
    ) -> list[RowRecord]:
        """One whole run, as a process of its own would make it."""
        async with Batch.open(self.journal, id=batch_id) as batch, self.session(hooks=batch.hooks) as opened:
            await batch.add(planned)
            return [record async for record in batch.run(opened, **{"patience": 0.0, **options})]

    async def records(self) -> Sequence[RowRecord]:
        """What the journal holds, by place."""
        async with Batch.open(self.journal) as batch:
            return [record async for record in batch.records()]

    @property
    def purchases(self) -> int:
        return self.sandbox.received.purchases


@asynccontextmanager
async def bench(folder: Path, **settings: Any) -> AsyncIterator[Bench]:
    clock = Clock()
    async with Sandbox(**{"speed": 5000, "credits": 100_000, "clock": clock, **settings}) as sandbox:
        yield Bench(sandbox, folder, clock)
