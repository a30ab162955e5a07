"""Sources and validation of base URL and API key. The key is never shown."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import pytest

from rivya_async._core.config import Config, validate_headers, validate_proxy
from rivya_async._core.errors import ConfigurationError
from rivya_async._core.http.messages import merge_headers

KEY = "rvya_sk_0123456789abcdefghijklmnopqrstuv"
ORIGIN = "https://rivya.ai"


@pytest.mark.parametrize(
    ("argument", "variable", "resolved"),
    [
        (None, None, None),
        (None, "", None),
        (None, " \t", None),
        (None, KEY, KEY),
        (None, f" {KEY}\n", KEY),
        (KEY, None, KEY),
        (KEY, "rvya_sk_other", KEY),
        (f"{KEY}\n", None, KEY),
        ("a_key_of_a_new_form", None, "a_key_of_a_new_form"),
        ("!~", None, "!~"),
        pytest.param("", KEY, None, id="empty-argument-means-no-key"),
    ],
)
def test_api_key_source(argument: str | None, variable: str | None, resolved: str | None) -> None:
    environ = {} if variable is None else {"RIVYA_API_KEY": variable}
    assert Config.resolve(environ, api_key=argument).api_key == resolved


@pytest.mark.parametrize(
    ("argument", "variable", "resolved"),
    [
        (None, None, ORIGIN),
        (None, "", ORIGIN),
        (None, "  ", ORIGIN),
        ("", None, ORIGIN),
        ("  ", None, ORIGIN),
        ("", "https://staging.rivya.ai", "https://staging.rivya.ai"),
        (None, "https://staging.rivya.ai", "https://staging.rivya.ai"),
        (None, " https://staging.rivya.ai\n", "https://staging.rivya.ai"),
        (" https://staging.rivya.ai\n", None, "https://staging.rivya.ai"),
        ("http://127.0.0.1:8080", "https://staging.rivya.ai", "http://127.0.0.1:8080"),
        ("https://rivya.ai/", None, ORIGIN),
        ("https://rivya.ai///", None, ORIGIN),
        ("https://rivya.ai/api/v1", None, ORIGIN),
        ("https://rivya.ai/api/v1/", None, ORIGIN),
        ("https://rivya.ai//api/v1//", None, ORIGIN),
        ("https://proxy.example/rivya/", None, "https://proxy.example/rivya"),
        ("https://proxy.example/rivya/api/v1", None, "https://proxy.example/rivya"),
        ("https://proxy.example/my-api/v1", None, "https://proxy.example/my-api/v1"),
        ("http://[::1]:9", None, "http://[::1]:9"),
        ("HTTPS://rivya.ai", None, "HTTPS://rivya.ai"),
    ],
)
def test_base_url_source(argument: str | None, variable: str | None, resolved: str) -> None:
    environ = {} if variable is None else {"RIVYA_BASE_URL": variable}
    assert Config.resolve(environ, base_url=argument).base_url == resolved


BAD_URLS = [
    "rivya.ai",
    "rivya.ai:443",
    "//rivya.ai",
    "/api/v1",
    "ftp://rivya.ai",
    "file:///etc/passwd",
    "https://",
    "https:///api/v1",
    "https://:443",
    "https://[::1",
    "https://rivya.ai:0",
    "https://rivya.ai:65536",
    "https://rivya.ai:port",
    "https://user:secret@rivya.ai",
    "ftp://user:secret@rivya.ai",
    "https://user@rivya.ai",
    "https://@rivya.ai",
    "https://rivya.ai\\@evil.example",
    "https://rivya.ai?",
    "https://rivya.ai?key=secret",
    "https://rivya.ai#",
    "https://rivya.ai/#part",
    "https://rivya.ai/a b",
    "https://riv ya.ai",
    "https://riv\nya.ai",
    "https://rivya.ai\x00",
    "https://rivya\u2028.ai",
    KEY,
]


@pytest.mark.parametrize("url", BAD_URLS, ids=ascii)
@pytest.mark.parametrize("source", ["argument", "variable"])
def test_rejects_invalid_url_without_showing_it(url: str, source: str) -> None:
    environ = {"RIVYA_BASE_URL": url} if source == "variable" else {}
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        Config.resolve(environ, base_url=url if source == "argument" else None)
    assert "RIVYA_BASE_URL" in str(caught.value), "the variable may be at fault: name it"
    assert "secret" not in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["rvya_sk_a b", "rvya_sk_\x00", "rvya_sk_é", "rvya_sk_a\r\nX-Evil: 1", "rvya_sk_\u2028a"]
)
def test_rejects_invalid_key_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigurationError, match="copy it again") as caught:
        Config.resolve({}, api_key=key)
    assert "rvya_sk_" not in str(caught.value)


@pytest.mark.parametrize("value", [b"rvya_sk_1", 5, ["a"], object()], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", ["api_key", "base_url"])
def test_rejects_other_types_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be a string, not {type(value).__name__}"):
        Config.resolve({}, **{name: value})


def test_key_is_required_by_calls_only() -> None:
    settings = Config.resolve({})
    with pytest.raises(ConfigurationError, match="RIVYA_API_KEY"):
        settings.require_api_key()


def test_require_api_key() -> None:
    assert Config.resolve({}, api_key=KEY).require_api_key() == KEY


@pytest.mark.parametrize("show", [repr, str, "{}".format, ascii], ids=["repr", "str", "format", "ascii"])
def test_repr_omits_key(show: Any) -> None:
    shown = show(Config.resolve({}, api_key=KEY))
    assert KEY not in shown
    assert ORIGIN in shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="API key"):
        pickle.dumps(Config.resolve({}, api_key=KEY), protocol)


def test_traceback_omits_key() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Config.resolve({"RIVYA_API_KEY": KEY}, base_url="nonsense")
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_plain_http_needs_permission_for_other_hosts() -> None:
    with pytest.raises(ConfigurationError, match="allow_plain_http"):
        Config.resolve({}, base_url="http://rivya.ai")
    assert Config.resolve({}, base_url="http://rivya.ai", allow_plain_http=True).base_url == "http://rivya.ai"
    assert Config.resolve({}, base_url="http://127.0.0.1:5").base_url == "http://127.0.0.1:5"


@pytest.mark.parametrize(
    ("url", "ascii_url"),
    [
        ("https://bücher.example/tür", "https://xn--bcher-kva.example/t%C3%BCr"),
        ("https://bücher.example:8443", "https://xn--bcher-kva.example:8443"),
        ("https://rivya.ai/tür", "https://rivya.ai/t%C3%BCr"),
    ],
)
def test_base_url_is_ascii(url: str, ascii_url: str) -> None:
    assert Config.resolve({}, base_url=url).base_url == ascii_url


def test_rejects_invalid_international_host() -> None:
    with pytest.raises(ConfigurationError, match="host name"):
        Config.resolve({}, base_url="https://ü..example")


def test_headers_are_merged_without_case() -> None:
    headers = validate_headers({"X-A": "1", "user-agent": "mine"})
    assert headers == {"X-A": "1", "User-Agent": "mine"}
    assert merge_headers(headers, {"x-a": "2"}) == {"User-Agent": "mine", "x-a": "2"}
    assert validate_headers(None, "mine") == {"User-Agent": "mine"}


@pytest.mark.parametrize(
    ("headers", "user_agent", "match"),
    [
        ([("X-A", "1")], None, "mapping"),
        ({"X A": "1"}, None, "not a valid header name"),
        ({"Authorization": "1"}, None, "pass api_key"),
        ({"X-A": "1\n"}, None, "printable"),
        ({"X-A": "1", "x-a": "2"}, None, "twice"),
        ({"User-Agent": "1"}, "2", "beside user_agent"),
    ],
)
def test_rejects_headers(headers: Any, user_agent: str | None, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        validate_headers(headers, user_agent)


@pytest.mark.parametrize(
    "proxy",
    ["secret.example:3128", "socks5://secret", "http://", "http://[::1secret", "http://a secret", "http://secret:0"],
)
def test_rejects_proxy_without_showing_it(proxy: str) -> None:
    with pytest.raises(ConfigurationError, match="proxy must be a URL") as caught:
        validate_proxy(proxy)
    assert "secret" not in str(caught.value)


def test_proxy_is_kept_with_its_password() -> None:
    assert validate_proxy(" http://me:secret@proxy.example:3128 ") == "http://me:secret@proxy.example:3128"
    assert validate_proxy(None) is None
    assert "secret" not in repr(Config.resolve({}, proxy="http://me:secret@proxy.example"))
