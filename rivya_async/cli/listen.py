"""`rivya listen`: a receiver for development, until a signal ends it."""

from __future__ import annotations

import asyncio
import shlex
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from .._core.errors import ConfigurationError
from .._core.settings import KEY_VARIABLE, URL_VARIABLE
from .._core.signature import Verifier
from ..receiver.aiohttp_web import new_app
from ..session import RivyaSession
from .listener import FORWARD_WITHIN, Listener
from .target import new_sandbox
from .webhook_sign import checked_url, secret_of
from .webhooks import EVENT_TYPES

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import AsyncIterator

    from .jobs import JobList
    from .output import Output

HOST: Final = "127.0.0.1"


async def run(arguments: Namespace, output: Output, _job_list: JobList) -> int:
    """Listen until cancelled."""
    forward = None if arguments.forward is None else checked_url("--forward", arguments.forward)
    if arguments.sandbox and arguments.secret is not None:
        raise ConfigurationError("the sandbox makes a signing secret of its own: leave out --secret, or --sandbox")
    verifier = None if arguments.sandbox else _verifier(secret_of(arguments.secret), output)
    with socket.create_server((HOST, arguments.port)) as here:
        port = here.getsockname()[1]
        if forward is not None and _is_here(forward, port):
            raise ConfigurationError("--forward leads back here: name the port of the receiver behind")
        url = f"http://{HOST}:{port}/"
        if verifier is not None:
            async with _served(here, verifier, output, forward):
                output.result({"url": url})
                output.note(f"Listening on {url} until Ctrl-C.")
                return await _until_cancelled()
        async with (
            new_sandbox(renders=False, allow_local_webhooks=True) as sandbox,
            RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session,
        ):
            output.is_embedded = True
            endpoint = await session.webhooks.create("rivya listen", url, EVENT_TYPES)
            async with _served(here, _verifier(endpoint.signing_secret or "", output), output, forward):
                output.result({"url": url, "api_key": sandbox.api_key, "base_url": sandbox.base_url})
                output.note(f"Listening on {url} until Ctrl-C. What is bought so is heard here:")
                for name, value in ((KEY_VARIABLE, sandbox.api_key), (URL_VARIABLE, sandbox.base_url)):
                    output.note(f"export {name}={shlex.quote(value)}")
                await session.webhooks.test(endpoint.id)
                return await _until_cancelled()


def _is_here(url: str, port: int) -> bool:
    parts = urlsplit(url)
    return parts.hostname in {HOST, "localhost", "0.0.0.0"} and parts.port == port  # noqa: S104 - which leads here too


def _verifier(secret: str, output: Output) -> Verifier:
    output.mask(secret)
    return Verifier(secret)


@asynccontextmanager
async def _served(here: socket.socket, verifier: Verifier, output: Output, forward: str | None) -> AsyncIterator[None]:
    """Take deliveries on this socket."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),  # a receiver under development is restarted at any time
        timeout=aiohttp.ClientTimeout(total=FORWARD_WITHIN),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
    ) as http:
        app = new_app(Listener(verifier, output, http, forward))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, auto_decompress=False)
        await runner.setup()
        try:
            await web.SockSite(runner, here).start()
            yield
        finally:
            await runner.cleanup()


async def _until_cancelled() -> int:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("a future that nobody settles was settled")
