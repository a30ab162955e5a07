"""An arq worker with one session. A job that runs again sends the same idempotency key.

RIVYA_API_KEY=... arq examples.arq_worker.WorkerSettings
"""

import os
from typing import Any

from arq.connections import RedisSettings

from rivya_async import RivyaSession


async def make_picture(context: dict[str, Any], prompt: str) -> dict[str, Any]:
    session: RivyaSession = context["rivya"]
    job = await session.generate("z-image", prompt, idempotency_key=f"arq-{context['job_id']}", timeout=600)
    return job.to_dict()


async def open_session(context: dict[str, Any]) -> None:
    context["rivya"] = await RivyaSession().__aenter__()


async def close_session(context: dict[str, Any]) -> None:
    await context["rivya"].aclose()


class WorkerSettings:
    """Settings that the command `arq` reads."""

    functions = (make_picture,)
    on_startup = open_session
    on_shutdown = close_session
    job_timeout = 660
    redis_settings = RedisSettings.from_dsn(os.environ.get("ARQ_REDIS_URL", "redis://127.0.0.1:6379/0"))
