"""What a scene is given, and the scenery that several scenes share: sky, sun, stars, the line of the land."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sin
from typing import TYPE_CHECKING, Final

import attrs

from .canvas import Picture, Point, disc, glow, gradient
from .palette import Palette, mix

if TYPE_CHECKING:
    from random import Random

Frame = Callable[[float], Picture]
"""A scene as it looks after so many seconds."""

Line = Callable[[float], float]
"""A height for each place between 0 and 1, roughly from -1 to 1."""

STEPS: Final = 96
"""Points of a curve from the left edge to the right one."""


@attrs.frozen
class Stage:
    """A size in pixels, the colours, and the dice that decide everything else."""

    width: int
    height: int
    palette: Palette
    dice: Random

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.width, self.height

    @property
    def unit(self) -> int:
        """The shorter side: what keeps its form in any frame is measured by it."""
        return min(self.size)

    def at(self, across: float, down: float) -> Point:
        """A point by its share of the width and of the height."""
        return across * self.width, down * self.height


def sky(stage: Stage) -> Picture:
    """Zenith to horizon, brightest low down where most scenes have their skyline."""
    palette = stage.palette
    middle = mix(palette.zenith, palette.horizon, 0.55)
    return gradient(stage.size, palette.zenith, middle, palette.horizon, palette.horizon)


def sun(picture: Picture, stage: Stage, centre: Point, radius: float) -> None:
    """A disc with two halos."""
    light = stage.palette.light
    glow(picture, centre, radius * 6.5, mix(light, stage.palette.horizon, 0.5), 0.55)
    glow(picture, centre, radius * 3, light, 0.7)
    disc(picture, centre, radius, light)


def is_dark(stage: Stage) -> bool:
    """Whether the sky is dark enough for stars."""
    return sum(stage.palette.zenith) < STARRY


STARRY: Final = 150


def stars(stage: Stage, amount: int) -> Callable[[Picture, float], None]:
    """Stars in the upper part of the sky, each with its own twinkle."""
    dice = stage.dice
    sown = [
        (stage.at(dice.random(), dice.random() ** 1.4 * 0.7), dice.uniform(0.7, 1.9), dice.uniform(0, 2 * pi))
        for _ in range(amount)
    ]

    def draw(picture: Picture, seconds: float) -> None:
        for (x, y), radius, phase in sown:
            bright = 0.65 + 0.3 * sin(phase + 2.1 * seconds)
            disc(picture, (x, y), max(1.0, radius * stage.unit / 768), stage.palette.light, bright)

    return draw


def rolling(dice: Random, waves: float) -> Line:
    """A smooth line of hills: three sines, the finer the lower."""
    tones = [(waves * pitch, dice.uniform(0, 2 * pi), size) for pitch, size in ((1.0, 0.62), (2.3, 0.27), (4.9, 0.11))]
    return lambda place: sum(size * sin(2 * pi * pitch * place + phase) for pitch, phase, size in tones)


def below(stage: Stage, line: Line, level: float, swing: float, shift: float = 0.0) -> list[Point]:
    """The ground under a line: `level` and `swing` are shares of the height, `shift` is one of the width."""
    scale = min(stage.width / stage.unit, 3.0)
    swing *= min(1.0, 1.6 * stage.width / stage.height)
    top = [stage.at(n / STEPS, level - swing * line((n / STEPS + shift) * scale)) for n in range(STEPS + 1)]
    return [stage.at(0, 1.05), *top, stage.at(1, 1.05)]
