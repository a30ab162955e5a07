"""Real media files for the sandbox: every result opens in a player and shows, or hums, the prompt it was asked for.

Importing this package is light; Pillow and PyAV are loaded by the first `render`.
"""

from .brief import Artifact, Brief
from .formats import describe
from .studio import render

__all__ = ["Artifact", "Brief", "describe", "render"]
