"""Public and private addresses, including embedded ones."""

from __future__ import annotations

import pytest

from rivya_async._core.http.addresses import is_local_host, is_private_address, is_public, parse_address


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("64:ff9b::808:808", True),
        ("2002:808:808::1", True),
        ("::ffff:8.8.8.8", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("224.0.0.1", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("fc00::1", False),
        ("ff02::1", False),
    ],
)
def test_is_public(text: str, public: bool) -> None:
    address = parse_address(text)
    assert address is not None
    assert is_public(address) is public


@pytest.mark.parametrize("text", ["", "localhost", "rivya.ai", "127.1", "2130706433", "0x7f.1", "[::1]", "1.2.3.4.5"])
def test_names_are_not_addresses(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.0.0.1", True),
        ("fd00::1", True),
        ("169.254.1.1", True),
        ("LOCALHOST", True),
        ("api.localhost", True),
        ("8.8.8.8", False),
        ("localhost.example", False),
        ("2002:808:808::1", False),
        ("2002:a00:1::1", True),
        ("rivya.ai", False),
        ("", False),
    ],
)
def test_local_hosts(host: str, local: bool) -> None:
    assert is_local_host(host) is local


@pytest.mark.parametrize(
    ("host", "private"),
    [
        *[(host, True) for host in ("0x7f000001", "0X7F.1", "0177.0.0.1", "1", "127.0.0.1.", "localhost.", "")],
        *[(host, False) for host in ("8.8.8.8", "a.example", "0x7f.example", "1.example.", "0xyz")],
    ],
)
def test_numbers_are_private_addresses(host: str, private: bool) -> None:
    assert is_private_address(host) is private
