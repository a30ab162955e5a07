from __future__ import annotations

import json
from pathlib import Path

import av
import pytest
from PIL import Image

from rivya_async.batch.report.previews import kind_of, make_preview
from rivya_async.cli.commands.demo import DEMO_JOBS
from tests.batch.report_kit import ReportPage
from tests.cli.cli_kit import CommandResult, environment, rivya


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandResult, Path]:
    """One quick demo with JSON output for all tests; a key in the environment must not matter."""
    folder = tmp_path_factory.mktemp("demo") / "sheet"
    env = environment(RIVYA_API_KEY="rvya_sk_not_to_be_used")
    return rivya("demo", "-o", str(folder), "--speed", "200", "--json", env=env), folder


def files(folder: Path, kind: str) -> list[Path]:
    return [path for path in folder.iterdir() if kind_of(path.name) == kind]


def test_demo_succeeds_and_reports_cost(demo: tuple[CommandResult, Path]) -> None:
    ended, folder = demo
    assert (ended.code, ended.err) == (0, "")
    *jobs, summary = ended.results
    assert len(jobs) == len(DEMO_JOBS)
    assert {job["status"] for job in jobs} == {"succeeded"}
    assert summary["credits"] == sum(job["final_credits"] for job in jobs) > 0
    assert (summary["succeeded"], summary["failed"], summary["live"]) == (len(DEMO_JOBS), 0, False)
    assert Path(summary["page"]) == folder / "index.html"
    assert summary["seconds"] < 30


def test_demo_files_are_valid(demo: tuple[CommandResult, Path]) -> None:
    _, folder = demo
    pictures, films, sounds = (files(folder, kind) for kind in ("image", "video", "audio"))
    assert (len(pictures), len(films), len(sounds)) == (6, 3, 2)
    for path in pictures:
        with Image.open(path) as picture:
            picture.load()
            assert min(picture.size) > 100
    for path in films:
        with av.open(str(path)) as film:
            assert sum(1 for _ in film.decode(video=0)) > 10
    for path in sounds:
        with av.open(str(path)) as sound:
            assert sum(frame.samples for frame in sound.decode(audio=0)) > 8000


def test_sheet_has_thumbnails_and_waveforms(demo: tuple[CommandResult, Path]) -> None:
    _, folder = demo
    assert all((make_preview(path, 320).thumbnail or b"").startswith(b"RIFF") for path in files(folder, "video"))
    for path in files(folder, "audio"):
        bars = make_preview(path, 320).waveform
        assert len(bars) == 72
        assert max(bars) == 100
        assert min(bars) >= 0


def test_sheet_shows_every_job_and_is_self_contained(demo: tuple[CommandResult, Path]) -> None:
    ended, folder = demo
    html = (folder / "index.html").read_text(encoding="utf-8")
    rows = ReportPage(html).rows
    assert [(row["model"], row["prompt"]) for row in rows] == [(model, prompt) for model, prompt, _ in DEMO_JOBS]
    assert [[name for name, _ in row["params"]] for row in rows] == [list(params) for _, _, params in DEMO_JOBS]
    assert {row["task"] for row in rows} == {job["id"] for job in ended.results[:-1]}
    saved = [file for row in rows for file in row["files"]]
    kinds = [kind for _, kind, _, _ in saved]
    assert (kinds.count("image"), kinds.count("video"), kinds.count("audio")) == (6, 3, 2)
    assert all(data.startswith(f"data:{kind}/") for _, kind, _, data in saved)
    assert all(row["thumb"] for row in rows if row["files"][0][1] == "video")
    assert all(len(row["wave"]) == 72 for row in rows if row["files"][0][1] == "audio")
    assert {link for link, *_ in saved} == {path.name for path in folder.iterdir()} - {"index.html"}
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert "rvya_sk_" not in html


def test_demo_prints_text_and_can_be_repeated(demo: tuple[CommandResult, Path]) -> None:
    _, folder = demo
    ended = rivya("demo", "-o", str(folder), "--speed", "200")
    assert ended.code == 0
    assert ended.out.splitlines()[0].startswith("11 of 11 jobs in ")
    assert ended.out.splitlines()[1] == f"Contact sheet: {(folder / 'index.html').resolve().as_uri()}"
    assert "[11/11] succeeded" in ended.err
    assert "rvya_sk_" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("arguments", "summary"),
    [
        (("--live",), "RIVYA_API_KEY"),
        (("--live", "--speed", "3"), "--speed"),
        (("--speed", "0"), "speed"),
    ],
)
def test_rejects_invalid_options(tmp_path: Path, arguments: tuple[str, ...], summary: str) -> None:
    ended = rivya("demo", *arguments, "--json", cwd=tmp_path)
    assert ended.code == 2
    assert summary in ended.error["message"]
    assert "ConfigurationError" in json.dumps(ended.error)
