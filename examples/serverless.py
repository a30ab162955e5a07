"""Two functions for a serverless platform: one submits a job, one reads it. No function runs while the job runs.

The id of the invocation is the idempotency key: a platform that repeats an invocation does not buy twice.
"""

import asyncio
from typing import Any

from rivya_async import RivyaSession


def submit(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Submits a job and returns its task id."""
    return asyncio.run(submit_job(event["prompt"], context.aws_request_id))


def read(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Returns the record of a job: its status, and its links after it has succeeded."""
    return asyncio.run(read_job(event["id"]))


async def submit_job(prompt: str, key: str) -> dict[str, Any]:
    async with RivyaSession() as session:  # each invocation has an event loop of its own
        job = await session.submit("z-image", prompt, idempotency_key=key)
    return {"id": job.id}


async def read_job(task_id: str) -> dict[str, Any]:
    async with RivyaSession() as session:
        return (await session.generations.retrieve(task_id)).to_dict()
