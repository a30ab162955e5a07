"""What importing costs, as a share of `import aiohttp`: fresh processes, less the bare interpreter's start.

python -m benchmarks.import_time [--quick]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from statistics import median
from typing import Final

from .report import machine_line, mark, progress, table

MARK: Final = 0.25
"""At most this share of aiohttp's own."""

YARDSTICK: Final = "import aiohttp"
BARE: Final = "the interpreter alone"
COMMANDS: Final = {
    BARE: ["-c", ""],
    YARDSTICK: ["-c", "import aiohttp"],
    "import rivya_async": ["-c", "import rivya_async"],
    "rivya --help": ["-c", "import sys; sys.argv = ['rivya', '--help']; from rivya_async.cli.main import main; main()"],
}


def measure(rounds: int) -> dict[str, float]:
    """The median CPU seconds of each command, in turns."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for name in COMMANDS:
        _cpu(name)  # writes the byte code
    for turn in range(rounds):
        progress(f"imports, round {turn + 1} of {rounds}")
        for name, seconds in found.items():
            seconds.append(_cpu(name))
    progress("")
    return {name: median(seconds) for name, seconds in found.items()}


def _cpu(name: str) -> float:
    """User and system time of one fresh process: less noisy than the wall's."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *COMMANDS[name]], capture_output=True, check=False, text=True)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def report(found: dict[str, float]) -> str:
    """The table and the marks."""
    costs = {name: seconds - found[BARE] for name, seconds in found.items() if name != BARE}
    shares = {name: cost / costs[YARDSTICK] for name, cost in costs.items()}
    rows = [[name, f"{cost * 1000:.0f}", f"{shares[name]:.2f}"] for name, cost in costs.items()]
    marks = [
        mark(f"{name}: at most {MARK} of {YARDSTICK}", f"{share:.2f}", met=share <= MARK)
        for name, share in shares.items()
        if name != YARDSTICK
    ]
    title = f"Importing: CPU beyond the interpreter's own {found[BARE] * 1000:.0f} ms"
    return "\n\n".join([f"{title}\n{table(['', 'ms', 'ratio'], rows)}", "\n".join(["Marks", *marks])])


def measured_report(*, quick: bool) -> str:
    """Measure, with fewer rounds if it has to be quick."""
    return report(measure(5 if quick else 15))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_time", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    options = parser.parse_args()
    print(machine_line(), measured_report(quick=options.quick), sep="\n\n")


if __name__ == "__main__":
    main()
