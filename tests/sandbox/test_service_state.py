"""Tasks and credits, without a socket."""

from __future__ import annotations

import json
import math
import statistics
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async.sandbox import Sandbox, catalogue
from rivya_async.sandbox.responses import ApiError, format_timestamp
from rivya_async.sandbox.service_state import (
    FAIL_MARKER,
    QUEUE_MEDIANS,
    RUN_MEDIANS,
    ServiceState,
    Task,
    derive_seed,
)
from tests.sandbox.sandbox_client import START_TIME

MODELS = catalogue.load_catalogue().models
IMAGE = MODELS["z-image"]
BY_CATEGORY = {"image": IMAGE, "video": MODELS["sora-2"], "audio": MODELS["elevenlabs-sound-effect-v2"]}
SCOPE = ("acct_1", "POST /api/v1/generations", "order-42")


def state_with_account(opening: int = 100, **options: Any) -> tuple[ServiceState, str]:
    state = ServiceState(**options)
    return state, state.create_account("acct_1", opening).id


def error_code_of(action: Any, *arguments: Any) -> str:
    with pytest.raises(ApiError) as caught:
        action(*arguments)
    return caught.value.code


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_status_follows_time() -> None:
    state, account = state_with_account()
    task = state.create_task(account, IMAGE, "x", {}, START_TIME)
    just_before = math.nextafter(task.ends_at, 0)
    assert START_TIME < task.starts_at < task.ends_at
    seen = [(at, task.status(at)) for at in (START_TIME, task.starts_at, just_before, task.ends_at, task.ends_at + 1e9)]
    assert [status for _, status in seen] == ["queued", "processing", "processing", "succeeded", "succeeded"]


def test_encodes_generation_by_status() -> None:
    state, account = state_with_account()
    task = state.create_task(account, IMAGE, "x", {}, START_TIME)
    served = {
        status: json.loads(task.encode(status, ["u/0", "u/1"])) for status in ("queued", "processing", "succeeded")
    }
    assert {status: (g["final_credits"], g["result"], g["updated_at"]) for status, g in served.items()} == {
        "queued": (0, None, "2026-05-11T08:00:00.000Z"),
        "processing": (0, None, format_timestamp(task.starts_at)),
        "succeeded": (1, {"primary_url": "u/0", "urls": ["u/0", "u/1"]}, format_timestamp(task.ends_at)),
    }
    assert all(g["error"] is None and g["reserved_credits"] == 1 for g in served.values())


def test_failed_task_costs_nothing() -> None:
    state, account = state_with_account()
    task = state.create_task(account, IMAGE, f"a boat {FAIL_MARKER}", {}, START_TIME)
    failed = json.loads(task.encode(task.status(task.ends_at)))
    assert (failed["status"], failed["final_credits"], failed["result"]) == ("failed", 0, None)
    assert failed["error"]["code"] == "generation_failed"
    assert set(failed["error"]) == {"code", "message"}


@pytest.mark.parametrize("category", ["image", "video", "audio"])
def test_durations_have_configured_medians(category: str) -> None:
    state, account = state_with_account(10_000_000, speed=2)
    tasks = [state.create_task(account, BY_CATEGORY[category], "x", {}, START_TIME) for _ in range(4000)]
    queued = statistics.median(task.starts_at - START_TIME for task in tasks)
    worked = statistics.median(task.ends_at - task.starts_at for task in tasks)
    assert queued == pytest.approx(QUEUE_MEDIANS[category] / 2, rel=0.05)
    assert worked == pytest.approx(RUN_MEDIANS[category] / 2, rel=0.05)


def test_speed_divides_durations() -> None:
    lives: dict[float, list[float]] = {}
    for speed in (1.0, 10.0, math.inf):
        state, account = state_with_account(speed=speed)
        task = state.create_task(account, IMAGE, "x", {}, 0.0)
        lives[speed] = [task.starts_at, task.ends_at]
    assert lives[10.0] == pytest.approx([instant / 10 for instant in lives[1.0]])
    assert lives[math.inf] == [0.0, 0.0]


def test_seed_determines_tasks() -> None:
    def draw(seed: int) -> list[Task]:
        state, account = state_with_account(seed=seed, failure_rate=0.5)
        return [state.create_task(account, IMAGE, "x", {}, START_TIME) for _ in range(20)]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_failure_does_not_change_next_task() -> None:
    lives = []
    for prompt in ("x", FAIL_MARKER):
        state, account = state_with_account()
        state.create_task(account, IMAGE, prompt, {}, START_TIME)
        lives.append(state.create_task(account, IMAGE, "y", {}, START_TIME))
    assert lives[0] == lives[1]


@pytest.mark.parametrize(("rate", "low", "high"), [(0.0, 0, 0), (0.25, 400, 600), (1.0, 2000, 2000)])
def test_failure_rate_is_share_of_tasks(rate: float, low: int, high: int) -> None:
    state, account = state_with_account(2000, failure_rate=rate)
    tasks = [state.create_task(account, IMAGE, "x", {}, START_TIME) for _ in range(2000)]
    assert low <= sum(task.failure is not None for task in tasks) <= high


@pytest.mark.parametrize(
    "options", [{"speed": 0}, {"speed": -1}, {"speed": math.nan}, {"failure_rate": -0.1}, {"failure_rate": 1.1}]
)
def test_rejects_invalid_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ServiceState(**options)


def test_concurrent_balance_reads_refund_once() -> None:
    """A synchronous test reads the balance while the sandbox runs in another thread."""
    state, account = state_with_account(100, failure_rate=1.0)
    state.create_task(account, catalogue.load_catalogue().models["z-image"], "A kite", {}, START_TIME)
    meeting = threading.Barrier(2)

    class Meeting(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            with suppress(threading.BrokenBarrierError):
                meeting.wait(0.2)
            return super().__getitem__(index)

    state._refunds = Meeting(state._refunds)
    with ThreadPoolExecutor(2) as threads:
        data = list(threads.map(lambda _: state.available_credits(account, START_TIME + 1e6), range(2)))
    assert data == [100, 100]


@pytest.mark.parametrize("number", [-1, math.nan, math.inf, "5"])
def test_rejects_invalid_credits(number: Any) -> None:
    with pytest.raises(ValueError, match="credits must be a number from 0 on"):
        Sandbox(credits=number)
    with pytest.raises(ValueError, match="credits must be a number from 0 on"):
        Sandbox().add_key("team-b", credits=number)
    assert Sandbox(credits=0).credits == 0


@pytest.mark.parametrize(
    ("instant", "written"),
    [
        (START_TIME, "2026-05-11T08:00:00.000Z"),
        (START_TIME + 0.25, "2026-05-11T08:00:00.250Z"),
        (0.0, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_timestamps_are_utc_with_milliseconds(instant: float, written: str) -> None:
    assert format_timestamp(instant) == written


def test_file_count_follows_max_images_of_model() -> None:
    state, account = state_with_account()
    counts = {
        name: state.create_task(account, MODELS[name], "x", {"max_images": 3}, START_TIME).file_count
        for name in ("seedream-4-0", "z-image")
    }
    assert counts == {"seedream-4-0": 3, "z-image": 1}


def test_params_have_catalogue_defaults() -> None:
    state, account = state_with_account()
    params = {"resolution": "4K", "unknown": 1}
    assert state.create_task(account, MODELS["nano-banana-pro"], "x", params, START_TIME).params == {
        "aspect_ratio": "1:1",
        "resolution": "4K",
        "output_format": "png",
    }


@pytest.mark.parametrize(
    ("params", "expected"),
    [({"seed": 7}, 7), ({"seed": "7"}, 7), ({"seeds": 12345}, 12345), ({"seed": 2.0}, 2), ({"seed": 0}, 0)],
)
def test_uses_seed_param(params: dict[str, Any], expected: int) -> None:
    assert derive_seed(0, "task_a", params) == derive_seed(9, "task_b", params) == expected


@pytest.mark.parametrize("params", [{}, {"seed": -1}, {"seed": True}, {"seed": "x"}, {"seed": 10**400}, {"seed": "²"}])
def test_derives_seed_per_task(params: dict[str, Any]) -> None:
    seeds = {derive_seed(world_seed, task_id, params) for world_seed in (0, 1) for task_id in ("task_a", "task_b")}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)


# --- credits ----------------------------------------------------------------------------------------------------------


def test_creates_no_task_without_credits() -> None:
    state, account = state_with_account(7)
    assert state.create_task(account, MODELS["sora-2"], "x", {}, START_TIME).reserved_credits == 6
    assert error_code_of(state.create_task, account, MODELS["sora-2"], "x", {}, START_TIME) == "insufficient_credits"
    assert len(state.tasks) == 1
    assert state.available_credits(account, START_TIME) == 1


def test_failed_task_is_refunded_at_its_end() -> None:
    state, account = state_with_account(6)
    task = state.create_task(account, MODELS["sora-2"], FAIL_MARKER, {}, START_TIME)
    just_before = math.nextafter(task.ends_at, 0)
    assert [state.available_credits(account, at) for at in (START_TIME, just_before, task.ends_at)] == [0, 0, 6]
    state.create_task(account, MODELS["sora-2"], "again", {}, task.ends_at)
    assert state.available_credits(account, task.ends_at + 1e9) == 0


@given(
    st.lists(
        st.tuples(st.floats(0, 60), st.sampled_from(sorted(BY_CATEGORY)), st.booleans(), st.integers(0, 1)), max_size=40
    ),
    st.integers(0, 60),
)
def test_credits_are_conserved(steps: list[tuple[float, str, bool, int]], opening: int) -> None:
    state = ServiceState()
    accounts = [state.create_account(name, opening).id for name in ("a", "b")]
    now = START_TIME
    for wait, category, fails, which in steps:
        now += wait
        before = state.available_credits(accounts[which], now)
        model = BY_CATEGORY[category]
        if before < model.price:
            assert error_code_of(state.create_task, accounts[which], model, "x", {}, now) == "insufficient_credits"
        else:
            state.create_task(accounts[which], model, FAIL_MARKER if fails else "x", {}, now)
        for account in accounts:
            spent = sum(
                task.reserved_credits
                for task in state.tasks.values()
                if task.account_id == account and task.status(now) != "failed"
            )
            assert state.available_credits(account, now) == opening - spent >= 0
