"""Sessions for commands: at the service that the environment names, or at a sandbox that ends with the command."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from .._core.config import Config
from .._core.errors import ConfigurationError
from .._core.policies import PollPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from .._engine.hooks import Hooks
    from ..sandbox import Sandbox
    from ..session import RivyaSession
    from .output import Output

SANDBOX_POLL: Final = PollPolicy(first=0.15, base=0.2, cap=0.5, floor=0.1)
"""Poll policy for a sandbox, whose jobs take about a second."""


@asynccontextmanager
async def service_session(*, needs_key: bool = True, hooks: Sequence[Hooks] = ()) -> AsyncIterator[RivyaSession]:
    """Opens a session as `RIVYA_API_KEY` and `RIVYA_BASE_URL` say. One on this machine polls at short intervals.

    Raises `ConfigurationError` at once if there is no key and the command needs one.
    """
    settings = Config.resolve(os.environ)
    if needs_key:
        settings.require_api_key()
    from ..session import RivyaSession

    async with RivyaSession(poll=SANDBOX_POLL if settings.is_local else None, hooks=hooks) as session:
        yield session


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
