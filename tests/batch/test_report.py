"""The report in Debian's Chromium: what a person sees of a batch, also of one with five thousand rows."""

from __future__ import annotations

import base64
import io
import math
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rivya_async import JournalError
from rivya_async.batch import Batch, JobState, Row, RowRecord, SavedFile
from rivya_async.batch.report import write_report
from tests.batch.batch_kit import bench, rows
from tests.page.chromium import CONTRAST, IN_CHROMIUM, Chromium, Tab

pytestmark = IN_CHROMIUM

EVIL = "</script><img src=x onerror=\"document.title='broken into'\"><!-- {rows} {title}"
TOLD = ("task-7", "[1, 2]", "<b>", "dead: unknown")
CARDS = "document.querySelectorAll('.card').length"


@asynccontextmanager
async def opened(browser: Chromium, page: Path, fragment: str = "") -> AsyncIterator[Tab]:
    """The page, straight from the disk; nothing that it does may be an error to the browser."""
    async with browser.tab(f"{page.as_uri()}{fragment}", calm=True) as tab:
        await tab.until("document.querySelector('#shown').textContent")
        yield tab
        assert tab.errors == []


RUN = (1_700_000_000.0, 1_700_000_100.0)


async def journal_of(
    folder: Path,
    planned: Sequence[Row],
    ends: Any,
    batch_id: str = "kites",
    runs: Sequence[tuple[float, float | None]] = (RUN,),
) -> Path:
    """A journal as a run would leave it, without the run: `ends` says what changes in a record."""
    path = folder / "kites.journal"
    async with Batch.open(path, id=batch_id) as batch:
        await batch.add(planned)
        async for record in batch.records():
            batch._journal.note(record, **ends(record))
        for began, over in runs:
            number = await batch._journal.begin_run(began, "https://rivya.ai")
            if over is not None:
                await batch._journal.end_run(number, over)
    return path


def failed(record: RowRecord) -> dict[str, Any]:
    at = 1_700_000_000.0 + record.row.number / 100
    return {
        "state": JobState.FAILED,
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


async def test_files_in_folders_of_odd_names_are_found(tmp_path: Path, browser: Chromium) -> None:
    async with bench(tmp_path) as on:
        await on.carry(rows(1), download_to=tmp_path / "50% off? #1 ünder")
    write_report(on.journal, tmp_path / "report.html")
    async with opened(browser, tmp_path / "report.html") as tab:
        await tab.run("document.querySelector('.prompt').click()")
        await tab.until("document.querySelector('.whole img').naturalWidth > 320")


async def test_what_cannot_be_shown_small_keeps_no_page_from_being_written(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    Image.new("1", (20_000, 20_000)).save(tmp_path / "out" / "row-000001.png")
    (tmp_path / "out" / "row-000002.png").write_bytes(b"no picture")
    (tmp_path / "out" / "row-000003.mp4").write_bytes(b"no film")
    Image.new("RGBA", (400, 400), (200, 0, 0, 0)).save(tmp_path / "out" / "row-000004.png")
    endings = {1: "png", 2: "png", 3: "mp4", 4: "png"}

    def ends(record: RowRecord) -> dict[str, Any]:
        name = f"out/{record.row.identity}.{endings[record.row.number]}"
        return {**failed(record), "state": JobState.DOWNLOADED, "files": (SavedFile(name, 1, "0"),)}

    path = await journal_of(tmp_path, rows(4), ends)
    write_report(path, tmp_path / "report.html")
    small = re.findall(r'"data:image/webp;base64,([^"]+)"', (tmp_path / "report.html").read_text())
    assert len(small) == 1
    picture = Image.open(io.BytesIO(base64.b64decode(small[0])))
    assert picture.getchannel("A").getextrema() == (0, 0), "what is clear stays clear"


async def test_numbers_that_json_has_not_leave_the_page_whole(tmp_path: Path, browser: Chromium) -> None:
    def ends(record: RowRecord) -> dict[str, Any]:
        return {**failed(record), "duration": math.inf, "final_credits": math.inf}

    path = await journal_of(tmp_path, rows(1), ends)
    write_report(path, tmp_path / "report.html")
    async with opened(browser, tmp_path / "report.html") as tab:
        assert await tab.run(CARDS) == 1


async def test_time_in_which_no_run_was_on_is_not_counted(tmp_path: Path, browser: Chromium) -> None:
    """The first run is killed 20 seconds after it began; the second is on the next day, for 40 seconds."""
    night = RUN[0] + 86_400

    def ends(record: RowRecord) -> dict[str, Any]:
        at = RUN[0] if record.row.number == 1 else night
        return {**failed(record), "submitted_at": at, "ended_at": at + 20}

    path = await journal_of(tmp_path, rows(2), ends, runs=[(RUN[0], None), (night, night + 40)])
    write_report(path, tmp_path / "report.html")
    async with opened(browser, tmp_path / "report.html") as tab:
        assert await tab.run("[...document.querySelectorAll('#sum dd')].at(-1).textContent") == "1:00 min"
        assert await tab.run("document.querySelectorAll('#charts svg')[0].textContent.includes('1:00 min')")
        assert await tab.run("document.querySelectorAll('#charts .again').length") == 2, "in both charts of time"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (9.96, "10 s"), (59.6, "1:00 min"), (119.6, "2:00 min"), (3599.6, "1:00 h"), (7170, "2:00 h")],
)
async def test_times_are_rounded_whole(tmp_path: Path, browser: Chromium, seconds: float, told: str) -> None:
    write_report(await journal_of(tmp_path, rows(1), failed), tmp_path / "report.html")
    async with opened(browser, tmp_path / "report.html") as tab:
        assert await tab.run(f"span({seconds})") == told


async def test_a_row_can_be_looked_at_closer_from_the_keyboard(tmp_path: Path, browser: Chromium) -> None:
    def ends(record: RowRecord) -> dict[str, Any]:
        code = None if record.row.number == 2 else "moderated"
        return {**failed(record), "state": JobState.DEAD, "error_code": code, "error": EVIL, "task_id": "task-7"}

    path = await journal_of(tmp_path, rows(3, prompt=EVIL, params={"size": [1, 2], "<b>": EVIL}), ends)
    write_report(path, tmp_path / "report.html")
    async with opened(browser, tmp_path / "report.html") as tab:
        await tab.run("document.querySelectorAll('.prompt')[1].focus()")
        await tab.press("Enter")
        assert await tab.run("document.querySelector('#closer').open")
        assert await tab.run("document.querySelector('#closer h2').textContent") == EVIL
        told = await tab.run("document.querySelector('.said').textContent")
        assert {"task-7", "[1, 2]", "<b>", "dead: unknown"} <= {part for part in TOLD if part in told}
        assert told.count(EVIL) == 3, "prompt, reason and a parameter, all as text"
        await tab.press("ArrowRight")
        assert await tab.run("document.querySelector('#place').textContent") == "3 of 3"
        await tab.press("ArrowRight")
        assert await tab.run("document.querySelector('#place').textContent") == "3 of 3"
        await tab.press("ArrowLeft")
        await tab.press("Escape")
        assert not await tab.run("document.querySelector('#closer').open")
        assert await tab.run("document.activeElement.className") == "prompt"
        assert await tab.run("document.querySelector('#reasons').textContent.includes('unknown')")


@pytest.mark.parametrize("dark", [False, True])
async def test_text_can_be_read(tmp_path: Path, browser: Chromium, dark: bool) -> None:
    path = await journal_of(tmp_path, rows(2), failed)
    write_report(path, tmp_path / "report.html")
    async with opened(browser, tmp_path / "report.html") as tab:
        await tab.look(dark=dark, calm=True)
        await tab.run("document.querySelectorAll('summary').forEach((each) => each.click())")
        assert (await tab.run(CONTRAST))["found"] == []


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
        return {
            **failed(record),
            "state": JobState.DOWNLOADED,
            "submitted_at": at,
            "files": (file,),
            "error_code": None,
        }

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
        await tab.run("location.hash = 'codes=generation_failed'")
        await tab.until("document.querySelector('[data-value=generation_failed]').ariaPressed === 'true'")
        assert await tab.run("document.querySelector('#search').value") == ""
        await tab.run("location.hash = 'search=kite'")
        await tab.run("document.querySelector('#reasons li:last-child summary').click()")
        await tab.until("document.querySelector('#reasons .all')")
        assert await tab.run("document.querySelectorAll('#reasons .each li').length") == 5
        await tab.run("document.querySelector('#reasons .all').click()")
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


async def test_a_link_to_a_page_stays_a_link(tmp_path: Path) -> None:
    path = await journal_of(tmp_path, rows(1), failed)
    (tmp_path / "latest.html").symlink_to(tmp_path / "report.html")
    write_report(path, tmp_path / "latest.html")
    assert (tmp_path / "latest.html").is_symlink()
    assert "Refused" in (tmp_path / "report.html").read_text()


async def test_an_empty_batch_has_a_page_too(tmp_path: Path, browser: Chromium) -> None:
    await Batch.open(tmp_path / "kites.journal").aclose()
    write_report(tmp_path / "kites.journal", tmp_path / "report.html")
    async with browser.tab((tmp_path / "report.html").as_uri()) as tab:
        await tab.until("document.querySelector('#end').textContent === 'No row is like that.'")
        assert tab.errors == []
