"""The world without a socket: lives of tasks, credits, keys, idempotency and the rate limit, by table and by chance."""

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
from rivya_async.sandbox.api_error import ApiError, code_for_status
from rivya_async.sandbox.api_keys import ALL_SCOPES, ApiKey, bearer, check, mint
from rivya_async.sandbox.idempotency import MEMORY, IdempotencyStore
from rivya_async.sandbox.rate_limit import RateLimit
from rivya_async.sandbox.responses import ApiResponse
from rivya_async.sandbox.service_state import FAIL_MARKER, QUEUE_MEDIANS, RUN_MEDIANS, ServiceState, derive_seed
from rivya_async.sandbox.task import Task, encode, timestamp
from tests.sandbox.sandbox_kit import START

MODELS = catalogue.load().models
IMAGE = MODELS["z-image"]
BY_CATEGORY = {"image": IMAGE, "video": MODELS["sora-2"], "audio": MODELS["elevenlabs-sound-effect-v2"]}
SCOPE = ("acct_1", "POST /api/v1/generations", "order-42")


def world_with(opening: int = 100, **options: Any) -> tuple[ServiceState, str]:
    world = ServiceState(**options)
    return world, world.open_account("acct_1", opening).id


def refusal_of(action: Any, *arguments: Any) -> str:
    with pytest.raises(ApiError) as caught:
        action(*arguments)
    return caught.value.code


# --- lives ------------------------------------------------------------------------------------------------------------


def test_a_task_lives_as_time_says() -> None:
    world, account = world_with()
    task = world.create(account, IMAGE, "x", {}, START)
    just_before = math.nextafter(task.ends_at, 0)
    assert START < task.starts_at < task.ends_at
    seen = [(at, task.status(at)) for at in (START, task.starts_at, just_before, task.ends_at, task.ends_at + 1e9)]
    assert [status for _, status in seen] == ["queued", "processing", "processing", "succeeded", "succeeded"]


def test_what_is_served_in_each_status() -> None:
    world, account = world_with()
    task = world.create(account, IMAGE, "x", {}, START)
    served = {
        status: json.loads(encode(task, status, ["u/0", "u/1"])) for status in ("queued", "processing", "succeeded")
    }
    assert {status: (g["final_credits"], g["result"], g["updated_at"]) for status, g in served.items()} == {
        "queued": (0, None, "2026-05-11T08:00:00.000Z"),
        "processing": (0, None, timestamp(task.starts_at)),
        "succeeded": (1, {"primary_url": "u/0", "urls": ["u/0", "u/1"]}, timestamp(task.ends_at)),
    }
    assert all(g["error"] is None and g["reserved_credits"] == 1 for g in served.values())


def test_a_failed_task_costs_nothing_and_says_why() -> None:
    world, account = world_with()
    task = world.create(account, IMAGE, f"a boat {FAIL_MARKER}", {}, START)
    failed = json.loads(encode(task, task.status(task.ends_at)))
    assert (failed["status"], failed["final_credits"], failed["result"]) == ("failed", 0, None)
    assert failed["error"]["code"] == "generation_failed"
    assert set(failed["error"]) == {"code", "message"}


@pytest.mark.parametrize("category", ["image", "video", "audio"])
def test_durations_have_the_documented_medians(category: str) -> None:
    world, account = world_with(10_000_000, speed=2)
    tasks = [world.create(account, BY_CATEGORY[category], "x", {}, START) for _ in range(4000)]
    queued = statistics.median(task.starts_at - START for task in tasks)
    worked = statistics.median(task.ends_at - task.starts_at for task in tasks)
    assert queued == pytest.approx(QUEUE_MEDIANS[category] / 2, rel=0.05)
    assert worked == pytest.approx(RUN_MEDIANS[category] / 2, rel=0.05)


def test_speed_divides_every_duration() -> None:
    lives: dict[float, list[float]] = {}
    for speed in (1.0, 10.0, math.inf):
        world, account = world_with(speed=speed)
        task = world.create(account, IMAGE, "x", {}, 0.0)
        lives[speed] = [task.starts_at, task.ends_at]
    assert lives[10.0] == pytest.approx([instant / 10 for instant in lives[1.0]])
    assert lives[math.inf] == [0.0, 0.0]


def test_the_seed_decides_everything() -> None:
    def draw(seed: int) -> list[Task]:
        world, account = world_with(seed=seed, failure_rate=0.5)
        return [world.create(account, IMAGE, "x", {}, START) for _ in range(20)]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_one_tasks_failure_does_not_shift_the_next_ones_fate() -> None:
    lives = []
    for prompt in ("x", FAIL_MARKER):
        world, account = world_with()
        world.create(account, IMAGE, prompt, {}, START)
        lives.append(world.create(account, IMAGE, "y", {}, START))
    assert lives[0] == lives[1]


@pytest.mark.parametrize(("rate", "low", "high"), [(0.0, 0, 0), (0.25, 400, 600), (1.0, 2000, 2000)])
def test_failure_rate_is_a_share_of_the_jobs(rate: float, low: int, high: int) -> None:
    world, account = world_with(2000, failure_rate=rate)
    tasks = [world.create(account, IMAGE, "x", {}, START) for _ in range(2000)]
    assert low <= sum(task.failure is not None for task in tasks) <= high


@pytest.mark.parametrize(
    "options", [{"speed": 0}, {"speed": -1}, {"speed": math.nan}, {"failure_rate": -0.1}, {"failure_rate": 1.1}]
)
def test_nonsense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ServiceState(**options)


def test_two_threads_that_ask_for_a_balance_give_back_once() -> None:
    """As a plain test does, while the fixture's sandbox works in a thread of its own."""
    world, account = world_with(100, failure_rate=1.0)
    world.create(account, catalogue.load().models["z-image"], "A kite", {}, START)
    meeting = threading.Barrier(2)

    class Meeting(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            with suppress(threading.BrokenBarrierError):
                meeting.wait(0.2)
            return super().__getitem__(index)

    world._refunds = Meeting(world._refunds)
    with ThreadPoolExecutor(2) as threads:
        told = list(threads.map(lambda _: world.credits(account, START + 1e6), range(2)))
    assert told == [100, 100]


@pytest.mark.parametrize("number", [-1, math.nan, math.inf, "5"])
def test_credits_that_make_no_sense_are_refused(number: Any) -> None:
    with pytest.raises(ValueError, match="credits is a number from 0 on"):
        Sandbox(credits=number)
    with pytest.raises(ValueError, match="credits is a number from 0 on"):
        Sandbox().add_key("team-b", credits=number)
    assert Sandbox(credits=0).credits == 0


@pytest.mark.parametrize(
    ("instant", "written"),
    [
        (START, "2026-05-11T08:00:00.000Z"),
        (START + 0.25, "2026-05-11T08:00:00.250Z"),
        (0.0, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_instants_are_utc_with_milliseconds(instant: float, written: str) -> None:
    assert timestamp(instant) == written


def test_file_count_follows_max_images_only_where_the_model_has_it() -> None:
    world, account = world_with()
    counts = {
        name: world.create(account, MODELS[name], "x", {"max_images": 3}, START).file_count
        for name in ("seedream-4-0", "z-image")
    }
    assert counts == {"seedream-4-0": 3, "z-image": 1}


def test_params_are_kept_with_the_defaults_of_the_catalogue() -> None:
    world, account = world_with()
    params = {"resolution": "4K", "unknown": 1}
    assert world.create(account, MODELS["nano-banana-pro"], "x", params, START).params == {
        "aspect_ratio": "1:1",
        "resolution": "4K",
        "output_format": "png",
    }


@pytest.mark.parametrize(
    ("params", "expected"),
    [({"seed": 7}, 7), ({"seed": "7"}, 7), ({"seeds": 12345}, 12345), ({"seed": 2.0}, 2), ({"seed": 0}, 0)],
)
def test_the_callers_seed_is_the_pictures_seed(params: dict[str, Any], expected: int) -> None:
    assert derive_seed(0, "task_a", params) == derive_seed(9, "task_b", params) == expected


@pytest.mark.parametrize("params", [{}, {"seed": -1}, {"seed": True}, {"seed": "x"}, {"seed": 10**400}, {"seed": "²"}])
def test_without_a_usable_seed_each_task_has_its_own(params: dict[str, Any]) -> None:
    seeds = {derive_seed(world_seed, task_id, params) for world_seed in (0, 1) for task_id in ("task_a", "task_b")}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)


# --- credits ----------------------------------------------------------------------------------------------------------


def test_without_credits_no_task_is_made() -> None:
    world, account = world_with(7)
    assert world.create(account, MODELS["sora-2"], "x", {}, START).reserved_credits == 6
    assert refusal_of(world.create, account, MODELS["sora-2"], "x", {}, START) == "insufficient_credits"
    assert len(world.tasks) == 1
    assert world.credits(account, START) == 1


def test_a_failed_jobs_credits_come_back_when_it_ends() -> None:
    world, account = world_with(6)
    task = world.create(account, MODELS["sora-2"], FAIL_MARKER, {}, START)
    just_before = math.nextafter(task.ends_at, 0)
    assert [world.credits(account, at) for at in (START, just_before, task.ends_at)] == [0, 0, 6]
    world.create(account, MODELS["sora-2"], "again", {}, task.ends_at)
    assert world.credits(account, task.ends_at + 1e9) == 0


@given(
    st.lists(
        st.tuples(st.floats(0, 60), st.sampled_from(sorted(BY_CATEGORY)), st.booleans(), st.integers(0, 1)), max_size=40
    ),
    st.integers(0, 60),
)
def test_no_credit_is_ever_lost_or_made(steps: list[tuple[float, str, bool, int]], opening: int) -> None:
    world = ServiceState()
    accounts = [world.open_account(name, opening).id for name in ("a", "b")]
    now = START
    for wait, category, fails, which in steps:
        now += wait
        before = world.credits(accounts[which], now)
        model = BY_CATEGORY[category]
        if before < model.price:
            assert refusal_of(world.create, accounts[which], model, "x", {}, now) == "insufficient_credits"
        else:
            world.create(accounts[which], model, FAIL_MARKER if fails else "x", {}, now)
        for account in accounts:
            spent = sum(
                task.reserved_credits
                for task in world.tasks.values()
                if task.account_id == account and task.status(now) != "failed"
            )
            assert world.credits(account, now) == opening - spent >= 0


def test_a_task_is_seen_by_its_own_account_only() -> None:
    world, account = world_with()
    stranger = world.open_account("stranger", 5).id
    task = world.create(account, IMAGE, "x", {}, START)
    assert world.task(account, task.id) is task
    assert world.task(stranger, task.id) is None
    assert world.task(account, "task_unknown") is None


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_minted_key_looks_like_the_services_and_hides_in_reprs() -> None:
    secret = mint(0, "a")
    assert secret.startswith("rvya_sk_")
    assert len(secret) == len("rvya_sk_") + 32
    assert secret == mint(0, "a") != mint(1, "a")
    assert secret not in repr(ApiKey(secret, "acct_1"))


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "rvya_sk_abc"])
def test_what_is_not_a_bearer_key_is_no_key(header: str | None) -> None:
    assert refusal_of(bearer, header) == "api_key_missing"


@pytest.mark.parametrize("header", ["Bearer rvya_sk_abc", "bearer rvya_sk_abc", "BEARER  rvya_sk_abc "])
def test_the_scheme_has_no_case(header: str) -> None:
    assert bearer(header) == "rvya_sk_abc"


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (None, "api_key_invalid"),
        (ApiKey("k", "a", is_revoked=True), "api_key_revoked"),
        (ApiKey("k", "a", is_expired=True), "api_key_expired"),
        (ApiKey("k", "a", ALL_SCOPES - {"credits:read"}), "api_scope_denied"),
    ],
)
def test_keys_that_may_not(key: ApiKey | None, code: str) -> None:
    assert refusal_of(check, key, "credits:read") == code


# --- idempotency ------------------------------------------------------------------------------------------------------


def test_a_kept_answer_is_replayed_for_a_day() -> None:
    memory, answer = IdempotencyStore(), ApiResponse(b"first")
    assert memory.claim(SCOPE, b"body", START) is None
    memory.keep(SCOPE, b"body", answer, START)
    memory.release(SCOPE)
    assert memory.claim(SCOPE, b"body", START + MEMORY - 1) is answer
    assert refusal_of(memory.claim, SCOPE, b"other", START + 1) == "idempotency_conflict"
    assert memory.claim(SCOPE, b"other", START + MEMORY) is None


def test_a_running_first_request_is_a_conflict_until_it_is_over() -> None:
    memory = IdempotencyStore()
    memory.claim(SCOPE, b"body", START)
    assert refusal_of(memory.claim, SCOPE, b"body", START) == "idempotency_conflict"
    memory.release(SCOPE)
    assert memory.claim(SCOPE, b"body", START) is None


def test_keys_of_other_accounts_and_endpoints_are_other_keys() -> None:
    memory = IdempotencyStore()
    memory.claim(SCOPE, b"body", START)
    memory.keep(SCOPE, b"body", ApiResponse(b"first"), START)
    for other in (("acct_2", *SCOPE[1:]), (SCOPE[0], "POST /else", SCOPE[2]), (*SCOPE[:2], "order-43")):
        assert memory.claim(other, b"body", START) is None


# --- limits and codes -------------------------------------------------------------------------------------------------


def test_a_window_fills_and_is_renewed_with_the_minute() -> None:
    limit = RateLimit(2)
    limit.check("a", START + 50)
    limit.check("a", START + 50)
    limit.check("b", START + 50)
    with pytest.raises(ApiError) as caught:
        limit.check("a", START + 50.5)
    assert (caught.value.code, caught.value.headers) == ("rate_limited", {"Retry-After": "10"})
    limit.check("a", START + 60)


def test_no_limit_and_a_senseless_one() -> None:
    limit = RateLimit(None)
    for _ in range(1000):
        limit.check("a", START)
    with pytest.raises(ValueError, match="rate_limit"):
        RateLimit(0)
    for window in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="rate_window"):
            RateLimit(1, window)


def test_a_window_of_any_length() -> None:
    limit = RateLimit(1, 0.5)
    limit.check("a", START + 0.1)
    with pytest.raises(ApiError) as caught:
        limit.check("a", START + 0.4)
    assert caught.value.headers == {"Retry-After": "1"}
    limit.check("a", START + 0.5)


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "rate_limited"), (503, "public_api_disabled"), (502, "internal_error"), (418, "validation_failed")],
)
def test_every_status_has_a_likely_code(status: int, code: str) -> None:
    assert code_for_status(status) == code
