"""The longest time for which the first calls of a session block the event loop, in new processes.

python -m benchmarks first-call
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import threading
from statistics import median
from typing import Final

from aiohttp import web

from .report import format_table, show_progress, target

MARK: Final = 20.0
"""Target: maximum milliseconds of one block, as CPU time of the loop's thread, during `start` and the first calls."""

CHILD: Final = """
import asyncio, gc, json, sys, threading, time
from rivya_async import PollPolicy, RivyaSession

collections = [0.0]

def on_collection(phase, info):
    if threading.current_thread() is threading.main_thread():
        collections[0] += time.thread_time() * (1 if phase == "stop" else -1)

gc.callbacks.append(on_collection)

async def beat(blocks):
    while True:
        wall, cpu, collected = time.perf_counter(), time.thread_time(), collections[0]
        await asyncio.sleep(0)
        spent = time.thread_time() - cpu
        blocks.append((time.perf_counter() - wall, spent, spent - collections[0] + collected))

async def main(url, prepares):
    blocks = []
    heartbeat = asyncio.create_task(beat(blocks))
    await asyncio.sleep(0.05)
    blocks.clear()
    session = RivyaSession("rvya_sk_1", base_url=url, poll=PollPolicy(first=0.01, base=0.01, cap=0.01, floor=0.01))
    if prepares:
        await session.start()
    await session.generate("z-image", "A red kite")
    await session.credits.retrieve()
    heartbeat.cancel()
    await session.aclose()
    print(json.dumps([max(values) * 1000 for values in zip(*blocks)]))

asyncio.run(main(sys.argv[1], sys.argv[2] == "start"))
"""

NAMES: Final = {"start": "with start()", "direct": "without start()"}


async def _answer(request: web.Request) -> web.Response:
    if "credits" in request.path:
        return web.json_response({"current_credits": 5})
    status = "queued" if request.method == "POST" else "succeeded"
    return web.json_response({"id": "task_1", "status": status, "model": "z-image"})


class _Service:
    """A service in a thread, so that the blocks of the measured process do not stop it."""

    def __enter__(self) -> str:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()

        async def serve() -> None:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", _answer)
            self._runner = web.AppRunner(app)
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", 0).start()
            started.set()

        def run() -> None:
            self._loop.run_until_complete(serve())
            self._loop.run_forever()
            self._loop.run_until_complete(self._runner.cleanup())
            self._loop.close()

        self._thread = threading.Thread(target=run)
        self._thread.start()
        started.wait()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def measure(rounds: int) -> dict[str, list[tuple[float, float, float]]]:
    """Returns the longest block of each round in milliseconds.

    As wall time, as CPU time of the loop's thread, and as that without the garbage collector, which any allocation may
    start.
    """
    results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in NAMES}
    with _Service() as url:
        for turn in range(rounds + 1):
            show_progress(f"first call, round {turn} of {rounds}")
            for name, blocks in results.items():
                command = [sys.executable, "-c", CHILD, url, name]
                done = subprocess.run(command, capture_output=True, check=True, text=True)  # noqa: S603 - this file
                wall, cpu, own = json.loads(done.stdout)
                if turn:  # the first round writes the byte code
                    blocks.append((wall, cpu, own))
    show_progress("")
    return results


def report(results: dict[str, list[tuple[float, float, float]]]) -> str:
    """Formats the table and the target."""
    rows = []
    for name, blocks in results.items():
        rows.append([NAMES[name], *(f"{median(values):.1f}" for values in zip(*blocks, strict=True))])
    own = median(own for _, _, own in results["start"])
    mark = target(f"longest block with start(): at most {MARK:.0f} ms", f"{own:.1f} ms", met=own <= MARK)
    table = format_table(["", "wall", "CPU of the loop", "without garbage collection"], rows)
    return f"First call: the longest block of the event loop in ms, medians\n{table}\n\nMarks\n{mark}"


def run_benchmark(options: argparse.Namespace) -> str:
    """Measures, with fewer rounds if `quick`, and formats."""
    return report(measure(3 if options.quick else 15))
