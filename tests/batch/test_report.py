"""The report in Chromium, also of a batch with five thousand rows, and the contact sheet of a run."""

from __future__ import annotations

import base64
import io
import math
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rivya_async.batch import Batch, JobState, Row, RowRecord, SavedFile
from rivya_async.batch.report import write_report
from tests.batch.kit import batch_environment, make_rows
from tests.batch.report_kit import HOSTILE, RUN, failed_changes, make_record, write_file, write_journal, write_sheet
from tests.chromium import CONTRAST, IN_CHROMIUM, Chromium, Tab

pytestmark = IN_CHROMIUM

SHOWN = ("task-7", "[1, 2]", "<b>", "dead: unknown")
CARDS = "document.querySelectorAll('.card').length"


@asynccontextmanager
async def open_page(browser: Chromium, page: Path, fragment: str = "") -> AsyncIterator[Tab]:
    """Opens the page from the disk and asserts that the browser reports no error."""
    async with browser.tab(f"{page.as_uri()}{fragment}", reduced_motion=True) as tab:
        await tab.wait_for("document.querySelector('#count').textContent")
        yield tab
        assert tab.errors == []


async def test_shows_results_and_failures(tmp_path: Path, browser: Chromium) -> None:
    async with batch_environment(tmp_path) as env:
        await env.run([*make_rows(2), *make_rows(4, prompt="A kite [fail]")[2:]], download_to=tmp_path / "out")
    write_report(env.journal, tmp_path / "report.html")
    async with open_page(browser, tmp_path / "report.html") as tab:
        assert await tab.evaluate(CARDS) == 4
        assert await tab.evaluate("document.querySelector('h1').textContent") == "kites"
        totals = await tab.evaluate("[...document.querySelectorAll('#totals dd')].map(each => each.textContent)")
        assert totals[:4] == ["4", "2", "2", "2"]
        await tab.wait_for(
            "[...document.querySelectorAll('.card img')].every(each => each.complete && each.naturalWidth)"
        )
        assert await tab.evaluate("document.querySelectorAll('.card img').length") == 2
        links = await tab.evaluate("[...document.querySelectorAll('.media a')].map(each => each.getAttribute('href'))")
        assert all((tmp_path / link).is_file() for link in links)
        assert await tab.evaluate("document.querySelectorAll('#charts svg').length") == 4
        assert "could not complete" in await tab.evaluate("document.querySelector('#reasons').textContent")
        assert await tab.evaluate("document.querySelectorAll('.media.none.bad').length") == 2


async def test_shows_thumbnails_without_the_files(tmp_path: Path, browser: Chromium) -> None:
    async with batch_environment(tmp_path) as env:
        await env.run(make_rows(1), download_to=tmp_path / "out")
    write_report(env.journal, tmp_path / "report.html")
    shutil.rmtree(tmp_path / "out")
    async with open_page(browser, tmp_path / "report.html") as tab:
        await tab.wait_for("document.querySelector('.card img').naturalWidth > 200")


async def test_shows_files_without_thumbnails(
    tmp_path: Path, browser: Chromium, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with batch_environment(tmp_path) as env:
        await env.run(make_rows(1), download_to=tmp_path / "out")
    monkeypatch.setattr("rivya_async.batch.report.html.MAX_THUMBNAIL_BYTES", 0)
    write_report(env.journal, tmp_path / "report.html")
    assert "data:image" not in (tmp_path / "report.html").read_text().partition("<body>")[2]
    async with open_page(browser, tmp_path / "report.html") as tab:
        await tab.wait_for("document.querySelector('.card img').naturalWidth > 200")


async def test_links_files_in_folders_with_special_characters(
    tmp_path: Path, browser: Chromium, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with batch_environment(tmp_path) as env:
        await env.run(make_rows(1), download_to=tmp_path / "50% off? #1 ünder")
    monkeypatch.setattr("rivya_async.batch.report.html.LARGE_THUMBNAIL_SIDE", 320)
    write_report(env.journal, tmp_path / "report.html")
    async with open_page(browser, tmp_path / "report.html") as tab:
        await tab.evaluate("document.querySelector('.prompt').click()")
        await tab.wait_for("document.querySelector('.full img').naturalWidth > 320")


async def test_broken_files_have_no_thumbnail(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    Image.new("1", (20_000, 20_000)).save(tmp_path / "out" / "row-000001.png")
    (tmp_path / "out" / "row-000002.png").write_bytes(b"no picture")
    (tmp_path / "out" / "row-000003.mp4").write_bytes(b"no film")
    Image.new("RGBA", (400, 400), (200, 0, 0, 0)).save(tmp_path / "out" / "row-000004.png")
    extensions = {1: "png", 2: "png", 3: "mp4", 4: "png"}

    def ends(record: RowRecord) -> dict[str, Any]:
        name = f"out/{record.row.identity}.{extensions[record.row.number]}"
        return {**failed_changes(record), "state": JobState.DOWNLOADED, "files": (SavedFile(name, 1, "0"),)}

    path = await write_journal(tmp_path, make_rows(4), ends)
    write_report(path, tmp_path / "report.html")
    thumbnails = re.findall(r'"data:image/webp;base64,([^"]+)"', (tmp_path / "report.html").read_text())
    assert len(thumbnails) == 1
    picture = Image.open(io.BytesIO(base64.b64decode(thumbnails[0])))
    assert picture.getchannel("A").getextrema() == (0, 0), "transparency is kept"


async def test_numbers_that_are_not_json_are_left_out(tmp_path: Path, browser: Chromium) -> None:
    def ends(record: RowRecord) -> dict[str, Any]:
        return {**failed_changes(record), "duration": math.inf, "final_credits": math.inf}

    path = await write_journal(tmp_path, make_rows(1), ends)
    write_report(path, tmp_path / "report.html")
    async with open_page(browser, tmp_path / "report.html") as tab:
        assert await tab.evaluate(CARDS) == 1


async def test_duration_excludes_time_between_runs(tmp_path: Path, browser: Chromium) -> None:
    """The first run is killed after 20 seconds; the second runs for 40 seconds on the next day."""
    night = RUN[0] + 86_400

    def ends(record: RowRecord) -> dict[str, Any]:
        at = RUN[0] if record.row.number == 1 else night
        return {**failed_changes(record), "submitted_at": at, "ended_at": at + 20}

    path = await write_journal(tmp_path, make_rows(2), ends, runs=[(RUN[0], None), (night, night + 40)])
    write_report(path, tmp_path / "report.html")
    async with open_page(browser, tmp_path / "report.html") as tab:
        assert await tab.evaluate("[...document.querySelectorAll('#totals dd')].at(-1).textContent") == "1:00 min"
        assert await tab.evaluate("document.querySelectorAll('#charts svg')[0].textContent.includes('1:00 min')")
        assert await tab.evaluate("document.querySelectorAll('#charts .resumed').length") == 2, "in both charts of time"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (9.96, "10 s"), (59.6, "1:00 min"), (119.6, "2:00 min"), (3599.6, "1:00 h"), (7170, "2:00 h")],
)
async def test_times_are_rounded(tmp_path: Path, browser: Chromium, seconds: float, text: str) -> None:
    write_report(await write_journal(tmp_path, make_rows(1), failed_changes), tmp_path / "report.html")
    async with open_page(browser, tmp_path / "report.html") as tab:
        assert await tab.evaluate(f"formatSeconds({seconds})") == text


async def test_opens_a_row_with_the_keyboard(tmp_path: Path, browser: Chromium) -> None:
    def ends(record: RowRecord) -> dict[str, Any]:
        code = None if record.row.number == 2 else "moderated"
        return {
            **failed_changes(record),
            "state": JobState.DEAD,
            "error_code": code,
            "error": HOSTILE,
            "task_id": "task-7",
        }

    path = await write_journal(tmp_path, make_rows(3, prompt=HOSTILE, params={"size": [1, 2], "<b>": HOSTILE}), ends)
    write_report(path, tmp_path / "report.html")
    async with open_page(browser, tmp_path / "report.html") as tab:
        await tab.evaluate("document.querySelectorAll('.prompt')[1].focus()")
        await tab.press("Enter")
        assert await tab.evaluate("document.querySelector('#row-dialog').open")
        assert await tab.evaluate("document.querySelector('#row-dialog h2').textContent") == HOSTILE
        details = await tab.evaluate("document.querySelector('.details').textContent")
        assert {"task-7", "[1, 2]", "<b>", "dead: unknown"} <= {part for part in SHOWN if part in details}
        assert details.count(HOSTILE) == 3, "prompt, reason and a parameter, all as text"
        await tab.press("ArrowRight")
        assert await tab.evaluate("document.querySelector('#position').textContent") == "3 of 3"
        await tab.press("ArrowRight")
        assert await tab.evaluate("document.querySelector('#position').textContent") == "3 of 3"
        await tab.press("ArrowLeft")
        await tab.press("Escape")
        assert not await tab.evaluate("document.querySelector('#row-dialog').open")
        assert await tab.evaluate("document.activeElement.className") == "prompt"
        assert await tab.evaluate("document.querySelector('#reasons').textContent.includes('unknown')")


@pytest.mark.parametrize("dark", [False, True])
async def test_text_has_enough_contrast(tmp_path: Path, browser: Chromium, dark: bool) -> None:
    path = await write_journal(tmp_path, make_rows(2), failed_changes)
    write_report(path, tmp_path / "report.html")
    async with open_page(browser, tmp_path / "report.html") as tab:
        await tab.emulate(dark=dark, reduced_motion=True)
        await tab.evaluate("document.querySelectorAll('summary').forEach((each) => each.click())")
        assert (await tab.evaluate(CONTRAST))["found"] == []


async def test_page_shows_untrusted_text_as_text(tmp_path: Path, browser: Chromium) -> None:
    path = await write_journal(
        tmp_path, make_rows(3, prompt=HOSTILE, params={"note": HOSTILE}), failed_changes, batch_id=HOSTILE
    )
    write_report(path, tmp_path / "report.html")
    async with open_page(browser, tmp_path / "report.html") as tab:
        assert await tab.evaluate("document.querySelector('h1').textContent") == HOSTILE
        assert await tab.evaluate("document.querySelector('.prompt').textContent") == HOSTILE
        assert await tab.evaluate("document.title") == f"{HOSTILE} (batch)"
        assert await tab.evaluate("document.querySelectorAll('img').length") == 0


async def test_opens_and_filters_five_thousand_rows_quickly(tmp_path: Path, browser: Chromium) -> None:
    planned = [
        Row(number=n, line=n, model=("z-image", "gpt-image-2")[n % 5 == 0], prompt=f"Kite number {n}")
        for n in range(1, 5001)
    ]

    def ends(record: RowRecord) -> dict[str, Any]:
        if record.row.number % 50 == 0:
            return failed_changes(record)
        at = 1_700_000_000.0 + record.row.number / 50
        file = SavedFile(f"out/{record.row.identity}.png", 1000, "0")
        return {
            **failed_changes(record),
            "state": JobState.DOWNLOADED,
            "submitted_at": at,
            "files": (file,),
            "error_code": None,
        }

    path = await write_journal(tmp_path, planned, ends)
    write_report(path, tmp_path / "report.html")
    (tmp_path / "out").mkdir()
    async with browser.tab((tmp_path / "report.html").as_uri(), reduced_motion=True) as tab:
        await tab.wait_for(f"{CARDS} > 0")
        assert await tab.evaluate(f"{CARDS} <= 240"), "only cards near the view are created"
        assert await tab.evaluate("performance.getEntriesByType('navigation')[0].domComplete < 5000")
        assert await tab.evaluate("document.querySelector('#count').textContent") == "5,000"
        await tab.evaluate("document.querySelector('[data-value=failed]').click()")
        assert await tab.evaluate("document.querySelector('#count').textContent") == "100 of 5,000"
        await tab.evaluate("document.querySelector('[data-value=\"gpt-image-2\"]').click()")
        assert await tab.evaluate("document.querySelector('#count').textContent") == "100 of 5,000"
        await tab.evaluate("document.querySelector('[data-value=failed]').click()")
        assert await tab.evaluate("document.querySelector('#count').textContent") == "1,000 of 5,000"
        await tab.evaluate("document.querySelector('#search').value = 'NUMBER 4995'; applyFilters()")
        assert await tab.evaluate("document.querySelector('#count').textContent") == "1 of 5,000"
        assert "search=NUMBER+4995" in await tab.evaluate("location.hash")


async def test_filters_are_in_the_address_and_reasons_filter_rows(tmp_path: Path, browser: Chromium) -> None:
    path = await write_journal(tmp_path, make_rows(10), failed_changes)
    write_report(path, tmp_path / "report.html")
    async with open_page(browser, tmp_path / "report.html", "#codes=content_policy&search=kite") as tab:
        assert await tab.evaluate("document.querySelector('#count').textContent") == "5 of 10"
        assert await tab.evaluate("document.querySelector('[data-value=content_policy]').ariaPressed") == "true"
        await tab.evaluate("location.hash = 'codes=generation_failed'")
        await tab.wait_for("document.querySelector('[data-value=generation_failed]').ariaPressed === 'true'")
        assert await tab.evaluate("document.querySelector('#search').value") == ""
        await tab.evaluate("location.hash = 'search=kite'")
        await tab.evaluate("document.querySelector('#reasons li:last-child summary').click()")
        await tab.wait_for("document.querySelector('#reasons .all')")
        assert await tab.evaluate("document.querySelectorAll('#reasons .each li').length") == 5
        await tab.evaluate("document.querySelector('#reasons .all').click()")
        assert "generation_failed" in await tab.evaluate("location.hash")
        await tab.press("Tab")
        assert await tab.evaluate("document.activeElement.closest('#gallery') !== null")


async def test_adds_cards_while_scrolling(tmp_path: Path, browser: Chromium) -> None:
    path = await write_journal(tmp_path, make_rows(500), failed_changes)
    write_report(path, tmp_path / "report.html")
    async with open_page(browser, tmp_path / "report.html") as tab:
        count = await tab.evaluate(CARDS)
        assert count < 500
        for _ in range(20):
            await tab.evaluate("scrollTo(0, document.body.scrollHeight)")
            await tab.wait_for(f"{CARDS} > {count} || {CARDS} === 500")
            count = await tab.evaluate(CARDS)
        assert count == 500


async def test_empty_batch_has_a_page(tmp_path: Path, browser: Chromium) -> None:
    await Batch.open(tmp_path / "kites.journal").aclose()
    write_report(tmp_path / "kites.journal", tmp_path / "report.html")
    async with browser.tab((tmp_path / "report.html").as_uri()) as tab:
        await tab.wait_for("document.querySelector('#end').textContent === 'No row matches.'")
        assert tab.errors == []


# --- the contact sheet of one run -------------------------------------------------------------------------------------


async def test_sheet_embeds_every_kind_of_file(tmp_path: Path, browser: Chromium) -> None:
    async with batch_environment(tmp_path) as env:
        planned = [
            Row(number=1, line=1, model="z-image", prompt="A kite", params={"aspect_ratio": "4:3"}),
            Row(number=2, line=2, model="runway", prompt="A film", params={"aspectRatio": "16:9", "duration": "5"}),
            Row(number=3, line=3, model="elevenlabs-sound-effect-v2", prompt="Rain", params={"duration_seconds": 6}),
        ]
        await env.run(planned, download_to=tmp_path)
        records = await env.records()
    page = write_sheet(tmp_path, *records)
    for record in records:
        (tmp_path / record.files[0].path).unlink()
    async with open_page(browser, page) as tab:
        await tab.wait_for("document.querySelector('.card img').naturalWidth > 200")
        for tag, media_type in (("img", "image/png"), ("video", "video/mp4"), ("audio", "audio/mpeg")):
            source = await tab.evaluate(f"document.querySelector('.card {tag}').src")
            assert source.startswith(f"data:{media_type};base64,")
        assert (await tab.evaluate("document.querySelector('.card video').poster")).startswith(
            "data:image/webp;base64,"
        )
        assert await tab.evaluate("document.querySelectorAll('.card .wave rect').length") == 72
        assert await tab.evaluate(
            "document.querySelector('.card video').controls && document.querySelector('.card audio').controls"
        )
        assert await tab.evaluate("document.querySelectorAll('.card .params li').length") == 4


async def test_sheet_shows_all_data_of_a_job(tmp_path: Path, browser: Chromium) -> None:
    page = write_sheet(tmp_path, make_record(1, write_file(tmp_path, "a.bin", b"data")))
    async with open_page(browser, page) as tab:
        await tab.evaluate("document.querySelector('.prompt').click()")
        text = await tab.evaluate("document.body.textContent")
    for value in ("z-image", "A red kite", "aspect_ratio", "4:3", "seed", "7", "downloaded", "2.3 s", "3 cr", "task_1"):
        assert value in text


@pytest.mark.parametrize("dark", [False, True])
async def test_sheet_has_enough_contrast_and_one_column_on_small_screens(
    tmp_path: Path, browser: Chromium, dark: bool
) -> None:
    page = write_sheet(
        tmp_path, *(make_record(number, write_file(tmp_path, "a.bin", b"data")) for number in range(1, 4))
    )
    async with open_page(browser, page) as tab:
        await tab.emulate(dark=dark, width=390, height=800, reduced_motion=True)
        assert (await tab.evaluate(CONTRAST))["found"] == []
        lefts = "new Set([...document.querySelectorAll('.card')].map(each => each.getBoundingClientRect().left)).size"
        assert await tab.evaluate(lefts) == 1
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_sheet_shows_untrusted_text_as_text(tmp_path: Path, browser: Chromium) -> None:
    image = io.BytesIO()
    Image.new("RGB", (40, 30)).save(image, "PNG")
    name = "<img src=x onerror=alert(1)>'.png"
    hostile = make_record(1, write_file(tmp_path, name, image.getvalue()), prompt=HOSTILE, task_id=HOSTILE)
    failed = make_record(2, prompt="A kite", state=JobState.FAILED, error_code=HOSTILE, error=HOSTILE)
    path = write_sheet(tmp_path, hostile, failed)
    async with open_page(browser, path) as tab:
        assert await tab.evaluate("document.querySelectorAll('img').length") == 1
        assert await tab.evaluate("document.querySelector('img').alt") == HOSTILE
        assert await tab.evaluate("document.querySelector('.media.none').textContent") == HOSTILE * 2
        assert await tab.evaluate("document.title") == "Contact sheet"


async def test_sheet_shows_a_failed_job_beside_others(tmp_path: Path, browser: Chromium) -> None:
    failed = make_record(1, state=JobState.FAILED, error="The model broke.")
    page = write_sheet(tmp_path, failed, make_record(2, write_file(tmp_path, "a.bin", b"data")))
    async with open_page(browser, page) as tab:
        assert "The model broke." in await tab.evaluate("document.querySelector('.card').textContent")
        assert await tab.evaluate(CARDS) == 2
