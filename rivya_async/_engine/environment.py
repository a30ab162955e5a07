"""The three unpredictable things, passed in together: wall time, dice and fresh keys. Durations come from the loop."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable

import attrs


def _new_idempotency_key() -> str:
    return str(uuid.uuid4())


@attrs.frozen
class Environment:
    """`wall` gives seconds since the epoch, `uniform` a number from [0, 1), `mint_key` a new idempotency key."""

    wall_time: Callable[[], float] = time.time  # noqa: TID251 - this is where wall time comes from
    uniform: Callable[[], float] = random.random
    new_idempotency_key: Callable[[], str] = _new_idempotency_key
