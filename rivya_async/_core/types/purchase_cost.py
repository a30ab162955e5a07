"""Cost of a purchase: as the response states it, and as the session records it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import attrs

from ..public_module import set_public_module
from .generations import Amount
from .record import Record

if TYPE_CHECKING:
    from .chat import ChatCompletion
    from .generations import Generation

GENERATIONS_PATH: Final = "/api/v1/generations"


@attrs.frozen
class PurchaseCost(Record):
    """Cost of one purchase in credits.

    >>> PurchaseCost(reserved=5, final=0, task_id="task_1").credits
    0
    """

    reserved: Amount
    """Credits reserved by the purchase, or its expected price while its outcome is unknown."""
    final: Amount | None = None
    """Credits that the job has cost; None until this session has seen it end."""
    task_id: str | None = None
    """Task id of the job, or id of the completion of a chat turn; None while the outcome is unknown."""
    path: str = GENERATIONS_PATH
    """Endpoint of the purchase."""

    @property
    def credits(self) -> Amount:
        """The final credits of an ended job, else its reserved credits."""
        return self.reserved if self.final is None else self.final


@attrs.frozen
class Charge(Record):
    """Cost as stated by the response to a purchase; None if missing."""

    path: str
    id: str
    reserved: Amount | None
    final: Amount | None = None

    @classmethod
    def from_generation(cls, generation: Generation) -> Self:
        """Returns the charge of a job; `final` is set once the job has ended.

        A response may omit an amount, which reads as 0, or state one that cannot be read. Without the reserved credits
        the price before the purchase counts. Without the final credits a succeeded job costs its reserved credits.
        """
        reserved = generation.reserved_credits or None
        final = reserved if generation.succeeded or "final_credits" in generation.extra else 0
        final = generation.final_credits or final
        return cls(GENERATIONS_PATH, generation.id, reserved, final if generation.is_terminal else None)

    @classmethod
    def from_completion(cls, completion: ChatCompletion, path: str) -> Self:
        """Returns the charge of a chat turn, which has ended with its answer; the service may omit its credits."""
        stated = completion.credits
        return cls(path, completion.id, *((stated.reserved, stated.final) if stated is not None else (None, None)))


set_public_module("rivya_async", PurchaseCost)
