"""`rivya batch`: the command as a user runs it, in a process of its own."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rivya_async import JournalError
from rivya_async.batch import Batch, Row
from rivya_async.batch.journal_reader import read_records
from rivya_async.sandbox import Sandbox
from tests.cli.cli_kit import COMMAND, SUBMIT, RunningCommand, environment, rivya, run_against, wait_until


def manifest(folder: Path, count: int = 3, **members: Any) -> Path:
    path = folder / "kites.jsonl"
    lines = [{"model": "z-image", "prompt": f"Kite {number}", **members} for number in range(1, count + 1)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def add(folder: Path, *lines: str) -> None:
    with (folder / "kites.jsonl").open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def states(journal: Path) -> Counter[str]:
    try:
        return Counter(record.state.value for record in read_records(journal))
    except JournalError:  # it is about to be made
        return Counter()


@pytest.fixture
async def sandbox() -> Any:
    async with Sandbox(speed=500, credits=10_000) as running:
        yield running


async def test_batch_run_saves_files(sandbox: Sandbox, tmp_path: Path) -> None:
    manifest(tmp_path)
    done = await run_against("batch", "run", "kites.jsonl", "-o", "out", sandbox=sandbox, cwd=tmp_path)
    assert done.code == 0
    assert "3 downloaded" in done.out
    assert "3 credits spent, 0 credits reserved" in done.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"row-00000{n}.png" for n in (1, 2, 3)]
    again = await run_against("batch", "run", "kites.jsonl", "-o", "out", sandbox=sandbox, cwd=tmp_path)
    assert (again.code, sandbox.request_log.purchases) == (0, 3)
    assert "0 new rows, 3 known" in again.err


async def test_json_has_line_per_row_and_summary(sandbox: Sandbox, tmp_path: Path) -> None:
    manifest(tmp_path)
    done = await run_against("batch", "run", "kites.jsonl", "--json", sandbox=sandbox, cwd=tmp_path)
    *rows, summary = done.results
    assert done.err == ""
    assert {row["state"] for row in rows} == {"succeeded"}
    assert len({row["key"] for row in rows}) == 3
    assert all(row["polls"] >= 1 for row in rows)
    assert (summary["rows"], summary["open"], summary["spent"], summary["counts"]["succeeded"]) == (3, 0, 3, 3)


def test_dry_run_buys_nothing_and_creates_no_files(tmp_path: Path) -> None:
    manifest(tmp_path)
    add(tmp_path, '{"model": "z-imgae"}', '{"model": "wan-2-6", "prompt": "A kite"}')
    done = rivya("batch", "run", "kites.jsonl", "--dry-run", "--sandbox", cwd=tmp_path)
    assert done.code == 2
    assert "line 4: there is no model 'z-imgae' (did you mean 'z-image'" in done.err
    assert "4 rows: about" in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["kites.jsonl"]
    (bad_row, summary) = rivya("batch", "run", "kites.jsonl", "--dry-run", "--sandbox", "--json", cwd=tmp_path).results
    assert bad_row["line"] == 4
    assert (summary["rows"], summary["invalid_rows"]) == (4, 1)


async def test_cap_needs_highest_price(sandbox: Sandbox, tmp_path: Path) -> None:
    before = sandbox.credits
    row = '{"model": "kling-3-0", "prompt": "A kite", "params": {"duration": 10}}\n'
    (tmp_path / "kites.jsonl").write_text(row)
    job = ("batch", "run", "kites.jsonl", "--max-spend", "400")
    (summary,) = (await run_against(*job, "--dry-run", "--json", sandbox=sandbox, cwd=tmp_path)).results
    assert (summary["estimated_credits"], summary["rows_with_lower_bound"]) == (90, 1)
    refused = await run_against(*job, sandbox=sandbox, cwd=tmp_path)
    assert (refused.code, sandbox.request_log.purchases) == (1, 0)
    assert "at least 90 credits" in refused.err
    assert "--price kling-3-0=" in refused.err
    wrong = await run_against(*job, "--price", "kling-3-0=x", sandbox=sandbox, cwd=tmp_path)
    assert wrong.code == 2
    assert "--price takes" in wrong.err
    assert (await run_against("batch", "retry", "kites.journal", sandbox=sandbox, cwd=tmp_path)).code == 0
    done = await run_against(*job, "--price", "kling-3-0=200", sandbox=sandbox, cwd=tmp_path)
    assert (done.code, sandbox.request_log.purchases) == (0, 1)
    assert sandbox.credits == before - 180


async def test_invalid_rows_stop_others_without_keep_going(sandbox: Sandbox, tmp_path: Path) -> None:
    manifest(tmp_path)
    add(tmp_path, '{"model": "z-imgae"}')
    stopped = await run_against("batch", "run", "kites.jsonl", sandbox=sandbox, cwd=tmp_path)
    assert (stopped.code, sandbox.request_log.purchases) == (2, 0)
    assert "--keep-going" in stopped.err
    done = await run_against("batch", "run", "kites.jsonl", "--keep-going", sandbox=sandbox, cwd=tmp_path)
    assert (done.code, sandbox.request_log.purchases) == (0, 3)


async def test_set_fills_missing_values(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "kites.csv").write_text("colour\nred\nblue\n")
    fill = ["--set", "model=z-image", "--set", "prompt=A {colour} kite", "--set", "name={colour}"]
    done = await run_against("batch", "run", "kites.csv", *fill, "-o", "out", sandbox=sandbox, cwd=tmp_path)
    assert done.code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["blue.png", "red.png"]


@pytest.mark.parametrize("wrong", ["model", "=x", "modle=x"])
def test_invalid_set_is_reported(tmp_path: Path, wrong: str) -> None:
    done = rivya("batch", "run", str(manifest(tmp_path)), "--set", wrong, "--sandbox")
    assert done.code == 2
    assert list(tmp_path.glob("*.journal")) == []


@pytest.mark.parametrize("content", [None, "model,promt\nz-image,A kite\n", '[{"model": "z-image"}]'])
def test_invalid_manifest_creates_no_journal(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kites.csv"
    if content is not None:
        path.write_text(content)
    done = rivya("batch", "run", str(path), "--sandbox", "-o", str(tmp_path / "out"))
    assert (done.code, "kites.csv" in done.err) == (2, True)
    assert list(tmp_path.glob("kites.journal*")) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name")
async def test_reads_manifest_from_pipe(sandbox: Sandbox, tmp_path: Path) -> None:
    pipe = tmp_path / "kites"
    os.mkfifo(pipe)
    running = await RunningCommand.start(
        "batch", "run", "kites", "--journal", "k.journal", env=environment(sandbox), cwd=tmp_path
    )
    await asyncio.to_thread(pipe.write_text, '{"model": "z-image", "prompt": "A kite"}\n' * 3)
    done = await running.end()
    assert (done.code, sandbox.request_log.purchases) == (0, 3)


async def test_row_changed_after_purchase_is_reported(sandbox: Sandbox, tmp_path: Path) -> None:
    manifest(tmp_path)
    await run_against("batch", "run", "kites.jsonl", sandbox=sandbox, cwd=tmp_path)
    manifest(tmp_path, prompt="Another kite")
    done = await run_against("batch", "run", "kites.jsonl", sandbox=sandbox, cwd=tmp_path)
    assert (done.code, sandbox.request_log.purchases) == (2, 3)
    assert done.err.count("is not what it was when its purchase was begun") == 3


async def test_an_interrupted_sandbox_batch_cannot_be_resumed(tmp_path: Path) -> None:
    manifest(tmp_path, model="veo3-1-fast")
    command = ("batch", "run", "kites.jsonl", "--sandbox", "-o", "out")
    running = await RunningCommand.start(*command, env=environment(), cwd=tmp_path)
    await wait_until(lambda: states(tmp_path / "kites.journal")["submitted"] == 3)
    running.signal(signal.SIGINT)
    stopped = await running.end()
    assert stopped.code == 130
    assert "the sandbox and its jobs end" in stopped.err
    assert "3 rows open: the jobs ended with the sandbox. Delete kites.journal to begin again" in stopped.out
    again = await asyncio.to_thread(rivya, *command, cwd=tmp_path)
    assert again.code == 2
    assert "kites.journal has 3 open jobs of http://127.0.0.1:" in again.err
    assert "delete the journal, or name another one with --journal" in again.err
    status = await asyncio.to_thread(rivya, "batch", "status", "kites.journal", "--json", cwd=tmp_path)
    assert status.results[0]["service"].startswith("http://127.0.0.1:")


async def test_max_spend_stops_purchases_and_is_reported(sandbox: Sandbox, tmp_path: Path) -> None:
    manifest(tmp_path, 10)
    done = await run_against("batch", "run", "kites.jsonl", "--max-spend", "4", sandbox=sandbox, cwd=tmp_path)
    assert (done.code, sandbox.request_log.purchases) == (4, 4)
    assert "max_spend=4" in done.err
    assert "6 planned" in done.out


async def test_failed_rows_are_bought_again_only_on_request(sandbox: Sandbox, tmp_path: Path) -> None:
    manifest(tmp_path, 2, prompt="A kite [fail]")
    done = await run_against("batch", "run", "kites.jsonl", sandbox=sandbox, cwd=tmp_path)
    assert done.code == 1
    assert done.err.count("failed:") == 2
    assert "2 failed:" in done.out
    retried = await run_against("batch", "retry", "kites.journal", sandbox=sandbox, cwd=tmp_path)
    assert "2 rows will be tried again" in retried.out
    again = await run_against("batch", "run", "kites.jsonl", "--retry-failed", "2", sandbox=sandbox, cwd=tmp_path)
    assert (again.code, sandbox.request_log.purchases) == (1, 6)


# --- stopping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_stops_gracefully_and_same_command_resumes(tmp_path: Path, number: int) -> None:
    journal = manifest(tmp_path, 30).with_suffix(".journal")
    async with Sandbox(speed=0.01, credits=100) as sandbox:
        command = ["batch", "run", "kites.jsonl", "--max-in-flight", "5"]
        running = await RunningCommand.start(*command, env=environment(sandbox), cwd=tmp_path)
        await wait_until(lambda: states(journal)["submitted"] == 5)
        running.signal(number)
        stopped = await running.end()
        assert stopped.code == 75
        assert "nothing more is bought" in stopped.err
        assert "run the same command again" in stopped.out
        assert states(journal) == {"submitted": 5, "planned": 25}
        assert sandbox.request_log.purchases == 5
        again = await RunningCommand.start(*command, env=environment(sandbox), cwd=tmp_path)
        await wait_until(lambda: sandbox.request_log.count("GET /api/v1/generations/{task_id}") > 10)
        again.signal(number)
        assert (await again.end()).code == 75
        assert sandbox.request_log.purchases == 5


async def test_second_signal_exits_at_once(tmp_path: Path) -> None:
    journal = manifest(tmp_path, 3).with_suffix(".journal")
    async with Sandbox(speed=500, credits=100) as sandbox:
        sandbox.faults.add(route=SUBMIT, delay=30.0, act=True)
        running = await RunningCommand.start("batch", "run", "kites.jsonl", env=environment(sandbox), cwd=tmp_path)
        await wait_until(lambda: sandbox.request_log.count(SUBMIT) == 3)  # else they are planned again
        running.signal(signal.SIGINT)
        await running.read_error_line("Once more to end at once")
        running.signal(signal.SIGINT)
        assert (await running.end()).code == 130
        assert states(journal) == {"intent": 3}


# --- looking on -------------------------------------------------------------------------------------------------------


async def test_status_works_during_run(tmp_path: Path) -> None:
    journal = manifest(tmp_path, 10).with_suffix(".journal")
    async with Sandbox(speed=0.01, credits=100) as sandbox:
        running = await RunningCommand.start("batch", "run", "kites.jsonl", env=environment(sandbox), cwd=tmp_path)
        await wait_until(lambda: states(journal)["submitted"] == 10)
        (status,) = (
            await run_against("batch", "--json", "status", "kites.journal", sandbox=sandbox, cwd=tmp_path)
        ).results
        assert (status["rows"], status["open"], status["counts"]["submitted"], status["reserved"]) == (10, 10, 10, 10)
        second = await run_against("batch", "run", "kites.jsonl", sandbox=sandbox, cwd=tmp_path)
        assert second.code == 2
        assert "another process works with" in second.err
        running.signal(signal.SIGINT)
        await running.end()


@pytest.mark.parametrize("command", [["status"], ["retry"], ["report"], ["export"]])
def test_missing_journal_is_reported_and_not_created(tmp_path: Path, command: list[str]) -> None:
    done = rivya("batch", *command, "kites.journal", cwd=tmp_path)
    assert done.code == 2
    assert "there is no journal kites.journal" in done.err
    assert list(tmp_path.iterdir()) == []


async def test_exports_rows(sandbox: Sandbox, tmp_path: Path) -> None:
    manifest(tmp_path, 3, prompt="=1+2", params={"aspect_ratio": "1:1"})
    await run_against("batch", "run", "kites.jsonl", "-o", "out", sandbox=sandbox, cwd=tmp_path)
    lines = (await run_against("batch", "export", "kites.journal", sandbox=sandbox, cwd=tmp_path)).results
    assert [line["state"] for line in lines] == ["downloaded"] * 3
    assert lines[0]["params"] == {"aspect_ratio": "1:1"}
    assert (tmp_path / lines[0]["files"][0]["path"]).is_file()

    text = (await run_against("batch", "export", "kites.journal", "--format", "csv", sandbox=sandbox, cwd=tmp_path)).out
    table = list(csv.DictReader(io.StringIO(text)))
    assert [row["task_id"] for row in table] == [line["task_id"] for line in lines]
    assert table[0]["prompt"] == "'=1+2", "a spreadsheet must not run it"

    asked = await run_against("batch", "export", "kites.journal", "--format", "parquet", sandbox=sandbox, cwd=tmp_path)
    assert asked.code == 2
    done = await run_against(
        *("batch", "export", "kites.journal", "--format", "parquet", "-o", "k.parquet"), sandbox=sandbox, cwd=tmp_path
    )
    assert done.code == 0
    from pyarrow import parquet

    rows = parquet.read_table(tmp_path / "k.parquet").to_pylist()
    assert [row["task_id"] for row in rows] == [line["task_id"] for line in lines]
    assert rows[0]["credits"] == 1.0


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
async def test_failed_export_keeps_previous_file(sandbox: Sandbox, tmp_path: Path, form: str) -> None:
    manifest(tmp_path)
    (tmp_path / "before").write_text("the one before")
    (tmp_path / "kites.journal").write_text("nonsense")
    done = await run_against(
        *("batch", "export", "kites.journal", "--format", form, "-o", "before"), sandbox=sandbox, cwd=tmp_path
    )
    assert done.code == 2
    assert (tmp_path / "before").read_text() == "the one before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before", "kites.journal", "kites.jsonl"]


@pytest.mark.parametrize("command", ["report", "export"])
async def test_invalid_export_target_is_reported(sandbox: Sandbox, tmp_path: Path, command: str) -> None:
    manifest(tmp_path)
    await run_against("batch", "run", "kites.jsonl", sandbox=sandbox, cwd=tmp_path)
    nowhere = await run_against("batch", command, "kites.journal", "-o", "nowhere/file", sandbox=sandbox, cwd=tmp_path)
    assert (nowhere.code, "no such folder: 'nowhere'" in nowhere.err) == (2, True)
    folder = await run_against("batch", command, "kites.journal", "-o", ".", sandbox=sandbox, cwd=tmp_path)
    assert (folder.code, "it is a folder" in folder.err) == (2, True)


async def test_api_key_is_not_written_to_files(sandbox: Sandbox, tmp_path: Path) -> None:
    manifest(tmp_path)
    done = await run_against("batch", "run", "kites.jsonl", "-o", "out", "--json", sandbox=sandbox, cwd=tmp_path)
    written = done.out + (await run_against("batch", "export", "kites.journal", sandbox=sandbox, cwd=tmp_path)).out
    assert sandbox.api_key not in written
    for path in tmp_path.glob("kites.*"):
        assert sandbox.api_key.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "command",
    [
        ("export", "kites.journal", "-o", "kites.journal"),
        ("export", "kites.journal", "-o", "link.jsonl"),
        ("report", "kites.journal", "-o", "./kites.journal"),
        ("run", "kites.jsonl", "--report", "kites.jsonl"),
        ("run", "kites.jsonl", "--report", "kites.journal"),
    ],
)
async def test_export_never_overwrites_manifest_or_journal(
    sandbox: Sandbox, tmp_path: Path, command: tuple[str, ...]
) -> None:
    wanted = manifest(tmp_path).read_bytes()
    await run_against("batch", "run", "kites.jsonl", sandbox=sandbox, cwd=tmp_path)
    (tmp_path / "link.jsonl").hardlink_to(tmp_path / "kites.journal")
    done = await run_against("batch", *command, sandbox=sandbox, cwd=tmp_path)
    assert (done.code, "choose another file" in done.err) == (2, True)
    assert (tmp_path / "kites.jsonl").read_bytes() == wanted
    assert states(tmp_path / "kites.journal") == {"succeeded": 3}


@pytest.fixture
async def planned(tmp_path: Path) -> Path:
    async with Batch.open(tmp_path / "kites.journal") as batch:
        await batch.add([Row(number=1, line=1, model="z-image", prompt="Drachen über Öresund 🪁")])
    return tmp_path / "kites.journal"


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_export_is_utf_8(planned: Path, form: str) -> None:
    ascii_only = environment(PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    done = rivya("batch", "export", str(planned), "--format", form, env=ascii_only)
    assert "Drachen über Öresund 🪁" in done.out


def test_export_ends_when_reader_closes(planned: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*COMMAND, "batch", "export", str(planned)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environment(), timeout=50, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
