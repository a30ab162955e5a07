"""Sources of wall time, randomness and idempotency keys. Durations are measured with the clock of the loop."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable

import attrs


@attrs.frozen
class Environment:
    """Sources that tests replace: seconds since the epoch, random numbers in [0, 1), and new idempotency keys."""

    wall_time: Callable[[], float] = time.time  # noqa: TID251 - this is where wall time comes from
    uniform: Callable[[], float] = random.random
    new_idempotency_key: Callable[[], str] = lambda: str(uuid.uuid4())
