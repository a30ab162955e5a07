"""Classification of IP addresses: public, private or loopback."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")

NUMBER_PATTERN: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""Last label of a host that resolvers take for an address: a decimal, octal or hexadecimal number."""

Address: TypeAlias = IPv4Address | IPv6Address


def is_public(address: Address) -> bool:
    """Returns True if the address, and every address embedded in it, belongs to the public internet.

    >>> [is_public(ipaddress.ip_address(text)) for text in ("8.8.8.8", "10.0.0.1", "::ffff:127.0.0.1", "2002:a00:1::")]
    [True, False, False, False]
    """
    return all(map(_is_public, _embedded_addresses(address)))


def parse_address(text: str) -> Address | None:
    """Returns the address of a text with or without a zone; None for a name."""
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_private_address(host: str) -> bool:
    """Returns True if a host is a private address, an unusual spelling of an address, or a name of this machine.

    False for any other name, and for a public address.

    >>> [is_private_address(host) for host in ("127.0.0.1", "0177.0.0.1", "0x7f000001", "8.8.8.8", "a.example")]
    [True, True, True, False, False]
    """
    address = parse_address(host)
    if address is not None:
        return not is_public(address)
    last_label = host.lower().rstrip(".").rpartition(".")[2]
    is_number = NUMBER_PATTERN.fullmatch(last_label) is not None or not any(map(str.isalpha, host))
    return is_number or last_label == "localhost"


def is_loopback_host(host: str) -> bool:
    """Returns True for a loopback address or name."""
    address = parse_address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def is_local_host(host: str) -> bool:
    """Returns True for a loopback or private address, `localhost`, and names below it (RFC 6761).

    >>> [is_local_host(host) for host in ("127.0.0.1", "10.1.2.3", "fe80::1%eth0", "localhost", "8.8.8.8", "a.example")]
    [True, True, True, True, False, False]
    """
    address = parse_address(host)
    if address is None:
        return is_loopback_host(host) or host.lower().endswith(".localhost")
    # 6to4 is private from Python 3.13 on; its embedded address says where it is.
    embedded = address.sixtofour if isinstance(address, IPv6Address) else None
    return address.is_loopback or (embedded or address).is_private or address.is_link_local


def _embedded_addresses(address: Address) -> list[Address]:
    """Returns the address and the addresses embedded in it."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    embedded = [address.sixtofour, *(address.teredo or ())]
    if address in NAT64 or int(address) >> 32 == 0:
        embedded.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [address, *(each for each in embedded if each is not None)]


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        if address in NAT64 or address.sixtofour is not None:  # only its embedded address counts
            return True
        if address.is_site_local:  # `is_global` is true for these
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
