"""Videos: the poster of the prompt, gently moving."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final

import av
from av.codec.context import Flags

from .brief import film_seconds, film_size
from .painting import animate

if TYPE_CHECKING:
    from .brief import Brief
    from .canvas import Picture

FRAMES_PER_SECOND: Final = 12
ENCODER: Final = {"preset": "veryfast", "crf": "27", "bf": "0", "threads": "1", "x264-params": "mbtree=0"}
"""The same film has the same bytes: one thread, and no macroblock tree, with which they were seen to differ when
several films are encoded side by side. No B-frames: the first frame is at zero.
"""

HEADER_BYTES: Final = 2048
HEADER_BYTES_PER_FRAME: Final = 24
"""Room that is kept for the index at the head of the file, so that a player can start before it has all."""


def shoot(brief: Brief) -> bytes:
    """The MP4 file of a brief: H.264, as long as asked to the nearest frame."""
    width, height = film_size(brief)
    count = max(1, round(film_seconds(brief) * FRAMES_PER_SECOND))
    frame = animate(brief, (width, height))
    file = BytesIO()
    room = HEADER_BYTES + HEADER_BYTES_PER_FRAME * count
    options = {"moov_size": str(room), "fflags": "+bitexact"}
    with av.open(file, "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=ENCODER)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.flags |= Flags.bitexact
        for n in range(count):
            container.mux(stream.encode(_video_frame(frame(n / FRAMES_PER_SECOND))))
        container.mux(stream.encode())
    return file.getvalue()


def _video_frame(picture: Picture) -> av.VideoFrame:
    frame = av.VideoFrame(*picture.size, "rgb24")
    plane = frame.planes[0]
    plane.update(picture.tobytes("raw", "RGB", plane.line_size))
    return frame
