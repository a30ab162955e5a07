"""The journal to one HTML page that needs nothing else, but the files themselves to show them in full. Blocks.

Rows are written as data, one at a time, and become cards in the browser as they are looked at. Everything that comes
from outside stays text there; a content security policy forbids the page to load anything but files beside it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from ..._engine.ambient import Ambient
from ..export import atomic_write
from ..journal_reader import Summary, read_records, read_runs, read_summary
from ..record import RowRecord, RunRecord
from .thumbnails import Thumbnails, kind_of

HERE: Final = Path(__file__).parent
PART: Final = re.compile(r"\{(policy|title|style|facts|script)\}")

MOST_EMBEDDED: Final = 32 * 1024 * 1024
"""Bytes of thumbnails in one page. What is beyond is shown from the files beside it, as it comes into view."""


def write_report(journal: Path, page: Path) -> None:
    """Write the page of this journal, whole or not at all.

    With the `report` extra it holds small pictures of images and films. Raises `JournalError` for what is no journal,
    and `OSError` where the page cannot be written.
    """
    summary = read_summary(journal, Ambient().wall())
    runs = read_runs(journal)
    with (
        atomic_write(page) as part,
        part.open("w", encoding="utf-8") as file,
        closing(_rows(journal, page.absolute().parent)) as rows,
    ):
        file.writelines(_page(summary, runs, rows))


def _page(summary: Summary, runs: list[RunRecord], rows: Iterator[str]) -> Iterator[str]:
    script = (HERE / "report.js").read_text(encoding="utf-8")
    policy = (
        "default-src 'none'; img-src data: file: 'self'; media-src file: 'self'; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    facts = {
        "batch": summary.batch_id,
        "spent": summary.spent,
        "held": summary.held,
        "runs": [[run.started_at, run.ended_at] for run in runs],
    }
    parts = {
        "policy": escape(policy),
        "title": escape(summary.batch_id),
        "style": (HERE / "report.css").read_text(encoding="utf-8"),
        "facts": _data(_told(facts)),
        "script": script,
    }
    before, after = (HERE / "report.html.jinja").read_text(encoding="utf-8").split("{rows}")
    yield PART.sub(lambda part: parts[part[1]], before)
    yield "["
    for number, row in enumerate(rows):
        yield f",\n{row}" if number else row
    yield "]"
    yield PART.sub(lambda part: parts[part[1]], after)


def _rows(journal: Path, beside: Path) -> Generator[str]:
    room = MOST_EMBEDDED
    folder = journal.absolute().parent
    with closing(read_records(journal)) as records, Thumbnails() as thumbnails:
        for record, thumbnail in thumbnails.beside(_with_picture(records, folder)):
            is_embedded = thumbnail is not None and len(thumbnail) <= room
            if is_embedded:
                room -= len(thumbnail or b"")
            yield _data(_row(record, folder, beside, thumbnail if is_embedded else None))


def _with_picture(records: Iterator[RowRecord], folder: Path) -> Iterator[tuple[RowRecord, Path | None]]:
    for record in records:
        yield record, folder / record.files[0].path if record.files else None


def _row(record: RowRecord, folder: Path, beside: Path, thumbnail: bytes | None) -> Mapping[str, Any]:
    """Short names: there may be ten thousands of them."""
    row = record.row
    found = {
        "n": row.number,
        "line": row.line,
        "name": row.identity,
        "model": row.model,
        "prompt": row.prompt,
        "params": [[name, _text(value)] for name, value in row.params.items()],
        "state": str(record.state),
        "task": record.task_id,
        "credits": record.credits,
        "buys": record.purchase,
        "took": record.duration,
        "polls": record.polls,
        "at": record.submitted_at,
        "end": record.ended_at,
        "code": record.error_code,
        "why": record.error,
        "files": [[_link(folder / file.path, beside), kind_of(file.path), file.size] for file in record.files],
        "thumb": None if thumbnail is None else f"data:image/webp;base64,{base64.b64encode(thumbnail).decode()}",
    }
    return _told(found)


def _told(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What there is to tell. What is no number in JSON would keep a browser from reading the whole page."""
    return {
        name: value
        for name, value in values.items()
        if value not in (None, []) and (not isinstance(value, float) or math.isfinite(value))
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _link(path: Path, beside: Path) -> str:
    """The file as the page refers to it: folders may have names with `#`, `?` and `%`."""
    try:
        return quote(Path(os.path.relpath(path, beside)).as_posix())
    except ValueError:  # another drive
        return path.as_uri()


def _data(value: object) -> str:
    """JSON that no browser takes for markup, whatever stands in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
