"""Failures of stdout and stderr, and signals, never lose a purchased job."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rivya_async.cli.render import shell_command
from rivya_async.sandbox import Sandbox
from tests.cli.cli_kit import COMMAND, SUBMIT, RunningCommand, environment, run_against, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such streams and signals")

POLL = "GET /api/v1/generations/{task_id}"
GENERATE = "generate z-image 'A kite' -n 6 -o out"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=30) as opened:
        yield opened


async def in_shell(line: str, sandbox: Sandbox, cwd: Path) -> tuple[int, str, str]:
    """Runs `rivya` with the redirections of a shell."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", f"{shlex.join(COMMAND)} {line}", env=environment(sandbox), cwd=cwd, stdout=PIPE, stderr=PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 40)
    assert b"Traceback" not in err
    return process.returncode or 0, out.decode(), err.decode()


def bought(sandbox: Sandbox) -> set[str]:
    return {str(request.task_id) for request in sandbox.request_log if request.route == SUBMIT}


@pytest.mark.parametrize("options", ["", " --json"])
@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-"])
async def test_jobs_are_saved_and_named_where_stdout_fails(
    redirection: str, options: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    """B1, B2."""
    code, out, err = await in_shell(f"{GENERATE}{options} {redirection}", sandbox, tmp_path)
    assert (code, out) == (74, "")
    assert len(list((tmp_path / "out").iterdir())) == len(bought(sandbox)) == 6
    if options:
        error = json.loads(err.splitlines()[-1])["error"]
        assert {job["task_id"] for job in error["jobs"]} == bought(sandbox)
        assert all(job["files"] for job in error["jobs"])
        assert error["exit_code"] == 74
    assert all(task_id in err for task_id in bought(sandbox))
    again = err.splitlines()[-1].partition("with: ")[2] if not options else error["next"]
    assert set(shlex.split(again)) == {"rivya", "wait", *bought(sandbox)}


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full"])
async def test_stderr_is_not_needed(redirection: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """B2."""
    code, out, _ = await in_shell(f"{GENERATE} --json {redirection}", sandbox, tmp_path)
    assert code == 0
    assert {json.loads(line)["id"] for line in out.splitlines()} == bought(sandbox)
    (tmp_path / "m.jsonl").write_text('{"model": "z-image", "prompt": "A kite"}\n')
    code, out, _ = await in_shell(f"batch run m.jsonl {redirection}", sandbox, tmp_path)
    assert code == 0
    assert "1 row" in out


@pytest.mark.parametrize("redirection", [">&- 2>&-", "> /dev/full 2> /dev/full", "<&- >&- 2>&-"])
async def test_without_any_stream_the_ids_are_in_a_file(redirection: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """B2."""
    code, _, _ = await in_shell(f"{GENERATE} {redirection}", sandbox, tmp_path)
    assert code == 74
    assert len(list((tmp_path / "out").iterdir())) == 6
    (log,) = tmp_path.glob("rivya-*.log")
    assert all(task_id in log.read_text() for task_id in bought(sandbox))
    assert log.stat().st_mode & 0o777 == 0o600


async def test_an_error_of_a_purchase_goes_to_stdout_where_stderr_is_closed(sandbox: Sandbox, tmp_path: Path) -> None:
    """B2."""
    code, out, _ = await in_shell("generate z-image 'A kite [fail]' 'x' 2>&-", sandbox, tmp_path)
    assert (code, out) == (2, "")
    sandbox.faults.add(route=SUBMIT, status=503)
    code, out, _ = await in_shell("generate z-image 'A kite' --timeout 20 2>&-", sandbox, tmp_path)
    assert code in {5, 6}
    assert "--key" in out


async def test_a_slow_reader_of_a_non_blocking_stdout_gets_every_line(sandbox: Sandbox, tmp_path: Path) -> None:
    """B3."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "models", "--json", stdout=writer, env=environment(sandbox), cwd=tmp_path
    )
    os.close(writer)
    await asyncio.sleep(1.5)  # the pipe is full by then
    received = b""
    while piece := await asyncio.to_thread(os.read, reader, 2000):
        received += piece
        await asyncio.sleep(0)
    os.close(reader)
    assert await asyncio.wait_for(process.wait(), 30) == 0
    assert len([json.loads(line) for line in received.splitlines()]) >= 50  # models of the catalogue


async def test_commands_without_jobs_report_a_full_disk(sandbox: Sandbox, tmp_path: Path) -> None:
    """B1."""
    for command in ("models", "credits --json", "--help"):
        code, _, err = await in_shell(f"{command} > /dev/full", sandbox, tmp_path)
        assert code == 74, command
        assert "stdout cannot be written: No space left on device" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
async def test_every_signal_names_the_open_jobs(number: signal.Signals) -> None:
    """B10."""
    async with Sandbox(speed=0.001) as slow:
        running = await RunningCommand.start(
            "generate", "z-image", "A kite", "-n", "3", "--json", env=environment(slow)
        )
        await wait_until(lambda: slow.request_log.count(POLL) >= 3)
        running.signal(number)
        running.signal(number) if number is signal.SIGHUP else None  # as shells do
        ended = await running.end()
        assert ended.code == 130
        assert {job["task_id"] for job in ended.error["open"]} == bought(slow)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_signals_after_the_summary_do_not_change_the_exit_code(first: signal.Signals) -> None:
    """B10: further signals arrive when the event loop is closed, and at the exit of the interpreter."""
    program = (
        "import asyncio, atexit, os, signal, sys\n"
        "from rivya_async.cli.main import main\n"
        "from rivya_async.sandbox import Sandbox\n"
        "def send(*numbers):\n"
        "    for number in numbers: os.kill(os.getpid(), number)\n"
        "async def start(self):\n"
        f"    send({int(first)})\n"
        "    await asyncio.sleep(60)\n"
        "Sandbox.__aenter__ = start\n"
        "atexit.register(send, signal.SIGHUP, signal.SIGTERM)\n"
        "code = main(['generate', 'z-image', 'A kite', '--sandbox'])\n"
        "send(signal.SIGHUP, signal.SIGTERM)\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr


async def test_nohup_is_respected(tmp_path: Path) -> None:
    """B10."""
    async with Sandbox(speed=1) as slow:
        process = await asyncio.create_subprocess_exec(
            "nohup", *COMMAND, "generate", "z-image", "A kite", env=environment(slow), cwd=tmp_path,
            stdin=subprocess.DEVNULL, stdout=PIPE, stderr=PIPE,
        )  # fmt: skip
        await wait_until(lambda: slow.request_log.count(POLL) >= 1)
        process.send_signal(signal.SIGHUP)
        out, _ = await asyncio.wait_for(process.communicate(), 40)
        assert process.returncode == 0
        assert "succeeded" in out.decode()


async def test_a_batch_stops_gracefully_on_a_lost_connection(tmp_path: Path) -> None:
    """B10."""
    async with Sandbox(speed=0.001) as slow:
        (tmp_path / "m.jsonl").write_text('{"model": "z-image", "prompt": "A kite"}\n' * 3)
        running = await RunningCommand.start("batch", "run", "m.jsonl", "--json", env=environment(slow), cwd=tmp_path)
        await wait_until(lambda: slow.request_log.count(POLL) >= 3)
        running.signal(signal.SIGHUP)
        running.signal(signal.SIGHUP)
        assert (await running.end()).code == 75


@pytest.mark.parametrize("module", ["rivya_async.cli.main", "click", "rivya_async.cli.run", "rivya_async.cli.jobs"])
def test_an_early_ctrl_c_shows_no_traceback(module: str) -> None:
    """B22: the signal arrives while this module is loaded."""
    program = (
        "import os, signal, sys, types\n"
        "def find_spec(name, *_):\n"
        f"    if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, types.SimpleNamespace(find_spec=find_spec))\n"
        "sys.argv[1:] = ['generate', 'z-image', 'A kite']\n"
        "from rivya_async.__main__ import main\n"
        "sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "rivya: interrupted; nothing was bought\n")


async def test_control_sequences_of_the_service_reach_no_terminal(sandbox: Sandbox, tmp_path: Path) -> None:
    """S12."""
    evil = "\x1b]0;owned\x07\x9b31m\u202e"
    body = {"error": {"code": "invalid_request", "message": f"no{evil}\nrivya: forged"}}
    for command in ("credits", "models", "chat sessions"):
        for route in ("GET /api/v1/credits", "GET /api/v1/models", "GET /api/v1/webhooks", "GET /api/v1/chat/sessions"):
            sandbox.faults.add(route=route, status=400, body=json.dumps(body).encode())
        for mode in ("", " --json"):
            _, out, err = await in_shell(command + mode, sandbox, tmp_path)
            assert not set(out + err) & set("\x1b\x07\x9b\u202e"), (command, mode)


def test_suggested_commands_are_quoted() -> None:
    """S12."""
    assert shell_command("wait", [], "task_1; rm -rf $HOME") == "rivya wait 'task_1; rm -rf $HOME'"
    assert shell_command("wait", ["-o", "a b"], "--help") == "rivya wait -o 'a b' -- --help"
    word = "it's \x1b[31m\\n\u202e"
    line = shell_command("wait", [], word)
    assert "\x1b" not in line
    assert (
        subprocess.run(
            ["bash", "-c", f'set -- {line}; printf %s "$3"'], capture_output=True, check=True
        ).stdout.decode()
        == word
    )


async def test_options_stand_anywhere(sandbox: Sandbox, tmp_path: Path) -> None:
    """B4."""
    for line in (
        "generate z-image -p aspect_ratio=16:9 'A kite' --json",
        "generate -p aspect_ratio=16:9 --json z-image 'A kite'",
        "--json generate z-image 'A kite' -n 1",
        "generate z-image --json -n 1 'A kite'",
    ):
        code, out, _ = await in_shell(line, sandbox, tmp_path)
        assert code == 0
        assert json.loads(out)["prompt"] == "A kite"


@pytest.mark.parametrize("dry", ["", " --dry-run"])
async def test_text_that_is_not_utf_8_is_refused_alike(dry: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """B23."""
    code, out, err = await in_shell(f"generate z-image $'K\\xe9k'{dry}", sandbox, tmp_path)
    assert (code, out) == (2, "")
    assert "not valid UTF-8" in err
    assert bought(sandbox) == set()


async def test_a_typo_gets_a_suggestion(sandbox: Sandbox) -> None:
    """N24."""
    ended = await run_against("genrate", sandbox=sandbox)
    assert (ended.code, "Did you mean 'generate'?" in ended.err) == (2, True)
