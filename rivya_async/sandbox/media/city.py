"""A scene among towers."""

from __future__ import annotations

from itertools import chain
from math import sin
from typing import TYPE_CHECKING, Final

from PIL import ImageDraw

from .canvas import gradient, shape
from .palette import mix
from .stage import is_dark, sky, stars, sun

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from .canvas import Picture
    from .palette import Colour
    from .stage import Frame, Stage

BLACK: Final = (0, 0, 0)
WHITE: Final = (255, 255, 255)
LIT: Final = 0.35
"""A window is lit while its slow wave is above this."""

Tower = tuple[int, int, int, int]
"""Left, top, right, and how much lower the roof is on the right."""


def city(stage: Stage) -> Frame:
    """Towers before a large sun, with windows that come and go."""
    dice = stage.dice
    backdrop, twinkle = sky(stage), stars(stage, 80 if is_dark(stage) else 0)
    place, radius = (dice.uniform(0.3, 0.7), dice.uniform(0.38, 0.48)), stage.unit * dice.uniform(0.16, 0.24)
    rows = [_street(stage, row) for row in range(3)]
    streets = [_cut_out(stage, row, towers) for row, towers in enumerate(rows)]
    windows = [list(chain.from_iterable(_windows(dice, tower, stage.unit) for tower in row)) for row in rows]

    def frame(seconds: float) -> Picture:
        picture = backdrop.copy()
        twinkle(picture, seconds)
        sun(picture, stage, stage.at(place[0], place[1] + 0.004 * seconds), radius)
        pen = ImageDraw.Draw(picture)
        for row, (ink, outline) in enumerate(streets):
            picture.paste(ink, (0, 0), outline)
            lamp = mix(stage.palette.light, _stone(stage, row), 0.3 if row else 0.6)
            for box, phase in windows[row]:
                if sin(phase + 0.5 * seconds) > LIT:
                    pen.rectangle(box, fill=lamp)
        return picture

    return frame


def _stone(stage: Stage, row: int) -> Colour:
    return stage.palette.ground((0.25, 0.6, 0.9)[row])


def _cut_out(stage: Stage, row: int, towers: Sequence[Tower]) -> tuple[Picture, Picture]:
    """A row of towers and its outline as a mask: they stand still, so they are painted once."""
    stone = _stone(stage, row)
    ink, outline = gradient(stage.size, stone), gradient(stage.size, BLACK)
    for left, top, right, slope in towers:
        walls = [(left, top), (right, top + slope), (right, stage.height), (left, stage.height)]
        shape(ink, walls, stone, mix(stone, stage.palette.horizon, 0.22 * (2 - row)))
        shape(outline, walls, WHITE)
    return ink, outline.convert("L")


def _street(stage: Stage, row: int) -> list[Tower]:
    dice, unit = stage.dice, stage.unit
    towers: list[Tower] = []
    left = -round(0.05 * unit)
    while left < stage.width:
        wide = round(unit * dice.uniform(0.07, 0.13) * (0.8 + 0.25 * row))
        top = round(stage.height * dice.uniform(0.3, 0.55) + 0.13 * row * stage.height)
        towers.append((left, top, left + wide, round(dice.choice((0, 0, 0, 0.35, -0.35)) * wide)))
        left += wide + round(unit * dice.choice((0.0, 0.004, 0.012, 0.03)))
    return towers


def _windows(dice: Random, tower: Tower, unit: int) -> list[tuple[tuple[int, int, int, int], float]]:
    """Boxes in a grid, each with the phase of its lamp."""
    left, top, right, slope = tower
    pane, step = max(1, round(unit * 0.008)), max(3, round(unit * 0.021))
    first = top + max(slope, 0) + step
    return [
        ((x, y, x + pane - 1, y + round(pane * 1.4) - 1), dice.uniform(0, 6.28))
        for y in range(first, first + 16 * step, step)
        for x in range(left + step // 2, right - pane - step // 4, step)
    ]
