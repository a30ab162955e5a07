"""Headers of requests and responses."""

from __future__ import annotations

import pytest

from rivya_async._core.http.messages import Request, RequestOptions, Response

KEY = "rvya_sk_0123456789abcdefghijklmnopqrstuv"
USER_AGENT = "rivya-async/1.2.3"
NOW = 784_111_777.0
"""Sun, 06 Nov 1994 08:49:37 GMT."""

ALWAYS = {"Accept": "application/json", "User-Agent": USER_AGENT}
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("request_", "api_key", "headers"),
    [
        (Request("GET", "/x"), KEY, ALWAYS | AUTHORIZED),
        (Request("GET", "/x"), None, ALWAYS),
        (Request("GET", "/x", needs_api_key=False), KEY, ALWAYS),
        (
            Request("GET", "/x", accept="text/event-stream"),
            KEY,
            ALWAYS | AUTHORIZED | {"Accept": "text/event-stream", "Accept-Encoding": "identity"},
        ),
        (Request("POST", "/x", body=b"{}"), KEY, ALWAYS | AUTHORIZED | {"Content-Type": "application/json"}),
        (Request("POST", "/x", body=b""), KEY, ALWAYS | AUTHORIZED | {"Content-Type": "application/json"}),
        (
            Request("POST", "/x", body=b"{}", idempotency_key="order-42"),
            KEY,
            ALWAYS | AUTHORIZED | {"Content-Type": "application/json", "Idempotency-Key": "order-42"},
        ),
    ],
)
def test_request_headers(request_: Request, api_key: str | None, headers: dict[str, str]) -> None:
    assert request_.headers(api_key, USER_AGENT) == headers


def test_headers_are_new_each_time() -> None:
    request = Request("GET", "/x")
    request.headers(KEY, USER_AGENT)["X-Mine"] = "1"
    assert "X-Mine" not in request.headers(KEY, USER_AGENT)


def test_request_repr_omits_body_and_key() -> None:
    request = Request("POST", "/x", body=b'{"prompt": "my private idea"}')
    request.headers(KEY, USER_AGENT)
    assert "private" not in repr(request)
    assert KEY not in repr(request)


def test_response_repr_omits_body_and_headers() -> None:
    shown = repr(Response(200, {"Set-Cookie": "mine"}, b"whsec_secret"))
    assert "200" in shown
    assert "mine" not in shown
    assert "whsec" not in shown


@pytest.mark.parametrize(
    ("status", "good"),
    [(100, False), (199, False), (200, True), (201, True), (202, True), (204, True), (299, True), (300, False),
     (302, False), (400, False), (500, False)],
)  # fmt: skip
def test_any_2xx_is_success(status: int, good: bool) -> None:
    assert Response(status, {}, b"").is_success is good


@pytest.mark.parametrize(
    ("status", "is_redirect"), [(204, False), (299, False), (300, True), (302, True), (308, True), (400, False)]
)
def test_any_3xx_is_redirect(status: int, is_redirect: bool) -> None:
    assert Response(status, {}, b"").is_redirect is is_redirect


IN_30_SECONDS = "Sun, 06 Nov 1994 08:50:07 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({}, None, id="absent"),
        pytest.param({"Retry-After": "7"}, 7.0, id="seconds"),
        pytest.param({"Retry-After": IN_30_SECONDS}, 30.0, id="date-by-our-clock"),
        pytest.param(
            {"Retry-After": IN_30_SECONDS, "Date": "Sun, 06 Nov 1994 08:50:00 GMT"}, 7.0, id="date-by-the-server-clock"
        ),
        pytest.param(
            {"Retry-After": IN_30_SECONDS, "Date": "Sun Nov  6 08:50:00 1994"}, 7.0, id="server-clock-in-asctime"
        ),
        pytest.param(
            {"Retry-After": IN_30_SECONDS, "Date": "Tue, 06 Nov 2029 08:50:00 GMT"}, 0.0, id="past-by-server-date"
        ),
        pytest.param({"Retry-After": IN_30_SECONDS, "Date": "yesterday"}, 30.0, id="bad-date-is-no-clock"),
        pytest.param({"Retry-After": IN_30_SECONDS, "Date": ""}, 30.0, id="empty-date-is-no-clock"),
        pytest.param({"Retry-After": "7", "Date": "Tue, 06 Nov 2029 08:50:00 GMT"}, 7.0, id="seconds-need-no-clock"),
        pytest.param({"Retry-After": "soon", "Date": IN_30_SECONDS}, None, id="nonsense"),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert Response(429, headers, b"").retry_after(NOW) == seconds


def test_other_response_headers() -> None:
    assert Response(200, {"Content-Type": "image/png"}, b"").content_type == "image/png"
    assert Response(302, {"Location": "https://elsewhere.example"}, b"").location == "https://elsewhere.example"
    assert Response(200, {}, b"").content_type is None
    assert Response(200, {}, b"").location is None


@pytest.mark.parametrize(("method", "is_safe"), [("GET", True), ("HEAD", True), ("POST", False), ("DELETE", False)])
def test_only_reads_are_safe(method: str, is_safe: bool) -> None:
    assert Request(method, "/api/v1/generations").is_safe is is_safe


def test_options_add_headers_to_a_request() -> None:
    options = RequestOptions({"user-agent": "mine", "X-A": "1"})
    request = Request("POST", "/path", body=b"{}", idempotency_key="order-1", options=options)
    headers = request.headers(KEY, USER_AGENT)
    assert headers["user-agent"] == "mine"
    assert "User-Agent" not in headers
    assert headers["X-A"] == "1"
    assert headers["Idempotency-Key"] == "order-1"


@pytest.mark.parametrize("name", ["X-Request-Id", "Request-Id"])
def test_request_id_comes_from_a_header(name: str) -> None:
    assert Response(200, {name: "req_1"}, b"").request_id == "req_1"
    assert Response(200, {}, b"").request_id is None
