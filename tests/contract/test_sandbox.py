"""The contract checks hold for the sandbox, and none holds for a service with empty responses."""

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
from tests.contract.account_checks import balance_fields
from tests.contract.checks import Check
from tests.contract.runner import ALL_CHECKS, CheckResult, run_checks, summarize
from tests.contract.service import Inconclusive
from tests.contract.transports import http_service_factory

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECTIONS = re.compile(r"\d{1,2}(\.\d{1,2})?")


async def run(sandbox: Sandbox, *checks: Check) -> list[CheckResult]:
    async with http_service_factory(sandbox.base_url, sandbox.api_key, poll_interval=0.01)() as service:
        return [result async for result in run_checks(service, checks)]


def checks_named(*names: str) -> list[Check]:
    return [check for check in ALL_CHECKS if check.name in names]


@pytest.mark.parametrize("check", ALL_CHECKS, ids=lambda check: check.name)
async def test_sandbox_fulfils_contract(check: Check) -> None:
    async with Sandbox(speed=1e5) as sandbox:
        before = sandbox.credits
        await check(http_service_factory(sandbox.base_url, sandbox.api_key, poll_interval=0.01))
        assert check.may_spend or sandbox.credits == before
        assert (
            not check.may_spend
            or sandbox.request_log.purchases <= check.max_images + check.max_chat_turns + check.max_priced_images
        )


async def test_complete_run_makes_eight_purchases() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        results = await run(sandbox, *ALL_CHECKS)
        assert [result.line for result in results if result.outcome != "holds"] == []
        # Four generations, one completion, one stream, one completion with an image, one stream of the SDK.
        assert sandbox.request_log.purchases == 8
        assert summarize(results) == f"{len(ALL_CHECKS)} hold, 0 differ, 0 inconclusive."


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b"<html>", b""])
async def test_no_check_holds_with_empty_responses(body: bytes) -> None:
    async with Sandbox(speed=1e5) as sandbox:
        sandbox.faults.add(Fault(status=200, body=body))
        results = await run(sandbox, *ALL_CHECKS)
        assert [result.check.name for result in results if result.outcome == "holds"] == []
        assert {result.outcome for result in results} == {"differs"}


async def test_difference_names_section_and_actual_value() -> None:
    async with Sandbox() as sandbox:
        sandbox.faults.add(Fault(route="GET /api/v1/credits", body=b'{"balance": 7}'))
        (result,) = await run(sandbox, balance_fields)
        assert result.outcome == "differs"
        assert result.details.startswith("contract section 9 (documented): expected current_credits; got balance")
        assert result.line.splitlines()[0].split() == [
            *("differs", "documented", "9", "credits.balance_fields"),
            *result.check.statement.split(),
        ]
        assert summarize([result]) == "0 hold, 1 differ, 0 inconclusive. Of those that differ: 1 documented."


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
    ids=["500", "503", "429", "429 with long Retry-After", "401", "dropped"],
)
async def test_unrelated_failures_are_inconclusive(fault: Fault) -> None:
    async with Sandbox() as sandbox:
        sandbox.faults.add(fault)
        (result,) = await run(sandbox, balance_fields)
        assert result.outcome == "inconclusive"
        assert "/credits" in result.details or "3600" in result.details


async def test_failed_purchase_is_not_repeated() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        sandbox.faults.add(Fault(route="POST /api/v1/generations", act=True, drop=True))
        checks = checks_named("generations.created_generation_fields", "generations.succeeded_result")
        results = await run(sandbox, *checks)
        assert [result.outcome for result in results] == ["inconclusive"] * 2
        assert sandbox.request_log.purchases == 1


async def test_unreachable_result_url_is_inconclusive() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        sandbox.faults.add(Fault(route="GET /results/{task_id}/{name}", drop=True))
        (result,) = await run(sandbox, *checks_named("generations.result_url_without_key"))
        assert result.outcome == "inconclusive"


async def test_sdk_decoding_error_differs_and_rejection_is_inconclusive() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        sandbox.faults.add(Fault(route="GET /api/v1/webhooks", body=b"[7]"))
        sandbox.faults.add(Fault(route="GET /api/v1/credits", status=403, code="api_scope_denied"))
        sandbox.faults.add(Fault(route="POST /api/v1/chat/completions/stream", stream="end"))
        results = await run(sandbox, *checks_named("sdk.webhook_list", "sdk.credit_balance", "sdk.chat_stream"))
        assert {result.check.name: result.outcome for result in results} == {
            "sdk.webhook_list": "differs",
            "sdk.credit_balance": "inconclusive",
            "sdk.chat_stream": "differs",
        }


async def test_base_url_may_include_api_prefix() -> None:
    async with Sandbox() as sandbox:
        await balance_fields(http_service_factory(f"{sandbox.base_url}/api/v1/", sandbox.api_key))


@pytest.mark.parametrize("problem", [{"drop": True}, {"status": 500}, {"body": b"{}"}])
async def test_traceback_does_not_contain_api_key(problem: dict[str, Any]) -> None:
    async with Sandbox() as sandbox:
        sandbox.faults.add(route="GET /api/v1/credits", **problem)
        with pytest.raises((Inconclusive, AssertionError)) as raised:
            await balance_fields(http_service_factory(sandbox.base_url, sandbox.api_key))
    inside = [entry for entry in raised.traceback if Path(entry.path).parent == HERE and entry.path != Path(__file__)]
    assert inside
    assert not [entry for entry in inside if sandbox.api_key in repr(entry.locals)]
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None or raised.value.__suppress_context__


async def test_report_does_not_contain_secrets() -> None:
    async with Sandbox() as sandbox:
        for route in ("POST /api/v1/webhooks", "POST /api/v1/webhooks/{endpoint_id}/rotate-secret"):
            body = b'{"id": "whend_1", "status": {"secret": "whsec_0f1e2d3c"}, "signing_secret": ["whsec_0f1e2d3c"]}'
            sandbox.faults.add(Fault(route=route, body=body))
        results = await run(sandbox, *[check for check in ALL_CHECKS if check.name.startswith("webhooks.")])
        report = "\n".join(result.line for result in results)
        assert "whsec_..." in report
        assert "0f1e2d3c" not in report
        assert sandbox.api_key not in report


def test_every_check_has_a_statement_and_a_section() -> None:
    assert len({check.name for check in ALL_CHECKS}) == len(ALL_CHECKS)
    for check in ALL_CHECKS:
        assert SECTIONS.fullmatch(check.section)
        assert check.statement.endswith(".")
        assert check.section.startswith("14.") <= (check.confidence == "assumed")


def test_checks_do_not_import_pytest_or_the_sandbox() -> None:
    code = "import sys, tests.contract.runner; print({'pytest', 'rivya_async.sandbox'} & {*sys.modules})"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert process.stdout.strip() == "set()"


# --- the command ------------------------------------------------------------------------------------------------------


async def run_command(*arguments: str, **environment: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract", *arguments),
        cwd=ROOT,
        env={**os.environ, "RIVYA_API_KEY": "", "RIVYA_BASE_URL": "", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_command_makes_no_purchase_by_default() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        code, output = await run_command(RIVYA_API_KEY=sandbox.api_key, RIVYA_BASE_URL=sandbox.base_url)
        assert code == 0, output
        assert "0 differ, 0 inconclusive." in output
        assert "The balance was 1,000,000 credits and is 1,000,000." in output
        assert sandbox.request_log.purchases == 0
        assert sandbox.api_key not in output


async def test_command_with_spend_runs_all_checks() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        code, output = await run_command("--spend", RIVYA_API_KEY=sandbox.api_key, RIVYA_BASE_URL=sandbox.base_url)
        assert code == 0, output
        assert f"{len(ALL_CHECKS)} of {len(ALL_CHECKS)} checks" in output
        assert "They buy of z-image and " in output
        assert sandbox.request_log.purchases == 8
        assert "gpt-image-2 once for 3 credits and once with resolution=2K: at least 3 credits." in output


async def test_command_exits_with_1_on_difference() -> None:
    async with Sandbox(speed=1e5) as sandbox:
        sandbox.faults.add(Fault(route="GET /api/v1/credits", body=b'{"current_credits": 1.5}'))
        code, output = await run_command(RIVYA_API_KEY=sandbox.api_key, RIVYA_BASE_URL=sandbox.base_url)
        assert code == 1
        assert "credits.integer_balance" in output


async def test_command_without_api_key_sends_nothing() -> None:
    code, output = await run_command()
    assert code == 2
    assert "RIVYA_API_KEY" in output


def test_readme_states_the_number_of_checks() -> None:
    assert f"against {len(ALL_CHECKS)} of them" in (ROOT / "README.md").read_text()
    contract = (ROOT / "tests" / "contract" / "README.md").read_text()
    assert f"{len(ALL_CHECKS)} statements of this document" in contract
    assert f"the {sum(check.may_spend for check in ALL_CHECKS)} checks that may cost credits" in contract


def test_default_nox_sessions_do_not_call_the_real_service() -> None:
    noxfile = (ROOT / "noxfile.py").read_text()
    sessions = re.search(r"nox\.options\.sessions = \[(.*?)\]", noxfile)
    assert sessions is not None
    assert '"live"' not in sessions[1]
    assert "def live(" in noxfile
    sources = [path.read_text() for path in HERE.glob("*.py") if path.name not in {"__main__.py", "test_sandbox.py"}]
    assert "RIVYA_API_KEY" not in "".join(sources)
