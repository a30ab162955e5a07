"""Drawings of the manual, computed with the SDK's own functions: `python -m benchmarks.drawings [FOLDER]`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

from rivya_async import PollPolicy, RetryPolicy
from rivya_async._core.limits.rate_controller import AdaptiveRate
from rivya_async._core.polling.adaptive.duration_estimator import DurationEstimator
from rivya_async._core.polling.intervals import adaptive_interval, backoff_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEXT_COLOR: Final = "#1f2933"
GRAY, LIGHT_GRAY, ORANGE, BLUE, LIGHT_BLUE = "#5b6472", "#c3cad2", "#c2600a", "#1769c2", "#dbe9fa"
STYLE: Final[dict[Any, Any]] = {
    "font.size": 11,
    "text.color": TEXT_COLOR,
    "axes.labelcolor": TEXT_COLOR,
    "axes.edgecolor": LIGHT_GRAY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "rivya_async",  # the same drawing is the same file
    "svg.fonttype": "path",  # the same letters on each machine
}

SEED: Final = 7
MEDIAN, SIGMA = 30.0, 0.3
OBSERVED_JOBS: Final = 200
SHOWN_JOBS: Final = 7
LIMIT: Final = 100.0


def draw_waiting(axes: Axes) -> None:
    """Draws the parts of one job: submit, polls or a webhook, and the three ends."""
    boxes = {
        "submit": (0.0, 1.0, "submit()\nbuys the job"),
        "wait": (2.6, 1.0, "wait_for(task id)\none timer, one poll stream per job"),
        "poll": (6.2, 1.8, "poll when due\njittered back-off, or learned"),
        "webhook": (6.2, 0.2, "verified webhook\nif it comes first"),
        "record": (9.9, 1.8, "Generation"),
        "failed": (9.9, 1.0, "GenerationFailedError"),
        "timeout": (9.9, 0.2, "WaitTimeoutError\nthe job continues: keep the task id"),
    }
    widths = {"submit": 1.7, "wait": 2.7, "poll": 2.6, "webhook": 2.6, "record": 3.0, "failed": 3.0, "timeout": 3.0}
    for name, (x, y, text) in boxes.items():
        _box(axes, x, y, widths[name], text, emphasis=name in {"wait", "record"})
    arrows = [("submit", "wait"), ("wait", "poll"), ("wait", "webhook"), ("poll", "record"), ("poll", "failed")]
    for begin, end in [*arrows, ("webhook", "record"), ("wait", "timeout")]:
        x, y = boxes[begin][0] + widths[begin], boxes[begin][1]
        style: dict[str, Any] = {"arrowstyle": "-|>", "color": GRAY, "shrinkA": 0, "shrinkB": 0}
        if end == "timeout":
            style |= {"connectionstyle": "angle,angleA=0,angleB=90,rad=4"}
            x, y = boxes[begin][0] + 1.4, boxes[begin][1] - 0.3
            axes.plot([x, x, 9.7], [y, -0.35, -0.35], color=GRAY, lw=1)
            axes.annotate("", (9.9, 0.02), (9.7, -0.35), arrowprops={"arrowstyle": "-|>", "color": GRAY})
            axes.text(5.0, -0.3, "deadline", color=GRAY, va="bottom")
            continue
        axes.annotate("", boxes[end][:2], (x, y), arrowprops=style)
    loop = {"arrowstyle": "-|>", "color": GRAY, "connectionstyle": "arc3,rad=-0.9"}
    axes.annotate("", (8.3, 2.1), (6.8, 2.1), arrowprops=loop)
    axes.text(8.5, 2.62, "queued, processing, transient fault", color=GRAY)
    axes.set_xlim(-0.1, 13.0)
    axes.set_ylim(-0.5, 2.95)
    axes.axis("off")


def _box(axes: Axes, x: float, y: float, width: float, text: str, *, emphasis: bool = False) -> None:
    edge, face = (BLUE, LIGHT_BLUE) if emphasis else (LIGHT_GRAY, "white")
    axes.add_patch(
        FancyBboxPatch((x, y - 0.3), width, 0.6, boxstyle="round,pad=0,rounding_size=0.08", ec=edge, fc=face, lw=1.4)
    )
    title, _, detail = text.partition("\n")
    axes.text(x + width / 2, y + (0.1 if detail else 0), title, ha="center", va="center", weight="bold")
    axes.text(x + width / 2, y - 0.13, detail, ha="center", va="center", color=GRAY, size=9)


def draw_polls(axes: Axes) -> None:
    """Draws the polls of jobs: by back-off, and learned from the jobs before them."""
    random, policy, estimator = Random(SEED), PollPolicy(), DurationEstimator()
    for _ in range(OBSERVED_JOBS):
        duration = random.lognormvariate(0.0, SIGMA) * MEDIAN
        estimator.observe_open("model", 0.9 * duration)
        estimator.observe("model", duration, since=0.9 * duration)
    curve = estimator.curve_for("model", "image")
    assert curve is not None, "the estimator has observed jobs"  # noqa: S101 - a precondition of the drawing
    rows: list[tuple[float, str, Callable[[int, float, float], float]]] = []
    for number in range(SHOWN_JOBS):
        duration = random.lognormvariate(0.0, SIGMA) * MEDIAN
        rows.append((duration, ORANGE, lambda n, u, age: backoff_interval(policy, n, u, age)))
        rows.append((duration, BLUE, lambda n, u, age: adaptive_interval(curve, policy, n, u, age)))
        y = -2.6 * number
        axes.plot([0, duration], [y, y], color=LIGHT_GRAY, lw=7, solid_capstyle="butt")
        axes.plot([0, duration], [y - 1, y - 1], color=LIGHT_GRAY, lw=7, solid_capstyle="butt")
    for index, (duration, color, interval) in enumerate(rows):
        y, ages = -2.6 * (index // 2) - index % 2, list(_poll_ages(duration, interval, random))
        axes.plot(ages, [y] * len(ages), "o", color=color, ms=5)
    axes.plot([], [], "o", color=ORANGE, label="polls by jittered back-off")
    axes.plot([], [], "o", color=BLUE, label=f"polls learned from {OBSERVED_JOBS} jobs")
    axes.plot([], [], color=LIGHT_GRAY, lw=7, label="the job runs")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("age of the job in seconds")
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _poll_ages(duration: float, interval: Callable[[int, float, float], float], random: Random) -> Iterator[float]:
    age, count = 0.0, 0
    while age < duration:
        age += interval(count, random.random(), age)
        count += 1
        yield age


def draw_rate(axes: Axes) -> None:
    """Draws the learned request rate under a limit that the session does not know."""
    rate, now, points, tokens = AdaptiveRate(), 0.0, [], LIMIT
    step = 0.05
    while now < 120.0:
        wanted = min(rate.rate_at(now), 4 * LIMIT) * step
        tokens = min(LIMIT, tokens + LIMIT * step)
        if wanted > tokens:
            rate.on_rejection(now, 1.0)
            tokens = 0.0
            now += 1.0
        else:
            tokens -= wanted
            rate.on_success(now, wanted)
        points.append((now, min(rate.rate_at(now), 1.5 * LIMIT)))
        now += step
    axes.axhline(LIMIT, color=ORANGE, lw=1.4, label="limit of the service")
    axes.plot(*zip(*points, strict=True), color=BLUE, label="learned rate: recovers along CUBIC's curve")
    axes.set_xlabel("seconds")
    axes.set_ylabel("requests per second")
    axes.set_ylim(0, 1.55 * LIMIT)
    axes.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def draw_retries(axes: Axes) -> None:
    """Draws the range of the delay before each retry, and random delays of forty calls."""
    policy, random = RetryPolicy(), Random(SEED)
    for n in range(8):
        ceiling = policy.ceilings[n] if n < len(policy.ceilings) else policy.cap
        axes.bar(n + 1, ceiling, width=0.5, color=LIGHT_BLUE, label="range of the delay" if n == 0 else None)
        delays = [random.random() * ceiling for _ in range(40)]
        places = [n + 1 + 0.4 * (random.random() - 0.5) for _ in delays]
        axes.plot(places, delays, ".", color=BLUE, ms=4, label="delays of forty calls" if n == 0 else None)
    axes.axhline(policy.cap, color=ORANGE, lw=1.4, label=f"RetryPolicy.cap: {policy.cap:g} s, also for Retry-After")
    axes.set_xlabel("retry")
    axes.set_ylabel("seconds")
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))


PARTICIPANTS: Final = (
    "User",
    "RivyaSession",
    "PurchasePreflight",
    "RequestExecutor",
    "WaitRegistry",
    "Poller",
    "Service",
)
MESSAGES: Final = (
    ("User", "RivyaSession", "submit(model, prompt)"),
    ("RivyaSession", "PurchasePreflight", "create the key, validate, reserve credits"),
    ("RivyaSession", "RequestExecutor", "execute(operation)"),
    ("RequestExecutor", "Service", "POST /generations, Idempotency-Key (a retry sends the same key)"),
    ("Service", "User", "Generation, queued"),
    ("User", "RivyaSession", "wait_for(job, timeout)"),
    ("RivyaSession", "WaitRegistry", "register a waiter with its deadline"),
    ("WaitRegistry", "Poller", "TrackedJob: due by the timer queue"),
    ("Poller", "Service", "GET /generations/{id}, within the request rate"),
    ("Service", "Poller", "snapshot: compute the next interval, or end"),
    ("Poller", "WaitRegistry", "terminal record"),
    ("WaitRegistry", "User", "Generation, or GenerationFailedError"),
)


def draw_sequence(axes: Axes) -> None:
    """Draws the calls of one job, from the submit to its end."""
    place = {name: 2.45 * number for number, name in enumerate(PARTICIPANTS)}
    bottom = -0.62 * len(MESSAGES) - 0.4
    for name, x in place.items():
        axes.plot([x, x], [-0.1, bottom], color=LIGHT_GRAY, lw=1)
        _box(axes, x - 1.1, 0.2, 2.2, name, emphasis=name not in {"User", "Service"})
    for number, (begin, end, text) in enumerate(MESSAGES, 1):
        y, line = -0.62 * number, "-" if place[end] > place[begin] else "--"
        axes.annotate(
            "", (place[end], y), (place[begin], y), arrowprops={"arrowstyle": "-|>", "color": GRAY, "linestyle": line}
        )
        axes.text((place[begin] + place[end]) / 2, y + 0.06, text, ha="center", va="bottom", size=9.5)
    axes.set_xlim(-1.2, place["Service"] + 1.2)
    axes.set_ylim(bottom, 0.6)
    axes.axis("off")


def draw_workers(axes: Axes) -> None:
    """Draws the processes around one Redis server, and what each of them keeps."""
    columns = {
        0.0: ("Producers", {"web app": "worker.generate.kiq(...)", "rivya batch run": "--broker redis://..."}),
        4.4: (
            "One Redis server",
            {
                "queue": "messages of a dead worker go to another",
                "job records": "key, intent, task id, end",
                "rate limit": "permits of the account, in batches",
                "dead letters": "jobs that no worker can process",
            },
        ),
        10.2: (
            "Workers, on any number of machines",
            {
                "rivya worker": "one RivyaSession, 10,000 waits",
                "rivya worker ": "one RivyaSession, 10,000 waits",
                "taskiq worker": "your tasks, with its session",
            },
        ),
        15.4: ("Service", {"Rivya": "one account, one limit"}),
    }
    widths = {0.0: 3.3, 4.4: 4.7, 10.2: 4.1, 15.4: 2.9}
    for x, (title, boxes) in columns.items():
        axes.text(x + widths[x] / 2, 0.75, title, ha="center", weight="bold", color=GRAY)
        for number, (name, detail) in enumerate(boxes.items()):
            y = -0.8 * number - 0.8 * (4 - len(boxes)) / 2
            _box(axes, x, y, widths[x], f"{name}\n{detail}", emphasis="worker" in name)
    for begin, end in ((3.3, 4.4), (9.1, 10.2), (14.3, 15.4)):
        axes.annotate("", (end, -1.2), (begin, -1.2), arrowprops={"arrowstyle": "<|-|>", "color": GRAY})
    axes.set_xlim(-0.1, 18.4)
    axes.set_ylim(-2.9, 1.1)
    axes.axis("off")


DRAWINGS: Final[dict[str, tuple[Callable[[Axes], None], tuple[float, float]]]] = {
    "waiting": (draw_waiting, (11.5, 3.2)),
    "polls": (draw_polls, (9.5, 4.6)),
    "rate": (draw_rate, (9.5, 3.6)),
    "retries": (draw_retries, (9.5, 3.6)),
    "sequence": (draw_sequence, (12.5, 6.4)),
    "workers": (draw_workers, (12.5, 3.4)),
}
"""Function and size in inches of each drawing."""


def main(folder: str = "examples") -> None:
    """Writes each drawing as SVG into a folder."""
    with plt.rc_context(STYLE):
        for name, (draw, size) in DRAWINGS.items():
            figure, axes = plt.subplots(figsize=size, facecolor="white")
            draw(axes)
            figure.tight_layout(pad=0.6)
            figure.savefig(Path(folder) / f"{name}.svg", facecolor="white", metadata={"Date": None})
            plt.close(figure)


if __name__ == "__main__":
    main(*sys.argv[1:])
