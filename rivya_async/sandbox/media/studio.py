"""From a brief to a file: who renders it."""

from __future__ import annotations

from .brief import Artifact, Brief
from .formats import chosen_format, describe


def render(brief: Brief) -> Artifact:
    """Render the file: the same brief gives the same bytes, in whichever thread.

    Raises ImportError if Pillow or PyAV is not installed.
    """
    mime_type, extension = describe(brief)
    return Artifact(data=_data(brief), mime_type=mime_type, extension=extension)


def _data(brief: Brief) -> bytes:
    asked = chosen_format(brief)
    try:
        if brief.category == "image":
            from .painting import paint

            return paint(brief, asked.suffix)
        if brief.category == "video":
            from .film import shoot

            return shoot(brief)
        from .tune import record

        return record(brief, asked)
    except ImportError as error:
        raise ImportError("The sandbox renders with Pillow and PyAV: install rivya-async[sandbox]") from error
