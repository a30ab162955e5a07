from __future__ import annotations

import json
import shlex
import signal
from pathlib import Path

import pytest

from rivya_async.sandbox import Sandbox
from tests.cli.cli_kit import SUBMIT, RunningCommand, environment, run_against, wait_until

POLL = "GET /api/v1/generations/{task_id}"

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no such signals")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_signal_prints_open_jobs_and_resume_command(number: signal.Signals, tmp_path: Path) -> None:
    async with Sandbox(speed=0.001) as slow:
        command = ("generate", "z-image", "A kite", "-n", "2", "-o", str(tmp_path))
        running = await RunningCommand.start(*command, env=environment(slow))
        await wait_until(lambda: slow.request_log.count(POLL) >= 2)
        running.signal(number)
        ended = await running.end()
        bought = {request.task_id for request in slow.request_log if request.route == SUBMIT}
        assert (ended.code, ended.out) == (130, "")
        assert len(bought) == 2
        (back,) = (line for line in ended.err.splitlines() if line.startswith("Come back with: "))
        program, verb, *arguments = shlex.split(back.removeprefix("Come back with: "))
        assert (program, verb) == ("rivya", "wait")
        assert set(arguments) == {*bought, "-o", str(tmp_path)}
        assert slow.api_key not in ended.err


async def test_resume_command_works() -> None:
    async with Sandbox(speed=1) as sandbox:
        running = await RunningCommand.start("generate", "z-image", "A kite", "--json", env=environment(sandbox))
        await wait_until(lambda: sandbox.request_log.count(POLL) >= 1)
        running.signal(signal.SIGINT)
        ended = await running.end()
        assert (ended.code, ended.out) == (130, "")
        (job,) = ended.error["open"]
        assert ended.error["next"] == f"rivya wait {job['task_id']}"
        task = sandbox.service_state.tasks[job["task_id"]]
        object.__setattr__(task, "ends_at", task.created_at)
        object.__setattr__(task, "starts_at", task.created_at)
        again = await run_against(*shlex.split(ended.error["next"])[1:], "--json", sandbox=sandbox)
        assert [line["status"] for line in again.results] == ["succeeded"]
        assert sandbox.request_log.purchases == 1


async def test_unanswered_purchase_is_named_by_key_and_bought_once() -> None:
    async with Sandbox(speed=500) as sandbox:
        sandbox.faults.add(route=SUBMIT, delay=1, act=True, times=1)  # bought, and slow to say so
        running = await RunningCommand.start("generate", "z-image", "It's a kite", env=environment(sandbox))
        await wait_until(lambda: sandbox.request_log.purchases == 1)
        running.signal(signal.SIGINT)
        ended = await running.end()
        (key,) = sandbox.request_log.idempotency_keys
        assert ended.code == 130
        again = ended.err.splitlines()[-1].strip()
        assert again == f"""rivya generate --key {key} z-image 'It'"'"'s a kite'"""
        await wait_until(lambda: sandbox.request_log.in_flight == 0)  # till then its key is taken
        repeated = await run_against(*shlex.split(again)[1:], "--json", sandbox=sandbox)
        assert repeated.code == 0
        assert sandbox.request_log.purchases == 1


async def test_signal_before_first_purchase_names_no_job() -> None:
    async with Sandbox() as sandbox:
        sandbox.faults.add(route="GET /api/v1/models", delay=20)
        running = await RunningCommand.start("generate", "z-image", "A kite", "--json", env=environment(sandbox))
        await wait_until(lambda: sandbox.request_log.in_flight == 1)
        running.signal(signal.SIGINT)
        ended = await running.end()
        assert ended.code == 130
        assert ended.error == {
            "type": "Interrupted", "message": "interrupted", "open": [], "unknown": [], "exit_code": 130,
        }  # fmt: skip


async def test_interrupted_demo_names_no_open_jobs(tmp_path: Path) -> None:
    running = await RunningCommand.start("demo", "--speed", "0.01", "--json", cwd=tmp_path)
    await wait_until((tmp_path / "rivya-demo").exists)
    running.signal(signal.SIGINT)
    ended = await running.end()
    assert (ended.code, ended.out) == (130, "")
    assert ended.error["open"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_sandbox_serves_until_signal(number: signal.Signals) -> None:
    running = await RunningCommand.start("sandbox", "--credits", "77", "--seed", "5")
    lines = [await running.line(), await running.line()]
    exports = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    assert set(exports) == {"RIVYA_API_KEY", "RIVYA_BASE_URL"}
    client = await RunningCommand.start("credits", "--json", env={**environment(), **exports})
    assert (await client.end()).results == [{"current_credits": 77}]
    running.signal(number)
    ended = await running.end()
    assert (ended.code, ended.out) == (130, "")


async def test_sandbox_prints_its_address_as_json() -> None:
    running = await RunningCommand.start("sandbox", "--json")
    value = json.loads(await running.line())
    assert value["api_key"].startswith("rvya_sk_")
    taken = value["base_url"].rpartition(":")[2]
    second = await (await RunningCommand.start("sandbox", "--json", "--port", taken)).end()
    assert second.code == 2
    assert taken in second.error["message"]
    running.signal(signal.SIGTERM)
    assert (await running.end()).code == 130


async def test_sandbox_loads_faults_from_file(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('[[fault]]\nroute = "GET /api/v1/credits"\nstatus = 403\n')
    (tmp_path / "bad.toml").write_text("[[fault]]\nstauts = 403\n")
    running = await RunningCommand.start("sandbox", "--json", "--faults", "good.toml", cwd=tmp_path)
    value = json.loads(await running.line())
    env = {**environment(), "RIVYA_API_KEY": value["api_key"], "RIVYA_BASE_URL": value["base_url"]}
    client = await (await RunningCommand.start("credits", "--json", env=env)).end()
    assert client.error["status"] == 403
    running.signal(signal.SIGTERM)
    assert (await running.end()).code == 130
    for name, reason in (
        ("bad.toml", "fault 1: there is no 'stauts': did you mean status?"),
        ("no.toml", "No"),
    ):
        refused = await (await RunningCommand.start("sandbox", "--json", "--faults", name, cwd=tmp_path)).end()
        assert refused.code == 2
        assert reason in refused.error["message"]


@pytest.mark.parametrize("account", ["team-b=many", "team-b=-1"])
async def test_sandbox_accounts_require_credits(account: str) -> None:
    ended = await (await RunningCommand.start("sandbox", "--account", account)).end()
    assert (ended.code, ended.out) == (2, "")
    assert f"--account takes NAME=CREDITS, such as team-b=500, not {account}" in ended.err
