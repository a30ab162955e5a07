"""`rivya sandbox`: the whole API on this machine, until a signal ends it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ..._core.errors import ConfigurationError
from ..command import command
from ..options import FILE, PATH, PORT, POSITIVE, SECONDS, KeyValue
from ..session_factory import export_lines, new_sandbox

if TYPE_CHECKING:
    from ...sandbox import Sandbox
    from ..run import CommandContext

UNSCOPED_KEYS: Final = ("all", "revoked", "expired")
"""Kinds of keys that have every scope."""

ACCOUNT: Final = KeyValue("NAME=CREDITS", "team-b=500")
KEY: Final = KeyValue("NAME=KIND", "main=revoked or main=credits:read,files:read")


@command("sandbox")
@click.option("--host", metavar="HOST", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", metavar="PORT", type=PORT, default=0, help="Port; 0 is any free one.")
@click.option("--speed", metavar="X", type=float, help="Speed of jobs as a multiple of real time.")
@click.option("--seed", metavar="N", type=int, help="Seed of keys, ids, durations and images.")
@click.option("--credits", metavar="N", type=int, help="Credits of the account.")
@click.option("--allow-local-webhooks", is_flag=True, help="Allow webhook URLs with plain http and on this machine.")
@click.option("--link-lifetime", metavar="S", type=SECONDS, help="Result links expire after S seconds.")
@click.option("--rate-limit", metavar="N", type=POSITIVE, help="Requests per key and window.  [default: unlimited]")
@click.option("--rate-window", metavar="S", type=SECONDS, help="Length of a window.  [default: 60]")
@click.option("--faults", metavar="FILE", type=FILE, help="Faults to inject, as tables [[fault]] of a TOML file.")
@click.option("--state", type=PATH, help="Keep the whole state over restarts.")
@click.option("--account", "accounts", type=ACCOUNT, multiple=True, help="Another account with a key (repeatable).")
@click.option("--key", "keys", type=KEY, multiple=True, help="Another key of an account (repeatable).")
async def sandbox(
    context: CommandContext,
    *,
    faults: Path | None,
    accounts: tuple[tuple[str, str], ...],
    keys: tuple[tuple[str, str], ...],
    **options: Any,
) -> None:
    """Serve the whole API on this machine until Ctrl-C.

    KIND of a key is revoked, expired, or scopes with commas; its account is main, or one of --account.
    Prints RIVYA_API_KEY and RIVYA_BASE_URL as two export lines for the shell of its users.
    --json: {"api_key": "...", "base_url": "..."}, once it listens, and "keys", if more were requested.

    Examples:
      rivya sandbox
      rivya sandbox --port 8765 --speed 60 --seed 7
      rivya sandbox --faults faults.toml --state sandbox.db
      rivya sandbox --account team-b=500 --key main=revoked --key team-b=credits:read,generations:read
    """
    output = context.output
    output.is_embedded = True
    server = new_sandbox(**options)
    try:
        more_keys = _add_keys(server, accounts, keys)
        if faults is not None:
            server.faults.load(faults)
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"the sandbox cannot be created: {error}") from None
    async with server:
        value: dict[str, Any] = {"api_key": server.api_key, "base_url": server.base_url}
        lines = [*export_lines(server), *(f"# {key['account']}, {key['what']}: {key['key']}" for key in more_keys)]
        output.write_result({**value, "keys": more_keys} if more_keys else value, text="\n".join(lines))
        output.write_note(f"The sandbox listens on {server.base_url} until Ctrl-C. It sells nothing.")
        output.write_note(f"Watch it in a browser: {server.base_url}/")
        await asyncio.Event().wait()


def _add_keys(
    server: Sandbox, accounts: tuple[tuple[str, str], ...], keys: tuple[tuple[str, str], ...]
) -> list[dict[str, str]]:
    """Adds the requested accounts and keys; returns each key with its account and kind, in the same order."""
    for account, credits_text in accounts:
        if not (credits_text.isascii() and credits_text.isdecimal()):
            raise ValueError(f"--account takes NAME=CREDITS, such as team-b=500, not {account}={credits_text}")
    requested: list[tuple[str, str, int | None]] = [(name, "all", int(number)) for name, number in accounts]
    requested += [(name, kind, None) for name, kind in keys]
    names = {"main", *(name for name, _ in accounts)}
    added = []
    for name, kind, number in requested:
        if name not in names:
            raise ValueError(f"there is no account {name!r}: open it with --account {name}=CREDITS")
        scopes = {} if kind in UNSCOPED_KEYS else {"scopes": frozenset(kind.split(","))}
        key = server.add_key(name, credits=number, revoked=kind == "revoked", expired=kind == "expired", **scopes)
        added.append({"account": name, "what": kind, "key": key})
    return added
