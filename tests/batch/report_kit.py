"""Helpers of the report tests: journals and records without a run, and the elements of a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from rivya_async.batch import Batch, Row, RowRecord, RunRecord, SavedFile, State
from rivya_async.batch.report import write_contact_sheet

HOSTILE = "</script><img src=x onerror=\"document.title='broken into'\"><!-- {{ 7 * 7 }} {% for %} {rows}"
RUN = (1_700_000_000.0, 1_700_000_100.0)


async def write_journal(
    folder: Path,
    planned: Sequence[Row],
    changes_of: Any,
    batch_id: str = "kites",
    runs: Sequence[tuple[float, float | None]] = (RUN,),
) -> Path:
    """Writes the journal that a run would leave; `changes_of` returns the changes of a record."""
    path = folder / "kites.journal"
    async with Batch.open(path, id=batch_id) as batch:
        await batch.add(planned)
        async for record in batch.records():
            batch._journal.update(record, **changes_of(record))
        for started_at, ended_at in runs:
            number = await batch._journal.begin_run(started_at, "https://rivya.ai")
            if ended_at is not None:
                await batch._journal.end_run(number, ended_at)
    return path


def failed_changes(record: RowRecord) -> dict[str, Any]:
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
        "error": f"Refused: {HOSTILE}",
    }


def make_record(number: int = 1, *files: SavedFile, prompt: str = "A red kite", **changes: Any) -> RowRecord:
    row = Row(number=number, line=number, model="z-image", prompt=prompt, params={"aspect_ratio": "4:3", "seed": 7})
    members = {"state": State.DOWNLOADED, "task_id": "task_1", "duration": 2.345, "final_credits": 3, **changes}
    return RowRecord(row=row, batch_id="demo", files=files, **members)


def write_file(folder: Path, name: str, content: bytes) -> SavedFile:
    (folder / name).write_bytes(content)
    return SavedFile(name, len(content), "")


def write_sheet(folder: Path, *records: RowRecord) -> Path:
    path = folder / "index.html"
    write_contact_sheet(records, RunRecord(number=1, started_at=RUN[0], ended_at=RUN[1]), path, made_by="The sandbox")
    return path


def read_sheet(folder: Path, *records: RowRecord) -> ReportPage:
    return ReportPage(write_sheet(folder, *records).read_text(encoding="utf-8"))


class ReportPage(HTMLParser):
    """The elements of a page as a browser parses them, and the data of its rows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str | None, str] = {}
        self._is_script = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._is_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._is_script = False

    def handle_data(self, data: str) -> None:
        if self._is_script:
            name = self.tags[-1][1].get("id")
            self.scripts[name] = self.scripts.get(name, "") + data

    def find_all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.scripts["rows"])
        return rows

    @property
    def policies(self) -> list[str | None]:
        return [tag["content"] for tag in self.find_all("meta") if tag.get("http-equiv") == "Content-Security-Policy"]
