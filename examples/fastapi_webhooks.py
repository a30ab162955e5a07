"""A web app that returns the task id immediately and saves the result by webhook, without waits and polls.

rivya webhooks create https://pictures.example.org/hooks/rivya   # prints the secret once
RIVYA_API_KEY=... RIVYA_WEBHOOK_SECRET=... uvicorn --app-dir examples fastapi_webhooks:app --port 8080
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from rivya_async import RivyaSession, WebhookEvent
from rivya_async.receiver import WebhookReceiver

session, receiver = RivyaSession(), WebhookReceiver(os.environ["RIVYA_WEBHOOK_SECRET"])


@receiver.on("*")
async def ended(event: WebhookEvent) -> None:
    job = event.generation
    if job and job.succeeded:
        await session.download(job, "pictures/")  # keeps a file of an event that came before
    elif job and job.error:
        print(job.id, job.error.message, flush=True)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with session, receiver:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/hooks", receiver.asgi_app())


@app.post("/pictures", status_code=202)
async def order(prompt: str) -> dict[str, str]:
    return {"id": (await session.submit("z-image", prompt)).id}
