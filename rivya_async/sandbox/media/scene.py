"""Scenes drawn with Pillow that move slowly: hills, a sea and a ringed planet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, pi, sin
from random import Random
from typing import Final

import attrs
from PIL import Image, ImageDraw

Color = tuple[int, ...]
Point = tuple[float, float]
DrawFrame = Callable[[float], Image.Image]
"""A function that draws a scene at a time in seconds."""

OUTLINE_POINTS: Final = 96
SUPERSAMPLING: Final = 2
"""Factor by which shapes are drawn larger and then reduced, which smooths their edges."""

MAX_NIGHT_BRIGHTNESS: Final = 150
"""Sum of red, green and blue below which a sky has stars."""


@attrs.frozen
class Palette:
    """A sky from `zenith` to `horizon`, its lights, and ground from `far` (hazy) to `near` (dark)."""

    zenith: Color
    horizon: Color
    light: Color
    far: Color
    near: Color


def mix(one: Color, other: Color, share: float) -> Color:
    """Returns `one` with a share of `other` from 0 to 1."""
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))


def vertical_gradient(size: tuple[int, int], *stops: Color) -> Image.Image:
    """Returns evenly spaced colors from top to bottom."""
    column = Image.new("RGB", (1, len(stops)))
    column.putdata(stops)
    return column.resize(size, Image.Resampling.BILINEAR, box=(0, 0.5, 1, len(stops) - 0.5))


def draw_glow(image: Image.Image, center: Point, radius: float, color: Color, strength: float = 1.0) -> None:
    """Draws light that fades smoothly around a point."""
    # Pillow's radial gradient reaches 180 in the middle of each edge: the light must end there.
    falloff = [round(strength * 255 * max(0.0, 1 - distance / 180) ** 2) for distance in range(256)]
    mask = Image.radial_gradient("L").point(falloff)
    side = max(1, round(2 * radius))
    _paste(image, center, color, mask.resize((side, side), Image.Resampling.BILINEAR))


def draw_disc(image: Image.Image, center: Point, radius: float, fill: Color | Image.Image, opacity: float = 1) -> None:
    """Draws a filled circle; an image as fill must have the size of the circle's square."""
    side = SUPERSAMPLING * max(1, round(2 * radius))
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((0, 0, mask.width - 1, mask.height - 1), fill=round(255 * opacity))
    _paste(image, center, fill, mask.reduce(SUPERSAMPLING))


def _paste(image: Image.Image, center: Point, fill: Color | Image.Image, mask: Image.Image) -> None:
    image.paste(fill, (round(center[0] - mask.width / 2), round(center[1] - mask.height / 2)), mask)


def draw_polygon(
    image: Image.Image, points: Sequence[Point], top: Color, bottom: Color = (), opacity: float = 1
) -> None:
    """Draws a polygon whose color fades from `top` to `bottom`."""
    xs, ys = zip(*points, strict=True)
    left, upper = max(0, int(min(xs))), max(0, int(min(ys)))
    size = min(image.width, int(max(xs)) + 2) - left, min(image.height, int(max(ys)) + 2) - upper
    if min(size) > 0:
        mask = Image.new("L", (SUPERSAMPLING * size[0], SUPERSAMPLING * size[1]))
        outline = [(SUPERSAMPLING * (x - left), SUPERSAMPLING * (y - upper)) for x, y in points]
        ImageDraw.Draw(mask).polygon(outline, fill=round(255 * opacity))
        image.paste(vertical_gradient(size, top, bottom or top), (left, upper), mask.reduce(SUPERSAMPLING))


@attrs.frozen
class SceneContext:
    """The size in pixels, the colors and the random numbers of one scene."""

    size: tuple[int, int]
    palette: Palette
    rng: Random

    @property
    def unit(self) -> int:
        """The shorter side, which scales everything that must keep its shape."""
        return min(self.size)

    def at(self, x: float, y: float) -> Point:
        """Returns a point by its share of width and height."""
        return x * self.size[0], y * self.size[1]

    def create_sky(self, stars: int, *stops: Color) -> Image.Image:
        """Returns a gradient, by default from zenith to horizon, with stars in its upper part if it is dark."""
        colors, rng = self.palette, self.rng
        stops = stops or (colors.zenith, mix(colors.zenith, colors.horizon, 0.55), *(colors.horizon,) * 2)
        sky = vertical_gradient(self.size, *stops)
        for _ in range(stars if sum(stops[0]) < MAX_NIGHT_BRIGHTNESS else 0):
            center, radius = self.at(rng.random(), rng.random() ** 1.4 * 0.7), rng.uniform(0.7, 1.9) * self.unit / 768
            draw_disc(sky, center, max(1.0, radius), colors.light, rng.uniform(0.35, 0.95))
        return sky

    def draw_sun(self, image: Image.Image, center: Point, radius: float) -> None:
        """Draws a disc with two halos."""
        light = self.palette.light
        draw_glow(image, center, radius * 6.5, mix(light, self.palette.horizon, 0.5), 0.55)
        draw_glow(image, center, radius * 3, light, 0.7)
        draw_disc(image, center, radius, light)

    def wavy_line(self, waves: float) -> Callable[[float, float, float], list[Point]]:
        """Returns a function of level, swing and shift that outlines the area below three sine waves."""
        tones = [(waves * f, self.rng.uniform(0, 2 * pi), size) for f, size in ((1.0, 0.62), (2.3, 0.27), (4.9, 0.11))]
        scale, flatness = min(self.size[0] / self.unit, 3.0), min(1.0, 1.6 * self.size[0] / self.size[1])

        def outline(level: float, swing: float, shift: float) -> list[Point]:
            points = []
            for place in (n / OUTLINE_POINTS for n in range(OUTLINE_POINTS + 1)):
                y = sum(size * sin(2 * pi * f * (place + shift) * scale + phase) for f, phase, size in tones)
                points.append(self.at(place, level - swing * flatness * y))
            return [self.at(0, 1.05), *points, self.at(1, 1.05)]

        return outline


def animate_hills(scene: SceneContext) -> DrawFrame:
    """Animates layered hills in haze under a sun that drifts, with birds."""
    colors, rng, unit, sky = scene.palette, scene.rng, scene.unit, scene.create_sky(60)
    sun_x, sun_y, radius = rng.uniform(0.25, 0.75), rng.uniform(0.22, 0.36), unit * rng.uniform(0.07, 0.12)
    outlines = [scene.wavy_line(rng.uniform(0.5, 1.1) * (1 + n * 0.12)) for n in range(rng.choice((4, 5, 6)))]
    flock_x, flock_y = rng.uniform(0.2, 0.8), rng.uniform(0.16, 0.3)
    birds = [(rng.uniform(-0.09, 0.09), rng.uniform(-0.04, 0.04), rng.uniform(0, 6)) for _ in range(5)]

    def draw(seconds: float) -> Image.Image:
        image = sky.copy()
        scene.draw_sun(image, scene.at(sun_x + 0.006 * seconds, sun_y - 0.004 * seconds), radius)
        for n, outline in enumerate(outlines):
            depth = n / (len(outlines) - 1)
            color = mix(colors.far, colors.near, depth**0.9)
            points = outline(0.47 + 0.36 * depth, 0.07 + 0.02 * depth, 0.004 * (1 + 2 * n) * seconds)
            draw_polygon(image, points, color, mix(color, colors.horizon, 0.42 * (1 - depth)))
        for dx, dy, phase in birds:
            (x, y), span = scene.at(flock_x + dx + 0.012 * seconds, flock_y + dy), unit * 0.016
            tip = y - span * (0.45 + 0.25 * sin(phase + 7 * seconds))
            wings = [(x - span, tip), (x, y), (x + span, tip), (x, y + span * 0.28)]
            draw_polygon(image, wings, colors.near, opacity=0.75)
        return image

    return draw


def animate_sea(scene: SceneContext) -> DrawFrame:
    """Animates a sun over the sea, its light on the water, and waves."""
    colors, rng, unit, sky = scene.palette, scene.rng, scene.unit, scene.create_sky(60)
    width, height = scene.size
    shore, sun_x, radius = rng.uniform(0.46, 0.54), rng.uniform(0.25, 0.75), unit * rng.uniform(0.09, 0.14)
    haze, waves = mix(colors.far, colors.horizon, 0.55), [scene.wavy_line(1.1 + 0.1 * n) for n in range(5)]
    water = vertical_gradient(scene.size, haze, colors.far, colors.near)
    glints = [(rng.random(), rng.uniform(-1, 1), rng.uniform(0.4, 1), rng.uniform(0, 6.28)) for _ in range(26)]

    def draw(seconds: float) -> Image.Image:
        image = sky.copy()
        scene.draw_sun(image, scene.at(sun_x, shore - 0.05 + 0.004 * seconds), radius)
        image.paste(water, (0, round(shore * height)))
        for down, aside, wide, phase in glints:
            y = (shore + 0.012 + 0.3 * down**1.5) * height
            x = sun_x * width + aside * radius * (0.5 + 0.9 * down) + 2 * sin(phase + seconds)
            reach, thick = radius * wide * (0.75 + 0.25 * sin(phase + 2.6 * seconds)), max(1.0, unit * 0.004)
            lens = [(x - reach, y), (x, y - thick), (x + reach, y), (x, y + thick)]
            draw_polygon(image, lens, colors.light, opacity=0.75 - 0.5 * down)
        for n, outline in enumerate(waves):
            depth = n / (len(waves) - 1)
            level, swing = shore + 0.13 + 0.28 * depth + 0.006 * sin(1.3 * seconds + 1.7 * n), 0.016 + 0.02 * depth
            shift, color = 0.017 * (1 + n) * (-1) ** n * seconds, mix(colors.far, colors.near, 0.15 + 0.75 * depth)
            draw_polygon(image, outline(level, swing, shift), mix(color, colors.light, 0.5 - 0.25 * depth), opacity=0.8)
            draw_polygon(image, outline(level + 0.007, swing, shift), color, mix(color, colors.near, 0.4))
        return image

    return draw


def animate_planet(scene: SceneContext) -> DrawFrame:
    """Animates a large planet with rings, and moons that circle it under many stars."""
    colors, rng, unit = scene.palette, scene.rng, scene.unit
    dark = mix(colors.near, colors.zenith, 0.2)
    space = scene.create_sky(150, mix(dark, colors.near, 0.8), dark, mix(dark, colors.far, 0.5))
    for _ in range(3):
        draw_glow(space, scene.at(rng.random(), rng.random()), unit * 0.6, mix(dark, colors.horizon, 0.3), 0.6)
    (x, y), radius = scene.at(rng.uniform(0.38, 0.62), rng.uniform(0.34, 0.42)), unit * rng.uniform(0.19, 0.25)
    side, tilt = round(2 * radius), rng.uniform(0.18, 0.4) * rng.choice((-1, 1))
    ball = vertical_gradient((side, side), *(mix(colors.far, colors.horizon, rng.uniform(0.1, 0.9)) for _ in range(8)))
    draw_glow(ball, (side * 0.3, side * 0.25), side * 0.6, colors.light, 0.7)
    draw_glow(ball, (side * 1.05, side), side * 0.95, colors.near, 0.95)
    moons = [(1.95 + 0.55 * n, rng.uniform(0.08, 0.17) * radius, rng.uniform(0, 2 * pi)) for n in range(3)]

    def orbit(distance: float, turn: float) -> Point:
        across, down = distance * radius * cos(turn), 0.28 * distance * radius * sin(turn)
        return x + across * cos(tilt) - down * sin(tilt), y + across * sin(tilt) + down * cos(tilt)

    def draw(seconds: float) -> Image.Image:
        image = space.copy()
        draw_glow(image, (x, y), radius * 2.3, colors.horizon, 0.4)
        for half in (pi, 0.0):  # the planet covers one half of the orbits and is behind the other half
            turns = [half + pi * n / OUTLINE_POINTS for n in range(OUTLINE_POINTS + 1)]
            for inner, outer, opacity in ((1.32, 1.5, 0.75), (1.53, 1.62, 0.5), (1.65, 1.85, 0.6)):
                ring = [orbit(outer, turn) for turn in turns] + [orbit(inner, turn) for turn in reversed(turns)]
                draw_polygon(image, ring, mix(colors.light, colors.horizon, 0.5), opacity=opacity)
            for distance, size, phase in moons:
                turn = (phase + 0.35 * seconds / distance) % (2 * pi)
                if half <= turn < half + pi:
                    draw_disc(image, orbit(distance, turn), size, mix(colors.light, colors.far, 0.4))
            if half:
                draw_disc(image, (x, y), radius, ball)
        return image

    return draw


SCENES: Final = {"hills": animate_hills, "sea": animate_sea, "planet": animate_planet}
