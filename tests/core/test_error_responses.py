"""Error responses: the envelope of the API, JSON of other services, and pages of gateways."""

from __future__ import annotations

import json
import pickle
import time
from typing import Any

import pytest

from rivya_async._core.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
)
from rivya_async._core.http.error_responses import add_response, read_error
from rivya_async._core.http.messages import Response
from rivya_async._core.http.retry import purchase_outcome_is_unknown

KEY = "rvya_sk_" + "0" * 32


def respond(body: Any, status: int = 422, **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


def read(body: Any, status: int = 422, **headers: str) -> APIStatusError:
    return read_error(respond(body, status, **headers), 0.0, [KEY])


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": "validation_failed", "message": "17:9 is unknown", "requestId": "req_1"}},
        {"error": {"code": "validation_failed", "requestId": "req_1"}},
        {"error": {"message": "17:9 is unknown", "code": 5, "requestId": "req_1"}},
    ],
)
def test_reads_envelope(body: Any) -> None:
    error = read(body)
    assert error.has_envelope
    assert error.request_id == "req_1"
    assert json.loads(error.body) == body
    assert ("17:9 is unknown" in str(error)) is ("message" in body["error"])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"detail": "17:9 is unknown"}, "17:9 is unknown"),
        ({"detail": [{"loc": ["body", "prompt"], "msg": "Field required"}]}, "body.prompt: Field required"),
        (
            {"detail": [{"loc": ["body", "params", 0], "msg": "wrong", "input": "x"}, {"loc": ["query"], "msg": "no"}]},
            "body.params.0: wrong; query: no",
        ),
        ({"detail": {"reason": "out of stock"}}, "out of stock"),
        ({"message": "Forbidden"}, "Forbidden"),
        ({"Message": "User is not authorized"}, "User is not authorized"),
        ({"msg": "no"}, "no"),
        ({"error": "boom"}, "boom"),
        ({"error": "invalid_request", "error_description": "no scope"}, "invalid_request: no scope"),
        ({"error": {"detail": "inner"}}, "inner"),
        ({"errors": ["one", {"message": "two"}, {"title": "three", "detail": "four"}]}, "one; two; three: four"),
        ({"errors": {"name": ["is blank", "is short"]}}, "name: is blank; name: is short"),
        ({"type": "about:blank", "title": "Bad ratio", "status": 422, "detail": "17:9"}, "Bad ratio: 17:9"),
        ({"error": "Same", "message": "Same"}, "Same"),
        ({"detail": "two\nlines\x1b[31m"}, "two lines [31m"),
    ],
)
def test_reads_reason_of_other_json(body: Any, reason: str) -> None:
    error = read(body)
    assert type(error) is BadRequestError
    assert str(error).startswith(f"{reason} [422 without a code]")
    assert json.loads(error.body) == body
    assert (error.has_envelope, error.is_refusal) == (False, True)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"upstream is down\n", "upstream is down"),
        (
            b"<html><title>403 Forbidden</title><style>a {}</style><h1>Access &amp; more</h1>",
            "403 Forbidden Access & more",
        ),
        (b"<script>x = '<b>'</script>Blocked<br", "Blocked"),
        (b"<script>never ends", "the service answered without an error message"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "AccessDenied"),
        (b'{"error": ', '{"error":'),
        (b"\xff", "\ufffd"),
        (b'{"foo": 1}', '{"foo": 1}'),
        (b'"error"', '"error"'),
        (b'{"error": ' * 8 + b'"deep"' + b"}" * 8, '{"error": {"error"'),
        (b'["a"]', '["a"]'),
        (b'{"error": {"code": 5, "message": {"a": 1}, "requestId": [1]}}', '{"error": {"code": 5,'),
        (b'{"a": ' + b"[" * 100_000, '{"a": [[['),
        (b"[" * 2_000_000, "[[["),
        (b"", "the service answered without an error message"),
        (b" {} ", "the service answered without an error message"),
        (b"[]", "the service answered without an error message"),
        (b"null", "the service answered without an error message"),
    ],
    ids=lambda value: repr(value[:40]),
)
@pytest.mark.parametrize(
    ("status", "kind"), [(502, InternalServerError), (404, NotFoundError), (429, RateLimitError), (418, APIStatusError)]
)
def test_reads_page_of_gateway(body: bytes, reason: str, status: int, kind: type[APIStatusError]) -> None:
    error = read(body, status, Retry_After="3")
    assert type(error) is kind
    assert (error.status, error.code, error.request_id, error.retry_after) == (status, None, None, 3.0)
    assert str(error).startswith(reason)
    assert f"[{status} without a code]" in str(error)
    assert len(error.body) <= 500
    assert (error.has_envelope, error.is_refusal) == (False, False)


def test_html_is_recognized_by_its_type() -> None:
    assert read(b"Sorry<br>no", Content_Type="Text/HTML; charset=utf-8").body == "Sorry no"


@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationError), (403, PermissionDeniedError)])
def test_advice_for_page_is_about_the_gateway(status: int, kind: type[APIStatusError]) -> None:
    page = read(b"<h1>Sign in</h1>", status)
    assert type(page) is kind
    assert "not from the API" in str(page)
    assert "API key" not in str(page)
    assert "API key" in str(read({"detail": "no"}, 403)) or status != 403
    assert "Change the request" in str(read(b"<h1>Too large</h1>", 413))


def test_text_is_shortened_and_one_line() -> None:
    error = read({"detail": "x" * 10_000})
    assert len(error.body) == 500
    assert len(str(error)) < 700
    assert len(read(b"x" * 10_000_000).body) == 500


def test_key_is_masked_in_every_text() -> None:
    escaped = "".join(f"\\u{ord(each):04x}" for each in KEY)
    for body in (
        json.dumps({"error": {"code": f"no {KEY}", "message": f"no {KEY}", "requestId": KEY}}).encode(),
        b'{"detail": "no %s"}' % escaped.encode(),
        b"<h1>" + KEY.encode() + b"</h1>",
        b"x" * 480 + KEY.encode(),
    ):
        error = read(body, X_Echo=f"key {KEY}")
        assert KEY[:20] not in f"{error} {error.code} {error.body} {error.headers} {error.request_id} {error!r}"
        assert error.headers["x-echo"] == "key ***"


def test_redirect_target_is_masked() -> None:
    for target in (f"https://user:pw@sso.example/login?key={KEY}", f"/login/{KEY}?next=1#top"):
        text = str(read(b"", 302, Location=target))
        assert "redirects to" in text
        assert "pw@" not in text
        assert KEY not in text
        assert "next" not in text


def test_headers_are_case_insensitive_and_picklable() -> None:
    error = read(b"", 503, X_Request_Id="req_9")
    assert error.request_id == error.headers["x-request-id"] == "req_9"
    assert pickle.loads(pickle.dumps(error)).headers == error.headers
    assert read(b"", 503, Request_Id="req_8").request_id == "req_8"


@pytest.mark.parametrize(
    "body",
    [
        b"<script>" * 200_000,
        b"<" * 1_000_000,
        b"{" + b",".join(b'"%d": "x"' % number for number in range(60_000)) + b"}",
        json.dumps({"errors": {str(a): {str(b): [{"errors": ["x"] * 99}] * 99 for b in range(20)} for a in range(20)}}),
        "\\" * 1_000_000,
    ],
    ids=["scripts", "tags", "members", "nested", "backslashes"],
)
def test_reads_any_page_in_bounded_time(body: bytes | str) -> None:
    raw = body if isinstance(body, bytes) else body.encode()
    started = time.thread_time()
    read(raw, 403)
    assert time.thread_time() - started < 1.0


def test_decode_error_has_response() -> None:
    page = ResponseDecodeError("the service responded with a body that is not JSON", is_json=False)
    add_response(page, respond(b"<h1>Welcome</h1>", 200, X_Request_Id="req_1"), [KEY])
    assert (page.body, page.request_id) == ("Welcome", "req_1")
    assert "Welcome [200]" in str(page)
    record = ResponseDecodeError("no id")
    add_response(record, respond({"id": 5}, 200))
    assert (record.body, str(record)) == ('{"id": 5}', "no id")
    refused = ResponseDecodeError("no id")
    add_response(refused, respond({"error": {"code": "not_found", "message": "no such job"}}, 200))
    assert "no such job [200 not_found]" in str(refused)


def test_body_has_no_secrets_and_links() -> None:
    made = {"id": "whend_1", "signing_secret": "whsec_abc", "url": "https://u:p@h.example/f?sig=1"}
    error = ResponseDecodeError("no name")
    add_response(error, respond(made, 200))
    assert "whsec" not in error.body
    assert "sig=1" not in error.body
    assert "u:p" not in error.body


@pytest.mark.parametrize(
    ("body", "status", "unknown"),
    [
        *[
            (b"<h1>no</h1>", status, True)
            for status in (301, 302, 304, 401, 402, 403, 404, 405, 407, 409, 421, 451, 499)
        ],
        *[(b"", status, True) for status in (302, 401, 403, 404, 409, 418)],
        *[(b"<h1>no</h1>", status, False) for status in (400, 413, 415, 422)],
        *[({"detail": "no"}, status, False) for status in (400, 401, 402, 403, 404, 409, 422)],
        ({"detail": "moved"}, 302, True),
        ({"foo": 1}, 403, True),
        *[({"error": {"code": "not_found"}}, status, False) for status in (302, 401, 404, 409)],
        *[(b"<h1>no</h1>", status, False) for status in (408, 429, 502)],  # transient already
    ],
)
def test_outcome_of_purchase_by_response(body: Any, status: int, unknown: bool) -> None:
    assert purchase_outcome_is_unknown(read(body, status)) is unknown


def test_outcome_of_purchase_without_status() -> None:
    assert purchase_outcome_is_unknown(ResponseDecodeError("no record"))
    assert not purchase_outcome_is_unknown(APIStatusError("by hand"))
