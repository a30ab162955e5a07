"""The report of a batch, written and told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .output import Output


async def tell_report(journal: Path, page: Path, output: Output) -> None:
    """Write the page of this journal and say where it is."""
    from ..batch.report import write_report

    await asyncio.to_thread(write_report, journal, page)
    output.write_result({"report": str(page)}, text=str(page))
