"""One contender in a process of its own: warms up, says so, waits for a line, runs its load, prints what it took."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from typing import Any

from .contenders import CONTENDERS
from .event_loop import factory
from .load import WARM_UP, Load
from .memory import peak_kib, resident_kib


async def measure(name: str, url: str, load: Load) -> dict[str, Any]:
    """The CPU and wall seconds from the first submit to the last end, and the memory before and at its peak."""
    async with CONTENDERS[name](url) as run:
        await run(WARM_UP)
        gc.collect()
        before_kib = resident_kib()
        print("ready", flush=True)
        sys.stdin.readline()
        cpu, wall = time.process_time(), time.perf_counter()
        succeeded = await run(load)
        return {
            "cpu": time.process_time() - cpu,
            "wall": time.perf_counter() - wall,
            "succeeded": succeeded,
            "before_kib": before_kib,
            "peak_kib": peak_kib(),
        }


def main() -> None:
    """Arguments: contender, url, load as JSON, `uvloop` or `asyncio`."""
    name, url, load, loop = sys.argv[1:]
    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        print(json.dumps(runner.run(measure(name, url, Load(**json.loads(load))))), flush=True)


if __name__ == "__main__":
    main()
