"""A FastAPI app that accepts jobs, and workers that run them, on any number of machines.

redis-server & uvicorn --app-dir examples fastapi_workers:app --port 8080
export RIVYA_API_KEY=...
taskiq worker --app-dir examples fastapi_workers:broker --receiver rivya_async.workers:DrainingReceiver
curl -d '' 'http://127.0.0.1:8080/pictures?prompt=A+red+kite'    # answers with an id; then ask for /pictures/ID
"""

import os
import uuid
from typing import Any

from fastapi import FastAPI, HTTPException

from rivya_async import RivyaSession
from rivya_async.workers import RivyaSessionDep, RivyaWorker

worker = RivyaWorker.from_url(os.environ.get("RIVYA_BROKER", "redis://127.0.0.1:6379"), download_root=".")
broker = worker.broker
app = FastAPI(lifespan=lambda _: worker.lifespan())


@broker.task  # a task of your own, with the session of the worker that runs it
async def poster(title: str, session: RivyaSession = RivyaSessionDep) -> list[str]:
    made = await session.generate("z-image", f"A poster that says: {title}")
    return [str(path) for path in await session.download(made, "posters/")]


@app.post("/pictures", status_code=202)
async def create_picture(prompt: str) -> dict[str, str]:
    await worker.register(key := str(uuid.uuid4()))
    await worker.generate.kiq("z-image", prompt, idempotency_key=key, download_to="pictures")
    return {"id": key}


@app.get("/pictures/{key}")
async def get_picture(key: str) -> dict[str, Any]:
    if (record := (await worker.read_jobs([key]))[0]) is None:
        raise HTTPException(404, "unknown picture")
    return record.as_dict()


@app.post("/posters", status_code=202)
async def create_poster(title: str) -> dict[str, str]:
    return {"task": (await poster.kiq(title=title)).task_id}
