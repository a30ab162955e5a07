"""A paid job continues without its process: store the task id and wait for it in any process.

RIVYA_API_KEY=... python examples/resume.py                  # submits, times out, prints the task id
RIVYA_API_KEY=... python examples/resume.py task_ab12        # waits and downloads
"""

import asyncio
import sys

from rivya_async import RivyaSession, WaitTimeoutError


async def main(task_id: str | None) -> None:
    async with RivyaSession() as session:
        try:
            if task_id is None:
                job = await session.generate("veo3-1-fast", "Clouds over a mountain lake", timeout=1)
            else:
                job = await session.wait_for(task_id)
        except WaitTimeoutError as error:
            print(error.task_id)  # nothing is lost: the service continues the job
        else:
            print(*await session.download(job, "out/"))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
