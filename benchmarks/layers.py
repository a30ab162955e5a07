"""CPU per poll and layer: the same polls through one more layer each time.

    python -m benchmarks.layers [--quick] [--uvloop]

All layers run alternately in one process against one server with 100 requests in flight. The report
has the median of the rounds and the ratio to bare aiohttp of the same round.
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

from .clients import API_KEY, CONCURRENCY, MODEL, PROMPT, open_http, poll
from .processes import loop_factory, loop_name
from .report import describe_machine, format_table, show_progress
from .waiting import Server, run_server

POLLS: Final = 20
"""Polls after which each of the hundred jobs has ended."""

IMMEDIATE_POLLS: Final = PollPolicy(first=0.0, base=1e-4, cap=1e-4, floor=0.0, adaptive=False)
"""Poll policy without intervals, which occupies all connections as the layers without waits do."""

Layer = Callable[[str], Awaitable[bool]]
"""Polls one job. Returns True if it has ended."""

Wait = Callable[[list[str]], Awaitable[None]]
"""Polls jobs until they have ended."""


@cache
def request_of(task_id: str) -> Request:
    """Creates the request of a poll."""
    return retrieve_generation(task_id).request


@asynccontextmanager
async def layers(url: str) -> AsyncIterator[dict[str, Wait]]:
    """Opens each layer, the baseline first."""
    settings = Config(api_key=API_KEY, base_url=url)
    async with (
        open_http() as http,
        aclosing(AiohttpTransport(settings, Timeouts(), None)) as transport,
        RivyaSession(API_KEY, base_url=url, max_connections=CONCURRENCY) as session,
    ):

        async def bare(task_id: str) -> bool:
            return bool((await poll(http, url, task_id))["status"] == "succeeded")

        async def sent(task_id: str) -> bool:
            return b'"succeeded"' in (await transport.send(request_of(task_id))).body

        async def decoded(task_id: str) -> bool:
            endpoint = retrieve_generation(task_id)
            return endpoint.decode(await transport.send(endpoint.request)).succeeded

        async def called(task_id: str) -> bool:
            return (await session.generations.retrieve(task_id)).succeeded

        async def waited(task_ids: list[str]) -> None:
            async for _ in session.as_completed(task_ids, poll=IMMEDIATE_POLLS):
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
    """Returns CPU seconds per request, layer and round, after a round that opens the connections."""
    async with run_server() as server, layers(server.url) as results:
        for wait in results.values():
            await _cpu(server, wait)
        measured: dict[str, list[float]] = {name: [] for name in results}
        for turn in range(rounds):
            show_progress(f"layers, round {turn + 1} of {rounds}")
            for name, wait in results.items():
                measured[name].append(await _cpu(server, wait))
    show_progress("")
    return measured


async def _cpu(server: Server, wait: Wait) -> float:
    await server.reset(POLLS)
    async with RivyaSession(API_KEY, base_url=server.url) as session:
        task_ids = [(await session.submit(MODEL, PROMPT)).id for _ in range(CONCURRENCY)]
    gc.collect()
    started_at = time.process_time()
    await wait(task_ids)
    cpu = time.process_time() - started_at
    requests: int = (await server.counts())["polls"]
    if requests != POLLS * CONCURRENCY:
        raise RuntimeError(f"{requests} polls in place of {POLLS * CONCURRENCY}")
    return cpu / requests


def report(measured: dict[str, list[float]], *, loop: str) -> str:
    """Formats the table."""
    baseline = next(iter(measured.values()))
    head = ["", "us/request", "ratio", "adds us"]
    title = f"Layers: one poll, {CONCURRENCY} in flight, {loop}, median of {len(baseline)}; CPU is the client's"
    return f"{title}\n{format_table(head, _rows(measured, baseline))}"


def _rows(measured: dict[str, list[float]], baseline: list[float]) -> Iterable[list[str]]:
    below = baseline
    for name, costs in measured.items():
        ratio = median(cost / bare for cost, bare in zip(costs, baseline, strict=True))
        adds = median(cost - less for cost, less in zip(costs, below, strict=True))
        yield [name, f"{median(costs) * 1e6:.0f}", f"{ratio:.2f}", "" if below is costs else f"{adds * 1e6:+.0f}"]
        below = costs


def run_benchmark(options: argparse.Namespace) -> str:
    """Measures, with fewer rounds if `quick`, and formats."""
    loop = loop_name(options)
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        return report(runner.run(measure(5 if options.quick else 15)), loop=loop)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layers", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--uvloop", action="store_true", help="all layers on uvloop")
    options = parser.parse_args()
    print(describe_machine(), run_benchmark(options), sep="\n\n")


if __name__ == "__main__":
    main()
