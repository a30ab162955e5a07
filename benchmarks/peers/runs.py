"""Runs: one server for all, a fresh process for each contender, a time limit, and the server's word for what came."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from ..memory import resident_kib
from .books import Tally
from .contender import Contender
from .environment import ROOT, Environment
from .one_run import Work

SAMPLE_INTERVAL: Final = 0.1
GRACE: Final = 15.0
"""Seconds beyond the limit in which a client that is itself stuck may still report."""


@attrs.frozen
class Told:
    """What a client said of its own run."""

    cpu: float
    wall: float
    succeeded: int
    raised: Mapping[str, int]
    before_kib: int | None
    peak_kib: int | None


@attrs.frozen
class Conditions:
    """What all contenders of a table meet: so many polls until a job ends, by TLS or not, with faults or not."""

    polls: int
    tls: bool = False
    faults: bool = False


@attrs.frozen
class Run:
    """One contender's run. `told` is None where the process had to be ended without a word."""

    contender: Contender
    work: Work
    conditions: Conditions
    tally: Tally
    told: Told | None
    open_kib: int | None

    @property
    def succeeded(self) -> int:
        """Jobs whose awaiter got its success; the server's count of ended jobs where the client cannot say."""
        return self.told.succeeded if self.told is not None else self.tally.ended

    @property
    def raised(self) -> int:
        """Jobs whose awaiter got an exception."""
        return sum(self.told.raised.values()) if self.told is not None else 0

    @property
    def never_ended(self) -> int:
        """Jobs whose awaiter still waited when the time was up."""
        return self.work.jobs - self.succeeded - self.raised

    @property
    def cpu(self) -> float:
        """Client CPU seconds; a client that had to be ended counts as the dearest."""
        return self.told.cpu if self.told is not None else float("inf")

    @property
    def us_per_request(self) -> float | None:
        """Client CPU per HTTP request that arrived."""
        return None if self.told is None or not self.tally.requests else self.told.cpu / self.tally.requests * 1e6

    @property
    def us_per_job(self) -> float | None:
        """Client CPU per job that succeeded."""
        return None if self.told is None or not self.succeeded else self.told.cpu / self.succeeded * 1e6


class Server:
    """The server process, seen from here: a plain port and one that speaks TLS."""

    def __init__(self, host: str, tls_host: str) -> None:
        self.host = host
        self.tls_host = tls_host

    async def begin(self, contender: Contender, conditions: Conditions) -> None:
        """Forget all counts."""
        asked = f"dialect={contender.dialect}&polls={conditions.polls}&faults={conditions.faults:d}"
        await self._get(f"/begin?{asked}")

    async def all_open(self, jobs: int) -> bool:
        """Whether all jobs are bought and none has ended."""
        progress = await self._get("/progress")
        return bool(progress["purchases"] >= jobs and not progress["ended"])

    async def tally(self) -> Tally:
        """What has arrived."""
        return Tally(**await self._get("/tally"))

    async def _get(self, target: str) -> dict[str, int]:
        reader, writer = await asyncio.open_connection(*self.host.split(":"))
        writer.write(f"GET {target} HTTP/1.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        told: dict[str, int] = json.loads(await reader.readexactly(length))
        writer.close()
        return told


@attrs.frozen
class Runner:
    """Runs contenders against one server, each in a fresh process."""

    environment: Environment
    server: Server

    async def run(self, contender: Contender, work: Work, conditions: Conditions) -> Run:
        """One run, after a warm-up with one poll per job and no faults."""
        await self.server.begin(contender, Conditions(polls=1))
        process = await _python(
            self.environment.python,
            *("benchmarks.peers.one_run", contender.name, json.dumps(attrs.asdict(work))),
            variables=self.environment.variables(
                contender.told_where(self.server.tls_host, certificate=str(self.environment.certificate))
                if conditions.tls
                else contender.told_where(self.server.host, certificate=None)
            ),
        )
        try:
            await _line(process)
            await self.server.begin(contender, conditions)
            if process.stdin is not None:
                process.stdin.write(b"go\n")
            told, open_kib = await _watched(process, self.server, work)
            tally = await self.server.tally()
        finally:
            await _farewell(process)
        if told is None or told.before_kib is None or open_kib is None:
            return Run(contender, work, conditions, tally, told, None)
        return Run(contender, work, conditions, tally, told, open_kib - told.before_kib)


@asynccontextmanager
async def running(environment: Environment) -> AsyncIterator[Runner]:
    """A runner, with its server in a process of its own on this interpreter."""
    process = await _python(
        Path(sys.executable),
        *("benchmarks.peers.server", str(environment.certificate), str(environment.key)),
        variables=environment.variables({}),
    )
    try:
        yield Runner(environment, Server(*(await _line(process)).split()))
    finally:
        await _farewell(process)


async def _watched(process: asyncio.subprocess.Process, server: Server, work: Work) -> tuple[Told | None, int | None]:
    """What a client told in time, and its memory when last seen with all jobs open and none ended."""
    open_kib = None
    line = asyncio.ensure_future(_line(process))
    until = asyncio.get_running_loop().time() + work.limit + GRACE
    while not line.done() and asyncio.get_running_loop().time() < until:
        await asyncio.wait([line], timeout=SAMPLE_INTERVAL)
        kib = resident_kib(process.pid)
        if kib is not None and await server.all_open(work.jobs):
            open_kib = kib
    if not line.done():
        line.cancel()
        return None, open_kib
    told: dict[str, Any] = json.loads(line.result())
    return Told(**told), open_kib


async def _python(python: Path, module: str, *arguments: str, variables: dict[str, str]) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        python, "-m", module, *arguments, stdin=pipe, stdout=pipe, env=variables, cwd=ROOT
    )


async def _line(process: asyncio.subprocess.Process) -> str:
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise RuntimeError("a process of the benchmark has ended early; what it said stands above")
    return line.decode().strip()


async def _farewell(process: asyncio.subprocess.Process) -> None:
    """Let a process end, and end it if it does not."""
    if process.returncode is None and process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(GRACE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
