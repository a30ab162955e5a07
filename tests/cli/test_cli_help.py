from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rivya_async.cli.exit_codes import MEANINGS, ExitCode
from rivya_async.cli.parser import EXAMPLES, build_parser
from tests.cli.cli_kit import environment, rivya

BUYING = ("demo", "generate", "wait", "download", "chat")
COMMANDS = (*BUYING, "files", "webhooks", "listen", "models", "credits", "openapi", "sandbox")
HEAVY = ("aiohttp", "cattrs", "rich", "attrs", "attr", "asyncio", "av", "PIL", "backoff")


def test_help_names_every_command_and_every_exit_code() -> None:
    ended = rivya("--help")
    assert ended.code == 0
    assert all(f"    {command} " in ended.out for command in COMMANDS)
    assert all(f"  {code:<4} {meaning}\n" in ended.out for code, meaning in MEANINGS.items())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples_exit_codes_and_json(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "--json" in shown
    assert "exit codes:" in shown
    assert all(line in shown for line in EXAMPLES[command].splitlines())
    assert ("--sandbox" in shown) is (command not in {"demo", "sandbox"})


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)


def test_the_entry_point_loads_nothing_heavy() -> None:
    code = f"import sys, rivya_async.cli.main; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rivya_async", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in loaded
    assert not loaded & set(HEAVY)


def test_version() -> None:
    ended = rivya("--version")
    assert ended.code == 0
    assert ended.out.startswith("rivya-async ")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("generat",),
        ("generate",),
        ("generate", "z-image", "A cat", "-n", "0"),
        ("generate", "z-image", "A cat", "-n", "two"),
        ("generate", "z-image", "A cat", "--timeout", "-1"),
        ("generate", "z-image", "A cat", "--timeout", "nan"),
        ("wait",),
        ("sandbox", "--port", "70000"),
    ],
)
def test_wrong_usage_is_told_and_ends_with_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(arguments)
    assert ended.value.code == ExitCode.USAGE
    assert "error:" in capsys.readouterr().err


def test_wrong_usage_is_told_in_json_where_json_was_asked_for() -> None:
    ended = rivya("wait", "--json")
    assert (ended.code, ended.out) == (2, "")
    assert ended.error["type"] == "UsageError"
    assert "TASK_ID" in json.dumps(ended.error)
