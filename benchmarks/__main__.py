"""All benchmarks, one report: `python -m benchmarks [--quick] [--n 100 1000] [--uvloop]`.

`waiting`, `layers`, `imports`, `schedule`, `held`, `budget`, `upload`, `download`, `webhooks`, `sse`, `sandbox`,
`batch`, `manifest`, `workers` or `traces` before the options is one of them alone; `peers` runs only so.
"""

from __future__ import annotations

import argparse

from . import (
    batch,
    budget,
    download,
    held,
    import_time,
    layers,
    manifest,
    sandbox,
    schedule,
    sse,
    traces,
    upload,
    waiting,
    webhooks,
    workers,
)
from .peers import side_by_side
from .report import machine_line

REPORTS = {
    "waiting": waiting.measured_report,
    "layers": lambda options: layers.measured_report(quick=options.quick, loop=waiting.loop_name(options)),
    "imports": lambda options: import_time.measured_report(quick=options.quick),
    "schedule": schedule.measured_report,
    "held": held.measured_report,
    "budget": budget.measured_report,
    "upload": upload.measured_report,
    "download": download.measured_report,
    "webhooks": webhooks.measured_report,
    "sse": sse.measured_report,
    "sandbox": sandbox.measured_report,
    "batch": batch.measured_report,
    "manifest": manifest.measured_report,
    "workers": workers.measured_report,
    "traces": traces.measured_report,
}
ONLY_WHEN_NAMED = {
    "peers": side_by_side.measured_report,  # downloads other SDKs
}


def main() -> None:
    """Measure everything, or one thing, and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Every benchmark, in one report.")
    parser.add_argument("only", nargs="?", choices=[*REPORTS, *ONLY_WHEN_NAMED], help="one of them alone")
    waiting.add_arguments(parser)
    schedule.add_arguments(parser)
    side_by_side.add_arguments(parser)
    traces.add_arguments(parser)
    options = parser.parse_args()
    print(machine_line(), flush=True)
    for name in [options.only] if options.only else REPORTS:
        print(f"\n{(REPORTS | ONLY_WHEN_NAMED)[name](options)}", flush=True)


if __name__ == "__main__":
    main()
