"""The screenshot of the dashboard in the manual, half of it dark: `nox -s pictures`."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from aiohttp import web
from PIL import Image

from rivya_async import GenerationFailedError, PollPolicy, RetryPolicy, RivyaSession
from rivya_async.sandbox import Sandbox
from tests.chromium import Tab, chromium

PORT: Final = 8787
SIZE: Final[dict[str, Any]] = {"width": 1440, "height": 1150, "scale": 1.25, "reduced_motion": True}
QUALITY: Final = 82

FAST_POLLS: Final = PollPolicy(first=0.1, base=0.1, floor=0.05)

JOBS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("nano-banana-pro", "Northern lights above a frozen lake", {"aspect_ratio": "4:5", "output_format": "jpg"}),
    ("gpt-image-2", "A lighthouse keeper's window on a stormy night", {"aspect_ratio": "3:4"}),
    ("runway", "A night train crosses a viaduct in the rain", {"aspectRatio": "16:9", "duration": "5"}),
    ("flux-2-pro", "Terraced tea hills in morning fog", {"aspectRatio": "16:9", "resolution": "2K"}),
    ("z-image", "A greenhouse made of ice [fail]", {}),
    ("elevenlabs-sound-effect-v2", "Rain on a tin roof, thunder far away", {"duration_seconds": 6}),
    ("seedream-4-5", "A city of glass towers in the last evening light", {"aspectRatio": "4:3", "quality": "high"}),
    ("z-image", "A red kite over a calm sea at dawn", {"aspect_ratio": "4:3"}),
)
LAST_JOB: Final = ("ideogram-v3", "Poster of a desert observatory under the Milky Way", {"image_size": "square_hd"})
LAST_JOB_PROGRESS: Final = 0.6
"""Progress of the last job in the screenshot, from 0 to 1."""


class Clock:
    """The wall clock, `ahead` seconds ahead."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead  # noqa: TID251  the sandbox's clock


async def take_screenshot(target: Path) -> None:
    """Runs the jobs, takes the light and the dark screenshot, and joins their halves."""
    clock = Clock()
    receiver = web.ServerRunner(web.Server(_accept_webhook))
    await receiver.setup()
    try:
        await web.TCPSite(receiver, "127.0.0.1", PORT + 1).start()
        async with (
            chromium() as browser,
            Sandbox(seed=5, port=PORT, clock=clock, allow_local_webhooks=True) as sandbox,
            browser.tab(f"{sandbox.base_url}/", **SIZE) as tab,
        ):
            await _run(sandbox, clock, tab)
            join_halves(await _screenshot_both_themes(tab)).save(
                target, quality=QUALITY, optimize=True, progressive=True
            )
    finally:
        await receiver.cleanup()


async def _run(sandbox: Sandbox, clock: Clock, tab: Tab) -> None:
    await tab.send_command("Emulation.setScrollbarsHidden", hidden=True)
    await tab.wait_for("document.querySelector('#toggles button')?.id")
    await tab.evaluate("document.querySelector('#toggles button').click()")
    sandbox.faults.add(route="GET /api/v1/generations/{task_id}", rate=0.3, status=429, retry_after=0.1)
    retry = RetryPolicy(max_attempts=20, base=0.1)
    async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=FAST_POLLS, retry=retry) as session:
        await session.webhooks.create(
            "app", f"http://127.0.0.1:{PORT + 1}/hooks/rivya", ["generation.succeeded", "generation.failed"]
        )
        for model, prompt, params in JOBS:
            try:
                await session.generate(model, prompt, params=params)
            except GenerationFailedError:
                await tab.wait_for("document.querySelector('.failed')")
        usual, sandbox.service_state.speed = sandbox.service_state.speed, 0.1
        await session.submit(LAST_JOB[0], LAST_JOB[1], params=LAST_JOB[2])
        sandbox.service_state.speed = usual
    (task,) = list(sandbox.service_state.tasks.values())[-1:]
    clock.ahead += LAST_JOB_PROGRESS * (task.ends_at - task.created_at)
    await tab.wait_for("document.querySelector('.card').dataset.status === 'processing'")


async def _screenshot_both_themes(tab: Tab) -> list[Image.Image]:
    pictures = []
    with TemporaryDirectory() as folder:
        for dark in (False, True):
            await tab.emulate(dark=dark, **SIZE)
            await tab.wait_for("[...document.querySelectorAll('.card img')].slice(0, 6).every(each => each.complete)")
            await tab.screenshot(Path(folder) / "page.png")
            pictures.append(Image.open(Path(folder) / "page.png").convert("RGB"))
    return pictures


def join_halves(halves: list[Image.Image]) -> Image.Image:
    """Returns the light half and the dark half, with a slanted edge between them."""
    light, dark = halves
    width, height = light.size
    mask = Image.new("L", light.size)
    lean = height // 12
    for y in range(height):
        edge = width * 5 // 9 + lean - 2 * lean * y // height
        mask.paste(255, (edge, y, width, y + 1))
    return Image.composite(dark, light, mask)


async def _accept_webhook(_: web.BaseRequest) -> web.Response:
    return web.Response(status=204)


if __name__ == "__main__":
    asyncio.run(take_screenshot(Path(sys.argv[1])))
