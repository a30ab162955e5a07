"""CPU and memory of a download of 90 MB, compared with a plain aiohttp loop that writes a file."""

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

from .processes import peak_kib, read_line, resident_kib
from .report import format_table, target

FILE_BYTES: Final = 90 * 1024 * 1024
CHUNK_BYTES: Final = 256 * 1024
MAX_GROWTH_KIB: Final = 8 * 1024
"""Target: maximum growth of the process by a download of any size, in KiB."""

METHODS: Final = ("plain aiohttp", "session.download")


def run_benchmark(options: Namespace) -> str:
    """Measures and formats the table and the target."""
    rounds = 1 if options.quick else 5
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(_measure(Path(folder), rounds))
    plain = result[METHODS[0]]["cpu"]
    rows = [
        [name, f"{FILE_BYTES / 1e6 / figures['wall']:.0f}", f"{figures['cpu']:.2f}", f"{figures['cpu'] / plain:.2f}",
         f"{figures['grown_kib'] / 1024:.1f}"]
        for name, figures in result.items()
    ]  # fmt: skip
    growth = result[METHODS[1]]["grown_kib"]
    claim = f"a download of {FILE_BYTES // 2**20} MB grows its process by less than {MAX_GROWTH_KIB // 1024} MB"
    return "\n".join(
        [
            f"Download of {FILE_BYTES // 2**20} MB over loopback, after one of 4 MB, median of {rounds}",
            "",
            format_table(["by", "MB/s", "CPU seconds", "ratio", "growth, MB"], rows),
            "",
            target(claim, f"{growth / 1024:.1f} MB", met=growth < MAX_GROWTH_KIB),
        ]
    )


async def _measure(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    for name, size in (("warm-up.mp4", 4 * 1024 * 1024), ("film.mp4", FILE_BYTES)):
        with (folder / name).open("wb") as file:
            file.truncate(size)
    server = await _start("serve", str(folder))
    url = await read_line(server)
    try:
        runs: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
        for _ in range(rounds):
            for method in METHODS:
                out, _ = await (await _start(method, url)).communicate()
                runs[method].append(json.loads(out))
    finally:
        server.terminate()
        await server.wait()
    return {
        method: {name: statistics.median(run[name] for run in result) for name in result[0]}
        for method, result in runs.items()
    }


async def _start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", __spec__.name, *arguments, stdout=subprocess.PIPE)


async def _serve(folder: str) -> None:
    app = web.Application()
    app.router.add_static("/", folder)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


async def _download(method: str, url: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with RivyaSession("rvya_sk_benchmark", base_url=url) as session, aiohttp.ClientSession() as http:

            async def save(name: str) -> None:
                path = Path(folder) / name
                if method == METHODS[1]:
                    await session.download(f"{url}/{name}", path)
                else:
                    with path.open("wb") as file:
                        async with http.get(f"{url}/{name}") as response:
                            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                                file.write(chunk)
                if path.stat().st_size % 2**20:
                    raise AssertionError("the download is incomplete")

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
