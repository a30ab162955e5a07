"""Where a redirect leads, as a value."""

from __future__ import annotations

import pytest

from rivya_async._core.errors import DownloadError
from rivya_async._core.message import Response
from rivya_async._core.redirects import target_of


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
def test_a_redirect_leads_there(location: str, target: str) -> None:
    assert target_of("https://a.example/films/1", answer(location), to_local=False) == target


@pytest.mark.parametrize("no_redirect", [answer(None), answer("/2", 200), answer("/2", 404), answer("/2", 500)])
def test_another_answer_leads_nowhere(no_redirect: Response) -> None:
    assert target_of("https://a.example/1", no_redirect, to_local=False) is None


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://a.example/2", "https to http"),
        ("file:///etc/passwd", "needs http"),
        ("ftp://a.example/2", "needs http"),
        ("https://[", "no URL"),
        ("https://a.example:99999/", "no URL"),
        ("https://127.0.0.1/2", "not on the public internet"),
        ("https://[::1]/2", "not on the public internet"),
    ],
)
def test_what_is_not_followed(location: str, why: str) -> None:
    with pytest.raises(DownloadError, match=why):
        target_of("https://a.example/1", answer(location), to_local=False)


def test_on_this_machine_it_may_lead_to_this_machine() -> None:
    target = target_of("http://127.0.0.1:1/1", answer("http://127.0.0.1:2/2"), to_local=True)
    assert target == "http://127.0.0.1:2/2"
