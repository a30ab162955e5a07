"""Images: a poster made of the prompt."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from .brief import dice_of, picture_size
from .caption import overlay
from .city import city
from .land import forest, hills, peaks
from .open_air import planets, ribbons, rings, waves
from .palette import first_known, palette_for
from .stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from .brief import Brief
    from .canvas import Picture
    from .stage import Frame

SCENES: Final[dict[str, Callable[[Stage], Frame]]] = {
    "hills": hills,
    "peaks": peaks,
    "forest": forest,
    "city": city,
    "waves": waves,
    "planets": planets,
    "rings": rings,
    "ribbons": ribbons,
}

WORDS: Final = {
    word: scene
    for scene, words in {
        "hills": "hill meadow field countryside savanna garden valley farm",
        "peaks": "mountain peak alp summit snow glacier volcano ice",
        "forest": "forest wood jungle tree fox bear deer pine owl",
        "city": "city skyline cyberpunk neon tokyo street tower robot building",
        "waves": "ocean sea wave beach surf island whale dolphin ship boat lake river",
        "planets": "space planet star galaxy cosmos moon mars alien rocket astronaut universe",
        "rings": "sun sunrise sunset dawn desert dune summer retro",
        "ribbons": "abstract silk aurora dream music dance wind smoke flow northern ribbon",
    }.items()
    for word in words.split()
}

SAVING: Final[dict[str, dict[str, Any]]] = {
    "png": {"format": "PNG", "compress_level": 6},
    "jpg": {"format": "JPEG", "quality": 88},
    "webp": {"format": "WEBP", "quality": 86, "method": 2},
}


def paint(brief: Brief, suffix: str) -> bytes:
    """The image file of a brief: `png`, `jpg` or `webp`."""
    file = BytesIO()
    animate(brief, picture_size(brief))(0.0).save(file, **SAVING[suffix])
    return file.getvalue()


def animate(brief: Brief, size: tuple[int, int]) -> Frame:
    """The picture of a brief, captioned, at any second."""
    dice = dice_of(brief)
    palette = palette_for(brief.prompt, dice)
    drawn = dice.choice(sorted(SCENES))
    scene = SCENES[first_known(brief.prompt, WORDS) or drawn]
    frame = scene(Stage(width=size[0], height=size[1], palette=palette, dice=dice))
    caption = overlay(size, brief.prompt, brief.model, palette)
    letters = caption.getchannel("A")
    ink = caption.convert("RGB")

    def captioned(seconds: float) -> Picture:
        picture = frame(seconds)
        picture.paste(ink, (0, 0), letters)
        return picture

    return captioned
