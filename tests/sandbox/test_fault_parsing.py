"""Faults in TOML files and in headers, and the fault matrix that a server can cause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs
import pytest
import pytest_asyncio

from rivya_async import PollPolicy, RivyaSession
from rivya_async._core.errors import OutsideTolerance, SignatureMismatch, WebhookError
from rivya_async.sandbox import Fault, FaultRegistry
from rivya_async.sandbox.faults.parsing import FAULT_HEADER, FIELD_TYPES, SELECTOR_FIELDS, parse_header, parse_toml
from tests.sandbox.sandbox_client import FILE, POLL, SUBMIT, HttpReply, SandboxClient, running_sandbox
from tests.sandbox.webhook_kit import ReceivedWebhook, WebhookReceiver, running_webhooks, wait_for_deliveries

FAST_POLLS: Final = PollPolicy(first=0.02, base=0.02, cap=0.05, floor=0.01)
EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "faults.toml"


# --- parsing ----------------------------------------------------------------------------------------------------------


def test_every_fault_field_has_toml_type() -> None:
    assert set(FIELD_TYPES) - {"body_hex"} == {field.name for field in attrs.fields(Fault)}
    assert set(FIELD_TYPES) > SELECTOR_FIELDS


def test_toml_equals_python() -> None:
    text = """
        [[fault]]
        route = "POST /api/v1/generations"
        nth = [1, 3]
        status = 503
        retry_after = 2
        headers = { X-Proxy = "a" }

        [[fault]]
        rate = 0.5
        members = { status = "odd" }
        without = ["result"]

        [[fault]]
        body_hex = "ff fe"
    """
    first, second, third = parse_toml(text)
    assert attrs.asdict(first) == attrs.asdict(
        Fault(route=SUBMIT, nth=[1, 3], status=503, retry_after=2, headers={"X-Proxy": "a"})
    )
    assert attrs.asdict(second) == attrs.asdict(Fault(rate=0.5, members={"status": "odd"}, without=["result"]))
    assert third.body == b"\xff\xfe"
    assert not parse_toml("")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[fault]]\nstauts = 503", "fault 1: there is no 'stauts': did you mean status?"),
        ("[[fault]]\ndrop = true\n[[fault]]\nretryafter = 1", "fault 2: there is no 'retryafter': did you mean retry_"),
        ("[[fault]]\nzzz = 1", "fault 1: there is no 'zzz': did you mean route, key, code"),
        ("[[faults]]\ndrop = true", r"there is no 'faults': a fault is a table \[\[fault\]\]"),
        ("[fault]\ndrop = true", "in two brackets"),
        ("fault = [1]", "fault 1: it is not a table"),
        ('[[fault]]\nstatus = "503"', "fault 1: status is a whole number, not '503'"),
        ("[[fault]]\nstatus = true", "status is a whole number, not True"),
        ("[[fault]]\nstatus = 503.0", "status is a whole number, not 503.0"),
        ('[[fault]]\nnth = ["1"]', "each of nth is a whole number, not '1'"),
        ("[[fault]]\nnth = true", "nth is a whole number or a list, each a whole number, not True"),
        ("[[fault]]\nheaders = { X = 1 }", "each of headers is a string, not 1"),
        ("[[fault]]\nheaders = 1", "headers is a table, not 1"),
        ("[[fault]]\nwithout = [1]", "each of without is a string, not 1"),
        ("[[fault]]\ndrop = 1", "drop is true or false, not 1"),
        ('[[fault]]\nbody = ""\nbody_hex = ""', "exclude each other"),
        ('[[fault]]\nbody_hex = "zz"', "fault 1: non-hexadecimal"),
        ("[[fault]]\nact = true", "this fault does nothing"),
        ("[[fault]]\nstatus = 99", "status is from 200 to 599"),
        ("[[fault]]\npadding = -1", "padding is a number of bytes"),
        ("[[fault]]\nmembers = { created_at = 2026-05-11T00:00:00Z }", "fault 1: members must be JSON values: put"),
        ('[[fault]]\nheaders = { "X-A" = "a\\u007f" }', "a header has a name without spaces, and no control char"),
        ('[[fault]]\nheaders = { "X A" = "a" }', "a header has a name without spaces, and no control char"),
        ('[[fault]]\nheaders = { "" = "a" }', "a header has a name without spaces, and no control char"),
        ('[[fault]]\nretry_after = "1\\u000b"', "a header has a name without spaces, and no control char"),
        ("[[fault]]\nage = 1", "age belongs to the route"),
        ('[[fault]]\nroute = "webhook delivery"\nage = inf', "age is a number of seconds"),
        ('[[fault]]\nroute = "webhook delivery"\nstatus = 500', "a delivery is not a response"),
        ("[[fault", "at end of document"),
    ],
)
def test_error_names_invalid_field(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_toml(text)


def test_load_activates_all_faults_or_none(tmp_path: Path) -> None:
    faults = FaultRegistry([SUBMIT])
    file = tmp_path / "faults.toml"
    file.write_text('[[fault]]\ndrop = true\n[[fault]]\nroute = "POST /generations"\ndrop = true\n')
    with pytest.raises(ValueError, match=r"faults.toml: there is no route 'POST /generations'; the routes are"):
        faults.load(file)
    assert faults.match(SUBMIT, "/api/v1/generations", None) is None
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"faults.toml: "):
        faults.load(file)
    file.write_text("[[fault]]\ndrop = true\n")
    (fault,) = faults.load(file)
    assert faults.match(SUBMIT, "/api/v1/generations", None) is fault
    with pytest.raises(FileNotFoundError):
        faults.load(tmp_path / "none.toml")


def test_header_equals_inline_table() -> None:
    fault = parse_header('status=503, retry_after="+1", headers={X="a, b"}')
    assert attrs.asdict(fault) == attrs.asdict(Fault(status=503, retry_after="+1", headers={"X": "a, b"}))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", "this fault does nothing"),
        ("status=503, nth=1", "'nth' selects requests"),
        ("statsu=503", "there is no 'statsu': did you mean status?"),
        ("status=503}", "."),
        ("status=503} , x={", "."),
        ("drop", "."),
        ("body='\udcff'", "."),
        (f"without={'[' * 3000}", "too deep"),
    ],
)
def test_rejects_invalid_header(line: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_header(line)


# --- header over sockets ----------------------------------------------------------------------------------------------


async def request_with_fault(client: SandboxClient, line: str, path: str = "/api/v1/credits") -> HttpReply:
    return await client.request("GET", path, headers={FAULT_HEADER: line})


async def test_header_applies_to_its_request_only() -> None:
    async with running_sandbox() as client:
        reply = await request_with_fault(client, "status=503, retry_after=2")
        assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, "public_api_disabled", "2")
        assert (await client.request("GET", "/api/v1/credits")).status == 200
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.request("POST", "/api/v1/generations", json={}, headers={FAULT_HEADER: "drop=true"})


async def test_header_precedes_active_faults_and_is_counted() -> None:
    async with running_sandbox() as client:
        fault = client.sandbox.faults.add(status=500, nth=[1, 2])
        assert (await request_with_fault(client, "status=429")).status == 429
        assert client.sandbox.faults.hits(fault) == 1
        assert (await client.request("GET", "/api/v1/credits")).status == 500
        assert (await client.request("GET", "/api/v1/credits")).status == 200


async def test_misspelled_header_is_rejected_without_purchase() -> None:
    async with running_sandbox() as client:
        reply = await client.request(
            "POST",
            "/api/v1/generations",
            json={"model": "z-image", "prompt": "x"},
            headers={FAULT_HEADER: "statsu=503"},
        )
        assert (reply.status, reply.code) == (400, "validation_failed")
        assert reply.json["error"]["message"] == f"{FAULT_HEADER}: there is no 'statsu': did you mean status?"
        assert client.sandbox.request_log.purchases == 0


# --- fault matrix: every row that a server can cause ------------------------------------------------------------------

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


def raises(error: type[WebhookError]) -> Callable[[ReceivedWebhook, dict[str, Any]], None]:
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
    ("wrong secret", "headers = { Rivya-Signature = 't=1,v1=00' }", raises(SignatureMismatch)),
    ("missing signature", 'without = ["Rivya-Signature"]', raises(WebhookError)),
    ("malformed signature", 'headers = { Rivya-Signature = "x" }', raises(WebhookError)),
    ("body changed by one byte", "padding = 1", raises(SignatureMismatch)),
    ("outside tolerance", "age = 301", raises(OutsideTolerance)),
    ("of the future", "age = -302", raises(OutsideTolerance)),
    ("within tolerance", "age = 200", is_valid),
    ("huge body", "padding = 1_000_000\nage = 0", is_valid_and_long),
    ("invalid UTF-8", 'body_hex = "ff"\nage = 0', raises(WebhookError)),
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


# --- files ------------------------------------------------------------------------------------------------------------


async def test_client_survives_example_faults(tmp_path: Path) -> None:
    async with running_webhooks() as (client, receiver, endpoint):
        sandbox = client.sandbox
        faults = sandbox.faults.load(EXAMPLE)
        async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=FAST_POLLS) as session:
            for number in range(2):
                generation = await session.generate("z-image", f"Kite {number}", timeout=20)
                (saved,) = await session.download(generation, tmp_path)
                assert saved.stat().st_size > 500
        assert sandbox.request_log.purchases == 2
        assert max(sandbox.request_log.purchases_by_key.values()) == 1
        assert [sandbox.faults.hits(fault) for fault in faults if fault.route in {SUBMIT, FILE}] == [1, 1, 1]
        await wait_for_deliveries(client, endpoint, 4)
        assert len({webhook.event["id"] for webhook in receiver.requests}) == 2


async def failed_polls(seed: int) -> list[int]:
    """Returns the numbers of those of forty polls to which a fault is applied."""
    async with running_sandbox(seed=seed) as client:
        client.sandbox.faults.add(parse_toml(f'[[fault]]\nroute = "{POLL}"\nrate = 0.3\nstatus = 502\n')[0])
        path = f"/api/v1/generations/{await client.submit_task()}"
        replies = [await client.request("GET", path) for _ in range(40)]
        return [number for number, reply in enumerate(replies) if reply.status == 502]


async def test_faults_are_repeatable_by_seed() -> None:
    first, again, other = await asyncio.gather(failed_polls(7), failed_polls(7), failed_polls(8))
    assert first == again != other


# --- rate limit -------------------------------------------------------------------------------------------------------


async def test_rate_limit_can_be_changed_while_running() -> None:
    async with running_sandbox(rate_window=10.0) as client:
        statuses = []
        for limit in (None, 2, None, 1):
            client.sandbox.rate_limit = limit
            assert client.sandbox.rate_limit == limit
            statuses.append([(await client.request("GET", "/api/v1/credits")).status for _ in range(3)])
        assert statuses == [[200, 200, 200], [200, 200, 429], [200, 200, 200], [200, 429, 429]]
        reply = await client.request("GET", "/api/v1/credits")
        assert 1 <= int(reply.headers["Retry-After"]) <= 10
        with pytest.raises(ValueError, match="at least 1"):
            client.sandbox.rate_limit = 0
