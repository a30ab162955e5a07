"""A FastAPI app with one session, which requests receive as a dependency.

RIVYA_API_KEY=... uvicorn --app-dir examples fastapi_app:app --port 8080
curl -H 'Content-Type: application/json' -d '{"prompt": "A red kite"}' http://127.0.0.1:8080/pictures
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Body, Depends, FastAPI, HTTPException, Request

from rivya_async import GenerationFailedError, RivyaSession


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with RivyaSession() as app.state.rivya:
        yield


def rivya(request: Request) -> RivyaSession:
    session: RivyaSession = request.app.state.rivya
    return session


app = FastAPI(lifespan=lifespan)


@app.post("/pictures")
async def make_picture(
    prompt: Annotated[str, Body(embed=True)], session: Annotated[RivyaSession, Depends(rivya)]
) -> dict[str, str]:
    try:
        job = await session.generate("z-image", prompt)
    except GenerationFailedError as error:
        raise HTTPException(502, str(error)) from error
    return {"id": job.id, "url": job.urls[0]}
