from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import pytest

from rivya_async.cli import main as entry_point
from rivya_async.cli.app import app
from rivya_async.cli.command import LazyCommand
from rivya_async.cli.exit_codes import ExitCode
from rivya_async.cli.main import main
from tests.cli.cli_kit import COMMAND, environment, parse, rivya

COMMANDS = tuple(app.commands)
HEAVY = ("aiohttp", "cattrs", "rich", "attrs", "attr", "asyncio", "av", "PIL", "backoff")
MAX_LINE = 112
"""Columns of a help text."""


def load(name: str) -> click.Command:
    stub = app.commands[name]
    return stub.load() if isinstance(stub, LazyCommand) else stub


def help_text(name: str) -> str:
    command = load(name)
    return command.get_help(click.Context(command, info_name=f"rivya {name}"))


def examples() -> list[str]:
    return [
        line.strip()
        for name in COMMANDS
        for line in help_text(name).splitlines()
        if line.startswith(f"    rivya {name}")
    ]


def test_help_names_every_command_and_every_exit_code() -> None:
    ended = rivya("--help")
    assert ended.code == 0
    assert all(f"  {command} " in ended.out for command in COMMANDS)
    assert all(f"  {code:<4} {code.meaning}\n" in ended.out for code in ExitCode)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples_exit_codes_and_json(name: str) -> None:
    shown = help_text(name)
    assert "Exit codes:" in shown
    assert f"Examples:\n    rivya {name}" in shown
    assert ("--json" in shown) is (name != "completion")
    options = shown.partition("\nOptions:\n")[2].partition("Exit codes:")[0]
    for option in ("--json", "--sandbox", "--proxy", "--verbose"):
        assert (option in options) is (name != "completion")
    assert max(map(len, shown.splitlines())) <= MAX_LINE


@pytest.mark.parametrize("name", COMMANDS)
def test_summary_is_first_line_of_help(name: str) -> None:
    assert app.commands[name].get_short_help_str() == (load(name).help or "").strip().partition("\n")[0]


@pytest.mark.parametrize("example", examples())
def test_examples_parse(example: str) -> None:
    parse(*shlex.split(example.partition(" > ")[0])[1:])


def test_every_exit_code_is_described() -> None:
    assert all(code.meaning for code in ExitCode)
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 5, 6, 74, 75, 130, 141]


def test_entry_point_imports_no_heavy_modules() -> None:
    names = (*HEAVY, "click")
    code = f"import sys, rivya_async.cli.main; print([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def imported_modules(*arguments: str, env: Mapping[str, str] | None = None) -> set[str]:
    """The modules that a command has loaded at its end."""
    program = (
        "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
        f"from rivya_async.cli.main import main; main({arguments!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**environment(), **(env or {})},
    )
    return set(done.stderr.split())


def test_help_imports_no_heavy_modules() -> None:
    loaded = imported_modules("--help")
    assert "click" in loaded
    assert not loaded & set(HEAVY)
    assert not {name for name in loaded if name.startswith("rivya_async.cli.commands")}


def test_command_imports_its_own_module_only() -> None:
    loaded = imported_modules("credits", "--help")
    commands = {name for name in loaded if name.startswith("rivya_async.cli.commands.")}
    assert commands == {"rivya_async.cli.commands.service"}
    assert not loaded & {"aiohttp", "rich"}


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
        ("sandbox", "--account", "team-b"),
        ("sandbox", "--key", "main"),
        ("batch",),
        ("batch", "run", "kites.csv", "--max-spend", "much"),
        ("completion", "tcsh"),
    ],
)
def test_usage_error_exits_with_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == ExitCode.USAGE
    assert "Error:" in capsys.readouterr().err


def test_usage_error_is_json_in_json_mode() -> None:
    ended = rivya("wait", "--json")
    assert (ended.code, ended.out) == (2, "")
    assert ended.error["type"] == "UsageError"
    assert "TASK_ID" in json.dumps(ended.error)


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (("genrate",), "No such command 'genrate'. Did you mean 'generate'?"),
        (("batch", "exprot"), "No such command 'exprot'. Did you mean 'export'?"),
        (
            ("generate", "z-image", "A cat", "--refrence", "a.png"),
            "No such option '--refrence'. Did you mean '--reference'?",
        ),
    ],
)
def test_suggests_nearest_command_or_option(
    arguments: tuple[str, ...], suggestion: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == ExitCode.USAGE
    assert suggestion in capsys.readouterr().err


def test_group_accepts_json_and_sandbox_options() -> None:
    ended = rivya("webhooks", "--json", "--sandbox", "create", "https://hooks.example.org/rivya")
    assert (ended.code, ended.results[0]["name"]) == (0, "rivya")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_missing_extra_is_named_in_one_line(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(entry_point, "find_spec", lambda name: None if name == missing else object())
    assert main(["credits"]) == ExitCode.USAGE
    message = capsys.readouterr().err
    assert message == f"rivya: {missing} not found. Install the extra: pip install 'rivya-async[cli]'\n"


# --- completion -----------------------------------------------------------------------------------------------------


def complete(shell: str, *words: str) -> list[str]:
    """The candidates for the last word, as the shell's function asks for them."""
    current = words[-1] if shell == "fish" else str(len(words) - 1)
    env = environment(_RIVYA_COMPLETE=f"{shell}_complete", COMP_WORDS=shlex.join(words), COMP_CWORD=current)
    done = subprocess.run(COMMAND, env=env, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("shell", "found"), [("bash", "plain,generate"), ("zsh", "generate"), ("fish", "plain,generate")]
)
def test_completes_commands_and_options(shell: str, found: str) -> None:
    assert any(line.startswith(found) for line in complete(shell, "rivya", "gen"))
    assert any("--reference" in line for line in complete(shell, "rivya", "generate", "--ref"))
    assert any("report" in line for line in complete(shell, "rivya", "batch", "rep"))


def test_completion_imports_no_heavy_modules() -> None:
    loaded = imported_modules(env={"_RIVYA_COMPLETE": "bash_complete", "COMP_WORDS": "rivya gen", "COMP_CWORD": "1"})
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o nosort -F _rivya_completion rivya"),
        ("zsh", "#compdef rivya"),
        ("fish", "complete --no-files --command rivya"),
    ],
)
def test_completion_script_is_valid(shell: str, line: str) -> None:
    ended = rivya("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    assert line in ended.out
    assert f"_RIVYA_COMPLETE={shell}_complete" in ended.out
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=ended.out, text=True, check=True, env=os.environ)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_completion_works_in_bash(tmp_path: Path) -> None:
    program = tmp_path / "rivya"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    script = (
        "source <(rivya completion bash); COMP_WORDS=(rivya cred) COMP_CWORD=1; _rivya_completion rivya; "
        'echo "${COMPREPLY[@]}"'
    )
    env = environment(PATH=f"{tmp_path}:{os.environ['PATH']}")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.split() == ["credits"]
