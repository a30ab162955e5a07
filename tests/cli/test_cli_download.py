"""`rivya download`, as people and scripts use it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rivya_async import RivyaSession
from rivya_async.cli.output import Output
from rivya_async.cli.progress import transfer_progress
from rivya_async.sandbox import Sandbox
from tests.cli.cli_kit import rivya, run_against


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=1000) as running:
        yield running


@pytest.fixture
async def session(sandbox: Sandbox) -> AsyncIterator[RivyaSession]:
    async with RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as opened:
        yield opened


async def test_saves_files_of_jobs(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    kite = await session.generate("z-image", "A red kite")
    several = await session.generate("seedream-4-0", "A red kite", params={"max_images": 2})
    ended = await run_against("download", kite.id, several.id, kite.id, "-o", "out", sandbox=sandbox, cwd=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    names = ended.out.splitlines()
    assert [Path(name).stem for name in names] == [kite.id, several.id, f"{several.id}-2"]
    assert all((tmp_path / name).stat().st_size for name in names)


async def test_prints_one_json_line_per_source(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    kite = await session.generate("z-image", "A red kite")
    (url,) = kite.urls
    template = ("--name", "{model}-{task_id}{ext}")
    ended = await run_against("download", kite.id, url, "-o", "out", *template, "--json", sandbox=sandbox, cwd=tmp_path)
    first, second = ended.results
    assert first["id"] == kite.id
    assert second["url"] == url
    assert Path(first["files"][0]).name.startswith(f"z-image-{kite.id}.")
    assert Path(second["files"][0]).name.startswith("file-0.")


async def test_downloads_link_without_key(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    (url,) = (await session.generate("z-image", "A red kite")).urls
    ended = await run_against("download", url, sandbox=sandbox, cwd=tmp_path, RIVYA_API_KEY="")
    assert (ended.code, ended.err) == (0, "")
    assert len(list(tmp_path.iterdir())) == 1


async def test_failed_source_does_not_stop_others(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    kite = await session.generate("z-image", "A red kite")
    ended = await run_against("download", "task_missing", kite.id, "--json", sandbox=sandbox, cwd=tmp_path)
    assert ended.code == 2
    assert ended.error["type"] == "NotFoundError"
    assert [line["id"] for line in ended.results] == [kite.id]
    both = await run_against("download", "task_missing", "task_lost", "--json", sandbox=sandbox, cwd=tmp_path)
    assert [error["type"] for error in both.errors] == ["NotFoundError", "NotFoundError"]
    again = await run_against("download", kite.id, sandbox=sandbox, cwd=tmp_path)
    assert again.code == 0  # the file is kept
    strict = await run_against(
        "download", kite.id, "--name", "{task_id}{ext}", "--exists", "error", sandbox=sandbox, cwd=tmp_path
    )
    assert strict.code == 2
    assert "exists" in strict.err
    options = ("--exists", "overwrite", "--max-bytes", "10")
    small = await run_against("download", kite.id, *options, sandbox=sandbox, cwd=tmp_path)
    assert small.code == 2
    assert "max_bytes=10" in small.err


async def test_rejects_job_that_has_not_ended(tmp_path: Path) -> None:
    async with Sandbox(speed=0.001) as slow, RivyaSession(slow.api_key, base_url=slow.base_url) as session:
        job = await session.submit("z-image", "A red kite")
        ended = await run_against("download", job.id, sandbox=slow, cwd=tmp_path)
    assert ended.code == 2
    assert "wait for it to succeed first" in ended.err


def test_rejects_invalid_name_template(tmp_path: Path) -> None:
    ended = rivya("download", "http://127.0.0.1:9/a.png", "--name", "{task}", cwd=tmp_path)
    assert ended.code == 2
    assert "did you mean 'task_id'" in ended.err


def test_rejects_name_shared_by_several_files(tmp_path: Path) -> None:
    sources = ("http://127.0.0.1:9/a.png", "http://127.0.0.1:9/b.png")
    ended = rivya("download", *sources, "--name", "kite{index}{ext}", "--exists", "overwrite", cwd=tmp_path)
    assert ended.code == 2
    assert "put {task_id} into --name" in ended.err


def test_terminal_shows_transfer_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with transfer_progress(Output(is_json=False)) as add_bar:
        on_progress = add_bar("task_1 [1/2]")
        assert on_progress is not None
        on_progress(500_000, 1_000_000)
    seen = capsys.readouterr()
    assert "task_1 [1/2]" in seen.err
    assert seen.out == ""


def test_json_mode_shows_no_transfer_bars() -> None:
    with transfer_progress(Output(is_json=True)) as add_bar:
        assert add_bar("task_1") is None


async def test_an_output_with_a_suffix_is_a_file(sandbox: Sandbox, tmp_path: Path) -> None:
    buy = ("generate", "z-image", "A kite", "--json")
    ended = await run_against(*buy, "-o", "kite.png", sandbox=sandbox, cwd=tmp_path)
    assert (ended.code, ended.results[0]["files"]) == (0, ["kite.png"])
    again = await run_against(*buy, "-o", "kite.png", sandbox=sandbox, cwd=tmp_path)
    assert (again.code, "kite.png exists" in again.error["message"]) == (2, True)
    several = await run_against(*buy, "-n", "2", "-o", "kites.png", sandbox=sandbox, cwd=tmp_path)
    assert (several.code, "names one file" in several.error["message"]) == (2, True)
    assert sandbox.request_log.purchases == 1
    saved = await run_against("download", ended.results[0]["id"], "-o", "other.png", sandbox=sandbox, cwd=tmp_path)
    assert (saved.code, saved.out) == (0, "other.png\n")
    assert (await run_against(*buy, "-o", "out.d/", sandbox=sandbox, cwd=tmp_path)).code == 0
    assert [path.suffix for path in (tmp_path / "out.d").iterdir()] == [".png"]
