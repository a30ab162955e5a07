"""Text tables: costs, and results under faults."""

from __future__ import annotations

from collections.abc import Sequence

from ..report import format_table
from .clients import BASELINE
from .purchase_log import FAULT_SHARE
from .runner import Run

COST_COLUMNS = ["", "us/request", "ratio", "us/job", "requests/job", "KiB/open job", "polls/job", "done", "wall s"]
FAULT_COLUMNS = [
    "",
    "done",
    "raised",
    "never ended",
    "bought twice",
    "paid in vain",
    "sends a key",
    "503s met",
    "answers lost",
]


def format_costs(runs: Sequence[Run]) -> str:
    """One row per client; the ratio is to the yardstick of the same table."""
    baseline = next((run.us_per_request for run in runs if run.client.name == BASELINE), None)
    first = runs[0]
    over = "TLS" if first.conditions.tls else "plain HTTP"
    title = f"{first.workload.jobs:,} jobs at once, over {over}, {first.conditions.polls} polls per job"
    return f"{title}\n{format_table(COST_COLUMNS, [_cost_row(run, baseline) for run in runs])}{_unfinished(runs)}"


def _cost_row(run: Run, baseline: float | None) -> list[str]:
    per_request = run.us_per_request
    return [
        run.client.name,
        _format(per_request),
        f"{per_request / baseline:.2f}" if per_request and baseline else "-",
        _format(run.us_per_job),
        f"{run.counts.requests / run.workload.jobs:.2f}",
        "-" if run.open_kib is None else f"{run.open_kib / run.workload.jobs:.1f}",
        str(run.counts.most) if run.counts.fewest == run.counts.most else f"{run.counts.fewest} to {run.counts.most}",
        f"{run.succeeded:,}",
        "-" if run.report is None else f"{run.report.wall:.1f}",
    ]


def _unfinished(runs: Sequence[Run]) -> str:
    """Returns a line for every incomplete run."""
    lines = []
    for run in runs:
        if run.succeeded < run.workload.jobs:
            seconds = run.workload.limit if run.report is None else run.report.wall
            raised = ", ".join(f"{times:,} {name}" for name, times in run.report.raised.items()) if run.report else ""
            lines.append(
                f"  {run.client.name}: {run.succeeded:,} of {run.workload.jobs:,} jobs done in {seconds:.0f} s"
                f" (limit {run.workload.limit:.0f} s), {run.never_ended:,} still waiting, raised: {raised or 'nothing'}"
            )
    return "".join(f"\n{line}" for line in lines)


def format_faults(runs: Sequence[Run]) -> str:
    """Formats results under faults; `paid in vain` are purchases beyond the succeeded jobs."""
    first = runs[0]
    title = (
        f"{first.workload.jobs:,} jobs at once, over TLS, under faults: {FAULT_SHARE:.0%} of submits act and lose "
        f"the response, {FAULT_SHARE:.0%} of polls meet a gateway's 503"
    )
    rows = [
        [
            run.client.name,
            f"{run.succeeded:,}",
            f"{run.raised:,}",
            f"{run.never_ended:,}",
            f"{run.counts.bought_twice:,}",
            f"{run.counts.purchases - run.succeeded:,}",
            "yes" if run.counts.keyed else "no",
            f"{run.counts.unavailable:,}",
            f"{run.counts.dropped:,}",
        ]
        for run in runs
    ]
    return f"{title}\n{format_table(FAULT_COLUMNS, rows)}"


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
