"""Clients of other services, each with its defaults. Imports are local: each process has one SDK."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .clients import Generate, make_prompt


@asynccontextmanager
async def open_openai(variant: str) -> AsyncIterator[Generate]:
    """Opens openai: a response in background mode, polled as in its guide (`videos.create_and_poll` is deprecated)."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    async with AsyncOpenAI(http_client=DefaultAioHttpClient() if variant == "aiohttp" else None) as client:

        async def generate(number: int, interval: float) -> None:
            response = await client.responses.create(model="gpt-5.2", input=make_prompt(number), background=True)
            while response.status in {"queued", "in_progress"}:
                await asyncio.sleep(interval)
                response = await client.responses.retrieve(response.id)
            if response.status != "completed":
                raise RuntimeError(response.status)

        yield generate


@asynccontextmanager
async def open_google(variant: str) -> AsyncIterator[Generate]:
    """Opens google-genai in enterprise mode, the only one with videos, polled as in its docstring.

    It uses an installed aiohttp unless it receives another client.
    """
    import httpx2
    from google import genai
    from google.genai import types

    options = types.HttpOptions(
        base_url=os.environ["GOOGLE_VERTEX_BASE_URL"],
        base_url_resource_scope=types.ResourceScope.COLLECTION,
        httpx_async_client=None if variant == "aiohttp" else httpx2.AsyncClient(),
    )
    async with genai.Client(enterprise=True, http_options=options).aio as client:

        async def generate(number: int, interval: float) -> None:
            source = types.GenerateVideosSource(prompt=make_prompt(number))
            operation = await client.models.generate_videos(model="veo-3.1-generate-001", source=source)
            while not operation.done:
                await asyncio.sleep(interval)
                operation = await client.operations.get(operation)
            if operation.response is None:
                raise RuntimeError(operation.error)

        yield generate


@asynccontextmanager
async def open_runway(variant: str) -> AsyncIterator[Generate]:
    """Opens runwayml: `wait_for_task_output` polls every 6 s with 1.5 s of jitter and has no option for it."""
    from runwayml import AsyncRunwayML, DefaultAioHttpClient

    async with AsyncRunwayML(http_client=DefaultAioHttpClient() if variant == "aiohttp" else None) as client:

        async def generate(number: int, _interval: float) -> None:
            task = await client.text_to_image.create(
                model="gen4_image", prompt_text=make_prompt(number), ratio="1024:1024"
            )
            await task.wait_for_task_output()

        yield generate


@asynccontextmanager
async def open_fal(_variant: str) -> AsyncIterator[Generate]:
    """Opens fal-client: `subscribe` polls immediately after the submit and fetches the result separately, over TLS."""
    from fal_client import AsyncClient

    client = AsyncClient()

    async def generate(number: int, interval: float) -> None:
        result = await client.subscribe("fal-ai/flux", {"prompt": make_prompt(number)}, interval=interval)
        if not result["images"]:
            raise RuntimeError("no image")

    yield generate


@asynccontextmanager
async def open_replicate(_variant: str) -> AsyncIterator[Generate]:
    """Opens replicate: `predictions.async_create` and `async_wait` with the client's `poll_interval`."""
    from replicate.client import Client

    client = Client()

    async def generate(number: int, interval: float) -> None:
        client.poll_interval = interval
        prediction = await client.predictions.async_create("v1", {"prompt": make_prompt(number)})
        await prediction.async_wait()
        if prediction.status != "succeeded":
            raise RuntimeError(prediction.status)

    yield generate
