"""The command: `python -m tests.simulation --seeds 500`, and `--seed N` to replay one."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import time
import traceback
import warnings
from collections import Counter

from .faults import KINDS, draw_faults
from .scenarios import run_seed
from .shrinker import shrink


def replay_command(seed: int, kept: list[int] | None = None) -> str:
    """Returns the command that repeats a failure."""
    only = "" if kept is None else f" --only {','.join(map(str, kept)) or 'none'}"
    return f"python -m tests.simulation --seed {seed}{only}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="number of seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="replay this seed, with its log")
    parser.add_argument("--only", help="the numbers of the faults that are kept, or none")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    parser.add_argument("--no-shrink", action="store_true", help="do not look for the fewest faults")
    options = parser.parse_args()
    logging.getLogger("rivya_async").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited")  # of a killed process
    if options.seed is not None:
        return replay(options.seed, options.only)
    return run_many(range(options.first, options.first + options.seeds), options)


def replay(seed: int, only: str | None) -> int:
    faults = draw_faults(seed)
    if only is not None:
        faults = [] if only == "none" else [faults[int(number)] for number in only.split(",")]
    outcome = run_seed(seed, faults, verbose=True)
    print(*outcome.log, sep="\n")
    print(f"seed {seed}: {outcome.scenario}, {outcome.steps} steps, {outcome.seconds:.1f} s, trace {outcome.trace:08x}")
    if outcome.failure is not None:
        traceback.print_exception(outcome.failure)
    return int(outcome.failure is not None)


def run_many(seeds: range, options: argparse.Namespace) -> int:
    gc.collect()
    gc.freeze()
    began, coverage, failures = time.process_time(), Counter[str](), 0
    totals: Counter[str] = Counter()
    for seed in seeds:
        outcome = run_seed(seed)
        coverage += outcome.coverage
        totals.update({"steps": outcome.steps, "events": outcome.events, "seconds": outcome.seconds})
        totals[outcome.scenario] += 1
        if seed % 20 == 0:
            gc.collect()
        if outcome.failure is not None:
            failures += 1
            print(f"seed {seed} ({outcome.scenario}) failed: {str(outcome.failure)[:500]}", flush=True)
            if options.no_shrink:
                print(f"  {replay_command(seed)}", flush=True)
            else:
                kept = shrink(seed, outcome)
                faults = draw_faults(seed)
                print(f"  replay: {replay_command(seed, kept)}\n  faults: {[faults[n] for n in kept]}", flush=True)
            if not options.keep_going:
                break
    cpu = time.process_time() - began
    print_coverage(coverage)
    count = seed - seeds.start + 1
    kinds = ", ".join(f"{totals[name]} {name}" for name in ("session", "batch", "workers"))
    print(
        f"{count} seeds ({kinds}), {failures} failures; {cpu:.1f} s of CPU, {1000 * cpu / count:.1f} ms per seed; "
        f"{totals['steps']:,} callbacks and {totals['events']:,} events of the world in "
        f"{totals['seconds'] / 86_400:,.1f} virtual days: "
        f"{(totals['steps'] + totals['events']) / cpu:,.0f} events per second of CPU"
    )
    return int(failures > 0)


def print_coverage(coverage: Counter[str]) -> None:
    """Prints the faults by kind, the lines at which processes died and calls were cancelled, and the states reached."""
    print("faults: " + ", ".join(f"{kind} {coverage[f'fault: {kind}']:,}" for kind in KINDS))
    for title, prefix in (("crash points", "crashed at "), ("cancelled awaits", "cancelled at ")):
        found = {key.removeprefix(prefix): count for key, count in coverage.items() if key.startswith(prefix)}
        lines = sorted(key for key in found if not key.startswith("simulation/"))
        print(f"{title}: {sum(found.values()):,} at {len(lines)} lines: {' '.join(lines)}")
    states = {key.removeprefix("state: "): count for key, count in coverage.items() if key.startswith("state: ")}
    print("states: " + ", ".join(f"{state} {count:,}" for state, count in sorted(states.items())))


if __name__ == "__main__":
    sys.exit(main())
