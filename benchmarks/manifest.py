"""Memory growth and CPU per row of long manifests.

    python -m benchmarks manifest [--quick]

Every row is validated against the catalogue; one of a hundred is invalid. Each measurement runs in a new process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rivya_async import Model
from rivya_async._core.catalogue.model import ModelList
from rivya_async._core.http.serialization import parse_json, structure
from rivya_async.batch import Batch, InvalidRow, Manifest, Row
from rivya_async.sandbox.catalogue import load_catalogue

from .processes import peak_kib
from .report import format_table, show_progress, target

SIZES: Final = (10_000, 100_000, 1_000_000)
QUICK_SIZES: Final = (1_000, 10_000)
MAX_GROWTH_MIB: Final = 8.0
"""Target: maximum additional memory for a hundred times as many rows, in MiB."""

KINDS: Final = {"csv": "CSV", "jsonl": "JSON Lines", "journal": "CSV into a journal"}


def write_manifest(kind: str, count: int) -> Iterator[str]:
    """Writes a manifest whose rows have a name and a param."""
    if kind != "jsonl":
        yield "model,prompt,params.aspect_ratio,name\n"
    for number in range(1, count + 1):
        model = "z-image" if number % 100 else "z-imgae"
        row = [model, f"A kite with the number {number}, over the sea", "16:9", f"kite-{number}"]
        if kind == "jsonl":
            members = zip(
                ["model", "prompt", "params", "name"], [*row[:2], {"aspect_ratio": row[2]}, row[3]], strict=True
            )
            yield f"{json.dumps(dict(members))}\n"
        else:
            yield f'{row[0]},"{row[1]}",{row[2]},{row[3]}\n'


def read_manifest(kind: str, path: Path) -> dict[str, float]:
    """Reads the manifest in this process."""
    manifest = Manifest(path, models=_models())
    for _ in zip(range(1000), manifest, strict=False):  # imports and caches are filled before the measurement
        pass
    before, started_at = peak_kib(), time.process_time()
    good, bad = asyncio.run(_plan_rows(manifest, path)) if kind == "journal" else _count_rows(manifest)
    cpu, after = time.process_time() - started_at, peak_kib()
    if before is None or after is None:
        raise SystemExit("this system does not tell what a process holds (there is no /proc)")
    return {"good": good, "bad": bad, "cpu": cpu, "mib": (after - before) / 1024}


def _count_rows(rows: Iterable[Row | InvalidRow]) -> tuple[int, int]:
    count = {Row: 0, InvalidRow: 0}
    for row in rows:
        count[type(row)] += 1
    return count[Row], count[InvalidRow]


async def _plan_rows(manifest: Manifest, path: Path) -> tuple[int, int]:
    async with Batch.open(path.with_suffix(".journal")) as batch:
        planned = await batch.add(manifest, keep_going=True)
        return planned.new, planned.invalid


def _models() -> Mapping[str, Model]:
    return {model.id: model for model in structure(parse_json(load_catalogue().listing), ModelList).data}


def measure(kind: str, count: int) -> dict[str, Any]:
    """Measures a manifest in a new process."""
    show_progress(f"{KINDS[kind]}, {count:,} rows")
    with TemporaryDirectory() as folder:
        path = Path(folder) / ("kites.jsonl" if kind == "jsonl" else "kites.csv")
        with path.open("w") as file:
            file.writelines(write_manifest(kind, count))
        command = [sys.executable, "-m", __name__, kind, str(path)]
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout  # noqa: S603 - runs this module
        return {**json.loads(result), "file": path.stat().st_size / 1024 / 1024}


def run_benchmark(options: argparse.Namespace) -> str:
    """Measures and formats the table and the targets."""
    sizes = QUICK_SIZES if options.quick else SIZES
    results = {kind: {count: measure(kind, count) for count in sizes} for kind in KINDS}
    show_progress("")
    rows = [
        [
            KINDS[kind],
            f"{count:,}",
            f"{each['file']:.1f}",
            f"{each['mib']:.1f}",
            f"{each['cpu'] / count * 1e6:.0f}",
            f"{each['bad']:,}",
        ]
        for kind, measures in results.items()
        for count, each in measures.items()
    ]
    more = {kind: each[sizes[-1]]["mib"] - each[sizes[0]]["mib"] for kind, each in results.items()}
    return "\n".join(
        [
            "Manifests: the peak of memory above that of the first thousand rows",
            format_table(["", "rows", "file MiB", "growth MiB", "CPU us/row", "bad"], rows),
            "Marks",
            *(
                target(
                    f"{KINDS[kind]}: {sizes[-1]:,} rows take at most {MAX_GROWTH_MIB:g} MiB more than {sizes[0]:,}",
                    f"{mib:.1f} MiB",
                    met=mib <= MAX_GROWTH_MIB,
                )
                for kind, mib in more.items()
            ),
        ]
    )


if __name__ == "__main__":
    print(json.dumps(read_manifest(sys.argv[1], Path(sys.argv[2]))), flush=True)
