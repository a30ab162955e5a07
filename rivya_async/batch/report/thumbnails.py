"""Small pictures of what a batch made, if there is something to make them with."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from ..._core.files.filenames import KIND_BY_EXTENSION

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")

SIDE: Final = 320
"""Pixels of the longer side."""

QUALITY: Final = 62
AHEAD: Final = 64
"""Pictures that are being made, or wait to be written."""


def kind_of(path: str) -> str:
    """`image`, `video`, `audio`, or something else."""
    return KIND_BY_EXTENSION.get(Path(path).suffix.lower(), "file")


class Thumbnails:
    """Makes WebP pictures in threads of its own; Pillow and PyAV do their work outside of Python's lock."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, "rivya-thumbnails")
        self._paints = find_spec("PIL") is not None
        self._plays = self._paints and find_spec("av") is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=True)

    def beside(self, items: Iterable[tuple[T, Path | None]]) -> Iterator[tuple[T, bytes | None]]:
        """Each item with the small picture of its file, in the same order."""
        waiting: deque[tuple[T, Future[bytes | None]]] = deque()
        for item, path in items:
            waiting.append((item, self._threads.submit(self._of, path)))
            if len(waiting) > AHEAD:
                first, picture = waiting.popleft()
                yield first, picture.result()
        for item, picture in waiting:
            yield item, picture.result()

    def _of(self, path: Path | None) -> bytes | None:
        kind = None if path is None else kind_of(path.name)
        if path is None or not (self._paints if kind == "image" else self._plays and kind == "video"):
            return None
        try:
            with _opened(path, kind) as image:
                image.thumbnail((SIDE, SIDE))
                out = io.BytesIO()
                mode = "RGBA" if image.has_transparency_data else "RGB"
                image.convert(mode).save(out, "WEBP", quality=QUALITY, method=2)
                return out.getvalue()
        except Exception:  # noqa: BLE001  moved away, too large, not what its name says: each decoder has errors of its own
            return None


def _opened(path: Path, kind: str | None) -> Image:
    from PIL import Image

    if kind == "image":
        image = Image.open(path)
        image.draft("RGB", (SIDE, SIDE))
        return image
    import av

    with av.open(str(path)) as film:
        for frame in film.decode(video=0):
            return frame.to_image()  # type: ignore[no-any-return, no-untyped-call]  # PyAV leaves its type out
    raise ValueError("there is no picture in it")
