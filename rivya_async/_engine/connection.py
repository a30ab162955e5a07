"""The connection of a session: its arguments, its transport, and the preparation of the first call in a thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from ssl import SSLContext
from typing import TYPE_CHECKING, Final

import attrs

from .._core.errors import ConfigurationError

if TYPE_CHECKING:
    import aiohttp

    from .._core.config import Config
    from .._core.policies import Timeouts
    from .http.transport import Transport


@attrs.frozen(kw_only=True)
class Connection:
    """The arguments of a session that say how it connects. Raises `ConfigurationError` if they exclude each other."""

    config: Config
    timeouts: Timeouts
    http: aiohttp.ClientSession | None
    transport: Transport | None
    trust_env: bool
    ssl: SSLContext | aiohttp.Fingerprint | bool | None
    fast: bool = False

    def __attrs_post_init__(self) -> None:
        if self.http is not None and self.transport is not None:
            raise ConfigurationError(
                "http and transport exclude each other: a transport has its own connections. Pass one of them"
            )
        other = "http" if self.http is not None else "transport" if self.transport is not None else None
        given = {
            "proxy": self.config.proxy,
            "trust_env": self.trust_env or None,
            "ssl": self.ssl,
            "fast": self.fast or None,
        }
        for name, value in given.items():
            if other is not None and value is not None:
                raise ConfigurationError(
                    f"{other} and {name} exclude each other: {other} has its own connections. Set {name} there"
                )
        if self.ssl is not None and not isinstance(self.ssl, bool | SSLContext) and not _is_fingerprint(self.ssl):
            raise ConfigurationError(
                f"ssl must be an ssl.SSLContext, True or False, not {type(self.ssl).__name__}: for a certificate "
                "authority of your own, pass ssl.create_default_context(cafile=...)"
            )

        if self.fast and find_spec("httptools") is None:
            raise ConfigurationError("fast=True needs the package httptools: pip install 'rivya-async[speed]'")

    async def prepare(self) -> None:
        """Prepares the first call in a thread, once per process. Safe to cancel: the thread goes on."""
        if self.transport is not None or self.fast in _prepared:
            return
        executor = ThreadPoolExecutor(1, "rivya-prepare")  # the loop's own threads may be busy
        try:
            await asyncio.get_running_loop().run_in_executor(executor, _prepare, self.fast)
        finally:
            executor.shutdown(wait=False)

    def open(self) -> Transport:
        """Returns the caller's transport, or a new one on the running loop."""
        if self.transport is not None:
            return self.transport
        ssl = True if self.ssl is None else self.ssl
        if self.fast:
            from .http.fast_transport import FastTransport

            return FastTransport(self.config, self.timeouts, trust_env=self.trust_env, ssl=ssl)
        from .http.aiohttp_transport import AiohttpTransport

        return AiohttpTransport(self.config, self.timeouts, self.http, trust_env=self.trust_env, ssl=ssl)


_prepared: Final[list[bool]] = []
"""Contains False after the preparation of the default transport, True after that of the fast one."""


def _prepare(fast: bool) -> None:  # noqa: FBT001 - an executor passes no keywords
    """Imports aiohttp, which creates its TLS context, and creates the converters of the most frequent records."""
    from .._core.catalogue.model import ModelList
    from .._core.http.record_readers import prepare_converter
    from .._core.types.generations import Credits, File, Generation
    from .http import aiohttp_transport  # noqa: F401 - imported for its side effect

    prepare_converter(Generation, Credits, File, ModelList)
    if fast:
        from .http.fast_transport import ssl_context

        ssl_context(verified=True)
    _prepared.append(fast)


def _is_fingerprint(ssl: object) -> bool:
    """Returns True for an `aiohttp.Fingerprint`, without an import of aiohttp."""
    return type(ssl).__name__ == "Fingerprint"
