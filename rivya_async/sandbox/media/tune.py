"""Sounds: a little tune made of the prompt, or a soft voice that babbles it."""

from __future__ import annotations

from array import array
from functools import lru_cache
from io import BytesIO
from math import cos, exp, pi
from operator import add
from typing import TYPE_CHECKING, Final, cast

import av
from av.codec.context import Flags

from .brief import dice_of, is_speech, spoken_text, tune_seconds
from .voice import babble

if TYPE_CHECKING:
    from random import Random

    from av.audio.stream import AudioStream

    from .brief import Brief
    from .formats import Format

RATE: Final = 22_050
"""Samples a second while composing; the encoder's resampler brings them to the asked rate."""

BLOCK: Final = 1152
"""Samples that are handed to the encoder at once: a frame of MP3."""

CODECS: Final = {"mp3": "libmp3lame", "opus": "libopus", "ulaw": "pcm_mulaw", "alaw": "pcm_alaw", "pcm": "pcm_s16le"}
RATES: Final = {"mp3": 44_100, "opus": 48_000, "ulaw": 8_000, "alaw": 8_000, "pcm": 44_100}

SCALES: Final = ((0, 2, 4, 7, 9), (0, 3, 5, 7, 10), (0, 2, 5, 7, 9), (0, 2, 3, 7, 8))
"""Five notes that sound well in any order, in semitones: major, minor, suspended, and a Japanese hirajoshi."""

ROOTS: Final = (196.0, 207.65, 220.0, 233.08, 246.94, 261.63)
FADE_SECONDS: Final = 0.15
LOUDEST: Final = 0.8 * 32_767


def record(brief: Brief, asked: Format) -> bytes:
    """The sound file of a brief in the asked format."""
    length, dice = round(tune_seconds(brief) * RATE), dice_of(brief)
    sound = babble(spoken_text(brief), length, RATE, dice) if is_speech(brief) else compose(length, dice)
    return _encode(_mastered(sound), asked)


def compose(length: int, dice: Random) -> array[float]:
    """A walk up and down a scale over slow bass notes, with an echo."""
    track = array("f", bytes(4 * length))
    scale, root, beat = dice.choice(SCALES), dice.choice(ROOTS), round(RATE * dice.choice((0.25, 0.3, 0.375)))
    place = dice.randrange(5, 10)
    for n, start in enumerate(range(0, length, beat)):
        if n % 8 == 0:
            _mix(track, pluck(root * _pitch(scale, dice.choice((0, 0, 3, 4))), 2.4), start)
        if n % 4 == 0 or dice.random() < SOUNDED:
            place = min(max(place + dice.choice((-2, -1, -1, 1, 1, 2)), 3), 12)
            _mix(track, pluck(root * _pitch(scale, place), 0.9), start)
    echo = track[: max(0, length - beat)]
    _mix(track, array("f", [0.28 * sample for sample in echo]), beat)
    return track


SOUNDED: Final = 0.72
"""The share of the beats that have a note."""


def _pitch(scale: tuple[int, ...], place: int) -> float:
    octave, step = divmod(place, len(scale))
    return float(2 ** (octave - 1 + scale[step] / 12))


@lru_cache(maxsize=32)
def pluck(pitch: float, ring: float) -> array[float]:
    """A string struck softly that rings for so many seconds: three partials, the higher the shorter. Read only."""
    note = array("f", bytes(4 * round(ring * RATE)))
    for partial, loudness in ((1, 1.0), (2, 0.35), (3, 0.12)):
        _mix(note, _damped(pitch * partial, ring / partial, loudness), 0)
    return note


def _damped(pitch: float, ring: float, loudness: float) -> array[float]:
    """A sine that starts at zero and dies away; each sample follows from the two before it."""
    decay, turn = exp(-5.0 / (ring * RATE)), 2 * pi * pitch / RATE
    back, further = 2 * decay * cos(turn), decay * decay
    now, before = loudness * decay * (1 - cos(turn) ** 2) ** 0.5, 0.0
    samples = array("f")
    keep = samples.append
    for _ in range(round(ring * RATE)):
        keep(before)
        now, before = back * now - further * before, now
    return samples


def _mix(track: array[float], sound: array[float], start: int) -> None:
    """Add a sound to the track; what reaches beyond its end is dropped."""
    end = min(start + len(sound), len(track))
    track[start:end] = array("f", map(add, track[start:end], sound))


def _mastered(sound: array[float]) -> array[int]:
    """Full loudness, the end faded out, 16 bits a sample."""
    peak = max(map(abs, sound), default=0.0) or 1.0
    fade = min(round(FADE_SECONDS * RATE), len(sound))
    for n in range(1, fade + 1):
        sound[-n] *= (n - 1) / fade
    gain = LOUDEST / peak
    return array("h", [round(gain * sample) for sample in sound])


def _encode(samples: array[int], asked: Format) -> bytes:
    codec = "pcm" if asked.codec == "wav" else asked.codec
    rate = asked.rate or RATES[codec]
    file = BytesIO()
    with av.open(file, "w", format=asked.suffix, options={"fflags": "+bitexact"}) as container:
        stream = cast("AudioStream", container.add_stream(CODECS[codec], rate=rate, layout="mono"))
        stream.codec_context.flags |= Flags.bitexact
        if asked.kilobits:
            stream.bit_rate = 1000 * asked.kilobits
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=rate)
        for start in range(0, len(samples), BLOCK):
            frame = _frame(samples[start : start + BLOCK], start)
            for resampled in resampler.resample(frame):
                container.mux(stream.encode(resampled))
        for resampled in resampler.resample(None):
            container.mux(stream.encode(resampled))
        container.mux(stream.encode(None))
    return file.getvalue()


def _frame(samples: array[int], start: int) -> av.AudioFrame:
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
    frame.planes[0].update(samples.tobytes())
    frame.sample_rate = RATE
    frame.pts = start
    return frame
