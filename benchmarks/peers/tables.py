"""What was measured, as text: costs, and what became of the jobs under faults."""

from __future__ import annotations

from collections.abc import Sequence

from ..report import table
from .books import FAULT_SHARE
from .contender import YARDSTICK
from .runs import Run

COSTS = ["", "us/request", "ratio", "us/job", "requests/job", "KiB/open job", "polls/job", "done", "wall s"]
FAULTS = [
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


def costs(runs: Sequence[Run]) -> str:
    """One row per contender; the ratio is to the yardstick of the same table."""
    yardstick = next((run.us_per_request for run in runs if run.contender.name == YARDSTICK), None)
    first = runs[0]
    over = "TLS" if first.conditions.tls else "plain HTTP"
    title = f"{first.work.jobs:,} jobs at once, over {over}, {first.conditions.polls} polls per job"
    return f"{title}\n{table(COSTS, [_cost(run, yardstick) for run in runs])}{_unfinished(runs)}"


def _cost(run: Run, yardstick: float | None) -> list[str]:
    per_request = run.us_per_request
    return [
        run.contender.name,
        _figure(per_request),
        f"{per_request / yardstick:.2f}" if per_request and yardstick else "-",
        _figure(run.us_per_job),
        f"{run.tally.requests / run.work.jobs:.2f}",
        "-" if run.open_kib is None else f"{run.open_kib / run.work.jobs:.1f}",
        str(run.tally.most) if run.tally.fewest == run.tally.most else f"{run.tally.fewest} to {run.tally.most}",
        f"{run.succeeded:,}",
        "-" if run.told is None else f"{run.told.wall:.1f}",
    ]


def _unfinished(runs: Sequence[Run]) -> str:
    """A line for every run that did not bring all jobs home."""
    lines = []
    for run in runs:
        if run.succeeded < run.work.jobs:
            seconds = run.work.limit if run.told is None else run.told.wall
            raised = ", ".join(f"{times:,} {name}" for name, times in run.told.raised.items()) if run.told else ""
            lines.append(
                f"  {run.contender.name}: {run.succeeded:,} of {run.work.jobs:,} jobs done in {seconds:.0f} s"
                f" (limit {run.work.limit:.0f} s), {run.never_ended:,} still waiting, raised: {raised or 'nothing'}"
            )
    return "".join(f"\n{line}" for line in lines)


def faults(runs: Sequence[Run]) -> str:
    """What became of the jobs; `paid in vain` are purchases beyond the jobs that came home."""
    first = runs[0]
    title = (
        f"{first.work.jobs:,} jobs at once, over TLS, under faults: {FAULT_SHARE:.0%} of submits act and lose their "
        f"answer, {FAULT_SHARE:.0%} of polls meet a gateway's 503"
    )
    rows = [
        [
            run.contender.name,
            f"{run.succeeded:,}",
            f"{run.raised:,}",
            f"{run.never_ended:,}",
            f"{run.tally.bought_twice:,}",
            f"{run.tally.purchases - run.succeeded:,}",
            "yes" if run.tally.keyed else "no",
            f"{run.tally.unavailable:,}",
            f"{run.tally.dropped:,}",
        ]
        for run in runs
    ]
    return f"{title}\n{table(FAULTS, rows)}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
