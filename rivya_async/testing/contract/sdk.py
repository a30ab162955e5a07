"""What the SDK makes of the service: whether it reads what truly comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..._core.errors import ResponseDecodeError, RivyaError, StreamInterruptedError
from ..._core.policies import RetryPolicy
from ...session import RivyaSession
from .chat import SAID
from .check import Checks, expect
from .generations import ordered
from .models import catalogue as models_of
from .models import cheapest
from .service import CannotTell, Service

checks = Checks()


@asynccontextmanager
async def session(service: Service) -> AsyncIterator[RivyaSession]:
    """A session with the service. What cannot be read differs; whatever else goes wrong tells nothing of the SDK."""
    async with service.wire.session(retry=RetryPolicy(max_attempts=2)) as opened:
        try:
            yield opened
        except (ResponseDecodeError, StreamInterruptedError) as error:
            raise AssertionError(f"expected what the SDK can read; came {error}") from None
        except RivyaError as error:
            raise CannotTell(f"{type(error).__name__}: {error}") from error


@checks.inferred("5")
async def catalogue(service: Service) -> None:
    """The SDK reads every model."""
    async with session(service) as sdk:
        read = {model.id for model in await sdk.models.list()}
        came = {str(model.get("id")) for model in await models_of(service)}
        expect(read == came, "every model", sorted(came ^ read))


@checks.inferred("12")
async def document(service: Service) -> None:
    """The SDK reads the OpenAPI document."""
    async with session(service) as sdk:
        await sdk.openapi.retrieve()


@checks.inferred("9")
async def balance(service: Service) -> None:
    """The SDK reads the balance."""
    async with session(service) as sdk:
        await sdk.credits.retrieve()


@checks.assumed("14.8")
async def chat_sessions(service: Service) -> None:
    """The SDK reads the list of chat sessions."""
    async with session(service) as sdk:
        await sdk.chat.sessions.list()


@checks.assumed("14.5")
async def webhooks(service: Service) -> None:
    """The SDK reads the list of webhooks."""
    async with session(service) as sdk:
        await sdk.webhooks.list()


@checks.assumed("14.3")
async def events(service: Service) -> None:
    """The SDK reads the list of events."""
    async with session(service) as sdk:
        await sdk.webhook_events.list()


@checks.documented("7", images=1)
async def job(service: Service) -> None:
    """The SDK reads a job."""
    task_id = (await ordered(service)).json["id"]
    async with session(service) as sdk:
        came = (await sdk.generations.retrieve(task_id)).status
        expect(came in {"queued", "processing", "succeeded", "failed"}, "one of the four statuses", came)


@checks.assumed("14.6", turns=1)
async def stream(service: Service) -> None:
    """The SDK reads a streamed answer to its end."""
    model = await cheapest(service, "chat")
    async with session(service) as sdk:
        async with sdk.chat.completions.stream(model["id"], SAID, idempotency_key=service.key_for("sdk")) as answer:
            said = "".join([delta async for delta in answer])
        expect(answer.completion is not None and said == answer.completion.message.content, "the whole answer", said)
