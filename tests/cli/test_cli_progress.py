from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from rivya_async._core.errors import ConfigurationError
from rivya_async._jobs.transitions import JobState
from rivya_async.cli import session_factory
from rivya_async.cli.jobs import Job
from rivya_async.cli.output import Output
from rivya_async.cli.progress import job_progress
from tests.cli.cli_kit import COMMAND, environment

pty = pytest.importorskip("pty", reason="terminals of this kind are not known to Windows")


def run_on_terminal(*arguments: str, cwd: Path) -> tuple[int, str]:
    """Run a command as on a terminal of 80 columns: exit code, and all that was written."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execve(sys.executable, [*COMMAND, *arguments], environment(TERM="xterm-256color", COLUMNS="80", LINES="40"))
    written = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        written += piece
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), written.decode()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_terminal_shows_live_table_then_result(tmp_path: Path) -> None:
    code, written = run_on_terminal("generate", "z-image", "A red kite", "-n", "2", "--sandbox", cwd=tmp_path)
    assert code == 0
    assert "Traceback" not in written
    assert written.index("processing") < written.rindex("2") < written.rindex("/0.png")
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")  # the cursor is back
    assert "\u2713 succeeded" in written


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_terminal_shows_batch_bar_below_failures(tmp_path: Path) -> None:
    (tmp_path / "kites.csv").write_text("model,prompt\nz-image,A red kite\nz-image,A kite [fail]\nz-image,Another\n")
    code, written = run_on_terminal("batch", "run", "kites.csv", "--sandbox", cwd=tmp_path)
    assert code == 1
    assert "Traceback" not in written
    assert "submitted" in written
    assert "3 of 3" in written
    assert (
        written.index("line 3 (row-000002): failed") < written.rindex("3 of 3") < written.rindex("batch kites: 3 rows")
    )
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_terminal_shows_models_as_table(tmp_path: Path) -> None:
    code, written = run_on_terminal("models", "kling-3-0", "--sandbox", cwd=tmp_path)
    assert code == 0
    assert "PARAM" in written
    assert "\u2500\u2500" in written


def test_without_terminal_progress_is_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with job_progress(Output(is_json=False), []) as update:
        update(Job(1, task_id="task_1", state=JobState.SUBMITTED))
    assert capsys.readouterr().err == "[1/0] open task_1\n"


def test_without_terminal_table_is_plain_and_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("a", "1"), ("long\nname", "100"), ("[bold] :smile:", "2" * 300)]
    Output(is_json=False).write_table(("ID", "N"), rows[:2], right={"N"}, dim={"ID"})
    assert capsys.readouterr().out.splitlines() == ["ID           N", "a            1", "long name  100"]
    Output(is_json=False).write_table(("ID", "N"), rows)
    assert capsys.readouterr().out.splitlines()[-1] == f"[bold] :smile:  {'2' * 300}"


def test_table_masks_secrets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("RIVYA_API_KEY", "rvya_sk_verysecret")
    Output(is_json=False).write_table(("ID",), [("rvya_sk_verysecret",)])
    assert "verysecret" not in capsys.readouterr().out


def test_json_has_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with job_progress(Output(is_json=True), []) as update:
        update(Job(1, task_id="task_1", state=JobState.SUBMITTED))
    assert capsys.readouterr() == ("", "")


def test_missing_sandbox_extra_names_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_factory, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'rivya-async\[sandbox\]'"):
        session_factory.new_sandbox()
    session_factory.new_sandbox(renders=False)
