"""A voice that says nothing in particular: vowels of a throat of two resonances, with the rhythm of the text."""

from __future__ import annotations

from array import array
from math import cos, exp, pi, sin
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

VOWELS: Final = ((730, 1090), (530, 1840), (390, 1990), (570, 840), (440, 1020), (270, 2290))
"""The two lowest resonances in Hz of a, e, i, o, u and ee."""

WIDTH: Final = 90.0
"""How broad a resonance is, in Hz."""

PITCHES: Final = (112.0, 128.0, 165.0, 190.0, 215.0)
SENTENCE_ENDS: Final = ".!?;:…。!?"
LONGEST_WORD: Final = 4
"""Syllables."""


@attrs.frozen
class Syllable:
    """One vowel between two instants, as shares of the whole, gliding from one pitch to another."""

    start: float
    end: float
    vowel: tuple[int, int]
    pitch: tuple[float, float]


def babble(text: str, length: int, rate: int, dice: Random) -> array[float]:
    """So many samples of speech-like sound, spread over the words of the text."""
    track = array("f", bytes(4 * length))
    for syllable in _syllables(text, dice):
        start, end = round(syllable.start * length), round(syllable.end * length)
        track[start:end] = _sung(syllable, end - start, rate)
    return track


def _syllables(text: str, dice: Random) -> Iterator[Syllable]:
    """A melody that falls within each sentence, with a breath after each word and a longer one after a sentence."""
    words = text.split()[:WORDS_AT_MOST] or ["hm"]
    counts = [min(max(1, len(word) // 3), LONGEST_WORD) for word in words]
    breaths = [1.2 if word[-1] in SENTENCE_ENDS else 0.3 for word in words]
    beat = 1 / (sum(counts) + sum(breaths))
    base, now, spoken = dice.choice(PITCHES), 0.0, 0
    for count, breath in zip(counts, breaths, strict=True):
        for _ in range(count):
            high = base * (1.25 - 0.03 * min(spoken, 10)) * dice.uniform(0.94, 1.1)
            yield Syllable(now, now + beat * 0.92, dice.choice(VOWELS), (high, high * dice.uniform(0.82, 1.05)))
            now, spoken = now + beat, spoken + 1
        now += beat * breath
        spoken = 0 if breath > 1 else spoken


WORDS_AT_MOST: Final = 80
"""More would not be heard as words in the time there is."""


def _sung(syllable: Syllable, length: int, rate: int) -> array[float]:
    """Soft pulses through two resonances, swelling and fading."""
    damping = exp(-pi * WIDTH / rate)
    (low, high), further = syllable.vowel, damping * damping
    back_low, back_high = 2 * damping * cos(2 * pi * low / rate), 2 * damping * cos(2 * pi * high / rate)
    step, last = syllable.pitch[0] / rate, syllable.pitch[1] / rate
    bend = (last - step) / max(length, 1)
    phase = a1 = a2 = b1 = b2 = 0.0
    samples = array("f")
    for n in range(length):
        phase, step = phase + step, step + bend
        pulse = 0.0
        if phase >= 1.0:
            phase, pulse = phase - 1.0, 1.0
        a1, a2 = pulse + back_low * a1 - further * a2, a1
        b1, b2 = pulse + back_high * b1 - further * b2, b1
        samples.append((a1 + 0.35 * b1) * sin(pi * n / length))
    return samples
