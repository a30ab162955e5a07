"""Faults in TOML files and in headers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import aiohttp
import attrs
import pytest

from rivya_async import PollPolicy, RivyaSession
from rivya_async.sandbox import Fault, FaultRegistry
from rivya_async.sandbox.faults.registry import FAULT_HEADER, FIELD_TYPES, SELECTOR_FIELDS, parse_header, parse_toml
from tests.sandbox.sandbox_client import (
    FILE,
    POLL,
    SUBMIT,
    request_with_fault,
    running_sandbox,
)
from tests.sandbox.webhook_kit import running_webhooks, wait_for_deliveries

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
