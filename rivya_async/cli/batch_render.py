"""Batches as text for people and as JSON for programs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..batch import State
from .render import credits_text, one_line, plural, seconds

if TYPE_CHECKING:
    from collections import Counter

    from ..batch import InvalidRow, RowRecord
    from ..batch.journal_reader import Summary

ORDER = (
    State.DOWNLOADED,
    State.SUCCEEDED,
    State.FAILED,
    State.DEAD,
    State.SUBMITTED,
    State.INTENT,
    State.PLANNED,
)


def counts_text(counts: Counter[State]) -> str:
    """`280 downloaded, 3 failed, 17 submitted`."""
    return ", ".join(f"{counts[state]:,} {state}" for state in ORDER if counts[state]) or "no rows"


def summary_text(summary: Summary) -> str:
    """What `rivya batch status` says."""
    lines = [
        f"batch {one_line(summary.batch_id)}: {plural(summary.rows, 'row')}",
        f"  {counts_text(summary.counts)}",
        f"  {credits_text(summary.spent)} spent, {credits_text(summary.held)} held",
    ]
    if not summary.runs:
        lines.append("  it has not been run")
    elif summary.rate is not None:
        lines.append(f"  {summary.rate:.1f} jobs a second, about {seconds(summary.seconds_left)} left")
    lines.extend(
        f"  {reason.count:,} {reason.state}: {one_line(reason.code)}: {one_line(reason.message)[:160]}"
        for reason in summary.reasons
    )
    if summary.open:
        lines.append(f"  {plural(summary.open, 'row')} open: run the batch again to go on")
    return "\n".join(lines)


def summary_json(summary: Summary) -> dict[str, Any]:
    """The same for programs."""
    return {
        "batch": summary.batch_id,
        "rows": summary.rows,
        "open": summary.open,
        "counts": {str(state): summary.counts[state] for state in ORDER},
        "spent": summary.spent,
        "held": summary.held,
        "rate": summary.rate,
        "seconds_left": summary.seconds_left,
        "reasons": [
            {"state": str(each.state), "code": each.code, "message": each.message, "rows": each.count}
            for each in summary.reasons
        ],
    }


def trouble_text(record: RowRecord) -> str:
    """A row that did not succeed, in one line."""
    return one_line(f"line {record.row.line} ({record.row.identity}): {record.state}: {record.error}")


def bad_text(bad: InvalidRow) -> str:
    """A line of the manifest that is no row."""
    return one_line(f"line {bad.line}: {'; '.join(bad.problems)}")
