"""Memory growth of an upload of 90 MB to a sandbox in another process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any, Final

from rivya_async import RivyaSession
from rivya_async.sandbox import Sandbox
from rivya_async.sandbox.media import RenderRequest, render

from .processes import peak_kib, resident_kib
from .report import format_table, target

FILE_BYTES: Final = 90 * 1024 * 1024
MODEL: Final = "happyhorse-1-0"
MAX_GROWTH_KIB: Final = 8 * 1024
"""Target: maximum growth of the process by an upload of any size, in KiB."""


def run_benchmark(_: Namespace) -> str:
    """Measures and formats the table and the target."""
    with tempfile.TemporaryDirectory() as folder:
        films = [
            _write_video(Path(folder), "warm-up.mp4", 4 * 1024 * 1024),
            _write_video(Path(folder), "film.mp4", FILE_BYTES),
        ]
        result = asyncio.run(_measure([str(film) for film in films]))
    rows = [
        [name, f"{one['wall']:.2f}", f"{one['cpu']:.2f}", f"{one['grown_kib'] / 1024:.1f}"]
        for name, one in result.items()
    ]
    most = max(one["grown_kib"] for one in result.values())
    claim = f"an upload of {FILE_BYTES // 2**20} MB grows its process by less than {MAX_GROWTH_KIB // 1024} MB"
    return "\n".join(
        [
            f"Upload of {FILE_BYTES // 2**20} MB over loopback, after one of 4 MB",
            "",
            format_table(["as", "seconds", "CPU seconds", "growth, MB"], rows),
            "",
            target(claim, f"{most / 1024:.1f} MB", met=most < MAX_GROWTH_KIB),
        ]
    )


def _write_video(folder: Path, name: str, size: int) -> Path:
    """Writes a playable video of this size: it ends with a sparse atom that players skip."""
    data = render(RenderRequest("video", "sora-2", "A red kite", {"duration": "1"}, seed=1)).data
    path = folder / name
    with path.open("wb") as file:
        file.write(data + (size - len(data)).to_bytes(4, "big") + b"free")
        file.truncate(size)
    return path


async def _measure(films: list[str]) -> dict[str, Any]:
    async with Sandbox() as sandbox:
        result = {}
        for way in ("a path", "an open file", "an async iterator"):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", __spec__.name, sandbox.base_url, sandbox.api_key, way, *films,
                stdout=subprocess.PIPE,
            )  # fmt: skip
            out, _ = await process.communicate()
            result[way] = json.loads(out)
        return result


async def _iter_chunks(path: str) -> Any:
    with Path(path).open("rb") as file:
        while piece := file.read(64 * 1024):
            yield piece


async def _upload(base_url: str, api_key: str, way: str, films: list[str]) -> dict[str, Any]:
    async with RivyaSession(api_key, base_url=base_url) as session:

        async def send(film: str) -> None:
            if way == "an open file":
                with Path(film).open("rb") as file:
                    sent = await session.files.upload(file, model=MODEL)
            else:
                sent = await session.files.upload(film if way == "a path" else _iter_chunks(film), model=MODEL)
            if sent.size_bytes != Path(film).stat().st_size:
                raise AssertionError(f"{sent.size_bytes} bytes arrived")

        await send(films[0])
        before, cpu, wall = resident_kib() or 0, time.process_time(), time.perf_counter()
        await send(films[1])
        return {
            "cpu": time.process_time() - cpu,
            "wall": time.perf_counter() - wall,
            "grown_kib": (peak_kib() or 0) - before,
        }


if __name__ == "__main__":
    url, key, how, *names = sys.argv[1:]
    print(json.dumps(asyncio.run(_upload(url, key, how, names))), flush=True)
