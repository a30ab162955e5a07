"""The options of `rivya batch`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .worker_parser import add_broker

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = (
    "rivya batch run kites.csv -o kites --max-spend 500\n"
    "rivya batch run kites.csv --set model=z-image --set 'prompt=A {colour} kite' --dry-run\n"
    "rivya batch run kites.csv -o kites --broker redis://127.0.0.1:6379\n"
    "rivya batch status kites.journal\nrivya batch retry kites.journal\n"
    "rivya batch report kites.journal -o kites.html\nrivya batch export kites.journal --format csv -o kites-done.csv"
)


def add_actions(parser: argparse.ArgumentParser, count: Callable[[str], int]) -> None:
    """`run`, `status`, `retry`, `report` and `export`."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _run(actions, count)
    status = _action(actions, "status", "how it stands: counts, credits, rate, time left, failures by reason")
    status.add_argument("journal", metavar="JOURNAL")
    retry = _action(
        actions, "retry", "have failed and dead rows tried again by the next run; failed jobs are bought anew"
    )
    retry.add_argument("journal", metavar="JOURNAL")
    retry.add_argument("--only", choices=("failed", "dead"), help="only rows in this state")
    report = _action(actions, "report", "write one HTML page: the results, how the run went, what failed and why")
    report.add_argument("journal", metavar="JOURNAL")
    report.add_argument("-o", "--output", metavar="FILE", help="the page (default: the journal's name with .html)")
    export = _action(actions, "export", "write what the journal knows of every row")
    export.add_argument("journal", metavar="JOURNAL")
    export.add_argument("--format", choices=("jsonl", "csv", "parquet"), default="jsonl", help="default: jsonl")
    export.add_argument("-o", "--output", metavar="FILE", help="default: stdout; parquet needs a file")


def _run(actions: Any, count: Callable[[str], int]) -> None:
    run = _action(
        actions, "run", "buy what a manifest asks for, wait for it and save it; go on where an earlier run was"
    )
    run.add_argument("manifest", metavar="FILE", help="JSON LineProgress, or CSV if it ends with .csv or .tsv")
    run.add_argument("--journal", metavar="FILE", help="default: the manifest's name with .journal")
    run.add_argument("--id", metavar="ID", help="name of a new batch; its keys follow from it (default: the journal's)")
    run.add_argument("-o", "--output", metavar="DIR", help="save the results in this folder")
    run.add_argument("--set", metavar="COLUMN=TEXT", action="append", default=[], help="value of rows that have none")
    run.add_argument("--keep-going", action="store_true", help="if there are bad rows, run the good ones")
    run.add_argument("--dry-run", action="store_true", help="check every row and say what they will cost; buy nothing")
    run.add_argument("--max-in-flight", metavar="N", type=count, default=100, help="rows under way (default: 100)")
    run.add_argument("--max-spend", metavar="C", type=_amount, help="credits of the whole batch, over all its runs")
    run.add_argument("--retry-failed", metavar="N", type=int, default=0, help="buy failed jobs again, N times at most")
    run.add_argument("--report", metavar="FILE", help="write the report there at the end")
    add_broker(run, "let workers buy, wait and save: redis://HOST:PORT")
    run.add_argument(
        "--download-on",
        choices=("here", "worker"),
        default="here",
        help="where -o is: on this machine, or on that of the workers, shared or not (default: here)",
    )
    run.add_argument("--sandbox", action="store_true", help="run against an embedded sandbox: nothing is bought")


def _action(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,  # where it stands before the action, it stays
        help="one JSON object per line on stdout, nothing else",
    )
    return parser


def _amount(text: str) -> float:
    return int(text) if text.isascii() and text.isdecimal() else float(text)
