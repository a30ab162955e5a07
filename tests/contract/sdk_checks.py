"""The SDK decodes the responses of the service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rivya_async import ResponseDecodeError, RetryPolicy, RivyaError, RivyaSession, StreamInterruptedError

from .chat_checks import MESSAGE
from .checks import CheckGroup, expect
from .generation_checks import create_generation_once
from .model_checks import fetch_catalogue, find_cheapest_model
from .service import Inconclusive, Service

checks = CheckGroup("sdk")


@asynccontextmanager
async def open_session(service: Service) -> AsyncIterator[RivyaSession]:
    """Opens a session. A decoding error is a difference; every other error is inconclusive."""
    async with service.transport.session(retry=RetryPolicy(max_attempts=2)) as session:
        try:
            yield session
        except (ResponseDecodeError, StreamInterruptedError) as error:
            raise AssertionError(f"expected a response that the SDK can decode; got {error}") from None
        except RivyaError as error:
            raise Inconclusive(f"{type(error).__name__}: {error}") from error


@checks.inferred("5")
async def model_list(service: Service) -> None:
    """The SDK decodes every model."""
    async with open_session(service) as session:
        decoded = {model.id for model in await session.models.list()}
        actual = {str(model.get("id")) for model in await fetch_catalogue(service)}
        expect(decoded == actual, "every model", sorted(actual ^ decoded))


@checks.inferred("12")
async def openapi_document(service: Service) -> None:
    """The SDK decodes the OpenAPI document."""
    async with open_session(service) as session:
        await session.openapi.retrieve()


@checks.inferred("9")
async def credit_balance(service: Service) -> None:
    """The SDK decodes the balance."""
    async with open_session(service) as session:
        await session.credits.retrieve()


@checks.assumed("14.8")
async def chat_session_list(service: Service) -> None:
    """The SDK decodes the list of chat sessions."""
    async with open_session(service) as session:
        await session.chat.sessions.list()


@checks.assumed("14.5")
async def webhook_list(service: Service) -> None:
    """The SDK decodes the list of webhooks."""
    async with open_session(service) as session:
        await session.webhooks.list()


@checks.assumed("14.3")
async def webhook_event_list(service: Service) -> None:
    """The SDK decodes the list of events."""
    async with open_session(service) as session:
        await session.webhook_events.list()


@checks.documented("7", max_images=1)
async def generation(service: Service) -> None:
    """The SDK decodes a generation."""
    task_id = (await create_generation_once(service)).json["id"]
    async with open_session(service) as session:
        actual = (await session.generations.retrieve(task_id)).status
        expect(actual in {"queued", "processing", "succeeded", "failed"}, "one of the four statuses", actual)


@checks.assumed("14.6", max_chat_turns=1)
async def chat_stream(service: Service) -> None:
    """The SDK decodes a stream to its end."""
    model = await find_cheapest_model(service, "chat")
    async with open_session(service) as session:
        async with session.chat.completions.stream(
            model["id"], MESSAGE, idempotency_key=service.idempotency_key("sdk")
        ) as stream:
            text = "".join([delta async for delta in stream])
        expect(stream.completion is not None and text == stream.completion.message.content, "the complete text", text)
