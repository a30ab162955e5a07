"""Scenes on firm ground: hills, peaks, a forest."""

from __future__ import annotations

from itertools import accumulate
from math import sin
from typing import TYPE_CHECKING, Final

from .canvas import shape
from .palette import mix
from .stage import below, is_dark, rolling, sky, stars, sun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .canvas import Picture, Point
    from .stage import Frame, Stage

HAZE: Final = 0.42
"""How much of the horizon's colour lies in the valleys."""


def hills(stage: Stage) -> Frame:
    """Layered hills in the haze, a sun that drifts, and birds."""
    dice = stage.dice
    backdrop, twinkle = sky(stage), stars(stage, 60 if is_dark(stage) else 0)
    place, radius = (dice.uniform(0.25, 0.75), dice.uniform(0.22, 0.36)), stage.unit * dice.uniform(0.07, 0.12)
    count = dice.choice((4, 5, 6))
    lines = [rolling(dice, dice.uniform(0.5, 1.1) * (1 + n * 0.12)) for n in range(count)]
    flock = [(dice.uniform(-0.09, 0.09), dice.uniform(-0.04, 0.04), dice.uniform(0, 6)) for _ in range(5)]
    nest = dice.uniform(0.2, 0.8), dice.uniform(0.16, 0.3)

    def frame(seconds: float) -> Picture:
        picture = backdrop.copy()
        twinkle(picture, seconds)
        sun(picture, stage, stage.at(place[0] + 0.006 * seconds, place[1] - 0.004 * seconds), radius)
        for n, line in enumerate(lines):
            depth = n / (count - 1)
            ground = stage.palette.ground(depth**0.9)
            points = below(stage, line, 0.47 + 0.36 * depth, 0.07 + 0.02 * depth, 0.004 * (1 + 2 * n) * seconds)
            shape(picture, points, ground, mix(ground, stage.palette.horizon, HAZE * (1 - depth)))
        for dx, dy, phase in flock:
            middle = stage.at(nest[0] + dx + 0.012 * seconds, nest[1] + dy)
            _bird(picture, middle, stage.unit * 0.016, sin(phase + 7 * seconds), stage)
        return picture

    return frame


def _bird(picture: Picture, middle: Point, span: float, beat: float, stage: Stage) -> None:
    x, y = middle
    lift = span * (0.45 + 0.25 * beat)
    wings = [(x - span, y - lift), (x, y), (x + span, y - lift), (x, y + span * 0.28)]
    shape(picture, wings, stage.palette.near, opacity=0.75)


def peaks(stage: Stage) -> Frame:
    """Mountains with a bright and a shaded side under a low sun."""
    dice, palette = stage.dice, stage.palette
    backdrop, twinkle = sky(stage), stars(stage, 90 if is_dark(stage) else 0)
    place, radius = (dice.uniform(0.2, 0.8), dice.uniform(0.18, 0.32)), stage.unit * dice.uniform(0.06, 0.1)
    ranges = [_range(stage, row) for row in range(3)]
    foot = rolling(dice, 0.9)

    def frame(seconds: float) -> Picture:
        picture = backdrop.copy()
        twinkle(picture, seconds)
        sun(picture, stage, stage.at(place[0], place[1] - 0.004 * seconds), radius)
        for row, mountains in enumerate(ranges):
            ground, drift = palette.ground(0.12 + 0.3 * row), -0.003 * (row + 1) * seconds * stage.width
            for x, y, reach in mountains:
                _mountain(picture, (x + drift, y), reach, stage, row)
            base = below(stage, foot, 0.78 + 0.07 * row, 0.02, 0.1 * row + 0.004 * (row + 1) * seconds)
            shape(picture, base, mix(ground, palette.near, 0.35), mix(ground, palette.near, 0.7))
        return picture

    return frame


FOOT: Final = 0.95
"""Where mountains end, as a share of the height: below the line of the ground before them."""


def _range(stage: Stage, row: int) -> list[tuple[float, float, float]]:
    """Summits of one range, the highest first as the others stand before it: x, y, half the width at the foot."""
    dice = stage.dice
    count = max(3, round(4 * stage.width / stage.height)) - row % 2
    summits = []
    for n in range(count):
        x, y = stage.at((n + dice.uniform(0.2, 0.8)) / count, dice.uniform(0.32, 0.46) + 0.14 * row)
        summits.append((x, y, (stage.height * FOOT - y) * dice.uniform(0.8, 1.1)))
    return sorted(summits, key=lambda summit: summit[1])


def _mountain(picture: Picture, summit: Point, reach: float, stage: Stage, row: int) -> None:
    """Two faces along a crooked ridge, and snow; all points are shares of the way from the summit to the foot."""
    palette, rise = stage.palette, stage.height * FOOT - summit[1]
    lit = mix(palette.ground(0.1 + 0.26 * row), palette.horizon, 0.3)
    shade = palette.ground(0.3 + 0.28 * row)
    snow = mix(palette.light, lit, 0.1 + 0.25 * row)

    def face(points: Sequence[Point]) -> list[Point]:
        return [(summit[0] + across * reach, summit[1] + down * rise) for across, down in points]

    shape(picture, face([(-1, 1), *RIDGE]), lit, mix(lit, palette.horizon, 0.35))
    shape(picture, face([*RIDGE, (1, 1)]), shade, mix(shade, palette.horizon, 0.3))
    shape(picture, face(SNOW_LIT), snow)
    shape(picture, face(SNOW_SHADED), mix(snow, shade, 0.45))


RIDGE: Final[tuple[Point, ...]] = ((0, 0), (0.07, 0.26), (-0.05, 0.5), (0.09, 1))
SNOW_LIT: Final[tuple[Point, ...]] = ((0, 0), (-0.22, 0.22), (-0.11, 0.19), (-0.05, 0.29), (0.07, 0.26))
SNOW_SHADED: Final[tuple[Point, ...]] = ((0, 0), (0.07, 0.26), (0.12, 0.17), (0.2, 0.2))


def forest(stage: Stage) -> Frame:
    """Rows of firs, each darker than the one behind it, with light between them."""
    dice, palette = stage.dice, stage.palette
    backdrop, twinkle = sky(stage), stars(stage, 70 if is_dark(stage) else 0)
    place, radius = (dice.uniform(0.25, 0.75), dice.uniform(0.24, 0.36)), stage.unit * dice.uniform(0.08, 0.13)
    rows = 5
    woods = [_wood(stage, row / (rows - 1)) for row in range(rows)]

    def frame(seconds: float) -> Picture:
        picture = backdrop.copy()
        twinkle(picture, seconds)
        sun(picture, stage, stage.at(place[0], place[1] - 0.005 * seconds), radius)
        for row, outline in enumerate(woods):
            depth = row / (rows - 1)
            drift = -0.0035 * (1 + 1.5 * row) * seconds * stage.unit
            ink = palette.ground(depth)
            points = [(x + drift, y) for x, y in outline]
            shape(picture, points, ink, mix(ink, palette.horizon, HAZE * 1.3 * (1 - depth)))
        return picture

    return frame


def _wood(stage: Stage, depth: float) -> list[Point]:
    """The outline of a row of trees that reaches beyond both edges."""
    dice, line = stage.dice, rolling(stage.dice, 0.8)
    tall = stage.unit * (0.1 + 0.17 * depth)
    left, right = -0.2 * stage.unit, stage.width + 0.6 * stage.unit
    gaps = (tall * dice.uniform(0.26, 0.5) for _ in iter(int, 1))
    outline: list[Point] = [(left, stage.height * 1.05)]
    for x in accumulate(gaps, initial=left):
        if x > right:
            break
        y = stage.height * (0.52 + 0.3 * depth - 0.045 * line(x / max(stage.width, 1)))
        outline += _fir(x, y, tall * dice.uniform(0.65, 1.15))
    return [*outline, (right, stage.height * 1.05)]


def _fir(x: float, foot: float, tall: float) -> list[Point]:
    """Left side up, right side down."""
    tiers = ((0.0, 0.2), (0.3, 0.09), (0.3, 0.15), (0.58, 0.055), (0.58, 0.1), (1.0, 0.0))
    left = [(x - reach * tall, foot - high * tall) for high, reach in tiers]
    right = [(x + reach * tall, foot - high * tall) for high, reach in reversed(tiers[:-1])]
    return [*left, *right]
