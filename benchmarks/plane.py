"""The picture: what each policy pays in polls for the latency that it gives."""

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

from .polling import Advice, Backoff
from .report import progress
from .simulation import Seen, lognormal, simulated, summary
from .trials import MEDIAN, SPREADS, Effort, after, after_history, best

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRETCHES: Final = [math.exp(-1.0 + 0.2 * n) for n in range(13)]
INK: Final = "#1f2933"
GREY, ORANGE, BLUE, LIGHT_BLUE = "#8a94a0", "#d9730d", "#1769c2", "#74aee8"
POLLS: Final = (1, 2, 3, 5, 10, 20)
SHARES: Final = (0.02, 0.05, 0.10, 0.20, 0.40)


def draw(path: Path, effort: Effort) -> None:
    """Draw the plane of polls per job and mean latency, one panel for each spread of durations."""
    plt.rcParams.update({"font.size": 11, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": "#c3cad2"})
    figure, panels = plt.subplots(1, len(SPREADS), figsize=(12.6, 5.4), sharey=True, dpi=144, facecolor="white")
    for axes, sigma in zip(panels, SPREADS, strict=True):
        progress(f"drawing, spread {sigma}")
        _panel(axes, sigma, effort)
    panels[0].set_ylabel("mean latency / mean duration")
    panels[1].set_xlabel("polls per job", labelpad=8)
    left = 0.062
    figure.text(left, 0.945, "What a policy pays in polls for the latency that it gives", fontsize=15, weight="bold")
    figure.text(
        left,
        0.895,
        f"Lognormal durations around {MEDIAN:g} s. Markers: each policy as it comes. Further left and down is better.",
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
    progress("")


def _panel(axes: Axes, sigma: float, effort: Effort) -> None:
    durations = lognormal(MEDIAN, sigma, effort.jobs)
    mean = sum(durations) / len(durations)

    def line(seen_with: Callable[[float], Seen], stretches: Sequence[float] = STRETCHES) -> list[tuple[float, float]]:
        return [(seen.polls, seen.latency / mean) for seen in map(seen_with, stretches)]

    def point(seen: Seen) -> tuple[float, float]:
        return seen.polls, seen.latency / mean

    wide = [math.exp(-1.2 + 0.2 * n) for n in range(15)]
    backoff = line(lambda stretch: summary(simulated(Backoff(stretch), durations)))
    advice = line(lambda stretch: summary(simulated(Advice(stretch), durations)))
    few = line(lambda stretch: after_history(sigma, 20, effort, stretch))
    many = line(lambda stretch: after_history(sigma, 50, effort, stretch))
    optimum = line(lambda stretch: best(durations, POLL_COST * stretch**2), wide)
    axes.plot(*zip(*backoff, strict=True), color=GREY, lw=1.6, label="capped full jitter")
    axes.plot(*zip(*advice, strict=True), color=ORANGE, lw=1.6, label="the service's advice, scaled")
    axes.plot(*zip(*few, strict=True), color=LIGHT_BLUE, lw=1.8, ls=(0, (4, 2)), label=after(20))
    axes.plot(*zip(*many, strict=True), color=BLUE, lw=2.6, label=after(50))
    axes.plot(*zip(*optimum, strict=True), color=INK, lw=1.3, label="the optimum, which knows all")
    for where, colour, shape in (
        (point(summary(simulated(Backoff(), durations))), GREY, "s"),
        (point(summary(simulated(Advice(), durations))), ORANGE, "o"),
        (point(after_history(sigma, 50, effort)), BLUE, "D"),
    ):
        axes.plot(*where, shape, color=colour, ms=9, mec="white", mew=1.3, zorder=5)
    _frame(axes, sigma)


def _frame(axes: Axes, sigma: float) -> None:
    axes.set(xscale="log", yscale="log", xlim=(1.2, 22.0), ylim=(0.025, 0.5))
    axes.set_title(f"spread {sigma}", loc="left", fontsize=11.5, color=INK)
    axes.xaxis.set(major_locator=FixedLocator(POLLS), minor_locator=NullLocator())
    axes.yaxis.set(major_locator=FixedLocator(SHARES), minor_locator=NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axes.grid(color="#e6eaee", lw=0.8)
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[["top", "right"]].set_visible(False)
