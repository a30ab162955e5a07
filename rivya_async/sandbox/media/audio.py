"""Sounds: a short melody over slow bass notes, composed from the prompt and the seed."""

from __future__ import annotations

from array import array
from functools import lru_cache
from io import BytesIO
from math import exp, pi, sin
from operator import add
from random import Random
from typing import Final, cast

import av
from av.audio.stream import AudioStream
from av.codec.context import Flags

from .request import FileFormat, RenderRequest

SAMPLE_RATE: Final = 22_050
"""Samples per second of the composition; the encoder resamples them to the rate of the file."""

ENCODERS: Final = {"mp3": "libmp3lame", "opus": "libopus", "ulaw": "pcm_mulaw", "alaw": "pcm_alaw"}
DEFAULT_RATES: Final = {"mp3": 44_100, "opus": 48_000, "ulaw": 8_000, "alaw": 8_000}
"""Encoders and sample rates by codec; the other codecs are 16-bit PCM at 44.1 kHz."""

SCALES: Final = ((0, 2, 4, 7, 9), (0, 3, 5, 7, 10), (0, 2, 5, 7, 9), (0, 2, 3, 7, 8))
"""Five notes that harmonize in any order, in semitones: major, minor, suspended and Japanese hirajoshi."""

FADE_OUT_SAMPLES: Final = 3300
PEAK: Final = 0.8 * 32_767


def render_audio(request: RenderRequest) -> bytes:
    """Returns a sound file of the requested length and format."""
    track = compose(round(request.seconds * SAMPLE_RATE), request.create_rng())
    gain, last = PEAK / (max(map(abs, track)) or 1.0), len(track) - 1
    samples = (round(gain * x * min(1.0, (last - n) / FADE_OUT_SAMPLES)) for n, x in enumerate(track))
    return _encode(array("h", samples), request.file_format)


def compose(length: int, rng: Random) -> array[float]:
    """Returns samples of a random walk along a scale over bass notes, with an echo."""
    track = array("f", bytes(4 * length))
    scale, root = rng.choice(SCALES), rng.uniform(98, 131)
    beat, step = round(SAMPLE_RATE * rng.choice((0.25, 0.3, 0.375))), rng.randrange(5, 10)
    for n, start in enumerate(range(0, length, beat)):
        if n % 8 == 0:
            _add(track, pluck(root * 2 ** (scale[rng.choice((0, 0, 3, 4))] / 12), 2.4), start)
        if n % 4 == 0 or rng.random() < 0.72:  # noqa: PLR2004 - most of the weak beats have a note
            step = min(max(step + rng.choice((-2, -1, -1, 1, 1, 2)), 3), 12)
            _add(track, pluck(root * 2 ** (step // 5 + scale[step % 5] / 12), 0.9), start)
    _add(track, array("f", [0.28 * sample for sample in track]), beat)
    return track


@lru_cache(maxsize=32)
def pluck(hertz: float, seconds: float) -> array[float]:
    """Returns a plucked string: three partials, of which the higher ones fade faster. Callers must not change it."""
    note, turn, decay = array("f"), 2 * pi * hertz / SAMPLE_RATE, -5.0 / (seconds * SAMPLE_RATE)
    for n in range(round(seconds * SAMPLE_RATE)):
        level, angle = exp(decay * n), turn * n
        note.append(level * (sin(angle) + level * (0.35 * sin(2 * angle) + level * 0.12 * sin(3 * angle))))
    return note


def _add(track: array[float], sound: array[float], start: int) -> None:
    """Mixes a sound into the track and drops its part beyond the end."""
    end = min(start + len(sound), len(track))
    track[start:end] = array("f", map(add, track[start:end], sound))


def _encode(samples: array[int], file_format: FileFormat) -> bytes:
    file, encoder = BytesIO(), ENCODERS.get(file_format.codec, "pcm_s16le")
    rate = file_format.sample_rate or DEFAULT_RATES.get(file_format.codec, 44_100)
    with av.open(file, "w", format=file_format.suffix, options={"fflags": "+bitexact"}) as container:
        stream = cast("AudioStream", container.add_stream(encoder, rate=rate, layout="mono"))
        stream.codec_context.flags |= Flags.bitexact
        if file_format.kilobits:
            stream.bit_rate = 1000 * file_format.kilobits
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
        frame.planes[0].update(samples.tobytes())
        frame.sample_rate, frame.pts = SAMPLE_RATE, 0
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return file.getvalue()
