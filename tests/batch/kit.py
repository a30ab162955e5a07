"""Helpers of the batch tests: rows, manifests, and batches that run against a sandbox."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from rivya_async import Model, PollPolicy, RetryPolicy, RivyaSession
from rivya_async._core.catalogue.model import ModelList
from rivya_async._core.http.serialization import parse_json, structure
from rivya_async.batch import Batch, InvalidRow, Manifest, Row, RowRecord
from rivya_async.sandbox import Sandbox
from rivya_async.sandbox import catalogue as sandbox_catalogue

MODELS = "GET /api/v1/models"
SUBMIT = "POST /api/v1/generations"
POLL = "GET /api/v1/generations/{task_id}"
RESULT = "GET /results/{task_id}/{name}"

FAST_POLL = PollPolicy(first=0.01, base=0.02, floor=0.01, cap=0.05, adaptive=False)
FAST_RETRY = RetryPolicy(max_attempts=3, base=0.01, cap=0.02)


def make_rows(count: int, **changes: Any) -> list[Row]:
    return [
        Row(**{"number": number, "line": number + 1, "model": "z-image", "prompt": f"Kite {number}", **changes})
        for number in range(1, count + 1)
    ]


async def wait_until(condition: Callable[[], bool]) -> None:
    """Waits for other tasks, at most ten seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.005)


class Clock:
    """The clock of the sandbox, with an offset in seconds."""

    offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset  # noqa: TID251 - the clock of the service


@attrs.define
class BatchEnvironment:
    """A sandbox and a folder, with sessions and runs on them."""

    sandbox: Sandbox
    folder: Path
    clock: Clock

    @property
    def journal(self) -> Path:
        return self.folder / "kites.journal"

    def session(self, **settings: Any) -> RivyaSession:
        defaults: dict[str, Any] = {"poll": FAST_POLL, "retry": FAST_RETRY, "base_url": self.sandbox.base_url}
        return RivyaSession(self.sandbox.api_key, **{**defaults, **settings})

    async def run(
        self,
        planned: Iterable[Row | InvalidRow] = (),
        *,
        batch_id: str | None = None,
        **options: Any,
    ) -> list[RowRecord]:
        """Opens the journal, adds rows and runs the batch once."""
        async with Batch.open(self.journal, id=batch_id) as batch, self.session(hooks=batch.hooks) as opened:
            await batch.add(planned)
            return [record async for record in batch.run(opened, **{"retry_timeout": 0.0, **options})]

    async def records(self) -> Sequence[RowRecord]:
        """Returns the records of the journal."""
        async with Batch.open(self.journal) as batch:
            return [record async for record in batch.records()]

    @property
    def purchases(self) -> int:
        return self.sandbox.request_log.purchases


@asynccontextmanager
async def batch_environment(folder: Path, **settings: Any) -> AsyncIterator[BatchEnvironment]:
    clock = Clock()
    async with Sandbox(**{"speed": 5000, "credits": 100_000, "clock": clock, **settings}) as sandbox:
        yield BatchEnvironment(sandbox, folder, clock)


@cache
def load_catalogue() -> Mapping[str, Model]:
    """Returns the catalogue as a client parses it."""
    listing = structure(parse_json(sandbox_catalogue.load_catalogue().listing), ModelList)
    return {model.id: model for model in listing.data}


def write_manifest(folder: Path, text: str | bytes, name: str = "kites.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read_rows(path: Path, **options: Any) -> list[Row | InvalidRow]:
    return list(Manifest(path, **options))


def read_one_row(path: Path, **options: Any) -> Row:
    (row,) = read_rows(path, **options)
    assert isinstance(row, Row), row
    return row


def read_problem(path: Path, **options: Any) -> str:
    (invalid,) = [row for row in read_rows(path, **options) if isinstance(row, InvalidRow)]
    return "; ".join(invalid.problems)
