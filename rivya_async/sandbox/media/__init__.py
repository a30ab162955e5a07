"""Generated media files for the sandbox: every result opens in a player, and shows its prompt or plays a melody.

Importing this package is light; the first `render` loads Pillow or PyAV.
"""

from __future__ import annotations

from .request import Artifact, RenderRequest

__all__ = ["Artifact", "RenderRequest", "render"]


def render(request: RenderRequest) -> Artifact:
    """Renders the file: the same request gives the same bytes in any thread.

    Raises ImportError if Pillow or PyAV is not installed.
    """
    try:
        if request.category == "audio":
            from .audio import render_audio as render_data
        elif request.category == "video":
            from .image import render_video as render_data
        else:
            from .image import render_image as render_data
        return Artifact(render_data(request), request.file_format.mime_type)
    except ImportError as error:
        raise ImportError("The sandbox renders with Pillow and PyAV: install rivya-async[sandbox]") from error
