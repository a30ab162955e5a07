"""A web app that returns the task id immediately and saves the result by webhook, without waits and polls.

rivya webhooks create https://pictures.example.org/hooks/rivya   # prints the secret once
RIVYA_API_KEY=... RIVYA_WEBHOOK_SECRET=... python examples/aiohttp_webhooks.py 8080
"""

import os
import sys

from aiohttp import web

from rivya_async import RivyaSession, WebhookEvent
from rivya_async.receiver import WebhookReceiver


async def make_app() -> web.Application:
    session, receiver = RivyaSession(), WebhookReceiver(os.environ["RIVYA_WEBHOOK_SECRET"])

    @receiver.on("*")
    async def ended(event: WebhookEvent) -> None:
        job = event.generation
        if job and job.succeeded:
            await session.download(job, "pictures/")  # keeps a file of an event that came before
        elif job and job.error:
            print(job.id, job.error.message, flush=True)

    async def order(request: web.Request) -> web.Response:
        job = await session.submit("z-image", request.query["prompt"])
        return web.json_response({"id": job.id}, status=202)

    app = web.Application()
    app.router.add_post("/pictures", order)
    app.add_subapp("/hooks", receiver.aiohttp_app())
    app.on_cleanup.append(lambda _: session.aclose())
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(sys.argv[1]))
