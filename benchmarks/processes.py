"""Child processes of the benchmarks: start, output, memory and event loop."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


async def start_module(module: str, *arguments: str) -> asyncio.subprocess.Process:
    """Starts a module in a child process with pipes to its standard input and output."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments, stdin=pipe, stdout=pipe)


async def read_line(process: asyncio.subprocess.Process) -> str:
    """Reads the next line of a child's standard output."""
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise RuntimeError("a child process of the benchmark exited early. See its output above.")
    return line.decode().strip()


def loop_factory(name: str) -> LoopFactory:
    """Returns the factory of the loop "asyncio" or "uvloop"."""
    if name != "uvloop":
        return asyncio.new_event_loop
    from uvloop import new_event_loop

    return new_event_loop


def fastest_loop_factory() -> LoopFactory:
    """Returns the factory of uvloop if it is installed, else of asyncio."""
    return loop_factory("uvloop" if find_spec("uvloop") else "asyncio")


def loop_name(options: argparse.Namespace) -> str:
    """Returns the name of the loop that the options select."""
    return "uvloop" if options.uvloop else "asyncio"


def resident_kib(pid: int | str = "self") -> int | None:
    """Returns the resident memory of a process in KiB, or None without `/proc`."""
    return _read_status(pid, "VmRSS:")


def peak_kib(pid: int | str = "self") -> int | None:
    """Returns the peak resident memory of a process in KiB, or None without `/proc`."""
    return _read_status(pid, "VmHWM:")


def _read_status(pid: int | str, name: str) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), None)
