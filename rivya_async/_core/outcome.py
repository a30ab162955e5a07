"""How a purchase ended: a record or an error."""

from __future__ import annotations

import attrs

from .errors import ConfigurationError, GenerationFailedError
from .generation_request import GenerationRequest
from .types.generations import Generation


@attrs.frozen
class Outcome:
    """How one request of `map` ended: with a record, with an error, or, where the service failed the job, with both."""

    request: GenerationRequest
    generation: Generation | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether the job succeeded."""
        return self.error is None

    def unwrap(self) -> Generation:
        """The succeeded record; raises the error otherwise."""
        if self.error is not None:
            raise self.error
        if self.generation is None:
            raise ConfigurationError("this outcome holds neither a record nor an error")
        return self.generation


def raise_if_failed(generation: Generation) -> Generation:
    """The record of an ended job, or `GenerationFailedError` in its place."""
    if generation.failed:
        error = generation.error
        why = f"{error.code}: {error.message}".rstrip(".: ") if error is not None else "no reason given"
        raise GenerationFailedError(
            f"the service ended {generation.id} ({generation.model}) as failed: {why}. "
            "A new submit is a new purchase; what a failed job held goes back to the balance.",
            task_id=generation.id,
            last=generation,
        )
    return generation
