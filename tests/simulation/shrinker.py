"""Removes faults from a failing seed while it still fails in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .faults import draw_faults
from .scenarios import run_seed

if TYPE_CHECKING:
    from .scenarios import Outcome


def shrink(seed: int, outcome: Outcome, *, max_runs: int = 300) -> list[int]:
    """Returns the numbers of the faults that are needed for the failure: first halves are removed, then single ones."""
    assert outcome.failure is not None
    faults, invariant, runs = draw_faults(seed), outcome.failure.invariant, 0

    def fails(numbers: list[int]) -> bool:
        nonlocal runs
        runs += 1
        failure = run_seed(seed, [faults[number] for number in numbers]).failure
        return failure is not None and failure.invariant == invariant

    kept = [number for number, fault in enumerate(faults) if fault in outcome.applied]
    if not fails(kept):
        kept = list(range(len(faults)))
    size = max(1, len(kept) // 2)
    while runs < max_runs:
        for begin in range(0, len(kept), size):
            fewer = kept[:begin] + kept[begin + size :]
            if runs < max_runs and len(fewer) < len(kept) and fails(fewer):
                kept = fewer
                break
        else:
            if size == 1:
                break
            size //= 2
    return kept
