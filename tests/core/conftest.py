"""Hypothesis profile without deadlines: these tests are about values, not about time."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("core", deadline=None)
settings.load_profile("core")
