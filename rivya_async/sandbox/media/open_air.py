"""Scenes without ground: the sea, planets, rings of light, ribbons."""

from __future__ import annotations

from math import cos, exp, pi, sin
from typing import TYPE_CHECKING, Final

import attrs

from .canvas import disc, glow, gradient, shape
from .palette import mix
from .stage import STEPS, below, is_dark, rolling, sky, stars, sun

if TYPE_CHECKING:
    from .canvas import Picture, Point
    from .stage import Frame, Stage

GLINTS: Final = 26


def waves(stage: Stage) -> Frame:
    """A sun over the sea, its light on the water, and swell that comes nearer."""
    dice, palette = stage.dice, stage.palette
    backdrop, twinkle = sky(stage), stars(stage, 60 if is_dark(stage) else 0)
    shore = dice.uniform(0.46, 0.54)
    across, radius = dice.uniform(0.25, 0.75), stage.unit * dice.uniform(0.09, 0.14)
    water = gradient((stage.width, stage.height), mix(palette.far, palette.horizon, 0.55), palette.far, palette.near)
    lines = [rolling(dice, 1.1 + 0.1 * n) for n in range(5)]
    glints = [(dice.random(), dice.uniform(-1, 1), dice.uniform(0.4, 1), dice.uniform(0, 6.28)) for _ in range(GLINTS)]

    def frame(seconds: float) -> Picture:
        picture = backdrop.copy()
        twinkle(picture, seconds)
        sun(picture, stage, stage.at(across, shore - 0.05 + 0.004 * seconds), radius)
        picture.paste(water, (0, round(shore * stage.height)))
        for down, aside, wide, phase in glints:
            y = shore + 0.012 + 0.3 * down**1.5
            x = across * stage.width + aside * radius * (0.5 + 0.9 * down) + 2 * sin(phase + seconds)
            reach = radius * wide * (0.75 + 0.25 * sin(phase + 2.6 * seconds))
            _glint(picture, (x, y * stage.height), reach, stage, 0.75 - 0.5 * down)
        for n, line in enumerate(lines):
            depth = n / (len(lines) - 1)
            level, bob = shore + 0.13 + 0.28 * depth, 0.006 * sin(1.3 * seconds + 1.7 * n)
            swing, shift = 0.016 + 0.02 * depth, 0.017 * (1 + n) * seconds * (-1) ** n
            ink = mix(palette.far, palette.near, 0.15 + 0.75 * depth)
            foam = mix(ink, palette.light, 0.5 - 0.25 * depth)
            shape(picture, below(stage, line, level + bob, swing, shift), foam, opacity=0.8)
            shape(picture, below(stage, line, level + bob + 0.007, swing, shift), ink, mix(ink, palette.near, 0.4))
        return picture

    return frame


def _glint(picture: Picture, centre: Point, reach: float, stage: Stage, opacity: float) -> None:
    x, y = centre
    thick = max(1.0, stage.unit * 0.004)
    lens = [(x - reach, y), (x, y - thick), (x + reach, y), (x, y + thick)]
    shape(picture, lens, stage.palette.light, opacity=max(0.15, opacity))


@attrs.frozen
class Ellipse:
    """Circles around a planet, seen from a little above."""

    centre: Point
    radius: float
    tilt: float

    def at(self, far: float, turn: float) -> Point:
        """The point of the circle that is so many radii wide; in the first half turn it is before the planet."""
        x, y = far * self.radius * cos(turn), 0.28 * far * self.radius * sin(turn)
        across, down = x * cos(self.tilt) - y * sin(self.tilt), x * sin(self.tilt) + y * cos(self.tilt)
        return self.centre[0] + across, self.centre[1] + down


def planets(stage: Stage) -> Frame:
    """A large planet, its moons on their way around it, and a sky of stars."""
    dice, palette, unit = stage.dice, stage.palette, stage.unit
    dark = mix(palette.near, palette.zenith, 0.35)
    backdrop = gradient(stage.size, mix(dark, palette.near, 0.4), dark, mix(dark, palette.far, 0.5))
    for _ in range(3):
        tint = mix(dark, dice.choice((palette.far, palette.horizon)), 0.5)
        glow(backdrop, stage.at(dice.random(), dice.random() * 0.8), unit * dice.uniform(0.4, 0.8), tint, 0.6)
    twinkle = stars(stage, 150)
    centre = stage.at(dice.uniform(0.38, 0.62), dice.uniform(0.34, 0.42))
    radius, tilt = unit * dice.uniform(0.19, 0.25), dice.uniform(0.18, 0.4) * dice.choice((-1, 1))
    around = Ellipse(centre, radius, tilt)
    ball = _ball(stage, round(2 * radius))
    moons = [(1.75 + 0.55 * n, dice.uniform(0.08, 0.17), dice.uniform(0, 2 * pi)) for n in range(3)]
    ring = dice.random() < RINGED

    def frame(seconds: float) -> Picture:
        picture = backdrop.copy()
        twinkle(picture, seconds)
        glow(picture, centre, radius * 2.3, palette.horizon, 0.4)
        placed = [(far, turn + 0.35 * seconds / far, radius * size) for far, size, turn in moons]
        behind = [moon for moon in placed if sin(moon[1]) < 0]
        before = [moon for moon in placed if sin(moon[1]) >= 0]
        for far, turn, size in behind:
            _moon(picture, around.at(far, turn), size, stage)
        if ring:
            _ring(picture, stage, around, pi)
        disc(picture, centre, radius, ball)
        if ring:
            _ring(picture, stage, around, 0)
        for far, turn, size in before:
            _moon(picture, around.at(far, turn), size, stage)
        return picture

    return frame


RINGED: Final = 0.6


def _ball(stage: Stage, side: int) -> Picture:
    """The lit face of a planet with bands of cloud."""
    dice, palette = stage.dice, stage.palette
    bands = [mix(palette.far, palette.horizon, dice.uniform(0.1, 0.9)) for _ in range(dice.choice((5, 8, 11)))]
    face = gradient((side, side), *bands)
    glow(face, (side * 0.3, side * 0.25), side * 0.6, palette.light, 0.7)
    glow(face, (side * 1.05, side * 1.0), side * 0.95, palette.near, 0.95)
    return face


def _moon(picture: Picture, centre: Point, radius: float, stage: Stage) -> None:
    side = max(1, round(2 * radius))
    face = gradient((side, side), stage.palette.light, mix(stage.palette.far, stage.palette.near, 0.5))
    disc(picture, centre, radius, face)


def _ring(picture: Picture, stage: Stage, around: Ellipse, start: float) -> None:
    """The half of a planet's rings that begins at this turn."""
    ink = mix(stage.palette.light, stage.palette.horizon, 0.5)
    turns = [start + pi * n / STEPS for n in range(STEPS + 1)]
    for inner, outer, opacity in ((1.32, 1.5, 0.75), (1.53, 1.62, 0.5), (1.65, 1.85, 0.6)):
        out = [around.at(outer, turn) for turn in turns]
        back = [around.at(inner, turn) for turn in reversed(turns)]
        shape(picture, [*out, *back], ink, opacity=opacity)


def rings(stage: Stage) -> Frame:
    """Broad rings of light around a sun that has just risen over quiet land."""
    dice, palette = stage.dice, stage.palette
    centre, reach = stage.at(dice.uniform(0.35, 0.65), 0.56), max(stage.size)
    count, step = 7, reach * 0.095
    land = [rolling(dice, 0.6 + 0.2 * n) for n in range(3)]
    inks = [
        mix(palette.light, mix(palette.horizon, palette.zenith, n / count), 0.25 + 0.75 * n / count) for n in range(8)
    ]

    def frame(seconds: float) -> Picture:
        picture = gradient(stage.size, palette.zenith, mix(palette.zenith, palette.horizon, 0.25))
        for n in reversed(range(count)):
            breath = 1 + 0.02 * sin(1.2 * seconds - 0.8 * n)
            disc(picture, centre, step * (n + 1) * breath, inks[n])
        disc(picture, centre, step * 0.62, palette.light)
        for n, line in enumerate(land):
            ink = palette.ground(0.2 + 0.36 * n)
            points = below(stage, line, 0.6 + 0.09 * n, 0.03, 0.006 * (n + 1) * seconds)
            shape(picture, points, ink, mix(ink, palette.near, 0.3))
        return picture

    return frame


def ribbons(stage: Stage) -> Frame:
    """Bands of silk, or northern lights, that flow across the frame."""
    dice, palette = stage.dice, stage.palette
    upright = stage.height > stage.width
    backdrop = gradient(stage.size, palette.zenith, mix(palette.zenith, palette.near, 0.5), palette.near)
    glow(backdrop, stage.at(dice.random(), 0.3), max(stage.size) * 0.7, palette.far, 0.7)
    twinkle = stars(stage, 70 if is_dark(stage) else 0)
    count, line, thin = 11, rolling(dice, 0.45), rolling(dice, 0.7)
    tones = (palette.far, palette.horizon, palette.light, palette.horizon, palette.far)
    pure = [mix(tones[n * 4 // count], tones[n * 4 // count + 1], n * 4 / count % 1) for n in range(count)]
    veils = [1 - exp(-(((n - count / 2) / (count * 0.5)) ** 2)) for n in range(count)]
    inks = [mix(ink, palette.zenith, 0.85 * veil) for ink, veil in zip(pure, veils, strict=True)]

    def edge(n: int, seconds: float) -> list[Point]:
        spread = n / count - 0.5
        points = []
        for step in range(STEPS + 1):
            place = step / STEPS
            fold = 0.55 + 0.45 * thin(place * 1.2 - 0.02 * seconds)
            middle = 0.4 + 0.15 * line(place + 0.12 * spread + 0.03 * seconds)
            sway = 0.02 * sin(2 * pi * place + 0.8 * seconds + n)
            aside = middle + spread * (0.2 + 0.5 * abs(fold)) + sway
            points.append(stage.at(aside + 0.1, place) if upright else stage.at(place, aside))
        return points

    def frame(seconds: float) -> Picture:
        picture = backdrop.copy()
        twinkle(picture, seconds)
        edges = [edge(n, seconds) for n in range(count + 1)]
        for n, ink in enumerate(inks):
            shape(picture, [*edges[n], *reversed(edges[-1])], ink, mix(ink, palette.far, 0.4))
        return picture

    return frame
