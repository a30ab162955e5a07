"""All benchmarks in one report: `python -m benchmarks [--quick] [--n 100 1000] [--uvloop]`.

A name before the options runs one benchmark alone; `peers` runs only this way: `waiting`, `layers`, `cost-per-job`,
`imports`, `first-call`, `schedule`, `open-waits`, `rate-limit`, `upload`, `download`, `webhooks`, `sse`, `sandbox`, `batch`,
`manifest`, `workers`, `traces`, `peers`.
"""

from __future__ import annotations

import argparse

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
from .peers import comparison
from .processes import loop_name
from .report import describe_machine

REPORTS = {
    "waiting": waiting.run_benchmark,
    "layers": lambda options: layers.run_benchmark(quick=options.quick, loop=loop_name(options)),
    "cost-per-job": cost_per_job.run_benchmark,
    "imports": lambda options: import_time.run_benchmark(quick=options.quick),
    "first-call": first_call.run_benchmark,
    "schedule": schedule.run_benchmark,
    "open-waits": open_waits.run_benchmark,
    "rate-limit": rate_limit.run_benchmark,
    "upload": upload.run_benchmark,
    "download": download.run_benchmark,
    "webhooks": webhooks.run_benchmark,
    "sse": sse.run_benchmark,
    "sandbox": sandbox.run_benchmark,
    "batch": batch.run_benchmark,
    "manifest": manifest.run_benchmark,
    "workers": workers.run_benchmark,
    "traces": traces.run_benchmark,
}
ONLY_WHEN_NAMED = {
    "peers": comparison.run_benchmark,  # downloads other SDKs
}


def main() -> None:
    """Runs all benchmarks or one, and prints the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Every benchmark, in one report.")
    parser.add_argument("only", nargs="?", choices=[*REPORTS, *ONLY_WHEN_NAMED], help="one of them alone")
    waiting.add_arguments(parser)
    schedule.add_arguments(parser)
    comparison.add_arguments(parser)
    traces.add_arguments(parser)
    options = parser.parse_args()
    print(describe_machine(), flush=True)
    for name in [options.only] if options.only else REPORTS:
        print(f"\n{(REPORTS | ONLY_WHEN_NAMED)[name](options)}", flush=True)


if __name__ == "__main__":
    main()
