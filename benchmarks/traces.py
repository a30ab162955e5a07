"""Number of package files that one call executes: a measure of how many files a reader has to open.

    python -m benchmarks traces [--files]

Counts the distinct files of `rivya_async` in which a function runs during a call, recorded by `sys.setprofile`. The
sandbox runs in another process. Opening the session and imports do not count: each call runs once before the count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import attrs
from aiohttp import web

import rivya_async
from rivya_async import BadRequestError, PollPolicy, RivyaSession, SpendLimitError
from rivya_async.batch import Batch, Row
from rivya_async.receiver import WebhookReceiver
from rivya_async.sandbox import Sandbox

from .processes import read_line, start_module
from .report import format_table, target

PACKAGE: Final = Path(rivya_async.__file__).parent
EXCLUDED: Final = ("sandbox/", "testing/")
"""Directories of the package that do not belong to the client."""

MODEL: Final = "z-image"
FAST_POLLS: Final = PollPolicy(first=0.05, base=0.05, cap=0.2, floor=0.02)
NO_POLLS: Final = PollPolicy(first=600.0, base=600.0, cap=600.0, floor=300.0)
"""A wait with these intervals ends only by its webhook."""

TOO_LONG_PROMPT: Final = "A red kite. " * 10_000
"""The sandbox rejects this prompt with 400 validation_failed."""


class FileRecorder:
    """Records the package files in which functions run, in one thread or in all."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self._thread: int | None = None
        self._is_recording = False

    def install(self) -> None:
        """Installs the profile function in this thread and in the threads that start later."""
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def uninstall(self) -> None:
        """Removes the profile function."""
        sys.setprofile(None)
        threading.setprofile(None)

    @contextmanager
    def record(self, *, all_threads: bool = False) -> Iterator[None]:
        """Records until the block exits."""
        self.files.clear()
        self._thread = None if all_threads else threading.get_ident()
        self._is_recording = True
        try:
            yield
        finally:
            self._is_recording = False

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        if not self._is_recording or event != "call" or frame.f_code.co_name == "<module>":
            return
        if self._thread is not None and threading.get_ident() != self._thread:
            return
        path = frame.f_code.co_filename
        if path.startswith(f"{PACKAGE}/"):
            name = path[len(str(PACKAGE)) + 1 :]
            if not name.startswith(EXCLUDED):
                self.files.add(name)


Trace = Callable[["FileRecorder", str, str], Coroutine[Any, Any, None]]
"""Performs a call once, then again while the recorder records. Arguments: recorder, base URL, API key."""


async def trace_submit_over_cap(recorder: FileRecorder, url: str, key: str) -> None:
    """A `submit` that the session's spend cap rejects."""
    async with RivyaSession(key, base_url=url, max_spend=0.5) as session:
        await _expect(SpendLimitError, session.submit(MODEL, "A red kite"))
        with recorder.record():
            await _expect(SpendLimitError, session.submit(MODEL, "A red kite"))


async def trace_submit_rejected_by_service(recorder: FileRecorder, url: str, key: str) -> None:
    """A `submit` under a spend cap that the service rejects."""
    async with RivyaSession(key, base_url=url, max_spend=1000) as session:
        await _expect(BadRequestError, session.submit(MODEL, TOO_LONG_PROMPT))
        with recorder.record():
            await _expect(BadRequestError, session.submit(MODEL, TOO_LONG_PROMPT))


async def _expect(error_class: type[Exception], call: Coroutine[Any, Any, object]) -> None:
    try:
        await call
    except error_class:
        return
    raise AssertionError(f"the call raised no {error_class.__name__}")


async def trace_wait_for(recorder: FileRecorder, url: str, key: str) -> None:
    """A `wait_for` over all of its polls."""
    async with RivyaSession(key, base_url=url, poll=FAST_POLLS) as session:
        await session.wait_for(await session.submit(MODEL, "A red kite"))
        job = await session.submit(MODEL, "A blue kite")
        with recorder.record():
            await session.wait_for(job)


async def trace_webhook(recorder: FileRecorder, url: str, key: str) -> None:
    """A webhook event, from its arrival at the receiver until `wait_for` returns."""
    async with RivyaSession(key, base_url=url, poll=NO_POLLS) as session:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            hook_url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            endpoint = await session.webhooks.create("Traces", hook_url, ["generation.succeeded"])
            receiver = WebhookReceiver(endpoint.signing_secret or "", session=session)
            runner = web.AppRunner(receiver.aiohttp_app())
            await runner.setup()
            await web.SockSite(runner, listener).start()
            await session.generate(MODEL, "A red kite")
            waiting = asyncio.create_task(session.wait_for(await session.submit(MODEL, "A blue kite")))
            await asyncio.sleep(0)  # the wait registers before the recording
            await asyncio.sleep(0.01)
            with recorder.record():
                await waiting
            await session.webhooks.delete(endpoint.id)
            await runner.cleanup()


async def trace_batch_row(recorder: FileRecorder, url: str, key: str) -> None:
    """A row of a batch, until its file is saved. Includes the threads of the client."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Batch.open(Path(folder) / "traces.journal") as batch,
            RivyaSession(key, base_url=url, poll=FAST_POLLS) as session,
        ):
            await batch.add(Row(number=n, line=n, model=MODEL, prompt=f"Kite number {n}") for n in (1, 2, 3))
            rows = batch.run(session, max_in_flight=1, download_to=Path(folder) / "out")
            await anext(rows)
            with recorder.record(all_threads=True):  # two rows: the second may have started before the recording
                for _ in range(2):
                    row = await anext(rows)
                    if not row.files:
                        raise AssertionError("a row has no file")
            await rows.aclose()


@attrs.frozen
class TracedCall:
    """A call to count, and the maximum number of files."""

    name: str
    trace: Trace
    max_files: int


CALLS: Final = (
    TracedCall("submit rejected by the spend cap", trace_submit_over_cap, 14),
    TracedCall("submit under a spend cap, rejected by the service", trace_submit_rejected_by_service, 14),
    TracedCall("wait_for over all its polls", trace_wait_for, 20),
    TracedCall("webhook event until the waiter returns", trace_webhook, 16),
    TracedCall("batch row until its file is saved", trace_batch_row, 40),
)


async def measure() -> dict[str, list[str]]:
    """Returns the executed files of every call."""
    files: dict[str, list[str]] = {}
    async with _sandbox_process() as (url, key):
        for call in CALLS:
            recorder = FileRecorder()
            recorder.install()
            try:
                await call.trace(recorder, url, key)
            finally:
                recorder.uninstall()
            files[call.name] = sorted(recorder.files)
    return files


@asynccontextmanager
async def _sandbox_process() -> AsyncIterator[tuple[str, str]]:
    process = await start_module(__name__)
    try:
        sandbox = json.loads(await read_line(process))
        yield sandbox["url"], sandbox["key"]
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


def report(files: dict[str, list[str]], *, with_files: bool = False) -> str:
    """Formats the table, the marks and optionally the files."""
    rows = [[call.name, f"{len(files[call.name])}", f"{call.max_files}"] for call in CALLS]
    parts = [
        "Traces: number of package files that a call executes",
        format_table(["call", "files", "at most"], rows),
        "Marks",
        *(
            target(f"{call.name}: at most {call.max_files} files", f"{len(files[call.name])}", met=is_met)
            for call in CALLS
            for is_met in [len(files[call.name]) <= call.max_files]
        ),
    ]
    if with_files:
        for call in CALLS:
            parts += ["", call.name, *(f"  {file}" for file in files[call.name])]
    return "\n".join(parts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--files", action="store_true", help="traces: also print the executed files of each call")


def run_benchmark(options: argparse.Namespace) -> str:
    """Measures and formats."""
    return report(asyncio.run(measure()), with_files=options.files)


async def serve() -> None:
    """Serves a sandbox until standard input ends."""
    async with Sandbox(speed=20.0, allow_local_webhooks=True) as sandbox:
        print(json.dumps({"url": sandbox.base_url, "key": sandbox.api_key}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(serve())
