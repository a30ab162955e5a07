"""Kit for tests of the command line: the real entry point in a process of its own, with warnings as errors."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import attrs

from rivya_async.cli.main import main
from rivya_async.sandbox import Sandbox

SUBMIT = "POST /api/v1/generations"
COMMAND = [sys.executable, "-W", "error", "-m", "rivya_async"]


@attrs.frozen
class CommandResult:
    code: int
    out: str
    err: str

    @property
    def results(self) -> list[dict[str, Any]]:
        """Every line of stdout as JSON: fails if anything else is there."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Every line of stderr as the JSON of an error."""
        return [json.loads(line)["error"] for line in self.err.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        (error,) = self.errors
        return error


def environment(sandbox: Sandbox | None = None, **more: str) -> dict[str, str]:
    """This machine's environment, but for the service: a sandbox of the test, or nothing that answers."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("RIVYA_")}
    found["RIVYA_BASE_URL"] = "http://127.0.0.1:9" if sandbox is None else sandbox.base_url
    if sandbox is not None:
        found["RIVYA_API_KEY"] = sandbox.api_key
    return {**found, "PYTHONUTF8": "1", **more}


def rivya(*arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> CommandResult:
    """Run the command to its end."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=dict(env or environment()),
        capture_output=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )
    return checked(CommandResult(done.returncode, done.stdout, done.stderr))


def checked(ended: CommandResult) -> CommandResult:
    """No command ever shows a traceback or leaves something unclosed."""
    assert "Traceback" not in ended.err, ended.err
    assert "Exception ignored" not in ended.err, ended.err
    return ended


class RunningCommand:
    """A command that runs beside the test."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> RunningCommand:
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(
                *COMMAND, *arguments, stdout=pipe, stderr=pipe, env=dict(env or environment()), cwd=cwd
            )
        )

    async def line(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().rstrip("\n")

    async def read_error_line(self, words: str) -> str:
        """The first line of stderr that has these words."""
        assert self._process.stderr is not None
        async with asyncio.timeout(30):
            while words not in (line := (await self._process.stderr.readline()).decode()):
                assert line, f"it ended without saying {words!r}"
        return line

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def end(self) -> CommandResult:
        async with asyncio.timeout(30):
            out, err = await self._process.communicate()
        return checked(CommandResult(self._process.returncode or 0, out.decode(), err.decode()))


async def run_against(*arguments: str, sandbox: Sandbox, cwd: Path | None = None, **env: str) -> CommandResult:
    """Run a command against a sandbox of the test."""
    return await (await RunningCommand.start(*arguments, env=environment(sandbox, **env), cwd=cwd)).end()


async def wait_until(claim: Callable[[], bool]) -> None:
    """Wait for something that happens in another process."""
    async with asyncio.timeout(20):
        while not claim():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def ids(lines: Sequence[Mapping[str, Any]]) -> set[str]:
    return {line["id"] for line in lines}


def parse(*arguments: str) -> dict[str, Any]:
    """Returns the options that a command would run with, without running it."""
    parsed: dict[str, Any] = {}

    def record_options(_: object, options: Mapping[str, Any]) -> int:
        parsed.update(options)
        return 0

    worker = "rivya_async.cli.commands.worker"
    with (
        mock.patch("rivya_async.cli.run.run", record_options),
        mock.patch(f"{worker}.run", record_options),
        mock.patch(f"{worker}._make_workers", lambda *_, **options: mock.Mock(run=lambda: parsed.update(options))),
    ):
        assert main(arguments) == 0
    return parsed
