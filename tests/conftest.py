"""What tests of several rooms have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.page.chromium import Chromium, chromium


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Chromium]:
    """One for all tests of a module."""
    async with chromium() as running:
        yield running
