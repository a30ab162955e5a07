"""How far an order has come, wherever it is carried."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class JobState(StrEnum):
    """What the store knows of an order.

    `INTENT` is written before the purchase is sent, so that whoever gets the message next repeats it under the same
    key. `DEAD` was given up, with its reason. `WITHDRAWN` was taken back before anybody bought it.
    """

    QUEUED = "queued"
    INTENT = "intent"
    BOUGHT = "bought"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DEAD = "dead"
    WITHDRAWN = "withdrawn"


ENDED: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD, JobState.WITHDRAWN})
"""Nothing more is done, but for a download."""

UNBOUGHT: Final = frozenset({JobState.QUEUED, JobState.INTENT})
"""Not bought, as far as is known."""

IN_DOUBT: Final = "in_doubt"
"""Code of an order that may have been bought, under a key that the service may have forgotten."""

POISON: Final = "poison"
"""Code of an order whose message came too often."""

NOT_SAVED: Final = "not_saved"
"""Code of an order whose job has succeeded, but whose files could not be saved."""
