"""Runs of clients in new processes against one server, with a time limit and the counts of the server."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from ..processes import resident_kib
from .client_process import Workload
from .clients import Client
from .environment import ROOT, Environment
from .purchase_log import Counts

SAMPLE_INTERVAL: Final = 0.1
EXIT_TIMEOUT: Final = 15.0
"""Seconds after the time limit in which a client can still report."""


@attrs.frozen
class ClientReport:
    """The figures that a client reports."""

    cpu: float
    wall: float
    succeeded: int
    raised: Mapping[str, int]
    before_kib: int | None
    peak_kib: int | None


@attrs.frozen
class Conditions:
    """Conditions of all clients of a table: polls per job, TLS and faults."""

    polls: int
    tls: bool = False
    faults: bool = False


@attrs.frozen
class Run:
    """A run of one client. `report` is None if the process was killed."""

    client: Client
    workload: Workload
    conditions: Conditions
    counts: Counts
    report: ClientReport | None
    open_kib: int | None

    @property
    def succeeded(self) -> int:
        """Succeeded jobs by the client's report, or else ended jobs by the server's count."""
        return self.report.succeeded if self.report is not None else self.counts.ended

    @property
    def raised(self) -> int:
        """Jobs that raised an error."""
        return sum(self.report.raised.values()) if self.report is not None else 0

    @property
    def never_ended(self) -> int:
        """Jobs that had not ended at the time limit."""
        return self.workload.jobs - self.succeeded - self.raised

    @property
    def cpu(self) -> float:
        """Client CPU seconds, infinite without a report."""
        return self.report.cpu if self.report is not None else float("inf")

    @property
    def us_per_request(self) -> float | None:
        """Client CPU per received HTTP request in microseconds."""
        return None if self.report is None or not self.counts.requests else self.report.cpu / self.counts.requests * 1e6

    @property
    def us_per_job(self) -> float | None:
        """Client CPU per succeeded job in microseconds."""
        return None if self.report is None or not self.succeeded else self.report.cpu / self.succeeded * 1e6


class Server:
    """A client of the server process, which has a plain and a TLS port."""

    def __init__(self, host: str, tls_host: str) -> None:
        self.host = host
        self.tls_host = tls_host

    async def reset(self, client: Client, conditions: Conditions) -> None:
        """Resets the server."""
        query = f"api={client.api}&polls={conditions.polls}&faults={conditions.faults:d}"
        await self._get(f"/reset?{query}")

    async def all_open(self, jobs: int) -> bool:
        """Returns True if all jobs are purchased and none has ended."""
        show_progress = await self._get("/progress")
        return bool(show_progress["purchases"] >= jobs and not show_progress["ended"])

    async def counts(self) -> Counts:
        """Returns the counts of the server."""
        return Counts(**await self._get("/tally"))

    async def _get(self, target: str) -> dict[str, int]:
        reader, writer = await asyncio.open_connection(*self.host.split(":"))
        writer.write(f"GET {target} HTTP/1.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        report: dict[str, int] = json.loads(await reader.readexactly(length))
        writer.close()
        return report


@attrs.frozen
class Runner:
    """Runs clients against one server, each in a new process."""

    environment: Environment
    server: Server

    async def run(self, client: Client, workload: Workload, conditions: Conditions) -> Run:
        """Runs a client after a warm-up with one poll per job and without faults."""
        await self.server.reset(client, Conditions(polls=1))
        process = await _start_module(
            self.environment.start_module,
            *("benchmarks.peers.client_process", client.name, json.dumps(attrs.asdict(workload))),
            variables=self.environment.variables(
                client.environment_for(self.server.tls_host, certificate=str(self.environment.certificate))
                if conditions.tls
                else client.environment_for(self.server.host, certificate=None)
            ),
        )
        try:
            await _read_line(process)
            await self.server.reset(client, conditions)
            if process.stdin is not None:
                process.stdin.write(b"go\n")
            report, open_kib = await _watch_client(process, self.server, workload)
            counts = await self.server.counts()
        finally:
            await _stop_process(process)
        if report is None or report.before_kib is None or open_kib is None:
            return Run(client, workload, conditions, counts, report, None)
        return Run(client, workload, conditions, counts, report, open_kib - report.before_kib)


@asynccontextmanager
async def open_runner(environment: Environment) -> AsyncIterator[Runner]:
    """Opens a runner with its server in another process."""
    process = await _start_module(
        Path(sys.executable),
        *("benchmarks.peers.server", str(environment.certificate), str(environment.key)),
        variables=environment.variables({}),
    )
    try:
        yield Runner(environment, Server(*(await _read_line(process)).split()))
    finally:
        await _stop_process(process)


async def _watch_client(
    process: asyncio.subprocess.Process, server: Server, workload: Workload
) -> tuple[ClientReport | None, int | None]:
    """Returns the report of a client, and its last memory with all jobs open."""
    open_kib = None
    line = asyncio.ensure_future(_read_line(process))
    deadline = asyncio.get_running_loop().time() + workload.limit + EXIT_TIMEOUT
    while not line.done() and asyncio.get_running_loop().time() < deadline:
        await asyncio.wait([line], timeout=SAMPLE_INTERVAL)
        kib = resident_kib(process.pid)
        if kib is not None and await server.all_open(workload.jobs):
            open_kib = kib
    if not line.done():
        line.cancel()
        return None, open_kib
    report: dict[str, Any] = json.loads(line.result())
    return ClientReport(**report), open_kib


async def _start_module(
    start_module: Path, module: str, *arguments: str, variables: dict[str, str]
) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        start_module, "-m", module, *arguments, stdin=pipe, stdout=pipe, env=variables, cwd=ROOT
    )


async def _read_line(process: asyncio.subprocess.Process) -> str:
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise RuntimeError("a child process of the benchmark exited early. See its output above.")
    return line.decode().strip()


async def _stop_process(process: asyncio.subprocess.Process) -> None:
    """Closes the input of a process and kills it after the timeout."""
    if process.returncode is None and process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(EXIT_TIMEOUT):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
