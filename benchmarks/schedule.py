"""Polls and latency of the learned schedule, the service's advice, the back-off and the optimum, in virtual time.

python -m benchmarks schedule [--quick] [--picture PNG]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Final

from rivya_async._core.polling.intervals import POLL_COST

from .policy_comparison import (
    ADVICE,
    DISTURBANCES,
    DISTURBED_RUN_JOBS,
    MEDIAN,
    SIGMAS,
    DisturbedResult,
    SimulationSize,
    StationaryResult,
    compare_disturbed,
    compare_stationary,
    learned_label,
    simulate_learned,
    simulate_optimum,
)
from .poll_policies import AdvisedPolicy, LearnedPolicy
from .report import describe_machine, format_table, show_progress, target
from .simulation import PollStats, make_lognormal_durations, shuffle, simulate, summarize

COST_MARKS: Final = {20: 1.10, 50: 1.05}
POLLS_MARKS: Final = {0.3: 0.5, 0.6: 0.75}
P95_MARK: Final = 1.25


def _stationary_rows(results: StationaryResult) -> Iterable[list[str]]:
    for name, stats in [*results.policies.items(), ("the optimum", results.optimum)]:
        yield [
            f"{results.sigma}  {name}",
            f"{stats.polls:.2f}",
            f"{stats.latency:.2f}",
            f"{stats.latency / results.mean:.1%}",
            f"{stats.p95:.1f}",
            f"{stats.cost(POLL_COST) / results.optimum.cost(POLL_COST):.3f}",
        ]


def _at_advice_row(results: StationaryResult) -> list[str]:
    advice = results.policies[ADVICE]
    polls = [advice.polls, results.learned_at_advice.polls, results.optimum_at_advice.polls]
    return [f"{results.sigma}", f"{advice.latency:.2f}", *(f"{n:.2f}" for n in polls), f"{polls[1] / polls[0]:.2f}"]


def _disturbed_row(results: DisturbedResult) -> list[str]:
    optimum = results.optimum.cost(POLL_COST)
    return [results.name, *_figures(results.advice, optimum), *_figures(results.learned, optimum)]


def _disturbed_at_advice_row(results: DisturbedResult) -> list[str]:
    both = (results.advice, results.learned_at_advice, results.optimum_at_advice)
    return [
        results.name,
        f"{results.advice.latency:.2f}",
        *(f"{stats.polls:.2f}" for stats in both),
        *(f"{stats.p95:.1f}" for stats in both),
    ]


def _burst_rows(size: SimulationSize) -> Iterable[list[str]]:
    """Yields rows for jobs that start at once, then for jobs with the durations learned from these."""
    for sigma in SIGMAS[:2]:
        show_progress(f"spread {sigma}, all at once")
        jobs = shuffle(make_lognormal_durations(MEDIAN, sigma, size.jobs // 4), seed=6)
        optimum = simulate_optimum(jobs, POLL_COST).cost(POLL_COST)
        warm, biased = LearnedPolicy(), LearnedPolicy(counts_open=False)
        for learner in (warm, biased):
            simulate(learner, shuffle(make_lognormal_durations(MEDIAN, sigma, 50), seed=7))
        policies: dict[str, AdvisedPolicy] = {
            ADVICE: AdvisedPolicy(),
            "learned, from nothing": LearnedPolicy(),
            "learned, from 50 jobs": warm,
            "  if open jobs did not count": biased,
        }
        for name, policy in policies.items():
            during = summarize(simulate(policy, jobs, max_open_jobs=len(jobs)))
            policy.learns = False
            afterwards = summarize(simulate(policy, jobs))
            yield [f"{sigma}  {name}", *_figures(during, optimum), *_figures(afterwards, optimum)]


def _figures(stats: PollStats, optimum: float) -> list[str]:
    return [f"{stats.polls:.2f}", f"{stats.latency:.2f}", f"{stats.p95:.1f}", f"{stats.cost(POLL_COST) / optimum:.2f}"]


def _scale_rows(size: SimulationSize) -> Iterable[list[str]]:
    for median in (5.0, 300.0):
        for sigma in SIGMAS:
            show_progress(f"median {median:g} s, spread {sigma}")
            durations = make_lognormal_durations(median, sigma, size.jobs)
            optimum = simulate_optimum(durations, POLL_COST).cost(POLL_COST)
            both = (summarize(simulate(AdvisedPolicy(), durations)), simulate_learned(sigma, 50, size, median=median))
            yield [f"{median:g} s, {sigma}", *(figure for stats in both for figure in _figures(stats, optimum))]


def _marks(plain: Sequence[StationaryResult], worse: Sequence[DisturbedResult]) -> Iterable[str]:
    for history, most in COST_MARKS.items():
        costs = [each.policies[learned_label(history)].cost(POLL_COST) / each.optimum.cost(POLL_COST) for each in plain]
        yield target(
            f"cost at most {most:.2f} of the optimum's after {history} jobs",
            ", ".join(f"{cost:.3f} at {each.sigma}" for cost, each in zip(costs, plain, strict=True)),
            met=max(costs) <= most,
        )
    for each in plain:
        if each.sigma in POLLS_MARKS:
            most, share = POLLS_MARKS[each.sigma], each.learned_at_advice.polls / each.policies[ADVICE].polls
            yield target(
                f"spread {each.sigma}: at the mean latency of the advice at most {most} of its polls",
                f"{share:.2f}",
                met=share <= most,
            )
    default, equal, optimum = (
        max(stats(each).p95 / each.advice.p95 for each in worse)
        for stats in (attrgetter("learned"), attrgetter("learned_at_advice"), attrgetter("optimum_at_advice"))
    )
    yield target(
        f"disturbed: p95 latency at most {P95_MARK} of the advice's",
        f"{default:.2f} at worst ({equal:.2f} at equal mean latency, where the optimum has {optimum:.2f})",
        met=default <= P95_MARK,
    )


def report(size: SimulationSize) -> str:
    """Formats the tables and the targets."""
    plain = [compare_stationary(sigma, size) for sigma in SIGMAS]
    worse = [compare_disturbed(name, sigma, size) for sigma in SIGMAS[:2] for name in DISTURBANCES]
    figures = ["polls/job", "latency s", "p95 s", "cost"]
    parts = [
        f"Schedule: lognormal durations, median {MEDIAN:g} s, virtual clock; a poll costs {POLL_COST:g} s of latency",
        "At this price; the cost is over the optimum's, which knows the distribution\n"
        + format_table(
            ["spread", "polls/job", "latency s", "of mean", "p95 s", "cost"], chain(*map(_stationary_rows, plain))
        ),
        "Polls per job at the mean latency of the service's advice (learned: after 50 jobs)\n"
        + format_table(
            ["spread", "latency s", "advice", "learned", "optimum", "learned/advice"], map(_at_advice_row, plain)
        ),
        f"Disturbed, in runs of {DISTURBED_RUN_JOBS} jobs without history: the advice, then the learned schedule\n"
        + format_table(["spread", *figures, *figures], map(_disturbed_row, worse)),
        "The same at the mean latency of the advice\n"
        + format_table(
            ["spread", "latency s", "polls: advice", "learned", "optimum", "p95: advice", "learned", "optimum"],
            map(_disturbed_at_advice_row, worse),
        ),
        f"{size.jobs // 4:,} jobs at once; then one by one, with the learned durations\n"
        + format_table(["spread", *figures, *figures], _burst_rows(size)),
        "Other medians: the advice, then the learned schedule after 50 jobs\n"
        + format_table(["median, spread", *figures, *figures], _scale_rows(size)),
        "\n".join(["Marks", *_marks(plain, worse)]),
    ]
    show_progress("")
    return "\n\n".join(parts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this benchmark."""
    parser.add_argument("--picture", type=Path, metavar="PNG", help="schedule: draw polls against latency")


def run_benchmark(options: argparse.Namespace) -> str:
    """Simulates, optionally draws the plot, and formats."""
    size = SimulationSize.of(quick=options.quick)
    if options.picture is not None:
        from .schedule_plot import draw_schedule_plot

        draw_schedule_plot(options.picture, size)
    return report(size)


def main() -> None:
    """Simulates and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedule", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs")
    add_arguments(parser)
    print(describe_machine(), run_benchmark(parser.parse_args()), sep="\n\n")


if __name__ == "__main__":
    main()
