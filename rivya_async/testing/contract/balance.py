"""The balance."""

from __future__ import annotations

from .check import NUMBER, WHOLE, Checks, expect_members
from .service import Service

checks = Checks()


async def balance(service: Service) -> float:
    """What the account can spend now."""
    reply = await service.ask("GET", "/credits")
    expect_members(reply.json, {"current_credits": NUMBER})
    return float(reply.json["current_credits"])


@checks.documented("9")
async def shape(service: Service) -> None:
    """The balance is {"current_credits": number}."""
    await balance(service)


@checks.inferred("9")
async def whole(service: Service) -> None:
    """Credits are whole numbers."""
    expect_members((await service.ask("GET", "/credits")).json, {"current_credits": WHOLE})
