"""What the learned schedule is worth, on a virtual clock: beside the service's advice, the backoff and the optimum.

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

from .polling import Advice, Learned
from .report import machine_line, mark, progress, table
from .simulation import Seen, lognormal, shuffled, simulated, summary
from .trials import (
    ADVICE,
    DISTURBED,
    MEDIAN,
    RUN,
    SPREADS,
    Disturbed,
    Effort,
    Undisturbed,
    after,
    after_history,
    best,
    disturbed,
    undisturbed,
)

COST_MARKS: Final = {20: 1.10, 50: 1.05}
POLLS_MARKS: Final = {0.3: 0.5, 0.6: 0.75}
P95_MARK: Final = 1.25


def _undisturbed_rows(found: Undisturbed) -> Iterable[list[str]]:
    for name, seen in [*found.policies.items(), ("the optimum", found.optimum)]:
        yield [
            f"{found.sigma}  {name}",
            f"{seen.polls:.2f}",
            f"{seen.latency:.2f}",
            f"{seen.latency / found.mean:.1%}",
            f"{seen.p95:.1f}",
            f"{seen.cost(POLL_COST) / found.optimum.cost(POLL_COST):.3f}",
        ]


def _at_advice_row(found: Undisturbed) -> list[str]:
    advice = found.policies[ADVICE]
    polls = [advice.polls, found.learned_at_advice.polls, found.optimum_at_advice.polls]
    return [f"{found.sigma}", f"{advice.latency:.2f}", *(f"{n:.2f}" for n in polls), f"{polls[1] / polls[0]:.2f}"]


def _disturbed_row(found: Disturbed) -> list[str]:
    optimum = found.optimum.cost(POLL_COST)
    return [found.name, *_figures(found.advice, optimum), *_figures(found.learned, optimum)]


def _disturbed_at_advice_row(found: Disturbed) -> list[str]:
    seens = (found.advice, found.learned_at_advice, found.optimum_at_advice)
    return [
        found.name,
        f"{found.advice.latency:.2f}",
        *(f"{seen.polls:.2f}" for seen in seens),
        *(f"{seen.p95:.1f}" for seen in seens),
    ]


def _burst_rows(effort: Effort) -> Iterable[list[str]]:
    """Jobs that all begin at once; then what the next jobs get from what was learned of these."""
    for sigma in SPREADS[:2]:
        progress(f"spread {sigma}, all at once")
        jobs = shuffled(lognormal(MEDIAN, sigma, effort.jobs // 4), seed=6)
        optimum = best(jobs, POLL_COST).cost(POLL_COST)
        warm, biased = Learned(), Learned(counts_open=False)
        for learner in (warm, biased):
            simulated(learner, shuffled(lognormal(MEDIAN, sigma, 50), seed=7))
        policies: dict[str, Advice] = {
            ADVICE: Advice(),
            "learned, from nothing": Learned(),
            "learned, from 50 jobs": warm,
            "  if open jobs did not count": biased,
        }
        for name, policy in policies.items():
            during = summary(simulated(policy, jobs, at_once=len(jobs)))
            policy.learns = False
            afterwards = summary(simulated(policy, jobs))
            yield [f"{sigma}  {name}", *_figures(during, optimum), *_figures(afterwards, optimum)]


def _figures(seen: Seen, optimum: float) -> list[str]:
    return [f"{seen.polls:.2f}", f"{seen.latency:.2f}", f"{seen.p95:.1f}", f"{seen.cost(POLL_COST) / optimum:.2f}"]


def _scale_rows(effort: Effort) -> Iterable[list[str]]:
    for median in (5.0, 300.0):
        for sigma in SPREADS:
            progress(f"median {median:g} s, spread {sigma}")
            durations = lognormal(median, sigma, effort.jobs)
            optimum = best(durations, POLL_COST).cost(POLL_COST)
            seens = (summary(simulated(Advice(), durations)), after_history(sigma, 50, effort, median=median))
            yield [f"{median:g} s, {sigma}", *(figure for seen in seens for figure in _figures(seen, optimum))]


def _marks(plain: Sequence[Undisturbed], worse: Sequence[Disturbed]) -> Iterable[str]:
    for history, most in COST_MARKS.items():
        costs = [each.policies[after(history)].cost(POLL_COST) / each.optimum.cost(POLL_COST) for each in plain]
        yield mark(
            f"cost at most {most:.2f} of the optimum's after {history} jobs",
            ", ".join(f"{cost:.3f} at {each.sigma}" for cost, each in zip(costs, plain, strict=True)),
            met=max(costs) <= most,
        )
    for each in plain:
        if each.sigma in POLLS_MARKS:
            most, share = POLLS_MARKS[each.sigma], each.learned_at_advice.polls / each.policies[ADVICE].polls
            yield mark(
                f"spread {each.sigma}: at the mean latency of the advice at most {most} of its polls",
                f"{share:.2f}",
                met=share <= most,
            )
    default, equal, optimum = (
        max(seen(each).p95 / each.advice.p95 for each in worse)
        for seen in (attrgetter("learned"), attrgetter("learned_at_advice"), attrgetter("optimum_at_advice"))
    )
    yield mark(
        f"disturbed: p95 latency at most {P95_MARK} of the advice's",
        f"{default:.2f} at worst ({equal:.2f} at equal mean latency, where the optimum has {optimum:.2f})",
        met=default <= P95_MARK,
    )


def report(effort: Effort) -> str:
    """The tables and the marks."""
    plain = [undisturbed(sigma, effort) for sigma in SPREADS]
    worse = [disturbed(name, sigma, effort) for sigma in SPREADS[:2] for name in DISTURBED]
    figures = ["polls/job", "latency s", "p95 s", "cost"]
    parts = [
        f"Schedule: lognormal durations, median {MEDIAN:g} s, on a virtual clock; "
        f"a poll costs {POLL_COST:g} s of latency",
        "At this price; the cost is over the optimum's, which knows the distribution\n"
        + table(
            ["spread", "polls/job", "latency s", "of mean", "p95 s", "cost"], chain(*map(_undisturbed_rows, plain))
        ),
        "Polls per job at the mean latency of the service's advice (learned: after 50 jobs)\n"
        + table(["spread", "latency s", "advice", "learned", "optimum", "learned/advice"], map(_at_advice_row, plain)),
        f"Disturbed, in runs of {RUN} jobs that begin with nothing learned: the advice, then the learned schedule\n"
        + table(["spread", *figures, *figures], map(_disturbed_row, worse)),
        "The same at the mean latency of the advice\n"
        + table(
            ["spread", "latency s", "polls: advice", "learned", "optimum", "p95: advice", "learned", "optimum"],
            map(_disturbed_at_advice_row, worse),
        ),
        f"{effort.jobs // 4:,} jobs at once; then one by one, by what was learned of them\n"
        + table(["spread", *figures, *figures], _burst_rows(effort)),
        "Other medians: the advice, then the learned schedule after 50 jobs\n"
        + table(["median, spread", *figures, *figures], _scale_rows(effort)),
        "\n".join(["Marks", *_marks(plain, worse)]),
    ]
    progress("")
    return "\n\n".join(parts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark alone."""
    parser.add_argument("--picture", type=Path, metavar="PNG", help="schedule: draw polls against latency")


def measured_report(options: argparse.Namespace) -> str:
    """Simulate as the options say, and draw if they do."""
    effort = Effort.of(quick=options.quick)
    if options.picture is not None:
        from .plane import draw

        draw(options.picture, effort)
    return report(effort)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schedule", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs")
    add_arguments(parser)
    print(machine_line(), measured_report(parser.parse_args()), sep="\n\n")


if __name__ == "__main__":
    main()
