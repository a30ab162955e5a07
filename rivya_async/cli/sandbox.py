"""`rivya sandbox`: the whole API on this machine, until a signal ends it."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, Final

from .._core.errors import ConfigurationError
from .._core.settings import KEY_VARIABLE, URL_VARIABLE
from .target import new_sandbox

if TYPE_CHECKING:
    from argparse import Namespace

    from ..sandbox import Sandbox
    from .jobs import JobList
    from .output import Output

WHOLE: Final = ("all", "revoked", "expired")
"""Keys with every scope."""


async def run(arguments: Namespace, output: Output, _job_list: JobList) -> int:
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
        state=arguments.state,
    )
    try:
        keys = _more_keys(sandbox, arguments)
        if arguments.faults is not None:
            sandbox.faults.load(arguments.faults)
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"the sandbox cannot be made so: {error}") from None
    async with sandbox:
        told = {"api_key": sandbox.api_key, "base_url": sandbox.base_url}
        exports = {KEY_VARIABLE: sandbox.api_key, URL_VARIABLE: sandbox.base_url}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
        lines += [f"# {key['account']}, {key['what']}: {key['key']}" for key in keys]
        output.result({**told, "keys": keys} if keys else told, text="\n".join(lines))
        output.note(f"The sandbox listens on {sandbox.base_url} until Ctrl-C. Nothing is bought from it.")
        output.note(f"Watch it in a browser: {sandbox.base_url}/")
        await asyncio.get_running_loop().create_future()
    raise AssertionError("a future that nobody settles was settled")


def _more_keys(sandbox: Sandbox, arguments: Namespace) -> list[dict[str, str]]:
    """The keys that were asked for, in that order: whose they are, and what they may do."""
    asked = [(name, "all", number) for name, number in arguments.account]
    asked += [(name, what, None) for name, what in arguments.key]
    names = {"main", *(name for name, _ in arguments.account)}
    keys = []
    for name, what, number in asked:
        if name not in names:
            raise ValueError(f"there is no account {name!r}: open it with --account {name}=CREDITS")
        scopes = {} if what in WHOLE else {"scopes": frozenset(what.split(","))}
        key = sandbox.add_key(name, credits=number, revoked=what == "revoked", expired=what == "expired", **scopes)
        keys.append({"account": name, "what": what, "key": key})
    return keys
