"""Writing the records of a batch to one HTML page. Blocks.

Rows are written as JSON, one at a time, and become cards in the browser as they come into view. Jinja2 escapes every
value, the script sets text only as text, and a content security policy forbids the page to load anything but its files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import attrs

from ..._core.errors import ConfigurationError
from ..._engine.environment import Environment
from ..export import atomic_write
from ..journal_reader import read_records, read_summary
from .previews import MEDIA_TYPES, Preview, add_previews, kind_of

if TYPE_CHECKING:
    from jinja2 import Template

    from ..._core.types.generations import Amount, SavedFile
    from ..row import RowRecord, RunRecord

HERE: Final = Path(__file__).parent

MAX_SMALL: Final = 24
"""Most rows of a small report, which shows results uncropped and their params."""

THUMBNAIL_SIDE: Final = 320
"""Pixels of the longest side of a thumbnail."""

LARGE_THUMBNAIL_SIDE: Final = 960
"""Pixels of the longest side of a thumbnail in a small report."""

MAX_THUMBNAIL_BYTES: Final = 32 * 1024 * 1024
"""Most bytes of all thumbnails. Further results are loaded from their files as they come into view."""

MAX_EMBEDDED_BYTES: Final = 16 * 1024 * 1024
"""Most bytes of an embedded file. Browsers handle longer data URLs badly, so larger files are linked."""


@attrs.frozen(kw_only=True)
class _Page:
    """The content of a page beside its rows. Paths of files are relative to `folder`."""

    title: str
    made_by: str
    folder: Path
    is_small: bool
    spent: Amount
    reserved: Amount = 0
    bought_earlier: Amount = 0
    runs: Sequence[RunRecord]
    embeds_files: bool = False


def write_report(journal: Path, target: Path) -> None:
    """Writes the report of a journal atomically. The page links the files of results.

    The extra `report` has all that it needs. Raises `JournalError` if the file is not a journal, `OSError` if the page
    cannot be written, and `ConfigurationError` without Jinja2.
    """
    summary = read_summary(journal, Environment().wall_time())
    page = _Page(
        title=summary.batch_id,
        made_by="rivya batch",
        folder=journal.absolute().parent,
        is_small=summary.rows <= MAX_SMALL,
        spent=summary.spent,
        reserved=summary.reserved,
        bought_earlier=summary.bought_earlier,
        runs=summary.runs,
    )
    with closing(read_records(journal)) as records:
        _write_page(page, records, target)


def write_contact_sheet(records: Sequence[RowRecord], run: RunRecord, target: Path, *, made_by: str) -> None:
    """Writes the report of one run without a journal. Its files are beside the page and embedded in it."""
    page = _Page(
        title="Contact sheet",
        made_by=made_by,
        folder=target.absolute().parent,
        is_small=len(records) <= MAX_SMALL,
        spent=sum(record.credits for record in records),
        runs=[run],
        embeds_files=True,
    )
    _write_page(page, records, target)


def load_template() -> Template:
    """Returns the template of the page. Raises `ConfigurationError` without Jinja2."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise ConfigurationError(
            "the report cannot be rendered: Jinja2 is not installed. Run pip install 'rivya-async[report]'"
        ) from None
    environment = Environment(autoescape=True, loader=FileSystemLoader(HERE), undefined=StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return environment.get_template("report.html.jinja")


def _write_page(page: _Page, records: Iterable[RowRecord], target: Path) -> None:
    template = load_template()
    script = (HERE / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    files = "" if page.embeds_files else " file: 'self'"
    with (
        atomic_write(target) as part,
        part.open("w", encoding="utf-8", errors="backslashreplace") as file,
        closing(_rows(page, records, target.absolute().parent)) as rows,
    ):
        file.writelines(
            template.generate(
                page=page,
                policy=f"default-src 'none'; img-src data:{files}; media-src data:{files}; style-src 'unsafe-inline'; "
                f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
                style=(HERE / "report.css").read_text(encoding="utf-8"),
                script=script,
                facts=_without_missing(
                    isSmall=page.is_small,
                    spent=page.spent,
                    reserved=page.reserved,
                    earlier=page.bought_earlier,
                    runs=[[run.started_at, run.ended_at] for run in page.runs],
                ),
                rows=rows,
            )
        )


def _rows(page: _Page, records: Iterable[RowRecord], target_folder: Path) -> Generator[Mapping[str, Any]]:
    remaining = MAX_THUMBNAIL_BYTES
    first_files = ((record, page.folder / record.files[0].path if record.files else None) for record in records)
    for record, preview in add_previews(first_files, LARGE_THUMBNAIL_SIDE if page.is_small else THUMBNAIL_SIDE):
        remaining -= len(preview.thumbnail or b"")
        yield _row(page, record, preview if remaining >= 0 else Preview(), target_folder)


def _row(page: _Page, record: RowRecord, preview: Preview, target_folder: Path) -> Mapping[str, Any]:
    """Returns the values of a row under short names: a page may have ten thousand of them."""
    row = record.row
    return _without_missing(
        line=row.line,
        name=row.identity,
        model=row.model,
        prompt=row.prompt,
        params=[[name, _to_text(value)] for name, value in row.params.items()],
        state=str(record.state),
        task=record.task_id,
        credits=record.earlier_credits if record.replayed else record.credits,
        buys=record.purchase,
        took=record.duration,
        polls=record.polls,
        at=record.submitted_at,
        end=record.ended_at,
        code=record.error_code or record.error_type,
        why=record.error,
        files=[_file(page, file, target_folder) for file in record.files],
        thumb=None if preview.thumbnail is None else _data_url("image/webp", preview.thumbnail),
        wave=list(preview.waveform),
    )


def _without_missing(**values: Any) -> Mapping[str, Any]:
    """Returns the values that are present. A browser cannot parse a page with numbers that JSON does not have."""
    return {
        name: value
        for name, value in values.items()
        if value not in (None, []) and (not isinstance(value, float) or math.isfinite(value))
    }


def _file(page: _Page, file: SavedFile, target_folder: Path) -> Sequence[str | int]:
    """Returns the link, kind and size of a file, and its content if it is embedded."""
    path, kind = page.folder / file.path, kind_of(file.path)
    link = _link(path, target_folder)
    if not page.embeds_files:
        return [link, kind, file.size]
    if kind not in {"image", "video", "audio"} or file.size > MAX_EMBEDDED_BYTES:
        return [link, "file", file.size]
    return [link, kind, file.size, _data_url(MEDIA_TYPES[path.suffix.lower()], path.read_bytes())]


def _to_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _link(path: Path, target_folder: Path) -> str:
    """Returns the relative URL of a file. Names of folders may contain `#`, `?` and `%`."""
    try:
        return quote(Path(os.path.relpath(path, target_folder)).as_posix())
    except ValueError:  # another drive
        return path.as_uri()


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
