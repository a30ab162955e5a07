"""`rivya sandbox`: the whole API on this machine, until a signal ends it."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING

from .._core.errors import ConfigurationError
from .._core.settings import KEY_VARIABLE, URL_VARIABLE
from .target import new_sandbox

if TYPE_CHECKING:
    from argparse import Namespace

    from .jobs import Ledger
    from .output import Output


async def run(arguments: Namespace, output: Output, _ledger: Ledger) -> int:
    """Serve until cancelled. The key that is printed is the sandbox's own invention and opens nothing else."""
    output.is_embedded = True
    sandbox = new_sandbox(
        host=arguments.host,
        port=arguments.port,
        speed=arguments.speed,
        seed=arguments.seed,
        credits=arguments.credits,
        allow_local_webhooks=arguments.allow_local_webhooks,
        link_lifetime=arguments.link_lifetime,
        rate_limit=arguments.rate_limit,
        rate_window=arguments.rate_window,
    )
    if arguments.faults is not None:
        try:
            sandbox.faults.load(arguments.faults)
        except (ValueError, OSError) as error:
            raise ConfigurationError(f"these faults cannot be put in force: {error}") from None
    async with sandbox:
        output.result(
            {"api_key": sandbox.api_key, "base_url": sandbox.base_url},
            text="\n".join(
                f"export {name}={shlex.quote(value)}"
                for name, value in ((KEY_VARIABLE, sandbox.api_key), (URL_VARIABLE, sandbox.base_url))
            ),
        )
        output.note(f"The sandbox listens on {sandbox.base_url} until Ctrl-C. Nothing is bought from it.")
        output.note(f"Watch it in a browser: {sandbox.base_url}/")
        await asyncio.get_running_loop().create_future()
    raise AssertionError("a future that nobody settles was settled")
