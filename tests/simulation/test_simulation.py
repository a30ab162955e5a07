"""Five hundred fixed seeds, the seeds that have found faults, and the determinism of the simulation."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.simulation.faults import KINDS, draw_faults
from tests.simulation.scenarios import run_seed
from tests.simulation.shrinker import shrink

CHUNKS = 20
SEEDS_PER_CHUNK = 25

FOUND_BY = {
    55: "a purchase that is answered without a task id is repeated under its key",
    321: "a purchase that waits for a running job names no other job when the session closes",
    717: "a download that is cancelled twice waits for its write",
    1491: "a request that was granted before a stop does not count twice",
    1529: "a row ends once another version of its file is moved away",
    2288: "a row ends once another version of its file is moved away",
    2982: "a stopped process reads a Retry-After when it goes on",
    3091: "a request that was granted before a stop does not count twice",
    3481: "a wait that ends with an error has no floor for the next one",
    5074: "a message whose task is cancelled before it begins is delivered again",
    4910: "polls without a readable record are repeated at the intervals of retries",
    3981: "a message whose task is cancelled before it begins is delivered again",
}
"""Seeds that have failed, each with the behaviour of the product or of the simulated user that it needs."""

TRACES = """
import logging, sys
from tests.simulation.scenarios import run_seed
logging.disable()
print([run_seed(seed).trace for seed in range(20)])
"""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Hides the warnings of the product, and collects the rest of killed processes while their warnings are ignored."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def check(seed: int) -> None:
    outcome = run_seed(seed)
    if outcome.failure is not None:
        kept = ",".join(map(str, shrink(seed, outcome))) or "none"
        pytest.fail(f"{outcome.failure}\nreplay: python -m tests.simulation --seed {seed} --only {kept}")


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_fixed_seeds_keep_every_invariant(chunk: int) -> None:
    for seed in range(chunk * SEEDS_PER_CHUNK, (chunk + 1) * SEEDS_PER_CHUNK):
        check(seed)
    gc.collect()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("seed", FOUND_BY)
def test_seeds_that_found_a_fault_pass(seed: int) -> None:
    check(seed)
    gc.collect()


def test_same_seed_gives_same_trace_under_any_hash_seed() -> None:
    def traces(hash_seed: str) -> str:
        command = [sys.executable, "-W", "ignore", "-c", TRACES]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": hash_seed}
        ).stdout

    first = traces("1")
    assert first.count(",") == 19
    assert first == traces("2")


def test_faults_of_500_seeds_cover_every_kind() -> None:
    drawn = {fault.kind for seed in range(CHUNKS * SEEDS_PER_CHUNK) for fault in draw_faults(seed)}
    assert drawn == set(KINDS)
