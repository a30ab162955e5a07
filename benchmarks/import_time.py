"""CPU time of imports relative to `import aiohttp`, in new processes, without the start of the interpreter.

python -m benchmarks.import_time [--quick]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from statistics import median
from typing import Final

from .report import describe_machine, format_table, show_progress, target

MARK: Final = 0.25
"""Target: maximum ratio to the import of aiohttp."""

BASELINE: Final = "import aiohttp"
BARE: Final = "the interpreter alone"
COMMANDS: Final = {
    BARE: ["-c", ""],
    BASELINE: ["-c", "import aiohttp"],
    "import rivya_async": ["-c", "import rivya_async"],
    "rivya --help": ["-c", "import sys; sys.argv = ['rivya', '--help']; from rivya_async.cli.main import main; main()"],
}


def measure(rounds: int) -> dict[str, float]:
    """Returns the median CPU seconds of each command, measured alternately."""
    results: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for name in COMMANDS:
        _cpu(name)  # writes the byte code
    for turn in range(rounds):
        show_progress(f"imports, round {turn + 1} of {rounds}")
        for name, seconds in results.items():
            seconds.append(_cpu(name))
    show_progress("")
    return {name: median(seconds) for name, seconds in results.items()}


def _cpu(name: str) -> float:
    """Returns user and system seconds of a new process: less noisy than wall time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *COMMANDS[name]], capture_output=True, check=False, text=True)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def report(results: dict[str, float]) -> str:
    """Formats the table and the targets."""
    costs = {name: seconds - results[BARE] for name, seconds in results.items() if name != BARE}
    shares = {name: cost / costs[BASELINE] for name, cost in costs.items()}
    rows = [[name, f"{cost * 1000:.0f}", f"{shares[name]:.2f}"] for name, cost in costs.items()]
    targets = [
        target(f"{name}: at most {MARK} of {BASELINE}", f"{share:.2f}", met=share <= MARK)
        for name, share in shares.items()
        if name != BASELINE
    ]
    title = f"Importing: CPU beyond the interpreter's own {results[BARE] * 1000:.0f} ms"
    return "\n\n".join([f"{title}\n{format_table(['', 'ms', 'ratio'], rows)}", "\n".join(["Marks", *targets])])


def run_benchmark(options: argparse.Namespace) -> str:
    """Measures, with fewer rounds if `quick`, and formats."""
    return report(measure(5 if options.quick else 15))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_time", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    options = parser.parse_args()
    print(describe_machine(), run_benchmark(options), sep="\n\n")


if __name__ == "__main__":
    main()
