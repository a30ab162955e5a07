"""The prompt, written on the picture so that it can be read."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final, cast

import attrs
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .palette import Palette

READ_AT_MOST: Final = 700
"""Characters of a prompt that are looked at: more would not fit."""

MISSING: Final = "·"
SPELLINGS: Final = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "Đ": "D", "ł": "l", "Ł": "L"}
)
_GLYPHS: Final = frozenset(map(chr, range(32, 127))) | frozenset("©«°±·»“”…™")
_DASHES: Final = "Pd"
_NAMED: Final = "So"
_SILENT: Final = frozenset({"Mn", "Me", "Cf", "Cs", "Sk"})

LINE: Final = 1.28
"""Distance of two lines, in font sizes."""

INK: Final = (255, 255, 255, 245)
FAINT: Final = (255, 255, 255, 175)


@attrs.frozen
class Setting:
    """Lines of text and the size that they are set in."""

    lines: Sequence[str]
    size: int


def readable(prompt: str) -> str:
    """The prompt in the letters the built-in font has: accents are dropped, emoji named, other letters dotted."""
    plain = unicodedata.normalize("NFKD", prompt[:READ_AT_MOST].translate(SPELLINGS))
    return " ".join("".join(map(_readable, plain)).split())


def _readable(letter: str) -> str:
    kind = unicodedata.category(letter)
    if letter in _GLYPHS:
        return letter
    if letter.isspace() or kind == "Cc":
        return " "
    if kind in _SILENT:
        return ""
    if kind == _DASHES:
        return "-"
    name = unicodedata.name(letter, "")
    return f" ({name.lower()}) " if kind == _NAMED and name else MISSING


def overlay(size: tuple[int, int], prompt: str, model: str, palette: Palette) -> Image.Image:
    """A transparent layer: a shade that rises from the bottom edge, the prompt on it, the model below."""
    width, height = size
    margin = max(4, round(min(size) * 0.055))
    small = max(10, min(round(min(size) * 0.03), 20))
    setting = _set(readable(prompt), width - 2 * margin, round(height * 0.36))
    text_height = round(len(setting.lines) * setting.size * LINE)
    top = height - margin - round(small * 1.5) - text_height
    layer = _shade(size, max(0, top - round(setting.size * 3)), palette)
    pen = ImageDraw.Draw(layer)
    font = _font(setting.size)
    for n, line in enumerate(setting.lines):
        place = margin, top + round(n * setting.size * LINE)
        pen.text((place[0], place[1] + max(1, setting.size // 18)), line, font=font, fill=(*palette.near, 150))
        pen.text(place, line, font=font, fill=INK)
    (label, *_) = _wrap(readable(model), _font(small), width - 2 * margin) or [""]
    pen.text((margin, height - margin - small), label, font=_font(small), fill=FAINT)
    return layer


def _shade(size: tuple[int, int], top: int, palette: Palette) -> Image.Image:
    """Nothing down to `top`, then ever more of the palette's darkest colour."""
    width, height = size
    rise = Image.linear_gradient("L").point([round(225 * (y / 255) ** 1.1) for y in range(256)])
    layer = Image.new("RGBA", size, (*palette.near, 0))
    alpha = Image.new("L", size)
    alpha.paste(rise.resize((width, height - top)), (0, top))
    layer.putalpha(alpha)
    return layer


def _set(text: str, width: int, height: int) -> Setting:
    """The largest setting that fits, else the smallest with the text cut short."""
    sizes = _sizes(width, height)
    lines: list[str] = []
    for size in sizes:
        lines = _wrap(text, _font(size), width)
        if len(lines) * size * LINE <= height:
            return Setting(lines=lines, size=size)
    room = max(1, int(height / (sizes[-1] * LINE)))
    kept = lines[:room]
    font = _font(sizes[-1])
    last = kept[-1]
    while last and font.getlength(last + "…") > width:
        last = last[:-1]
    return Setting(lines=[*kept[:-1], last.rstrip(" ,.;:") + "…"], size=sizes[-1])


def _sizes(width: int, height: int) -> Sequence[int]:
    """Font sizes to try, in descending order."""
    smallest = max(10, min(round(width * 0.022), 16))
    largest = max(smallest, min(round(width * 0.062), round(height / (2 * LINE)), 52))
    return [*range(largest, smallest, -3), smallest]


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines: list[str] = []
    for word in _pieces(text, font, width):
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


def _pieces(text: str, font: ImageFont.FreeTypeFont, width: int) -> Iterator[str]:
    """Words, the ones wider than a line cut to fit."""
    for word in text.split():
        rest = word
        while font.getlength(rest) > width and len(rest) > 1:
            fits = max(1, int(len(rest) * width / font.getlength(rest)))
            yield rest[:fits]
            rest = rest[fits:]
        yield rest


def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, opened anew: a face must not be shared by threads; the layout that needs no library."""
    font = cast("ImageFont.FreeTypeFont", ImageFont.load_default(size=size))
    return font.font_variant(layout_engine=ImageFont.Layout.BASIC)
