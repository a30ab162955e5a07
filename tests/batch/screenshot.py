"""The pictures of the report and of the contact sheet in the manual, half of each dark: `nox -s pictures`."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from PIL import Image

from rivya_async import PollPolicy, RivyaSession
from rivya_async.batch import Batch, Row
from rivya_async.batch.report import write_report
from rivya_async.sandbox import Sandbox
from tests.chromium import chromium
from tests.dashboard.screenshot import join_halves

SIZE: Final[dict[str, Any]] = {"width": 1440, "height": 1150, "scale": 1.25, "reduced_motion": True}
ROWS: Final = 150

MODELS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("z-image", {"aspect_ratio": "4:3"}),
    ("flux-2-pro", {"aspectRatio": "16:9", "resolution": "1K"}),
    ("seedream-4-0", {"max_images": "2"}),
    ("gpt-image-2", {}),
    ("runway", {"aspectRatio": "16:9", "duration": "5"}),
    ("elevenlabs-sound-effect-v2", {"duration_seconds": 6}),
)
SCENES: Final = (
    "A red kite over a calm sea",
    "Northern lights above a frozen lake",
    "A night train crosses a viaduct",
    "Terraced tea hills in fog",
    "A lighthouse keeper's window",
    "A greenhouse made of ice",
    "A desert observatory",
    "A city of glass towers",
)
TIMES: Final = ("at dawn", "at noon", "in the rain", "in winter", "by night", "before the storm")


def make_rows() -> list[Row]:
    rng = random.Random(4)
    rows = []
    for number in range(1, ROWS + 1):
        model, params = MODELS[number % 8 % len(MODELS)]
        failing = " [fail]" if rng.random() < 0.05 else ""
        prompt = f"{rng.choice(SCENES)} {rng.choice(TIMES)}{failing}"
        rows.append(Row(number=number, line=number + 1, model=model, prompt=prompt, params=params))
    return rows


async def write_batch_report(folder: Path) -> Path:
    """Runs a batch on the sandbox and returns its report."""
    async with Sandbox(seed=5, speed=20) as sandbox, Batch.open(folder / "posters.journal") as batch:
        poll = PollPolicy(first=0.1, base=0.2, floor=0.1, cap=1.0)
        session = RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=poll, hooks=batch.hooks)
        async with session:
            await batch.add(make_rows())
            async for _ in batch.run(session, max_in_flight=12, download_to=folder / "out"):
                pass
    await asyncio.to_thread(write_report, folder / "posters.journal", folder / "report.html")
    return folder / "report.html"


async def run_demo(folder: Path) -> Path:
    """Runs `rivya demo` and returns its contact sheet."""
    command = [sys.executable, "-m", "rivya_async", "demo", "-o", str(folder), "--seed", "5"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
    return folder / "index.html"


async def take(page: Path, target: Path) -> None:
    """Photographs a page in light and dark, and joins the halves."""
    halves = []
    async with chromium() as browser, browser.tab(page.as_uri(), **SIZE) as tab:
        await tab.send_command("Emulation.setScrollbarsHidden", hidden=True)
        await tab.navigate(page.as_uri())  # both halves are laid out without scrollbars
        for dark in (False, True):
            await tab.emulate(dark=dark, **SIZE)
            await tab.wait_for("[...document.querySelectorAll('.card img')].slice(0, 8).every(each => each.complete)")
            await tab.wait_for("[...document.querySelectorAll('video')].every(each => each.networkState !== 2)")
            await asyncio.sleep(1)  # the controls of videos fade in
            await tab.screenshot(page.with_name("page.png"))
            halves.append(Image.open(page.with_name("page.png")).convert("RGB"))
    join_halves(halves).save(target, quality=82, optimize=True, progressive=True)


async def main(report: Path, contact_sheet: Path) -> None:
    with TemporaryDirectory() as folder:
        await take(await write_batch_report(Path(folder)), report)
        await take(await run_demo(Path(folder) / "demo"), contact_sheet)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
