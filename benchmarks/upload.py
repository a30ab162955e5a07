"""What an upload holds in memory: a film of 90 MB to a sandbox in another process."""

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

from .memory import peak_kib, resident_kib
from .report import mark, table

FILM_BYTES: Final = 90 * 1024 * 1024
MODEL: Final = "happyhorse-1-0"
MOST_KIB: Final = 8 * 1024
"""The claim: an upload of any size grows its process by less."""


def measured_report(_: Namespace) -> str:
    """The table and its mark."""
    with tempfile.TemporaryDirectory() as folder:
        films = [_film(Path(folder), "warm-up.mp4", 4 * 1024 * 1024), _film(Path(folder), "film.mp4", FILM_BYTES)]
        told = asyncio.run(_measured([str(film) for film in films]))
    rows = [
        [name, f"{one['wall']:.2f}", f"{one['cpu']:.2f}", f"{one['grown_kib'] / 1024:.1f}"]
        for name, one in told.items()
    ]
    most = max(one["grown_kib"] for one in told.values())
    claim = f"an upload of {FILM_BYTES // 2**20} MB grows its process by less than {MOST_KIB // 1024} MB"
    return "\n".join(
        [
            f"Upload of a film of {FILM_BYTES // 2**20} MB over loopback, after one of 4 MB",
            "",
            table(["as", "seconds", "CPU seconds", "growth, MB"], rows),
            "",
            mark(claim, f"{most / 1024:.1f} MB", met=most < MOST_KIB),
        ]
    )


def _film(folder: Path, name: str, size: int) -> Path:
    """A film of this size that plays: it ends with an atom that players skip, of which the disk keeps nothing."""
    data = render(RenderRequest("video", "sora-2", "A red kite", {"duration": "1"}, seed=1)).data
    path = folder / name
    with path.open("wb") as file:
        file.write(data + (size - len(data)).to_bytes(4, "big") + b"free")
        file.truncate(size)
    return path


async def _measured(films: list[str]) -> dict[str, Any]:
    async with Sandbox() as sandbox:
        told = {}
        for way in ("a path", "an open file", "an async iterator"):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", __spec__.name, sandbox.base_url, sandbox.api_key, way, *films,
                stdout=subprocess.PIPE,
            )  # fmt: skip
            out, _ = await process.communicate()
            told[way] = json.loads(out)
        return told


async def _in_pieces(path: str) -> Any:
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
                sent = await session.files.upload(film if way == "a path" else _in_pieces(film), model=MODEL)
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
