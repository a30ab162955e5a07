"""What the contract says, as checks of any service: the real one, the sandbox, or a fake of yours.

A check is called with a maker, which opens a service: `over_http(base_url, api_key)`, `in_memory(FakeTransport(...))`,
or a function of your own. It raises AssertionError where the service differs, and `CannotTell` where it did not let
itself be asked. No test framework is needed; this is how pytest runs those of one noun:

    @pytest.mark.parametrize("check", contract.generations.checks)
    async def test_my_fake_is_like_the_service(check):
        await check(contract.in_memory(FakeTransport(my_service)))

The nouns are modules: `keys`, `errors`, `models`, `openapi`, `balance`, `files`, `generations`, `chat`, `webhooks`,
and `sdk`, which says whether the SDK reads what comes. Checks that `spend` may cost credits of a service that sells.
"""

from . import balance, chat, errors, files, generations, keys, models, openapi, sdk, webhooks
from .check import Check
from .in_memory import in_memory
from .over_http import over_http
from .report import Finding, examine, summary
from .service import CannotTell, Maker, Service

ALL = (
    *keys.checks,
    *errors.checks,
    *models.checks,
    *openapi.checks,
    *balance.checks,
    *files.checks,
    *generations.checks,
    *chat.checks,
    *webhooks.checks,
    *sdk.checks,
)
"""Every check."""

__all__ = [
    "ALL",
    "CannotTell",
    "Check",
    "Finding",
    "Maker",
    "Service",
    "balance",
    "chat",
    "errors",
    "examine",
    "files",
    "generations",
    "in_memory",
    "keys",
    "models",
    "openapi",
    "over_http",
    "sdk",
    "summary",
    "webhooks",
]
