"""Validation of redirects."""

from __future__ import annotations

import pytest

from rivya_async._core.config import Config
from rivya_async._core.errors import DownloadError
from rivya_async._core.http.messages import Response
from rivya_async._core.http.redirects import RedirectTarget, encode_link, link_target, redirect_target

IS_SERVICE_HOST = Config(None, "https://rivya.ai").is_service_host


def answer(location: str | None, status: int = 302) -> Response:
    return Response(status, {} if location is None else {"Location": location}, b"")


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://b.example/2", "https://b.example/2"),
        ("/2", "https://a.example/2"),
        ("2?x=1", "https://a.example/films/2?x=1"),
        ("//b.example/2", "https://b.example/2"),
        (" https://8.8.8.8/2 ", "https://8.8.8.8/2"),
        ("", "https://a.example/films/1"),
    ],
)
def test_follows_redirect(location: str, target: str) -> None:
    assert redirect_target("https://a.example/films/1", answer(location), is_own=IS_SERVICE_HOST) == RedirectTarget(
        target, only_public=True
    )


@pytest.mark.parametrize("no_redirect", [answer(None), answer("/2", 200), answer("/2", 404), answer("/2", 500)])
def test_ignores_other_responses(no_redirect: Response) -> None:
    assert redirect_target("https://a.example/1", no_redirect, is_own=IS_SERVICE_HOST) is None


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://a.example/2", "https to http"),
        ("file:///etc/passwd", "without http"),
        ("ftp://a.example/2", "without http"),
        ("https://[", "invalid URL"),
        ("https://localhost/2", "not on the public internet"),
        ("https://a.example:99999/", "invalid URL"),
        ("https://127.0.0.1/2", "not on the public internet"),
        ("https://[::1]/2", "not on the public internet"),
        ("https://0177.0.0.1/2", "not on the public internet"),
        ("https://127.0.0.1./2", "not on the public internet"),
        ("https://１２７.０.０.１/2", "not on the public internet"),  # noqa: RUF001
        ("https://127。0。0。1/2", "not on the public internet"),
        ("https://2130706433/2", "not on the public internet"),
    ],
)
def test_rejects_unsafe_redirects(location: str, why: str) -> None:
    with pytest.raises(DownloadError, match=why):
        redirect_target("https://a.example/1", answer(location), is_own=IS_SERVICE_HOST)


@pytest.mark.parametrize(
    ("base_url", "location", "is_followed"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:2/2", True),
        ("http://127.0.0.1:1", "http://localhost/2", True),
        ("http://localhost", "http://[::1]/2", True),
        ("http://127.0.0.1:1", "http://10.0.0.1/2", False),
        ("http://127.0.0.1:1", "http://169.254.169.254/latest", False),
        ("http://10.0.0.1:8000", "http://10.0.0.1/2", True),
        ("http://10.0.0.1:8000", "http://10.0.0.2/2", False),
        ("http://10.0.0.1:8000", "http://127.0.0.1/2", False),
    ],
)
def test_follows_redirects_to_service(base_url: str, location: str, is_followed: bool) -> None:
    is_own = Config(None, base_url).is_service_host
    if is_followed:
        assert redirect_target("http://a.example/1", answer(location), is_own=is_own) == RedirectTarget(location)
    else:
        with pytest.raises(DownloadError, match="not on the public internet"):
            redirect_target("http://a.example/1", answer(location), is_own=is_own)


def test_recognizes_service_by_name() -> None:
    is_own = Config(None, "http://Sandbox:8000").is_service_host
    assert redirect_target("http://a.example/1", answer("http://sandBOX/2"), is_own=is_own) == RedirectTarget(
        "http://sandBOX/2"
    )
    with pytest.raises(DownloadError, match="not on the public internet"):
        redirect_target("http://a.example/1", answer("http://localhost/2"), is_own=is_own)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://a.example/k%27.png?t=image%2Fpng&sig=A%40B+C'\"<>{}|\\^`", None),
        ("https://a.example/a/../b//c%2e?x=100%#f", None),
        (" https://a.example/a b\tc\n", "https://a.example/a%20b%09c"),
        ("https://a.example/\u00e9?q=\u6f22", "https://a.example/%C3%A9?q=%E6%BC%A2"),
        ("https://a.example/\udce9", "https://a.example/%E9"),
    ],
    ids=ascii,
)
def test_link_is_sent_as_given(url: str, sent: str | None) -> None:
    assert encode_link(url) == (sent or url)


@pytest.mark.parametrize("location", ["https://b.example/k%27/../%2F?", "HTTPS://B.example//k?a=%40#"])
def test_absolute_location_is_not_rewritten(location: str) -> None:
    target = redirect_target("https://a.example/1", answer(location), is_own=IS_SERVICE_HOST)
    assert target == RedirectTarget(location, only_public=True)


def test_rejects_relative_redirect_that_is_no_url() -> None:
    with pytest.raises(DownloadError, match="invalid URL"):
        redirect_target("https://a.example/1", answer("//["), is_own=IS_SERVICE_HOST)


def test_link_of_service() -> None:
    def target(url: str, base_url: str) -> RedirectTarget:
        return link_target(url, base_url=base_url, is_own=Config(None, base_url).is_service_host)

    assert target("https://b.example/1", "https://rivya.ai") == RedirectTarget("https://b.example/1", only_public=True)
    assert target("http://127.0.0.1:2/1", "http://127.0.0.1:1") == RedirectTarget("http://127.0.0.1:2/1")
    for url in ("http://b.example/1", "https://10.0.0.1/1", "https://a.LOCALHOST./1", "https://[/1", "ftp://b.example"):
        with pytest.raises(DownloadError):
            target(url, "https://rivya.ai")
