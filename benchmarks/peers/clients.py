"""The measured clients. Each finds the server by its own environment variables."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Final

import attrs

Generate = Callable[[int, float], Awaitable[None]]
"""Runs one job from its submit to its success with a poll interval in seconds. Raises the errors of the SDK."""

OpenClient = Callable[[str], AbstractAsyncContextManager[Generate]]
"""Opens a client in a variant."""


@attrs.frozen
class Client:
    """A client in one configuration. `environment` contains the placeholders `{url}` and `{host}`."""

    name: str
    function: str
    api: str
    environment: Mapping[str, str]
    variant: str = ""
    max_jobs: int | None = None
    """Maximum number of concurrent jobs, or None for all."""
    tls_only: bool = False

    @property
    def module(self) -> str:
        """Name of the module that opens the client."""
        return "local_clients" if self.api == "rivya" else "sdk_clients"

    def environment_for(self, host: str, *, certificate: str | None) -> dict[str, str]:
        """Returns the environment variables for a server, with TLS if there is a certificate."""
        url = f"{'https' if certificate else 'http'}://{host}"
        trust = {"SSL_CERT_FILE": certificate} if certificate else {}
        return {name: value.format(url=url, host=host) for name, value in self.environment.items()} | trust

    def open(self) -> AbstractAsyncContextManager[Generate]:
        """Opens the client in this process."""
        open_client: OpenClient = getattr(import_module(f"{__package__}.{self.module}"), self.function)
        return open_client(self.variant)


RIVYA: Final = {"RIVYA_API_KEY": "rvya_sk_benchmark", "RIVYA_BASE_URL": "{url}"}
REPLICATE: Final = {"REPLICATE_API_TOKEN": "benchmark", "REPLICATE_BASE_URL": "{url}"}
RUNWAY: Final = {"RUNWAYML_API_SECRET": "key_benchmark", "RUNWAYML_BASE_URL": "{url}"}
OPENAI: Final = {"OPENAI_API_KEY": "sk-benchmark", "OPENAI_BASE_URL": "{url}/v1"}
GOOGLE: Final = {"GOOGLE_VERTEX_BASE_URL": "{url}"}
FAL: Final = {"FAL_KEY": "benchmark", "FAL_QUEUE_RUN_HOST": "{host}"}

BASELINE: Final = "bare aiohttp"
RIVYA_CLIENT: Final = "rivya_async"

CLIENTS: Final = {
    client.name: client
    for client in [
        Client(BASELINE, "open_bare_aiohttp", "rivya", RIVYA, max_jobs=100),
        Client("hand-written loop", "open_polling_loop", "rivya", RIVYA),
        Client(RIVYA_CLIENT, "open_rivya", "rivya", RIVYA),
        Client("google-genai (aiohttp)", "open_google", "google", GOOGLE, variant="aiohttp"),
        Client("openai (aiohttp)", "open_openai", "openai", OPENAI, variant="aiohttp"),
        Client("runwayml (aiohttp)", "open_runway", "runway", RUNWAY, variant="aiohttp"),
        Client("google-genai (httpx2)", "open_google", "google", GOOGLE),
        Client("openai (httpx2)", "open_openai", "openai", OPENAI),
        Client("fal-client (httpx)", "open_fal", "fal", FAL, tls_only=True),
        Client("replicate (httpx)", "open_replicate", "replicate", REPLICATE),
        Client("runwayml (httpx)", "open_runway", "runway", RUNWAY),
    ]
}
"""All clients: the baseline first, then grouped by HTTP client."""


def make_prompt(number: int) -> str:
    """Returns a prompt with the number of the job."""
    return f"A red kite over the sea, in the evening, number {number}"
