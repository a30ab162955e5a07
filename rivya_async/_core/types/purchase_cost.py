"""What one purchase costs: as its answer tells, and as the book has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import attrs

from .generations import Amount

if TYPE_CHECKING:
    from .chat import ChatCompletion
    from .generations import Generation

GENERATIONS_PATH: Final = "/api/v1/generations"


@attrs.frozen
class PurchaseCost:
    """What one purchase costs, in credits.

    `reserved` is what its record holds. `final` is None until this session has seen the job end. `task_id` is None as
    long as it is not known whether it was bought: `reserved` is then the price that was reckoned with. `path` is where
    it was bought; of a turn of a chat, `task_id` is the id of the completion.

    >>> PurchaseCost(reserved=5, final=0, task_id="task_1").credits
    0
    """

    reserved: Amount
    final: Amount | None = None
    task_id: str | None = None
    path: str = GENERATIONS_PATH

    @property
    def credits(self) -> Amount:
        """What counts: the final credits of an ended job, else what is held for it."""
        return self.reserved if self.final is None else self.final


@attrs.frozen
class Charge:
    """What the answer to a purchase tells of its cost; None is what it leaves unsaid."""

    path: str
    id: str
    reserved: Amount | None
    final: Amount | None = None

    @classmethod
    def from_generation(cls, generation: Generation) -> Self:
        """A job costs its final credits once it has ended."""
        final = generation.final_credits if generation.is_terminal else None
        return cls(GENERATIONS_PATH, generation.id, generation.reserved_credits, final)

    @classmethod
    def from_completion(cls, completion: ChatCompletion, path: str) -> Self:
        """A turn of a chat has ended when it is answered; its final credits may all the same not be told."""
        told = completion.credits
        return cls(path, completion.id, *((told.reserved, told.final) if told is not None else (None, None)))
