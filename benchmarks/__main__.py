"""All benchmarks, one report: `python -m benchmarks [--quick] [--n 100 1000] [--uvloop]`."""

from __future__ import annotations

import argparse

from . import import_time, layers, waiting
from .report import machine_line


def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Every benchmark, in one report.")
    waiting.add_arguments(parser)
    options = parser.parse_args()
    print(machine_line(), end="\n\n", flush=True)
    print(waiting.measured_report(options), end="\n\n", flush=True)
    print(layers.measured_report(quick=options.quick, loop=waiting.loop_name(options)), end="\n\n", flush=True)
    print(import_time.measured_report(quick=options.quick))


if __name__ == "__main__":
    main()
