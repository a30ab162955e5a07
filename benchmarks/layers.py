"""Where the time of a poll goes: the same polls through one layer more each time, side by side in one run.

    python -m benchmarks.layers [--quick] [--uvloop]

All layers run in one process against one server, in turns, 100 requests in flight; what is printed is the median of the
rounds, and the ratio to bare aiohttp of the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from functools import cache
from statistics import median
from typing import Final

from rivya_async import PollPolicy, RivyaSession, Timeouts
from rivya_async._core.config import Config
from rivya_async._core.http.messages import Request
from rivya_async._core.http.operations import retrieve_generation
from rivya_async._engine.http.aiohttp_transport import AiohttpTransport

from .contenders import API_KEY, CONCURRENCY, MODEL, PROMPT, bare_http, bare_poll
from .event_loop import factory
from .report import machine_line, progress, table
from .waiting import Server, loop_name, serving

POLLS: Final = 20
"""After so many polls each of the hundred jobs has ended."""

AT_ONCE: Final = PollPolicy(first=0.0, base=1e-4, cap=1e-4, floor=0.0, adaptive=False)
"""Every job is always due, so that all places are always taken, as in the layers that do not wait."""

Layer = Callable[[str], Awaitable[bool]]
"""Polls the job of this id once and says whether it has ended."""

Wait = Callable[[list[str]], Awaitable[None]]
"""Polls all these jobs to their ends."""


@cache
def request_of(task_id: str) -> Request:
    """What is sent, made beforehand."""
    return retrieve_generation(task_id).request


@asynccontextmanager
async def layers(url: str) -> AsyncIterator[dict[str, Wait]]:
    """Each layer with what it needs, the yardstick first."""
    settings = Config(api_key=API_KEY, base_url=url)
    async with (
        bare_http() as http,
        aclosing(AiohttpTransport(settings, Timeouts(), None)) as transport,
        RivyaSession(API_KEY, base_url=url, max_connections=CONCURRENCY) as session,
    ):

        async def bare(task_id: str) -> bool:
            return bool((await bare_poll(http, url, task_id))["status"] == "succeeded")

        async def sent(task_id: str) -> bool:
            return b'"succeeded"' in (await transport.send(request_of(task_id))).body

        async def decoded(task_id: str) -> bool:
            endpoint = retrieve_generation(task_id)
            return endpoint.decode(await transport.send(endpoint.request)).succeeded

        async def called(task_id: str) -> bool:
            return (await session.generations.retrieve(task_id)).succeeded

        async def waited(task_ids: list[str]) -> None:
            async for _ in session.as_completed(task_ids, poll=AT_ONCE):
                pass

        yield {
            "bare aiohttp and JSON": _each(bare),
            "our transport": _each(sent),
            "+ endpoint and decoding": _each(decoded),
            "+ gate and attempts": _each(called),
            "the whole wait": waited,
        }


def _each(poll: Layer) -> Wait:
    async def until_ended(task_id: str) -> None:
        while not await poll(task_id):
            pass

    async def wait(task_ids: list[str]) -> None:
        await asyncio.gather(*map(until_ended, task_ids))

    return wait


async def measure(rounds: int) -> dict[str, list[float]]:
    """The CPU seconds per request of each layer, round by round; one more opens the connections."""
    async with serving() as server, layers(server.url) as found:
        for wait in found.values():
            await _cpu(server, wait)
        measured: dict[str, list[float]] = {name: [] for name in found}
        for turn in range(rounds):
            progress(f"layers, round {turn + 1} of {rounds}")
            for name, wait in found.items():
                measured[name].append(await _cpu(server, wait))
    progress("")
    return measured


async def _cpu(server: Server, wait: Wait) -> float:
    await server.begin(POLLS)
    async with RivyaSession(API_KEY, base_url=server.url) as session:
        task_ids = [(await session.submit(MODEL, PROMPT)).id for _ in range(CONCURRENCY)]
    gc.collect()
    began = time.process_time()
    await wait(task_ids)
    cpu = time.process_time() - began
    requests = (await server.tally())["polls"]
    if requests != POLLS * CONCURRENCY:
        raise RuntimeError(f"{requests} polls in place of {POLLS * CONCURRENCY}")
    return cpu / requests


def report(measured: dict[str, list[float]], *, loop: str) -> str:
    """The table."""
    yardstick = next(iter(measured.values()))
    head = ["", "us/request", "ratio", "adds us"]
    title = f"Layers: one poll, {CONCURRENCY} in flight, {loop}, median of {len(yardstick)}; CPU is the client's"
    return f"{title}\n{table(head, _rows(measured, yardstick))}"


def _rows(measured: dict[str, list[float]], yardstick: list[float]) -> Iterable[list[str]]:
    below = yardstick
    for name, costs in measured.items():
        ratio = median(cost / bare for cost, bare in zip(costs, yardstick, strict=True))
        adds = median(cost - less for cost, less in zip(costs, below, strict=True))
        yield [name, f"{median(costs) * 1e6:.0f}", f"{ratio:.2f}", "" if below is costs else f"{adds * 1e6:+.0f}"]
        below = costs


def measured_report(*, quick: bool, loop: str) -> str:
    """Measure, with fewer rounds if it has to be quick."""
    with asyncio.Runner(loop_factory=factory(loop)) as runner:
        return report(runner.run(measure(5 if quick else 15)), loop=loop)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layers", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--uvloop", action="store_true", help="all layers on uvloop")
    options = parser.parse_args()
    print(machine_line(), measured_report(quick=options.quick, loop=loop_name(options)), sep="\n\n")


if __name__ == "__main__":
    main()
