"""An aiohttp web app with one session that opens and closes with the app.

RIVYA_API_KEY=... python examples/aiohttp_app.py 8080
curl -d '{"prompt": "A red kite"}' http://127.0.0.1:8080/pictures
"""

import sys
from collections.abc import AsyncIterator

from aiohttp import web

from rivya_async import GenerationFailedError, RivyaSession

SESSION = web.AppKey("SESSION", RivyaSession)


async def rivya(app: web.Application) -> AsyncIterator[None]:
    async with RivyaSession() as app[SESSION]:
        yield


async def make_picture(request: web.Request) -> web.Response:
    prompt = (await request.json())["prompt"]
    try:
        job = await request.app[SESSION].generate("z-image", prompt)
    except GenerationFailedError as error:
        return web.json_response({"error": str(error)}, status=502)
    return web.json_response({"id": job.id, "url": job.urls[0]})


def make_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(rivya)
    app.router.add_post("/pictures", make_picture)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(sys.argv[1]))
