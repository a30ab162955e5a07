"""What a download costs: 90 MB from another process, beside a plain loop over aiohttp that writes a file."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from rivya_async import RivyaSession

from .memory import peak_kib, resident_kib
from .report import mark, table
from .waiting import read_line

FILM_BYTES: Final = 90 * 1024 * 1024
CHUNK_BYTES: Final = 256 * 1024
MOST_KIB: Final = 8 * 1024
"""The claim: a download of any size grows its process by less."""

WAYS: Final = ("plain aiohttp", "session.download")


def measured_report(options: Namespace) -> str:
    """The table and its mark."""
    rounds = 1 if options.quick else 5
    with tempfile.TemporaryDirectory() as folder:
        told = asyncio.run(_measured(Path(folder), rounds))
    plain = told[WAYS[0]]["cpu"]
    rows = [
        [name, f"{FILM_BYTES / 1e6 / one['wall']:.0f}", f"{one['cpu']:.2f}", f"{one['cpu'] / plain:.2f}",
         f"{one['grown_kib'] / 1024:.1f}"]
        for name, one in told.items()
    ]  # fmt: skip
    grown = told[WAYS[1]]["grown_kib"]
    claim = f"a download of {FILM_BYTES // 2**20} MB grows its process by less than {MOST_KIB // 1024} MB"
    return "\n".join(
        [
            f"Download of {FILM_BYTES // 2**20} MB over loopback, after one of 4 MB, median of {rounds}",
            "",
            table(["by", "MB/s", "CPU seconds", "ratio", "growth, MB"], rows),
            "",
            mark(claim, f"{grown / 1024:.1f} MB", met=grown < MOST_KIB),
        ]
    )


async def _measured(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    for name, size in (("warm-up.mp4", 4 * 1024 * 1024), ("film.mp4", FILM_BYTES)):
        with (folder / name).open("wb") as file:
            file.truncate(size)
    server = await _ran("serve", str(folder))
    url = await read_line(server)
    try:
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                out, _ = await (await _ran(way, url)).communicate()
                runs[way].append(json.loads(out))
    finally:
        server.terminate()
        await server.wait()
    return {way: {name: statistics.median(run[name] for run in told) for name in told[0]} for way, told in runs.items()}


async def _ran(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", __spec__.name, *arguments, stdout=subprocess.PIPE)


async def _serve(folder: str) -> None:
    app = web.Application()
    app.router.add_static("/", folder)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


async def _download(way: str, url: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with RivyaSession("rvya_sk_benchmark", base_url=url) as session, aiohttp.ClientSession() as http:

            async def save(name: str) -> None:
                path = Path(folder) / name
                if way == WAYS[1]:
                    await session.download(f"{url}/{name}", path)
                else:
                    with path.open("wb") as file:
                        async with http.get(f"{url}/{name}") as response:
                            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                                file.write(chunk)
                if path.stat().st_size % 2**20:
                    raise AssertionError("not all of it has come")

            await save("warm-up.mp4")
            before, cpu, wall = resident_kib() or 0, time.process_time(), time.perf_counter()
            await save("film.mp4")
            return {
                "cpu": time.process_time() - cpu,
                "wall": time.perf_counter() - wall,
                "grown_kib": max(0, (peak_kib() or 0) - before),
            }


if __name__ == "__main__":
    what, where = sys.argv[1:]
    if what == "serve":
        asyncio.run(_serve(where))
    else:
        print(json.dumps(asyncio.run(_download(what, where))), flush=True)
