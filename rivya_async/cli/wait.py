"""`rivya wait`: come back to jobs that were bought before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .jobs import Job
from .run_jobs import run_jobs
from .target import embedded, service

if TYPE_CHECKING:
    from argparse import Namespace

    from .jobs import JobList
    from .output import Output


async def run(arguments: Namespace, output: Output, job_list: JobList) -> int:
    """Wait for every task id, once each."""
    job_list.folder = arguments.output
    task_ids = dict.fromkeys(arguments.task_ids)
    job_list.jobs = [Job(number, task_id=task_id) for number, task_id in enumerate(task_ids, 1)]
    opened = embedded(output, renders=False) if arguments.sandbox else service()
    async with opened as session:
        return await run_jobs(session, job_list, output, timeout=arguments.timeout)
