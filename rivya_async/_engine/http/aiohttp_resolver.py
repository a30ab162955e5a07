"""The public internet, and nothing else: what names resolve to, and what is connected to."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from aiohttp.resolver import ThreadedResolver

from ..._core.http.addresses import is_public, parse_address
from ..._core.http.redirects import private_address_error

if TYPE_CHECKING:
    from aiohttp import AddrInfoType
    from aiohttp.abc import ResolveResult


class PublicResolver(ThreadedResolver):
    """Raises `DownloadError` for a name that leads into a private network, whatever it led to a moment ago."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `aiohttp.abc.AbstractResolver`: the addresses that are connected to are the ones that are looked at."""
        found = await super().resolve(host, port, family)
        for each in found:
            address = parse_address(each["host"])
            if address is None or not is_public(address):
                raise private_address_error(host)
        return found


def public_socket(found: AddrInfoType) -> socket.socket:
    """A socket for what is connected to. aiohttp asks no resolver where it takes a host for an address."""
    family, kind, protocol, _, (host, *_) = found
    address = parse_address(str(host))
    if address is None or not is_public(address):
        raise private_address_error(str(host))
    return socket.socket(family, kind, protocol)
