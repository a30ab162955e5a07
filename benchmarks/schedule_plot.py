"""Plot of polls per job against latency for each policy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from rivya_async._core.polling.intervals import POLL_COST

from .policy_comparison import MEDIAN, SIGMAS, SimulationSize, learned_label, simulate_learned, simulate_optimum
from .poll_policies import AdvisedPolicy, BackoffPolicy
from .report import show_progress
from .simulation import PollStats, make_lognormal_durations, simulate, summarize

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCALES: Final = [math.exp(-1.0 + 0.2 * n) for n in range(13)]
TEXT_COLOR: Final = "#1f2933"
GRAY, ORANGE, BLUE, LIGHT_BLUE = "#8a94a0", "#d9730d", "#1769c2", "#74aee8"
POLL_TICKS: Final = (1, 2, 3, 5, 10, 20)
LATENCY_TICKS: Final = (0.02, 0.05, 0.10, 0.20, 0.40)


def draw_schedule_plot(path: Path, size: SimulationSize) -> None:
    """Draws polls per job against mean latency, one panel for each sigma."""
    plt.rcParams.update(
        {"font.size": 11, "text.color": TEXT_COLOR, "axes.labelcolor": TEXT_COLOR, "axes.edgecolor": "#c3cad2"}
    )
    figure, panels = plt.subplots(1, len(SIGMAS), figsize=(12.6, 5.4), sharey=True, dpi=144, facecolor="white")
    for axes, sigma in zip(panels, SIGMAS, strict=True):
        show_progress(f"drawing, spread {sigma}")
        _panel(axes, sigma, size)
    panels[0].set_ylabel("mean latency / mean duration")
    panels[1].set_xlabel("polls per job", labelpad=8)
    left = 0.062
    figure.text(left, 0.945, "Polls per job and latency of each policy", fontsize=15, weight="bold")
    figure.text(
        left,
        0.895,
        f"Lognormal durations around {MEDIAN:g} s. Markers: defaults. Lower left is better.",
        color="#52606d",
    )
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="lower center",
        ncols=5,
        frameon=False,
        handlelength=1.8,
        columnspacing=1.6,
    )
    figure.subplots_adjust(left=left, right=0.988, top=0.81, bottom=0.2, wspace=0.06)
    figure.savefig(path, facecolor="white")
    plt.close(figure)
    show_progress("")


def _panel(axes: Axes, sigma: float, size: SimulationSize) -> None:
    durations = make_lognormal_durations(MEDIAN, sigma, size.jobs)
    mean = sum(durations) / len(durations)

    def line(
        simulate_scaled: Callable[[float], PollStats], scales: Sequence[float] = SCALES
    ) -> list[tuple[float, float]]:
        return [(stats.polls, stats.latency / mean) for stats in map(simulate_scaled, scales)]

    def point(stats: PollStats) -> tuple[float, float]:
        return stats.polls, stats.latency / mean

    wide = [math.exp(-1.2 + 0.2 * n) for n in range(15)]
    backoff = line(lambda scale: summarize(simulate(BackoffPolicy(scale), durations)))
    advice = line(lambda scale: summarize(simulate(AdvisedPolicy(scale), durations)))
    few = line(lambda scale: simulate_learned(sigma, 20, size, scale))
    many = line(lambda scale: simulate_learned(sigma, 50, size, scale))
    optimum = line(lambda scale: simulate_optimum(durations, POLL_COST * scale**2), wide)
    axes.plot(*zip(*backoff, strict=True), color=GRAY, lw=1.6, label="capped full jitter")
    axes.plot(*zip(*advice, strict=True), color=ORANGE, lw=1.6, label="the service's advice, scaled")
    axes.plot(*zip(*few, strict=True), color=LIGHT_BLUE, lw=1.8, ls=(0, (4, 2)), label=learned_label(20))
    axes.plot(*zip(*many, strict=True), color=BLUE, lw=2.6, label=learned_label(50))
    axes.plot(*zip(*optimum, strict=True), color=TEXT_COLOR, lw=1.3, label="the optimum for the known distribution")
    for where, colour, shape in (
        (point(summarize(simulate(BackoffPolicy(), durations))), GRAY, "s"),
        (point(summarize(simulate(AdvisedPolicy(), durations))), ORANGE, "o"),
        (point(simulate_learned(sigma, 50, size)), BLUE, "D"),
    ):
        axes.plot(*where, shape, color=colour, ms=9, mec="white", mew=1.3, zorder=5)
    _frame(axes, sigma)


def _frame(axes: Axes, sigma: float) -> None:
    axes.set(xscale="log", yscale="log", xlim=(1.2, 22.0), ylim=(0.025, 0.5))
    axes.set_title(f"spread {sigma}", loc="left", fontsize=11.5, color=TEXT_COLOR)
    axes.xaxis.set(major_locator=FixedLocator(POLL_TICKS), minor_locator=NullLocator())
    axes.yaxis.set(major_locator=FixedLocator(LATENCY_TICKS), minor_locator=NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.grid(color="#e6eaee", lw=0.8)
    axes.tick_params(length=0, labelcolor=TEXT_COLOR)
    axes.spines[["top", "right"]].set_visible(False)
