"""The checks of the contract: all hold against the sandbox, none holds against a service that says nothing."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rivya_async.sandbox import Fault, Sandbox
from rivya_async.testing import contract
from rivya_async.testing.contract import ALL, Check, Finding, examine, over_http, summary

ROOT = Path(__file__).parents[2]
SECTIONS = re.compile(r"\d{1,2}(\.\d{1,2})?")


async def findings(sandbox: Sandbox, *checks: Check) -> list[Finding]:
    async with over_http(sandbox.base_url, sandbox.api_key, pause=0.01)() as service:
        return [finding async for finding in examine(service, checks)]


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.name)
async def test_the_sandbox_keeps_the_contract(check: Check) -> None:
    async with Sandbox(speed=1e5) as sandbox:
        before = sandbox.credits
        await check(over_http(sandbox.base_url, sandbox.api_key, pause=0.01))
        assert check.spends or sandbox.credits == before
        assert not check.spends or sandbox.request_log.purchases <= check.images + check.turns


async def test_a_whole_run_buys_little() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        told = await findings(sandbox, *ALL)
        assert [finding.line for finding in told if finding.verdict != "holds"] == []
        assert (
            sandbox.request_log.purchases == 6
        )  # two jobs, a turn whole, one in pieces, one with a picture, one of the SDK
        assert summary(told) == f"{len(ALL)} hold, 0 differ, 0 could not be told."


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b"<html>", b""])
async def test_nothing_holds_of_a_service_that_says_nothing(body: bytes) -> None:
    async with Sandbox(speed=1e5) as sandbox:
        sandbox.faults.add(Fault(status=200, body=body))
        told = await findings(sandbox, *ALL)
        assert [finding.check.name for finding in told if finding.verdict == "holds"] == []
        assert {finding.verdict for finding in told} == {"differs"}


async def test_a_difference_names_its_section_and_what_came() -> None:
    async with Sandbox() as sandbox:
        sandbox.faults.add(Fault(route="GET /api/v1/credits", body=b'{"balance": 7}'))
        (told,) = await findings(sandbox, next(check for check in ALL if check.name == "balance.shape"))
        assert told.verdict == "differs"
        assert told.told.startswith("contract section 9 (documented): expected current_credits; came balance")
        assert told.line.splitlines()[0].split() == [
            *("differs", "documented", "9", "balance.shape"),
            *told.check.statement.split(),
        ]
        assert summary([told]) == "0 hold, 1 differ, 0 could not be told. Of those that differ: 1 documented."


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503, code="public_api_disabled"),
        Fault(status=429, retry_after="0"),
        Fault(status=429, retry_after="3600"),
        Fault(status=401, code="api_key_revoked"),
        Fault(drop=True),
    ],
    ids=["500", "503", "429", "429 for long", "401", "dropped"],
)
async def test_what_says_nothing_about_the_contract_could_not_be_told(fault: Fault) -> None:
    async with Sandbox() as sandbox:
        sandbox.faults.add(fault)
        (told,) = await findings(sandbox, next(check for check in ALL if check.name == "balance.shape"))
        assert told.verdict == "could not be told"
        assert "/credits" in told.told or "3600" in told.told


async def test_what_cannot_be_bought_is_not_bought_again() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        sandbox.faults.add(Fault(route="POST /api/v1/generations", act=True, drop=True))
        about_the_job = [check for check in ALL if check.name in {"generations.the_order", "generations.the_end"}]
        told = await findings(sandbox, *about_the_job)
        assert [finding.verdict for finding in told] == ["could not be told"] * 2
        assert sandbox.request_log.purchases == 1


async def test_a_link_that_is_not_reached_does_not_end_the_run() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        sandbox.faults.add(Fault(route="GET /results/{task_id}/{name}", drop=True))
        (told,) = await findings(sandbox, next(check for check in ALL if check.name == "generations.the_link"))
        assert told.verdict == "could not be told"


async def test_what_the_sdk_cannot_read_differs_and_what_it_is_refused_does_not() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        sandbox.faults.add(Fault(route="GET /api/v1/webhooks", body=b'{"object": "list", "data": [7]}'))
        sandbox.faults.add(Fault(route="GET /api/v1/credits", status=403, code="api_scope_denied"))
        sandbox.faults.add(Fault(route="POST /api/v1/chat/completions/stream", stream="end"))
        named = {"sdk.webhooks", "sdk.balance", "sdk.stream"}
        told = await findings(sandbox, *[check for check in ALL if check.name in named])
        verdicts = {finding.check.name: finding.verdict for finding in told}
        assert verdicts == {
            "sdk.webhooks": "differs",
            "sdk.balance": "could not be told",
            "sdk.stream": "differs",
        }


async def test_the_address_may_end_in_the_api_prefix() -> None:
    async with Sandbox() as sandbox:
        await contract.balance.shape(over_http(f"{sandbox.base_url}/api/v1/", sandbox.api_key))


@pytest.mark.parametrize("problem", [{"drop": True}, {"status": 500}, {"body": b"{}"}])
async def test_no_traceback_shows_the_key(problem: dict[str, Any]) -> None:
    async with Sandbox() as sandbox:
        sandbox.faults.add(route="GET /api/v1/credits", **problem)
        with pytest.raises((contract.CannotTell, AssertionError)) as raised:
            await contract.balance.shape(over_http(sandbox.base_url, sandbox.api_key))
    inside = [entry for entry in raised.traceback if "contract" in str(entry.path) and "tests" not in str(entry.path)]
    assert inside
    assert not [entry for entry in inside if sandbox.api_key in repr(entry.locals)]
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None or raised.value.__suppress_context__


async def test_no_report_shows_a_secret() -> None:
    async with Sandbox() as sandbox:
        for route in ("POST /api/v1/webhooks", "POST /api/v1/webhooks/{endpoint_id}/rotate-secret"):
            body = b'{"id": "whend_1", "status": {"secret": "whsec_0f1e2d3c"}, "signing_secret": ["whsec_0f1e2d3c"]}'
            sandbox.faults.add(Fault(route=route, body=body))
        told = await findings(sandbox, *[check for check in ALL if check.name.startswith("webhooks.")])
        whole = "\n".join(finding.line for finding in told)
        assert "whsec_..." in whole
        assert "0f1e2d3c" not in whole
        assert sandbox.api_key not in whole


def test_every_check_says_what_it_claims_and_where() -> None:
    assert len({check.name for check in ALL}) == len(ALL)
    for check in ALL:
        assert SECTIONS.fullmatch(check.section)
        assert check.statement.endswith(".")
        assert check.section.startswith("14.") <= (check.mark == "assumed")


def test_the_checks_need_no_test_framework() -> None:
    code = "import sys, rivya_async.testing.contract; print({'pytest', 'rivya_async.sandbox'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "set()"


# --- as the owner of a key runs it ------------------------------------------------------------------------------------


async def live(*arguments: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract", *arguments),
        cwd=ROOT,
        env={**os.environ, "RIVYA_API_KEY": "", "RIVYA_BASE_URL": "", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    return process.returncode or 0, told.decode()


async def test_without_leave_nothing_is_bought() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        code, told = await live(RIVYA_API_KEY=sandbox.api_key, RIVYA_BASE_URL=sandbox.base_url)
        assert code == 0, told
        assert "0 differ, 0 could not be told." in told
        assert "The balance was 1,000,000 credits and is 1,000,000." in told
        assert sandbox.request_log.purchases == 0
        assert sandbox.api_key not in told


async def test_with_leave_to_spend_all_checks_run() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        code, told = await live("--spend", RIVYA_API_KEY=sandbox.api_key, RIVYA_BASE_URL=sandbox.base_url)
        assert code == 0, told
        assert f"{len(ALL)} of {len(ALL)} checks" in told
        assert "They buy of z-image and " in told
        assert sandbox.request_log.purchases == 6


async def test_a_difference_is_the_exit_code() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        sandbox.faults.add(Fault(route="GET /api/v1/credits", body=b'{"current_credits": 1.5}'))
        code, told = await live(RIVYA_API_KEY=sandbox.api_key, RIVYA_BASE_URL=sandbox.base_url)
        assert code == 1
        assert "balance.whole" in told


async def test_without_a_key_nobody_is_asked() -> None:
    code, told = await live()
    assert code == 2
    assert "RIVYA_API_KEY" in told


def test_the_manual_counts_the_checks() -> None:
    readme = (ROOT / "README.md").read_text()
    assert f"holds the service to {len(ALL)} statements" in readme
    assert f"the {sum(check.spends for check in ALL)} that may cost credits" in readme


def test_plain_nox_does_not_ask_the_real_service() -> None:
    noxfile = (ROOT / "noxfile.py").read_text()
    chosen = re.search(r"nox\.options\.sessions = \[(.*?)\]", noxfile)
    assert chosen is not None
    assert '"live"' not in chosen[1]
    assert "def live(" in noxfile
    assert "RIVYA_API_KEY" not in "".join(path.read_text() for path in Path(contract.__file__).parent.glob("*.py"))
