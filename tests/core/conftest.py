"""Hypothesis profile without deadlines: these tests are about values, not about time."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("core", deadline=None, max_examples=int(os.environ.get("RIVYA_EXAMPLES", "100")))
settings.load_profile("core")
