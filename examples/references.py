"""Many jobs with one reference photo, which is uploaded once.

RIVYA_API_KEY=... python examples/references.py kite.png "At night" "In the snow" "As a woodcut"

Without a photo, it generates one first.
"""

import asyncio
import sys
from pathlib import Path

from rivya_async import GenerationRequest, RivyaSession


async def main(photo: Path | None, prompts: list[str]) -> None:
    async with RivyaSession() as session:
        if photo is None:
            (photo,) = await session.download(await session.generate("z-image", "A red kite"), "out/")
        requests = [GenerationRequest("qwen-image", prompt, references=[photo]) for prompt in prompts]
        async for outcome in session.map(requests):
            job = outcome.unwrap()
            print(outcome.request.prompt, *await session.download(job, "out/"))


if __name__ == "__main__":
    path, *texts = sys.argv[1:] or [""]
    asyncio.run(main(Path(path) if path else None, texts or ["At night", "In the snow", "As a woodcut"]))
