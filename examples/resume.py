"""Paid jobs continue without their process: store the task ids and wait for them in any process.

RIVYA_API_KEY=... python examples/resume.py                       # submits, times out, prints the task id
RIVYA_API_KEY=... python examples/resume.py task_ab12 task_cd34   # waits and downloads
"""

import asyncio
import sys

from rivya_async import RivyaSession, WaitTimeoutError


async def main(task_ids: list[str]) -> None:
    async with RivyaSession() as session:
        if not task_ids:
            try:
                await session.generate("veo3-1-fast", "Clouds over a mountain lake", timeout=1)
            except WaitTimeoutError as error:
                print(error.task_id)  # nothing is lost: the service continues the job
        async for job in session.as_completed(task_ids):
            if job.succeeded:
                print(*await session.download(job, "out/"))
            else:
                print(job.id, job.error, file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
