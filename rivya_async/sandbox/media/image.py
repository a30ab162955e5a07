"""Images and videos: a scene and a palette chosen by the prompt, with the prompt as a caption."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Final

from PIL import Image, ImageColor

from .caption import render_caption
from .request import RenderRequest
from .scene import SCENES, DrawFrame, Palette, SceneContext

THEMES: Final[dict[str, dict[str, str]]] = json.loads(Path(__file__).with_name("themes.json").read_text("utf-8"))
"""Scenes and palettes with the words that select them."""

SAVE_OPTIONS: Final = {"quality": 88, "method": 2, "compress_level": 6}
"""Options of JPEG, WebP and PNG; each format ignores the others."""

FRAMES_PER_SECOND: Final = 12
ENCODER_OPTIONS: Final = {"preset": "veryfast", "crf": "27", "bf": "0", "threads": "1", "x264-params": "mbtree=0"}
"""Options for reproducible bytes: one thread, and no macroblock tree, whose output varied when several videos were
encoded at once. Without B-frames the first frame has timestamp zero.
"""


def render_image(request: RenderRequest) -> bytes:
    """Returns a `png`, `jpg` or `webp` file."""
    file, suffix = BytesIO(), request.file_format.suffix
    animate(request)(0.0).save(file, "jpeg" if suffix == "jpg" else suffix, **SAVE_OPTIONS)
    return file.getvalue()


def render_video(request: RenderRequest) -> bytes:
    """Returns an H.264 MP4 file of the requested length, rounded to the nearest frame."""
    import av
    from av.codec.context import Flags

    draw_frame, count, file = animate(request), max(1, round(request.seconds * FRAMES_PER_SECOND)), BytesIO()
    # An index of this size fits at the head of the file: a player can start before the download ends.
    options = {"moov_size": str(2048 + 24 * count), "fflags": "+bitexact"}
    with av.open(file, "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=ENCODER_OPTIONS)
        (stream.width, stream.height), stream.pix_fmt = request.size, "yuv420p"
        stream.codec_context.flags |= Flags.bitexact
        for n in range(count):
            image = draw_frame(n / FRAMES_PER_SECOND)
            frame = av.VideoFrame(*request.size, "rgb24")
            frame.planes[0].update(image.tobytes("raw", "RGB", frame.planes[0].line_size))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def animate(request: RenderRequest) -> DrawFrame:
    """Returns a function that draws the captioned scene at any second."""
    rng = request.create_rng()
    palette = Palette(*map(ImageColor.getrgb, choose("palettes", request.prompt, rng).split()))
    draw_frame = SCENES[choose("scenes", request.prompt, rng)](SceneContext(request.size, palette, rng))
    caption = render_caption(request.size, request.prompt, request.model, palette)

    def draw(seconds: float) -> Image.Image:
        image = draw_frame(seconds)
        image.paste(caption, (0, 0), caption)
        return image

    return draw


def choose(kind: str, prompt: str, rng: Random) -> str:
    """Returns the theme of the first word in the prompt that has one, also in the plural, or a random theme."""
    by_word = {word: theme for theme, words in THEMES[kind].items() for word in words.split()}
    words = re.findall(r"[^\W\d_]+", prompt.lower())
    found = [by_word.get(word) or by_word.get(word.removesuffix("s")) for word in words]
    return next(filter(None, [*found, rng.choice(list(THEMES[kind]))]))
