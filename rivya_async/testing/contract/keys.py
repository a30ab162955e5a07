"""API keys."""

from __future__ import annotations

from typing import Final

from .check import Checks
from .errors import expect_refusal
from .service import CannotTell, Reply, Service

checks = Checks()

NOBODY: Final = "rvya_sk_00000000000000000000000000000000"


async def asked_with(service: Service, key: str) -> Reply:
    """The answer to a key that is none."""
    if not service.wire.sees_keys:
        raise CannotTell("the service is told no keys")
    return await service.ask("GET", "/credits", key=key)


@checks.documented("3")
async def a_missing_key(service: Service) -> None:
    """Without a key the answer is 401 api_key_missing."""
    expect_refusal(await asked_with(service, ""), 401, "api_key_missing")


@checks.documented("3")
async def an_unknown_key(service: Service) -> None:
    """With a key that nobody has the answer is 401 api_key_invalid."""
    expect_refusal(await asked_with(service, NOBODY), 401, "api_key_invalid")
