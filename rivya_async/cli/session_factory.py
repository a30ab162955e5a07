"""Sessions for commands: at the service that the environment names, or at a sandbox that ends with the command."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import threading
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from .._core.config import API_KEY_VARIABLE, BASE_URL_VARIABLE, Config
from .._core.errors import ConfigurationError
from .._core.policies import PollPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from .._engine.hooks import Hooks
    from ..sandbox import Sandbox
    from ..session import RivyaSession
    from .output import Output

SANDBOX_POLL: Final = PollPolicy(first=0.15, base=0.2, cap=0.5, floor=0.1)
"""Poll policy for a sandbox, whose jobs take about a second."""


@asynccontextmanager
async def service_session(
    *, needs_key: bool = True, hooks: Sequence[Hooks] = (), proxy: str | None = None
) -> AsyncIterator[RivyaSession]:
    """Opens a session as `RIVYA_API_KEY` and `RIVYA_BASE_URL` say. One on this machine polls at short intervals.

    Raises `ConfigurationError` at once if there is no key and the command needs one.
    """
    settings = Config.resolve(os.environ)
    if needs_key:
        require_api_key(settings)
    from ..session import RivyaSession

    poll = SANDBOX_POLL if settings.is_local else None
    async with RivyaSession(poll=poll, hooks=hooks, **proxy_options(proxy, settings)) as session:
        yield session


def require_api_key(settings: Config) -> None:
    """Raises `ConfigurationError` with advice for a command line if there is no key."""
    if settings.api_key is None:
        raise ConfigurationError(f"this command needs an API key: set {API_KEY_VARIABLE}")


def proxy_options(proxy: str | None, settings: Config) -> dict[str, Any]:
    """Returns the arguments of `RivyaSession` for this proxy, or else for the variables of the environment.

    A service on this machine is reached without the variables. Raises `ConfigurationError` if it is no URL.
    """
    if proxy is None:
        return {} if settings.is_local else {"trust_env": True}
    check_http_url(proxy, "--proxy takes a URL such as http://proxy.example:3128")
    return {"proxy": proxy}


def check_http_url(url: str, advice: str) -> None:
    """Raises `ConfigurationError` with the advice if the text is no http or https URL with a host."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigurationError(advice)


@asynccontextmanager
async def price_file(session: RivyaSession, path: Path | None) -> AsyncIterator[None]:
    """Adds the learned prices of a file to a session, and saves those of the session there at the end, if any are new.

    Raises `ConfigurationError` for a file with another content, and if it cannot be read or written.
    """
    if path is not None and await asyncio.to_thread(path.exists):
        try:
            session.prices.load(json.loads(await asyncio.to_thread(path.read_bytes)))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"the prices in {path} cannot be read: {error}") from None
    before = session.prices.dump()
    try:
        yield
    finally:
        if path is not None and session.prices.dump() != before:
            text = json.dumps(session.prices.dump())
            try:
                await asyncio.to_thread(_replace_file, path, text)
            except OSError as error:
                raise ConfigurationError(f"the prices cannot be saved in {path}: {error}") from None


def _replace_file(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


@contextmanager
def sandbox_environment(output: Output) -> Iterator[None]:
    """Serves a sandbox in a thread, and sets the variables of key and URL for child processes."""
    sandbox = new_sandbox()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="rivya-sandbox")
    thread.start()
    variables = {name: os.environ.get(name) for name in (API_KEY_VARIABLE, BASE_URL_VARIABLE)}
    try:
        asyncio.run_coroutine_threadsafe(sandbox.__aenter__(), loop).result()
        try:
            os.environ.update({API_KEY_VARIABLE: sandbox.api_key, BASE_URL_VARIABLE: sandbox.base_url})
            output.write_note(f"The sandbox listens on {sandbox.base_url}. It sells nothing.")
            yield
        finally:
            asyncio.run_coroutine_threadsafe(sandbox.__aexit__(None, None, None), loop).result()
    finally:
        for name, value in variables.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@asynccontextmanager
async def embedded_session(
    output: Output, *, renders: bool = True, hooks: Sequence[Hooks] = (), **options: Any
) -> AsyncIterator[RivyaSession]:
    """Opens a session at a sandbox of this process. `options` are those of `Sandbox`."""
    async with new_sandbox(renders=renders, **options) as sandbox:
        output.mask_secret(sandbox.api_key)
        output.is_embedded = True
        from ..session import RivyaSession

        async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=SANDBOX_POLL, hooks=hooks) as session:
            yield session


def export_lines(sandbox: Sandbox) -> list[str]:
    """Returns the lines that set key and URL of a sandbox in a shell. The key is made up and opens nothing else."""
    variables = {API_KEY_VARIABLE: sandbox.api_key, BASE_URL_VARIABLE: sandbox.base_url}
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def new_sandbox(*, renders: bool = True, **options: Any) -> Sandbox:
    """Returns a sandbox that has not started. Options that are None keep the sandbox's defaults.

    Raises `ConfigurationError` for wrong options, or if it has to render files and the extra is missing.
    """
    if renders and not (find_spec("PIL") and find_spec("av")):
        raise ConfigurationError("the sandbox makes its files with Pillow and PyAV: pip install 'rivya-async[sandbox]'")
    from ..sandbox import Sandbox

    try:
        return Sandbox(**{name: value for name, value in options.items() if value is not None})
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"the sandbox cannot be created: {error}") from None
