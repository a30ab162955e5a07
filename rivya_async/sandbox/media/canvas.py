"""Brush strokes: soft gradients, glows and smooth-edged shapes on a Pillow picture."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import ceil, floor
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw

from .palette import Colour, mix

if TYPE_CHECKING:
    from collections.abc import Sequence

Picture = Image.Image
Point = tuple[float, float]

FINE: Final = 2
"""Shapes are drawn this many times larger and then reduced: that smooths their edges."""

OPAQUE: Final = 255
RIM: Final = 180
"""What a radial gradient of Pillow has reached at the middle of an edge; 255 is in the corners."""


def gradient(size: tuple[int, int], *stops: Colour) -> Picture:
    """Evenly spaced colours from top to bottom."""
    width, height = size
    return _column(height, stops).resize((width, height), Image.Resampling.NEAREST)


@lru_cache(maxsize=1024)
def _column(height: int, stops: tuple[Colour, ...]) -> Picture:
    """One pixel wide; kept, as the frames of a film ask for the same again and again."""
    column = Image.new("RGB", (1, height))
    column.putdata([_between(stops, y / max(height - 1, 1)) for y in range(height)])
    return column


def _between(stops: Sequence[Colour], place: float) -> Colour:
    spans = list(pairwise(stops)) or [(stops[0], stops[0])]
    span = min(int(place * len(spans)), len(spans) - 1)
    return mix(*spans[span], place * len(spans) - span)


def glow(picture: Picture, centre: Point, radius: float, colour: Colour, strength: float = 1.0) -> None:
    """Light that falls off smoothly from a point."""
    side = max(2, round(2 * radius))
    falloff = [round(strength * OPAQUE * max(0.0, 1 - far / RIM) ** 2) for far in range(256)]
    mask = Image.radial_gradient("L").point(falloff).resize((side, side), Image.Resampling.BILINEAR)
    corner = round(centre[0] - side / 2), round(centre[1] - side / 2)
    picture.paste(colour, (*corner, corner[0] + side, corner[1] + side), mask)


def shape(
    picture: Picture, points: Sequence[Point], top: Colour, bottom: Colour | None = None, opacity: float = 1.0
) -> None:
    """A polygon with smooth edges, its colour fading from `top` to `bottom`."""
    box = _box(picture, points)
    if box is None:
        return
    left, upper, right, lower = box
    size = right - left, lower - upper
    large = Image.new("L", (size[0] * FINE, size[1] * FINE))
    outline = [((x - left) * FINE, (y - upper) * FINE) for x, y in points]
    ImageDraw.Draw(large).polygon(outline, fill=round(OPAQUE * opacity))
    ink = top if bottom is None else gradient(size, top, bottom)
    picture.paste(ink, box, large.reduce(FINE))


def _box(picture: Picture, points: Sequence[Point]) -> tuple[int, int, int, int] | None:
    """The part of the picture that the points span, None if they lie outside."""
    across, down = zip(*points, strict=True)
    left, upper = max(0, floor(min(across))), max(0, floor(min(down)))
    right, lower = min(picture.width, ceil(max(across)) + 1), min(picture.height, ceil(max(down)) + 1)
    return (left, upper, right, lower) if left < right and upper < lower else None


def disc(picture: Picture, centre: Point, radius: float, ink: Colour | Picture, opacity: float = 1.0) -> None:
    """A filled circle; a picture as ink must be as large as the circle's square."""
    side = max(1, round(2 * radius))
    large = Image.new("L", (side * FINE, side * FINE))
    ImageDraw.Draw(large).ellipse((0, 0, side * FINE - 1, side * FINE - 1), fill=round(OPAQUE * opacity))
    corner = round(centre[0] - side / 2), round(centre[1] - side / 2)
    picture.paste(ink, (*corner, corner[0] + side, corner[1] + side), large.reduce(FINE))
