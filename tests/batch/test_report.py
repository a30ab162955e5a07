"""The report in Debian's Chromium: what a person sees of a batch, also of one with five thousand rows.

A machine without Chromium skips these tests, unless `RIVYA_BROWSER_TESTS` is set, as CI does: then they fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from rivya_async import JournalError
from rivya_async.batch import Batch, Row, RowRecord, SavedFile, State
from rivya_async.batch.report import write_report
from tests.batch.batch_kit import bench, rows
from tests.page.chromium import PROGRAM, Chromium, Tab, chromium

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        PROGRAM is None and not os.environ.get("RIVYA_BROWSER_TESTS"),
        reason="there is no Chromium: apt-get install chromium",
    ),
]

EVIL = "</script><img src=x onerror=\"document.title='broken into'\"><!-- {rows} {title}"
CARDS = "document.querySelectorAll('.card').length"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    async with chromium() as running:
        yield running


@asynccontextmanager
async def opened(browser: Chromium, page: Path, fragment: str = "") -> AsyncIterator[Tab]:
    """The page, straight from the disk; nothing that it does may be an error to the browser."""
    async with browser.tab(f"{page.as_uri()}{fragment}", calm=True) as tab:
        await tab.until("document.querySelector('#shown').textContent")
        yield tab
        assert tab.errors == []


async def journal_of(folder: Path, planned: Sequence[Row], ends: Any, batch_id: str = "kites") -> Path:
    """A journal as a run would leave it, without the run: `ends` says what changes in a record."""
    path = folder / "kites.journal"
    async with Batch.open(path, id=batch_id) as batch:
        await batch.add(planned)
        async for record in batch.records():
            batch._journal.note(record, **ends(record))
        number = await batch._journal.begin_run(1_700_000_000.0)
        await batch._journal.end_run(number, 1_700_000_100.0)
    return path


def failed(record: RowRecord) -> dict[str, Any]:
    at = 1_700_000_000.0 + record.row.number / 100
    return {
        "state": State.FAILED,
        "body": "{}",
        "submitted_at": at,
        "ended_at": at + 5,
        "final_credits": 0,
        "duration": 5.0,
        "polls": 2,
        "error_code": "content_policy" if record.row.number % 2 else "generation_failed",
        "error": f"Refused: {EVIL}",
    }


async def test_what_was_made_is_shown_and_what_failed_says_why(tmp_path: Path, browser: Chromium) -> None:
    async with bench(tmp_path) as on:
        await on.carry([*rows(2), *rows(4, prompt="A kite [fail]")[2:]], download_to=tmp_path / "out")
    write_report(on.journal, tmp_path / "report.html")
    async with opened(browser, tmp_path / "report.html") as tab:
        assert await tab.run(CARDS) == 4
        assert await tab.run("document.querySelector('h1').textContent") == "kites"
        assert await tab.run("[...document.querySelectorAll('#sum dd')].slice(0, 4).map(each => each.textContent)") == [
            "4", "2", "2", "2",
        ]  # fmt: skip
        await tab.until("[...document.querySelectorAll('.card img')].every(each => each.complete && each.naturalWidth)")
        assert await tab.run("document.querySelectorAll('.card img').length") == 2
        links = await tab.run("[...document.querySelectorAll('.media a')].map(each => each.getAttribute('href'))")
        assert all((tmp_path / link).is_file() for link in links)
        assert await tab.run("document.querySelectorAll('#charts svg').length") == 4
        assert "could not complete" in await tab.run("document.querySelector('#reasons').textContent")
        assert await tab.run("document.querySelectorAll('.media.none.bad').length") == 2


async def test_the_page_shows_small_pictures_when_it_was_moved_away(tmp_path: Path, browser: Chromium) -> None:
    async with bench(tmp_path) as on:
        await on.carry(rows(1), download_to=tmp_path / "out")
    write_report(on.journal, tmp_path / "report.html")
    shutil.rmtree(tmp_path / "out")
    async with opened(browser, tmp_path / "report.html") as tab:
        await tab.until("document.querySelector('.card img').naturalWidth > 200")


async def test_without_small_pictures_the_files_themselves_are_shown(
    tmp_path: Path, browser: Chromium, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(tmp_path) as on:
        await on.carry(rows(1), download_to=tmp_path / "out")
    monkeypatch.setattr("rivya_async.batch.report.page.MOST_EMBEDDED", 0)
    write_report(on.journal, tmp_path / "report.html")
    assert "data:image" not in (tmp_path / "report.html").read_text().partition("<body>")[2]
    async with opened(browser, tmp_path / "report.html") as tab:
        await tab.until("document.querySelector('.card img').naturalWidth > 200")


async def test_text_of_strangers_stays_text(tmp_path: Path, browser: Chromium) -> None:
    path = await journal_of(tmp_path, rows(3, prompt=EVIL, params={"note": EVIL}), failed, batch_id=EVIL)
    write_report(path, tmp_path / "report.html")
    async with opened(browser, tmp_path / "report.html") as tab:
        assert await tab.run("document.querySelector('h1').textContent") == EVIL
        assert await tab.run("document.querySelector('.prompt').textContent") == EVIL
        assert await tab.run("document.title") == f"{EVIL} (batch)"
        assert await tab.run("document.querySelectorAll('img').length") == 0


async def test_five_thousand_rows_are_quick_to_open_and_to_filter(tmp_path: Path, browser: Chromium) -> None:
    planned = [
        Row(number=n, line=n, model=("z-image", "gpt-image-2")[n % 5 == 0], prompt=f"Kite number {n}")
        for n in range(1, 5001)
    ]

    def ends(record: RowRecord) -> dict[str, Any]:
        if record.row.number % 50 == 0:
            return failed(record)
        at = 1_700_000_000.0 + record.row.number / 50
        file = SavedFile(f"out/{record.row.identity}.png", 1000, "0")
        return {**failed(record), "state": State.DOWNLOADED, "submitted_at": at, "files": (file,), "error_code": None}

    path = await journal_of(tmp_path, planned, ends)
    write_report(path, tmp_path / "report.html")
    (tmp_path / "out").mkdir()
    async with browser.tab((tmp_path / "report.html").as_uri(), calm=True) as tab:
        await tab.until(f"{CARDS} > 0")
        assert await tab.run(f"{CARDS} <= 240"), "only what is nearly in view is drawn"
        assert await tab.run("performance.getEntriesByType('navigation')[0].domComplete < 5000")
        assert await tab.run("document.querySelector('#shown').textContent") == "5,000"
        await tab.run("document.querySelector('[data-value=failed]').click()")
        assert await tab.run("document.querySelector('#shown').textContent") == "100 of 5,000"
        await tab.run("document.querySelector('[data-value=\"gpt-image-2\"]').click()")
        assert await tab.run("document.querySelector('#shown').textContent") == "100 of 5,000"
        await tab.run("document.querySelector('[data-value=failed]').click()")
        assert await tab.run("document.querySelector('#shown').textContent") == "1,000 of 5,000"
        await tab.run("document.querySelector('#search').value = 'NUMBER 4995'; apply()")
        assert await tab.run("document.querySelector('#shown').textContent") == "1 of 5,000"
        assert "search=NUMBER+4995" in await tab.run("location.hash")


async def test_a_look_can_be_bookmarked_and_a_reason_leads_to_its_rows(tmp_path: Path, browser: Chromium) -> None:
    path = await journal_of(tmp_path, rows(10), failed)
    write_report(path, tmp_path / "report.html")
    async with opened(browser, tmp_path / "report.html", "#codes=content_policy&search=kite") as tab:
        assert await tab.run("document.querySelector('#shown').textContent") == "5 of 10"
        assert await tab.run("document.querySelector('[data-value=content_policy]').ariaPressed") == "true"
        await tab.run("[...document.querySelectorAll('#reasons button')].at(-1).click()")
        assert "generation_failed" in await tab.run("location.hash")
        await tab.press("Tab")
        assert await tab.run("document.activeElement.closest('#gallery') !== null")


async def test_more_cards_come_as_they_are_scrolled_to(tmp_path: Path, browser: Chromium) -> None:
    path = await journal_of(tmp_path, rows(500), failed)
    write_report(path, tmp_path / "report.html")
    async with opened(browser, tmp_path / "report.html") as tab:
        few = await tab.run(CARDS)
        assert few < 500
        for _ in range(20):
            await tab.run("scrollTo(0, document.body.scrollHeight)")
            await tab.until(f"{CARDS} > {few} || {CARDS} === 500")
            few = await tab.run(CARDS)
        assert few == 500


async def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("the one before")
    (tmp_path / "kites.journal").write_text("nonsense")
    with pytest.raises(JournalError):
        write_report(tmp_path / "kites.journal", tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == "the one before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kites.journal", "report.html"]


async def test_an_empty_batch_has_a_page_too(tmp_path: Path, browser: Chromium) -> None:
    await Batch.open(tmp_path / "kites.journal").aclose()
    write_report(tmp_path / "kites.journal", tmp_path / "report.html")
    async with browser.tab((tmp_path / "report.html").as_uri()) as tab:
        await tab.until("document.querySelector('#end').textContent === 'No row is like that.'")
        assert tab.errors == []
