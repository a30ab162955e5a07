"""Many prompts at once with one `gather`, without semaphores and pools.

RIVYA_API_KEY=... python examples/gather.py "A red kite" "A blue whale"
"""

import asyncio
import sys

from rivya_async import RivyaSession


async def main(prompts: list[str]) -> None:
    async with RivyaSession() as session:
        jobs = await asyncio.gather(*(session.generate("z-image", prompt) for prompt in prompts))
        for job in jobs:
            paths = await session.download(job, "out/")
            print(job.id, job.final_credits, *paths)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["A red kite over a calm sea", "A blue whale in the evening sun"]))
