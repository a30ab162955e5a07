"""The event loops by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec

Factory = Callable[[], asyncio.AbstractEventLoop]


def factory(name: str) -> Factory:
    """What makes a loop of this name, `asyncio` or `uvloop`."""
    if name != "uvloop":
        return asyncio.new_event_loop
    from uvloop import new_event_loop

    return new_event_loop


def fastest() -> Factory:
    """The loop in C, where it is installed."""
    return factory("uvloop" if find_spec("uvloop") else "asyncio")
