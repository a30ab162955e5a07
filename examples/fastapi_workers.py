"""A FastAPI app that queues jobs, and workers that run them, on any number of machines.

redis-server & uvicorn --app-dir examples fastapi_workers:app --port 8080
RIVYA_API_KEY=... taskiq worker --app-dir examples fastapi_workers:broker --receiver rivya_async.workers:Receiver
curl -d '' 'http://127.0.0.1:8080/pictures?prompt=A+red+kite'    # returns an id; then get /pictures/ID
"""

import os
import uuid
from typing import Any

from fastapi import FastAPI, HTTPException

from rivya_async import RivyaSession
from rivya_async.workers import RivyaSessionDep, RivyaWorker

worker = RivyaWorker.at(os.environ.get("RIVYA_BROKER", "redis://127.0.0.1:6379"))
broker = worker.broker
app = FastAPI(lifespan=lambda _: worker.started())


@broker.task  # a custom task with the session of its worker
async def poster(title: str, session: RivyaSession = RivyaSessionDep) -> list[str]:
    job = await session.generate("z-image", f"A poster that says: {title}")
    return [str(path) for path in await session.download(job, "posters")]


@app.post("/pictures", status_code=202)
async def submit(prompt: str) -> dict[str, str]:
    key = str(uuid.uuid4())
    await worker.enlist(key)
    await worker.generate.kiq("z-image", prompt, idempotency_key=key, download_to="pictures")
    return {"id": key}


@app.get("/pictures/{key}")
async def get_job(key: str) -> dict[str, Any]:
    if (record := (await worker.read([key]))[0]) is None:
        raise HTTPException(404, "unknown id")
    return record.told()


@app.post("/posters", status_code=202)
async def submit_poster(title: str) -> dict[str, str]:
    return {"task": (await poster.kiq(title=title)).task_id}
