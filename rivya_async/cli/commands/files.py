"""`rivya files`: reference files at the service."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from ..command import RivyaGroup, command
from ..options import MEDIA_KIND, PATH
from ..render import format_duration, record_to_json

if TYPE_CHECKING:
    from ..._core.types.generations import File
    from ..output import Output
    from ..run import CommandContext


@click.group(cls=RivyaGroup)
def files() -> None:
    """Upload reference files, or show an uploaded one.

    The kind of a file is detected from its content. It has to fit the limits of --model, else the documented
    ones, before anything is sent. An upload costs nothing.
    --json: a line for each file; its url, kind and duration_token are the values that a job for it needs.

    Examples:
      rivya files upload kite.png
      rivya files upload a.mp4 b.mp4 --model wan-2-6 --json
      rivya files show file_ab12
    """


@command("upload", files)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=PATH)
@click.option("--kind", metavar="K", type=MEDIA_KIND, help="image, video or audio.")
@click.option("--model", metavar="M", help="Id of the model that the files are for.")
async def upload(context: CommandContext, *, paths: tuple[str, ...], kind: str | None, model: str | None) -> int:
    """Upload files of this machine."""
    async with context.open_session() as session:
        calls = [session.files.upload(path, kind=kind, model=model) for path in paths]
        return await context.output.write_results(calls, partial(_write_file, context.output))


@command("show", files)
@click.argument("file_ids", metavar="ID...", nargs=-1, required=True)
async def show(context: CommandContext, *, file_ids: tuple[str, ...]) -> int:
    """Show uploaded files."""
    async with context.open_session() as session:
        calls = map(session.files.retrieve, file_ids)
        return await context.output.write_results(calls, partial(_write_file, context.output))


def _write_file(output: Output, file: File) -> None:
    """Writes a line, and one with the link."""
    size = "" if file.size_bytes is None else f"{file.size_bytes:,} bytes"
    parts = [file.id, file.mime_type or file.kind, size, format_duration(file.duration_seconds), file.name or ""]
    output.write_result(record_to_json(file), text=f"{'  '.join(filter(None, parts))}\n  {file.url}")
