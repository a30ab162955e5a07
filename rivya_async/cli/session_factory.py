"""Whom a command talks to: the service, as the environment says, or a sandbox that lives as long as the command."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from .._core.errors import ConfigurationError
from .._core.policies import PollPolicy
from .._core.settings import Settings
from ..session import RivyaSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from .._engine.hooks import Hooks
    from ..sandbox import Sandbox
    from .output import Output

SANDBOX_POLL: Final = PollPolicy(first=0.15, base=0.2, cap=0.5, floor=0.1)
"""How a sandbox is polled: its jobs take a second, and nobody minds the traffic."""


@asynccontextmanager
async def service_session(*, needs_key: bool = True, hooks: Sequence[Hooks] = ()) -> AsyncIterator[RivyaSession]:
    """The service as `RIVYA_API_KEY` and `RIVYA_BASE_URL` say; one on this machine is polled briskly.

    Raises `ConfigurationError` at once if there is no key and the command will need one.
    """
    settings = Settings.resolve(os.environ)
    if needs_key:
        settings.required_key()
    async with RivyaSession(poll=SANDBOX_POLL if settings.is_local else None, hooks=hooks) as session:
        yield session


@asynccontextmanager
async def embedded_session(
    output: Output, *, renders: bool = True, hooks: Sequence[Hooks] = (), **options: Any
) -> AsyncIterator[RivyaSession]:
    """A sandbox of this process. `renders`: whether files will be asked of it; `options` as `Sandbox` takes them."""
    async with new_sandbox(renders=renders, **options) as sandbox:
        output.mask_secret(sandbox.api_key)
        output.is_embedded = True
        async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=SANDBOX_POLL, hooks=hooks) as session:
            yield session


def new_sandbox(*, renders: bool = True, **options: Any) -> Sandbox:
    """A sandbox that is not started yet; options that are None are left to its defaults."""
    if renders and not (find_spec("PIL") and find_spec("av")):
        raise ConfigurationError("the sandbox makes its files with Pillow and PyAV: pip install 'rivya-async[sandbox]'")
    from ..sandbox import Sandbox

    try:
        return Sandbox(**{name: value for name, value in options.items() if value is not None})
    except ValueError as error:
        raise ConfigurationError(f"the sandbox cannot be made so: {error}") from None
