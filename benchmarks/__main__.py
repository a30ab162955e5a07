"""All benchmarks on one page: `python -m benchmarks [--quick] [--n 100 1000] [--uvloop]`.

A name before the options runs one benchmark alone; `peers` runs only this way. The results are written to the page
`benchmarks/README.md`.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Final

from . import (
    batch,
    cost_per_job,
    download,
    first_call,
    import_time,
    layers,
    manifest,
    open_waits,
    rate_limit,
    sandbox,
    schedule,
    sse,
    traces,
    upload,
    waiting,
    webhooks,
    workers,
)
from .page import PAGE, describe, update_page
from .peers import comparison
from .report import describe_machine

BENCHMARKS: Final[dict[str, ModuleType]] = {
    "waiting": waiting,
    "layers": layers,
    "cost-per-job": cost_per_job,
    "imports": import_time,
    "first-call": first_call,
    "schedule": schedule,
    "open-waits": open_waits,
    "rate-limit": rate_limit,
    "upload": upload,
    "download": download,
    "webhooks": webhooks,
    "sse": sse,
    "sandbox": sandbox,
    "batch": batch,
    "manifest": manifest,
    "workers": workers,
    "traces": traces,
    "peers": comparison,
}
ONLY_WHEN_NAMED: Final = {"peers"}  # downloads other SDKs

VARIANTS: Final = {"waiting": (["--tls"], ["--uvloop"], ["--tls", "--uvloop"])}
"""Further options with which benchmarks run if all run."""


def run(name: str, options: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Runs one benchmark, prints its report and writes it to the page."""
    module = BENCHMARKS[name]
    report = module.run_benchmark(options)
    print(f"\n{report}", flush=True)
    if not options.print:
        command = " ".join(["python -m benchmarks", name, *arguments])
        heading = " ".join([name, *(option for option in ("--tls", "--uvloop") if option in arguments)])
        section = f"{describe(module)}\n\n`{command}`: {describe_machine()}\n\n{report}"
        PAGE.write_text(update_page(PAGE.read_text("utf-8"), heading, section, [*BENCHMARKS]), "utf-8")


def main() -> None:
    """Runs all benchmarks or one, prints the reports and writes them to the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Every benchmark, on one page.")
    parser.add_argument("only", nargs="?", choices=BENCHMARKS, help="one of them alone")
    parser.add_argument("--print", action="store_true", help="only print the reports: do not write the page")
    waiting.add_arguments(parser)
    schedule.add_arguments(parser)
    comparison.add_arguments(parser)
    traces.add_arguments(parser)
    options = parser.parse_args()
    logging.getLogger("rivya_async").setLevel(logging.ERROR)
    print(describe_machine(), flush=True)
    arguments = [each for each in sys.argv[1:] if each not in {options.only, "--print"}]
    for name in [options.only] if options.only else [each for each in BENCHMARKS if each not in ONLY_WHEN_NAMED]:
        run(name, options, arguments)
        for variant in () if options.only else VARIANTS.get(name, ()):
            run(name, parser.parse_args([*sys.argv[1:], *variant]), [*arguments, *variant])


if __name__ == "__main__":
    main()
