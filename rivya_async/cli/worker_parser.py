"""The options of `rivya worker`, and those by which a batch finds workers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

BROKER_VARIABLE: Final = "RIVYA_BROKER"

EXAMPLES: Final = (
    "rivya worker --broker redis://127.0.0.1:6379 --processes 2\n"
    "rivya worker --broker redis://127.0.0.1:6379 --rate 50 --json\n"
    "rivya worker --broker redis://127.0.0.1:6379 --health"
)


def add_options(parser: argparse.ArgumentParser, count: Callable[[str], int]) -> None:
    """What `rivya worker` takes."""
    add_broker(parser, "where orders come from: redis://HOST:PORT")
    parser.add_argument("--processes", metavar="N", type=count, default=1, help="worker processes (default: 1)")
    parser.add_argument(
        "--rate",
        metavar="R",
        type=float,
        help="requests per second of the account, for all workers (default: learned)",
    )
    parser.add_argument(
        "--max-orders", metavar="N", type=count, default=10_000, help="orders per process at a time (default: 10000)"
    )
    parser.add_argument(
        "--telemetry", action="store_true", help="spans and metrics by the global providers of OpenTelemetry"
    )
    parser.add_argument("--health", action="store_true", help="show how workers and queue are, and end")


def add_broker(parser: argparse.ArgumentParser, what: str) -> None:
    """Where the workers are met."""
    parser.add_argument(
        "--broker",
        metavar="URL",
        default=os.environ.get(BROKER_VARIABLE) or None,
        help=f"{what} (default: {BROKER_VARIABLE}, which no list of processes shows)",
    )
    parser.add_argument("--queue", metavar="NAME", default="rivya", help="name of the queue there (default: rivya)")
