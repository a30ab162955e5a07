"""The fault matrix: every row that a server can cause, as a header or a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio

from rivya_async import PollPolicy
from rivya_async._core.errors import SignatureMismatchError, TimestampToleranceError, WebhookVerificationError
from rivya_async.sandbox.faults.registry import FAULT_HEADER
from tests.sandbox.sandbox_client import HttpReply, SandboxClient, request_with_fault, running_sandbox
from tests.sandbox.webhook_kit import ReceivedWebhook, WebhookReceiver, running_webhooks

FAST_POLLS: Final = PollPolicy(first=0.02, base=0.02, cap=0.05, floor=0.01)
EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "faults.toml"


DISCONNECTED: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientResponseError)


CODES: Final = (401, 403, 404, 408, 409, 410, 413, 422, 425, 500, 503, 504)


def is_status(status: int) -> Callable[[HttpReply], bool]:
    return lambda reply: reply.status == status


def has_retry_after(text: str) -> Callable[[HttpReply], bool]:
    return lambda reply: reply.status == 429 and reply.headers["Retry-After"] == text


def has_members(**members: Any) -> Callable[[HttpReply], bool]:
    return lambda reply: reply.status == 200 and {**reply.json, **members} == reply.json


ROWS: Final[list[tuple[str, str, Callable[[HttpReply], bool] | None]]] = [
    # after send; None: the response is incomplete
    ("dropped before any byte", "drop=true", None),
    ("after the headers", "truncate=0", None),
    ("in mid-body", "truncate=20", None),
    ("short Content-Length", "truncate=9999, headers={Content-Length='9'}", None),
    ("bad chunk", "truncate=9999, headers={Transfer-Encoding='chunked'}", None),
    ("a kept-alive connection closed between two requests", "truncate=9999", is_status(200)),
    # status
    *(
        (f"{code}", f"status={code}", is_status(code))
        for code in (408, 409, 425, 500, 503, 504, 401, 403, 410, 413, 422)
    ),
    ("429 bare", "status=429, body=''", lambda reply: (reply.status, reply.raw) == (429, b"")),
    ("429 with code", "status=429", lambda reply: reply.code == "rate_limited"),
    ("502 with an HTML page", "status=502, body='<html>'", lambda reply: "html" in reply.headers["Content-Type"]),
    ("201", "status=201", is_status(201)),
    ("202", "status=202", is_status(202)),
    ("redirect to another host", "status=307, headers={Location='http://10.0.0.1/'}", is_status(307)),
    # Retry-After
    ("absent", "status=429", lambda reply: "Retry-After" not in reply.headers),
    *(
        (expected, f"status=429, retry_after={expected}", has_retry_after(expected))
        for expected in ("0", "3", "0.5", "-1", "inf", "nan")
    ),
    *(
        (expected, f"status=429, retry_after='{expected}'", has_retry_after(expected))
        for expected in (
            "+1",
            "٣",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 99999 08:49:37 GMT",
            "9" * 400,
        )
    ),
    ("blanks and tabs", "status=429, retry_after=' \t1\t '", lambda reply: reply.headers["Retry-After"].strip() == "1"),
    # body
    ("empty", "body=''", lambda reply: (reply.status, reply.raw) == (200, b"")),
    ("HTML with 200", "body='<html>'", lambda reply: (reply.status, reply.raw) == (200, b"<html>")),
    ("truncated JSON", "body='{\"id\": '", lambda reply: reply.raw == b'{"id": '),
    ("wrong type", "members={status=7}", has_members(status=7)),
    ("missing status", "without=['status']", lambda reply: "status" not in reply.json),
    ("unknown status", "members={status='pondering'}", has_members(status="pondering")),
    ("status going back", "members={status='queued'}", has_members(status="queued")),
    ("terminal without result", "without=['result']", lambda reply: "result" not in reply.json),
    ("id other than asked", "members={id='task_other'}", has_members(id="task_other")),
    ("unknown fields", "members={new={a=[1]}}", has_members(new={"a": [1]})),
    ("50 MB of JSON", "padding=50_000_000", lambda reply: len(reply.raw) > 50_000_000 and bool(reply.json["id"])),
    ("invalid UTF-8", "body_hex='ff'", lambda reply: reply.raw == b"\xff"),
    # time, cancellation: a slow request
    ("deadline inside a request", "delay=0.001", is_status(200)),
    # secrets
    ("redirect target", "status=302, headers={Location='https://example.com/'}", is_status(302)),
]
"""Rows about several requests are the same lines with `nth`, `rate` or `times`: 404 just after submit is
`route = "GET ...", nth = 1, status = 404`, and 429 for all and then recovery `status = 429, times = 100`."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def finished_task() -> AsyncIterator[tuple[SandboxClient, str]]:
    async with running_sandbox() as client:
        task_id = await client.submit_task()
        client.clock.now += 3600
        yield client, f"/api/v1/generations/{task_id}"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("line", "matches"), [row[1:] for row in ROWS], ids=[row[0][:40] for row in ROWS])
async def test_fault_matrix_row_as_header(
    finished_task: tuple[SandboxClient, str], line: str, matches: Callable[[HttpReply], bool] | None
) -> None:
    client, path = finished_task
    try:
        reply = await client.request("GET", path, headers={FAULT_HEADER: line}, allow_redirects=False)
    except DISCONNECTED:
        assert matches is None
    else:
        assert matches is not None
        assert matches(reply)
    assert (await client.request("GET", path)).json["status"] == "succeeded"


DOWNLOADS: Final[list[tuple[str, str, Callable[[HttpReply], bool] | None]]] = [
    ("expired URL", "status=403, body='expired'", is_status(403)),
    ("redirect to a private address", "status=302, headers={Location='http://192.168.0.1/'}", is_status(302)),
    ("wrong length", "truncate=100", None),
    ("resume of a changed file", "headers={ETag='\"other\"'}", lambda reply: reply.headers["ETag"] == '"other"'),
    ("no ETag", "without=['etag']", lambda reply: "ETag" not in reply.headers),
    ("no ranges", "status=200, without=['Content-Range']", lambda reply: "Content-Range" not in reply.headers),
    (
        "name with ../",
        "headers={Content-Disposition='attachment; filename=\"../x\"'}",
        lambda reply: "../x" in reply.headers["Content-Disposition"],
    ),
    ("10 GB", "truncate=100, headers={Content-Length='10737418240'}", None),
]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("line", "matches"), [row[1:] for row in DOWNLOADS], ids=[row[0] for row in DOWNLOADS])
async def test_download_fault_as_header(
    finished_task: tuple[SandboxClient, str], line: str, matches: Callable[[HttpReply], bool] | None
) -> None:
    client, path = finished_task
    url = (await client.request("GET", path)).json["result"]["primary_url"]
    headers = {FAULT_HEADER: line, "Range": "bytes=10-"}
    try:
        reply = await client.request(
            "GET", url.removeprefix(client.sandbox.base_url), headers=headers, allow_redirects=False
        )
    except DISCONNECTED:
        assert matches is None
    else:
        assert matches is not None
        assert matches(reply)


@pytest.mark.asyncio(loop_scope="module")
async def test_fault_can_replace_result_links(finished_task: tuple[SandboxClient, str]) -> None:
    client, path = finished_task
    for links in (["http://h/a.png", "http://other/a.png"], ["http://h/"]):  # two of one name; none
        expected = f"members={{result={{primary_url='{links[0]}', urls={links}}}}}"
        assert (await request_with_fault(client, expected, path)).json["result"]["urls"] == links


def raises(error: type[WebhookVerificationError]) -> Callable[[ReceivedWebhook, dict[str, Any]], None]:
    def check(webhook: ReceivedWebhook, endpoint: dict[str, Any]) -> None:
        with pytest.raises(error):
            webhook.verify(endpoint)

    return check


def is_valid(webhook: ReceivedWebhook, endpoint: dict[str, Any]) -> None:
    assert webhook.verify(endpoint).id


def is_valid_and_long(webhook: ReceivedWebhook, endpoint: dict[str, Any]) -> None:
    is_valid(webhook, endpoint)
    assert len(webhook.body) > 1_000_000


def is_of_unknown_type(webhook: ReceivedWebhook, endpoint: dict[str, Any]) -> None:
    assert webhook.verify(endpoint).type == "generation.paused"


DELIVERIES: Final[list[tuple[str, str, Callable[[ReceivedWebhook, dict[str, Any]], None]]]] = [
    ("wrong secret", "headers = { Rivya-Signature = 't=1,v1=00' }", raises(SignatureMismatchError)),
    ("missing signature", 'without = ["Rivya-Signature"]', raises(WebhookVerificationError)),
    ("malformed signature", 'headers = { Rivya-Signature = "x" }', raises(WebhookVerificationError)),
    ("body changed by one byte", "padding = 1", raises(SignatureMismatchError)),
    ("outside tolerance", "age = 301", raises(TimestampToleranceError)),
    ("of the future", "age = -302", raises(TimestampToleranceError)),
    ("within tolerance", "age = 200", is_valid),
    ("huge body", "padding = 1_000_000\nage = 0", is_valid_and_long),
    ("invalid UTF-8", 'body_hex = "ff"\nage = 0', raises(WebhookVerificationError)),
    ("unknown type", 'members = { type = "generation.paused" }\nage = 0', is_of_unknown_type),
    ("late", "delay = 0.001", is_valid),
    ("duplicate", "drop = true\nact = true", is_valid),
]
"""A rotated secret is the API's own `rotate-secret`; an event out of order is a delayed one."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def webhooks() -> AsyncIterator[tuple[SandboxClient, WebhookReceiver, dict[str, Any]]]:
    async with running_webhooks() as opened:
        yield opened


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("text", "check"), [row[1:] for row in DELIVERIES], ids=[row[0] for row in DELIVERIES])
async def test_delivery_fault_from_file(
    webhooks: tuple[SandboxClient, WebhookReceiver, dict[str, Any]],
    text: str,
    check: Callable[[ReceivedWebhook, dict[str, Any]], None],
    tmp_path: Path,
) -> None:
    client, receiver, endpoint = webhooks
    (tmp_path / "faults.toml").write_text(f'[[fault]]\nroute = "webhook delivery"\n{text}\n')
    client.sandbox.faults.load(tmp_path / "faults.toml")
    receiver.requests.clear()
    reply = await client.request("POST", f"/api/v1/webhooks/{endpoint['id']}/test")
    assert reply.status == 200
    client.sandbox.faults.clear()
    check(receiver.requests[0], endpoint)
