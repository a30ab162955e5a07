"""Captions: the prompt, spelled in letters that a font of this machine has, wrapped and sized to fit the image."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final, cast

from PIL import Image, ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

from .scene import Palette

BUILT_IN_FONT: Final = ""
"""Pillow's own font, which has ASCII letters only."""

SYSTEM_FONTS: Final = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "NotoSansArabic-Regular.ttf", "Arial Unicode.ttf"),
    *("NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf", "msyh.ttc", "PingFang.ttc"),
)
"""Fonts with more letters, used where they are installed."""

MIN_FONT_SIZE: Final = 10
LINE_SPACING: Final = 1.28
"""Distance between two lines in font sizes."""

PREFERRED_HEIGHT: Final = 0.42
"""Share of the height that a caption takes unless its letters would become too small."""

SPELLINGS: Final = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "Đ": "D", "ł": "l", "Ł": "L"})
CJK: Final = "\u3000-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
WORD: Final = re.compile(rf"\s*(?:[{CJK}]|[^\s{CJK}]+)")
"""A part of a text before which a line can break."""


def open_font(name: str, size: int) -> FreeTypeFont:
    """Opens a font for one thread: a FreeType face must not be shared."""
    if name != BUILT_IN_FONT:
        return ImageFont.truetype(name, size)
    font = cast("FreeTypeFont", ImageFont.load_default(size=size))
    return font.font_variant(layout_engine=ImageFont.Layout.BASIC)


@cache
def installed_fonts() -> Sequence[str]:
    """Returns the built-in font and the system fonts of this machine."""
    fonts = [BUILT_IN_FONT]
    for name in SYSTEM_FONTS:
        with suppress(OSError):
            open_font(name, MIN_FONT_SIZE)
            fonts.append(name)
    return fonts


def spell_in_best_font(prompt: str) -> tuple[str, str]:
    """Returns the prompt in letters of the font that has most of them, and the name of that font."""
    letters = unicodedata.normalize("NFC", prompt)
    text = "".join(x if x.isprintable() else " " if x.isspace() or x < " " else "" for x in letters)
    missing = {name: _find_missing(open_font(name, MIN_FONT_SIZE), set(text)) for name in installed_fonts()}
    best = min(missing, key=lambda name: len(missing[name]))
    spelled = {letter: _spell(letter) for letter in missing[best]}
    if unknown := "".join(re.escape(letter) for letter, spelling in spelled.items() if spelling is None):
        text = re.sub(rf"[{unknown}](?:\W*[{unknown}])*", _count_letters, text)
    return " ".join(text.translate({ord(x): spelling for x, spelling in spelled.items()}).split()), best


def _find_missing(font: FreeTypeFont, letters: Iterable[str]) -> set[str]:
    """Returns the letters that the font draws as its empty box, and Arabic ones if their shapes cannot be joined."""
    unjoined = set() if font.layout_engine is ImageFont.Layout.RAQM else {"R", "AL"}
    get_mask = cast("Any", font).getmask  # the type of the mask is private to Pillow
    empty_box = bytes(get_mask("\uffff"))
    return {x for x in letters if unicodedata.bidirectional(x) in unjoined or bytes(get_mask(x)) == empty_box}


def _spell(letter: str) -> str | None:
    """Drops accents and names emoji; returns None for a letter of another script."""
    kind = unicodedata.category(letter)
    if kind == "So":
        return f" ({unicodedata.name(letter).lower()}) "
    plain = "".join(filter(str.isascii, unicodedata.normalize("NFKD", letter.translate(SPELLINGS))))
    return plain or {"M": "", "S": "", "P": "-"}.get(kind[0])


def _count_letters(run: re.Match[str]) -> str:
    """Returns a text such as `[8 CJK characters]` for a run of letters that no font here can draw."""
    script, count = unicodedata.name(run[0][0], "unknown").partition(" ")[0], len("".join(run[0].split()))
    return f" [{count} {script if script == 'CJK' else script.capitalize()} character{'s' * (count > 1)}]"


def fit_text(text: str, font_name: str, width: int, height: int) -> tuple[list[str], FreeTypeFont]:
    """Returns lines in the largest letters that fit. A text that fits in no size ends with an ellipsis."""
    preferred = round(height * PREFERRED_HEIGHT)
    comfortable = max(MIN_FONT_SIZE, min(round(width * 0.022), 16))
    largest = max(MIN_FONT_SIZE, min(round(width * 0.062), round(preferred / (2 * LINE_SPACING)), 52))
    size = largest
    while True:
        font = open_font(font_name, size)
        most = max(1, (preferred if size > comfortable else height) // round(size * LINE_SPACING))
        lines = wrap(text, font, width, most)
        if len(lines) <= most:
            return lines, font
        if size == MIN_FONT_SIZE:
            break
        size -= 1
    last = lines[most - 1]
    while last and font.getlength(last + "…") > width:
        last = last.rpartition(" ")[0] or last[:-1]
    return [*lines[: most - 1], last + "…"], font


def wrap(text: str, font: FreeTypeFont, width: int, most: int) -> list[str]:
    """Breaks a text between words, and a word that is too wide between letters. Stops after `most` lines and one."""
    measure = cache(font.getlength)
    lines, used = [""], 0.0
    for word in WORD.findall(text):
        for part in [word] if measure(word.strip()) <= width else word:
            if lines[-1] and used + measure(part) > width:
                lines, used = [*lines, ""], 0.0
            lines[-1] += part if lines[-1] else part.strip()
            used += measure(part)
        if len(lines) > most:
            break
    return lines


def render_caption(size: tuple[int, int], prompt: str, model: str, palette: Palette) -> Image.Image:
    """Returns a transparent layer with the caption, and the model id below it, on a shade."""
    margin, label = max(4, round(min(size) * 0.055)), open_font(BUILT_IN_FONT, max(10, min(min(size) // 48, 16)))
    width, height = size[0] - 2 * margin, size[1] - 2 * margin - round(1.5 * label.size)
    text, font_name = spell_in_best_font(prompt)
    lines, font = fit_text(text, font_name, width, height)
    step, ramp = round(font.size * LINE_SPACING), 4 * font.size
    top = margin + height - len(lines) * step
    layer, shade = Image.new("RGBA", size, (*palette.near, 0)), Image.new("L", (1, size[1]))
    rise = [min(max((y - top + ramp) / ramp, 0.0), 1.0) for y in range(size[1])]
    shade.putdata([round(150 * x * x * (3 - 2 * x) + 75 * x * y / size[1]) for y, x in enumerate(rise)])
    layer.putalpha(shade.resize(size))
    pen = ImageDraw.Draw(layer)
    direction = next(filter(None, map({"L": 1, "R": -1, "AL": -1}.get, map(unicodedata.bidirectional, text))), 1)
    x, anchor = (margin, "la") if direction > 0 else (size[0] - margin, "ra")
    for n, line in enumerate(lines):
        pen.text((x, top + n * step + max(1, step // 24)), line, (*palette.near, 150), font, anchor)
        pen.text((x, top + n * step), line, (255, 255, 255, 245), font, anchor)
    if label.getlength(model) <= width:
        pen.text((margin, size[1] - margin), model, (255, 255, 255, 175), label, "lb")
    return layer
