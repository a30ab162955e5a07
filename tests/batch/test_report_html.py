"""The HTML of the report and of the contact sheet, without a browser."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path

import pytest

from rivya_async import ConfigurationError, JournalError
from rivya_async.batch import JobState, SavedFile
from rivya_async.batch.report import write_report
from rivya_async.batch.report.html import MAX_EMBEDDED_BYTES
from rivya_async.batch.report.previews import Preview, kind_of, make_preview
from tests.batch.kit import make_rows
from tests.batch.report_kit import (
    HOSTILE,
    ReportPage,
    failed_changes,
    make_record,
    read_sheet,
    write_file,
    write_journal,
    write_sheet,
)


async def test_writes_the_page_atomically(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("the previous page")
    (tmp_path / "kites.journal").write_text("nonsense")
    with pytest.raises(JournalError):
        write_report(tmp_path / "kites.journal", tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == "the previous page"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kites.journal", "report.html"]


async def test_symlink_to_the_page_stays_a_symlink(tmp_path: Path) -> None:
    path = await write_journal(tmp_path, make_rows(1), failed_changes)
    (tmp_path / "latest.html").symlink_to(tmp_path / "report.html")
    write_report(path, tmp_path / "latest.html")
    assert (tmp_path / "latest.html").is_symlink()
    assert "Refused" in (tmp_path / "report.html").read_text()


async def test_untrusted_text_is_escaped_in_markup(tmp_path: Path) -> None:
    image = write_file(tmp_path, "<img src=x onerror=alert(1)>'.png", b"png")
    hostile = make_record(1, image, prompt=HOSTILE, task_id=HOSTILE)
    failed = make_record(2, prompt="A kite", state=JobState.FAILED, error_code=HOSTILE, error=HOSTILE)
    page = read_sheet(tmp_path, hostile, failed)
    assert len(page.find_all("script")) == 3
    assert not page.find_all("img")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.rows[0]["prompt"] == page.rows[0]["task"] == page.rows[1]["why"] == page.rows[1]["code"] == HOSTILE


async def test_sheet_loads_nothing(tmp_path: Path) -> None:
    image, film = write_file(tmp_path, "a.png", b"png"), write_file(tmp_path, "a.mp4", b"mp4")
    page = read_sheet(tmp_path, make_record(1, image), make_record(2, film))
    digest = base64.b64encode(hashlib.sha256(page.scripts[None].encode()).digest()).decode()
    assert page.policies == [
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    ]
    assert not any("src" in attributes for _, attributes in page.tags)
    assert not page.find_all("link")
    assert [row["files"][0] for row in page.rows] == [
        ["a.png", "image", 3, "data:image/png;base64,cG5n"],
        ["a.mp4", "video", 3, "data:video/mp4;base64,bXA0"],
    ]


async def test_report_loads_only_files(tmp_path: Path) -> None:
    write_report(await write_journal(tmp_path, make_rows(1), failed_changes), tmp_path / "report.html")
    page = ReportPage((tmp_path / "report.html").read_text())
    digest = base64.b64encode(hashlib.sha256(page.scripts[None].encode()).digest()).decode()
    assert page.policies == [
        "default-src 'none'; img-src data: file: 'self'; media-src data: file: 'self'; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    ]


async def test_sheet_links_large_files(tmp_path: Path) -> None:
    with (tmp_path / "film.mp4").open("wb") as file:
        file.truncate(MAX_EMBEDDED_BYTES + 1)
    page = read_sheet(tmp_path, make_record(1, SavedFile("film.mp4", MAX_EMBEDDED_BYTES + 1, "")))
    assert page.rows[0]["files"] == [["film.mp4", "file", MAX_EMBEDDED_BYTES + 1]]


async def test_page_without_jinja_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'rivya-async\[report\]'"):
        write_sheet(tmp_path, make_record())
    assert not list(tmp_path.iterdir())


def test_undecodable_files_have_no_preview(tmp_path: Path) -> None:
    for name in ("broken.mp4", "broken.mp3", "broken.png", "what.xyz"):
        (tmp_path / name).write_bytes(b"not a film")
        assert make_preview(tmp_path / name, 320) == Preview()
    assert kind_of("what.xyz") == "file"
