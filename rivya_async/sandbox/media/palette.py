"""Colours that go together: one palette a picture, chosen by a word of the prompt or by chance."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

Colour = tuple[int, int, int]


@attrs.frozen
class Palette:
    """A sky from `zenith` to `horizon`, what shines in it, and ground from `far` (hazy) to `near` (dark)."""

    zenith: Colour
    horizon: Colour
    light: Colour
    far: Colour
    near: Colour

    def ground(self, depth: float) -> Colour:
        """The ground at a depth from 0, far away, to 1, right here."""
        return mix(self.far, self.near, depth)


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`one` with a `share` of the `other`, from 0 to 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _palette(hexes: str) -> Palette:
    zenith, horizon, light, far, near = (
        (int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)) for code in hexes.split()
    )
    return Palette(zenith=zenith, horizon=horizon, light=light, far=far, near=near)


PALETTES: Final = {
    name: _palette(hexes)
    for name, hexes in {
        "dawn": "35477d f9c5a7 fff1d0 b88a9e 2a2747",
        "sunset": "46295f ff9e6d ffe7b0 c65f6f 2b1a3b",
        "ocean": "0b4f71 b5e5dc fff6d6 3fa7b5 06283d",
        "forest": "6fae9d f6f0cd fffbe0 86ab8b 12332b",
        "night": "080c28 3a4a8c f4efd3 33447a 070a1e",
        "aurora": "061a2b 23706a a9ffd6 1f5d66 04121c",
        "desert": "62b6bf fde3b8 fff7e0 e5a36b 6e2d22",
        "blossom": "8f6bb3 ffd3dc fff4ee dd8bac 4a1f4d",
        "ember": "5b0f1d ff8f6b ffe5b8 c43a3f 2a0710",
        "honey": "dd8f33 fff0b8 fffdf0 d99b3c 553012",
        "cobalt": "1b3a8f c4e2ff ffffff 5f8fd6 0e1f4f",
        "meadow": "3f9c7c eaf8c8 fffde4 74b878 0d3b2e",
        "violet": "2b1466 d9a7ff ffeaff 8457c9 180a3d",
        "snow": "7d92ab eef3f7 ffffff a9bac9 263443",
        "neon": "150735 ff4f9a ffd97e 6a2a8c 0d0524",
        "lagoon": "146c7c f9e6c4 fffaf0 5aa9a3 0c343f",
    }.items()
}

WORDS: Final = {
    word: name
    for name, words in {
        "dawn": "dawn morning sunrise mist misty fog foggy pastel lake",
        "sunset": "sunset dusk evening orange autumn fall tangerine",
        "ocean": "ocean sea wave underwater beach surf whale dolphin fish ship",
        "forest": "forest tree wood jungle fern moss fox bear deer pine",
        "night": "night midnight star moon moonlight galaxy cosmos dark black owl",
        "aurora": "aurora alien emerald northern magic",
        "desert": "desert dune sand canyon mars camel pyramid savanna",
        "blossom": "pink rose blossom cherry flower love spring ballet candy",
        "ember": "red fire ember flame lava volcano dragon crimson ruby blood",
        "honey": "yellow gold golden honey amber lemon bee wheat sunny sunflower",
        "cobalt": "blue sky azure sapphire cobalt rain rainy river",
        "meadow": "green meadow grass field garden frog leaf lime",
        "violet": "purple violet lavender lilac dream wizard mystic",
        "snow": "white snow snowy winter ice frozen arctic grey gray silver penguin cloud",
        "neon": "neon city cyberpunk robot synthwave magenta tokyo retro future futuristic skyline",
        "lagoon": "teal turquoise cyan lagoon island tropical summer palm",
    }.items()
    for word in words.split()
}


def palette_for(prompt: str, dice: Random) -> Palette:
    """The palette of the first word in the prompt that has one, else any."""
    drawn = dice.choice(sorted(PALETTES))
    return PALETTES[first_known(prompt, WORDS) or drawn]


def first_known(prompt: str, meanings: dict[str, str]) -> str | None:
    """What the first word of the prompt with a meaning means; a plural means what its singular does."""
    found = (meanings.get(word) or meanings.get(word.removesuffix("s")) for word in _words(prompt))
    return next((meaning for meaning in found if meaning), None)


def _words(prompt: str) -> Sequence[str]:
    return re.findall(r"[^\W\d_]+", prompt.lower())
