"""Validation of webhook URLs."""

from __future__ import annotations

import ipaddress
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async.sandbox.responses import ApiError
from rivya_async.sandbox.webhooks.endpoints import check_webhook_url, is_loopback_url

LOOPBACKS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
]
NAMES = ["localhost", "LOCALHOST.", "api.localhost"]
LOCAL = ["intranet", "localhost6", "ip6-loopback", "nas.home.arpa", "printer.lan", "wiki.corp", "[fec0::1]"]


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org/rivya",
        "https://hooks.example.org:8443/a?b=c",
        "HTTPS://hooks.example.org",
        "https://8.8.8.8/",
        "https://134744072/",
        "https://[2606:4700::1111]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[64:ff9b::808:808]/",
        "https://1und1.example",
        "https://0x7f.example",
    ],
)
def test_accepts_public_https_urls(url: str) -> None:
    check_webhook_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.org",
        "ftp://hooks.example.org",
        "http://hooks.example.org",
        "https://",
        "https:///path",
        "https://user@hooks.example.org",
        "https://user:password@hooks.example.org",
        "https://@hooks.example.org",
        "https://hooks.example.org/#",
        "https://hooks.example.org/#part",
        "https://hooks.example.org\\@127.0.0.1/",
        "https://hooks.example.org /",
        "https://hooks.example.org/\n",
        "https://127.0.0.1\t/",
        "https://hooks.example.org:0/",
        "https://hooks.example.org:65536/",
        "https://hooks.example.org:x/",
        "https://hooks..example.org/",
        "https://%31%32%37.0.0.1/",
        "https://256.1.1.1/",
        "https://1.2.3.4.5/",
        "https://09.1.1.1/",
        "https://4294967296/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://localhost.localdomain/",
        "https://printer.local/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://169.254.169.254/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://0/",
        "https://224.0.0.1/",
        "https://240.0.0.1/",
        "https://255.255.255.255/",
        "https://[::]/",
        "https://[fc00::1]/",
        "https://[fe80::1]/",
        "https://[ff02::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[::10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[2002:a00:1::]/",
        f"https://hooks.example.org/{'a' * 2048}",
        *(f"https://{host}/" for host in LOOPBACKS + NAMES + LOCAL),
    ],
)
def test_rejects_other_urls(url: str) -> None:
    with pytest.raises(ApiError) as raised:
        check_webhook_url(url)
    assert (raised.value.code, raised.value.status) == ("webhook_url_rejected", 400)


@pytest.mark.parametrize("host", LOOPBACKS + NAMES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_allow_local_permits_loopback_and_http(scheme: str, host: str) -> None:
    url = f"{scheme}://{host}:8080/hook"
    check_webhook_url(url, allow_local=True)
    assert is_loopback_url(url)


def test_allow_local_permits_http_for_public_hosts() -> None:
    for url in ("http://hooks.example.org/", "http://8.8.8.8/", "http://[2606:4700::1111]/"):
        check_webhook_url(url, allow_local=True)
        assert not is_loopback_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://user@127.0.0.1/",
        "http://127.0.0.1/#part",
        "http://192.168.1.1/",
        "http://169.254.169.254/",
        "http://printer.local/",
        "http://0.0.0.0/",
        "ftp://127.0.0.1/",
        *(f"http://{host}/" for host in LOCAL),
    ],
)
def test_allow_local_permits_nothing_else(url: str) -> None:
    with pytest.raises(ApiError):
        check_webhook_url(url, allow_local=True)


PRIVATE = st.sampled_from(["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16", "172.16.0.0/12"])


@given(network=PRIVATE.map(ipaddress.IPv4Network), draw=st.integers(0, 2**32), form=st.integers(0, 6))
def test_rejects_every_spelling_of_private_addresses(network: ipaddress.IPv4Network, draw: int, form: int) -> None:
    address = network[draw % network.num_addresses]
    number, (a, b, c, d) = int(address), address.packed
    spelled = [
        f"{address}",
        f"{number}",
        f"{number:#x}",
        f"0{number:o}",
        f"{a:#x}.0{b:o}.{c}.{d:#X}",
        f"{a}.{(b << 16) + (c << 8) + d}",
        f"[::ffff:{address}]",
    ][form]
    with pytest.raises(ApiError, match="must not be a local"):
        check_webhook_url(f"https://{spelled}/")


@given(st.text() | st.text(alphabet="htps:/@#%[].0x1fla"))
def test_raises_only_api_errors(text: str) -> None:
    for url in (text, f"https://{text}"):
        with suppress(ApiError):
            check_webhook_url(url)
