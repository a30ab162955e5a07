"""Who is measured, and how each is told where the server is: by environment variables of its own, nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Final

import attrs

Generate = Callable[[int, float], Awaitable[None]]
"""One order from its submit to its success, polled every so many seconds; raises what the SDK raises."""

Open = Callable[[str], AbstractAsyncContextManager[Generate]]
"""Opens a client of a variant."""


@attrs.frozen
class Contender:
    """One client in one configuration. `{url}` and `{host}` of `environment` stand for where the server is."""

    name: str
    module: str
    dialect: str
    environment: Mapping[str, str]
    variant: str = ""
    at_once: int | None = None
    """So many jobs at a time; None for all at once."""
    tls_only: bool = False

    def told_where(self, host: str, *, certificate: str | None) -> dict[str, str]:
        """The environment variables for a server; over TLS where there is a certificate to trust."""
        url = f"{'https' if certificate else 'http'}://{host}"
        trust = {"SSL_CERT_FILE": certificate} if certificate else {}
        return {name: value.format(url=url, host=host) for name, value in self.environment.items()} | trust

    def opened(self) -> AbstractAsyncContextManager[Generate]:
        """The client, made in this process."""
        open_client: Open = import_module(f"{__package__}.{self.module}").opened
        return open_client(self.variant)


RIVYA: Final = {"RIVYA_API_KEY": "rvya_sk_benchmark", "RIVYA_BASE_URL": "{url}"}
REPLICATE: Final = {"REPLICATE_API_TOKEN": "benchmark", "REPLICATE_BASE_URL": "{url}"}
RUNWAY: Final = {"RUNWAYML_API_SECRET": "key_benchmark", "RUNWAYML_BASE_URL": "{url}"}
OPENAI: Final = {"OPENAI_API_KEY": "sk-benchmark", "OPENAI_BASE_URL": "{url}/v1"}
GOOGLE: Final = {"GOOGLE_VERTEX_BASE_URL": "{url}"}
FAL: Final = {"FAL_KEY": "benchmark", "FAL_QUEUE_RUN_HOST": "{host}"}

YARDSTICK: Final = "bare aiohttp"
OURS: Final = "rivya_async"

CONTENDERS: Final = {
    contender.name: contender
    for contender in [
        Contender(YARDSTICK, "bare", "rivya", RIVYA, at_once=100),
        Contender("hand-written loop", "hand_written", "rivya", RIVYA),
        Contender(OURS, "ours", "rivya", RIVYA),
        Contender("google-genai (aiohttp)", "google", "google", GOOGLE, variant="aiohttp"),
        Contender("openai (aiohttp)", "openai", "openai", OPENAI, variant="aiohttp"),
        Contender("runwayml (aiohttp)", "runway", "runway", RUNWAY, variant="aiohttp"),
        Contender("google-genai (httpx2)", "google", "google", GOOGLE),
        Contender("openai (httpx2)", "openai", "openai", OPENAI),
        Contender("fal-client (httpx)", "fal", "fal", FAL, tls_only=True),
        Contender("replicate (httpx)", "replicate", "replicate", REPLICATE),
        Contender("runwayml (httpx)", "runway", "runway", RUNWAY),
    ]
}
"""The yardstick first, then by the HTTP client that they use."""


def prompt(order: int) -> str:
    """A prompt by which the server knows an order."""
    return f"A red kite over the sea, in the evening, order {order}"
