"""What both stores promise: no order loses a state, no two of them agree that they were first."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from rivya_async import Generation, GenerationResult
from rivya_async._core.types.generations import SavedFile
from rivya_async.workers import DeadLetter, JobRecord, JobState, MemoryStore, RedisStore, RivyaWorker, Store
from tests.workers.redis_server import RedisServer

QUEUES = itertools.count()
ENDED = Generation(
    id="task_1",
    status="succeeded",
    model="z-image",
    final_credits=1,
    created_at=datetime(2026, 5, 11, 8, tzinfo=UTC),
    result=GenerationResult("https://rivya.ai/f/1.png", ("https://rivya.ai/f/1.png",)),
    extra={"later": [1]},
)


@pytest_asyncio.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        made: Store = MemoryStore()
    else:
        made = RedisStore(request.getfixturevalue("shared_redis").url, namespace=f"stores-{next(QUEUES)}")
    await made.open()
    await made.open()
    yield made
    await made.aclose()
    await made.aclose()


async def test_nobody_knows_an_order_before_it_is_noted(store: Store) -> None:
    assert await store.read([]) == []
    assert await store.read(["kite"]) == [None]
    assert await store.advance("kite", {None}, JobState.QUEUED) == JobRecord(key="kite")
    assert await store.read(["kite", "whale"]) == [JobRecord(key="kite"), None]


async def test_a_record_keeps_all_that_it_is_told(store: Store) -> None:
    told = {
        "intent_at": 1234.5,
        "task_id": "task_1",
        "generation": ENDED,
        "files": (SavedFile("kites/a b.png", 3, "00"),),
        "error_code": "not_saved",
        "error": 'a "word" that is no ASCII: Ä',
        "status": 402,
    }
    await store.advance("kite", {None}, JobState.QUEUED)
    moved = await store.advance("kite", {JobState.QUEUED}, JobState.SUCCEEDED, **told)
    assert moved == JobRecord(key="kite", state=JobState.SUCCEEDED, **told)  # type: ignore[arg-type]
    assert await store.read(["kite"]) == [moved]


async def test_only_from_an_expected_state_a_record_moves(store: Store) -> None:
    await store.advance("kite", {None}, JobState.QUEUED)
    await store.advance("kite", {JobState.QUEUED}, JobState.INTENT, intent_at=1.0)
    late = await store.advance("kite", {JobState.QUEUED}, JobState.WITHDRAWN)
    assert (late.state, late.intent_at) == (JobState.INTENT, 1.0)
    assert (await store.advance("kite", {None}, JobState.QUEUED)).state is JobState.INTENT


async def test_a_state_that_is_not_there_is_no_part_of_another(store: Store) -> None:
    await store.advance("kite", {None}, JobState.QUEUED)
    assert (await store.advance("kite", set(), JobState.DEAD)).state is JobState.QUEUED
    assert (await store.advance("whale", {JobState.QUEUED}, JobState.INTENT)).state is JobState.QUEUED
    assert await store.read(["whale"]) == [None], "nothing was made of what was not there"


async def test_of_many_who_want_the_same_one_is_first(store: Store) -> None:
    await store.advance("kite", {None}, JobState.QUEUED)
    claims = [store.advance("kite", {JobState.QUEUED}, JobState.INTENT, intent_at=float(n)) for n in range(20)]
    won = {record.intent_at for record in await asyncio.gather(*claims)}
    assert len(won) == 1


async def test_deliveries_are_counted_beside_the_state(store: Store) -> None:
    await store.advance("kite", {None}, JobState.QUEUED)
    assert [await store.count_delivery("kite") for _ in range(3)] == [1, 2, 3]
    assert await store.count_delivery("kite", -1) == 2
    (record,) = await store.read(["kite"])
    assert record == JobRecord(key="kite", deliveries=2)


async def test_who_looks_now_and_then_misses_no_change(store: Store) -> None:
    moment, found = await store.changed_since(math.inf)
    assert list(found) == []
    await store.advance("kite", {None}, JobState.QUEUED)
    await store.advance("whale", {None}, JobState.QUEUED)
    await store.advance("kite", {JobState.QUEUED}, JobState.INTENT)
    later, found = await store.changed_since(moment)
    assert sorted(found) == ["kite", "whale"]
    await store.advance("whale", {JobState.QUEUED}, JobState.INTENT)
    assert "whale" in (await store.changed_since(later))[1]


async def test_dead_letters_are_kept_the_latest_first(store: Store) -> None:
    letters = [DeadLetter(reason=f"reason {n}", code="poison", key=f"kite-{n}", at=float(n)) for n in range(3)]
    for letter in letters:
        await store.bury(letter)
    assert await store.dead_letters(2) == (3, [letters[2], letters[1]])


async def test_workers_are_known_until_they_leave(store: Store) -> None:
    assert await store.beats() == {}
    assert await store.beat("one", {"carrying": 1}) == 1
    assert await store.beat("two", {"carrying": 2}) == 2
    assert await store.beat("one", {"carrying": 3}) == 2
    await store.leave("two")
    assert await store.beats() == {"one": {"carrying": 3}}


async def test_what_was_learned_is_handed_on(store: Store) -> None:
    assert await store.load_durations() is None
    await store.save_durations({"z-image": [1, 2.5]})
    assert await store.load_durations() == {"z-image": [1, 2.5]}


async def test_memory_forgets_the_oldest_ends_and_no_open_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async.workers.memory_store.MOST_ENDED", 2)
    store = MemoryStore()
    await store.advance("open", {None}, JobState.BOUGHT)
    for n in range(3):
        await store.advance(f"kite-{n}", {None}, JobState.SUCCEEDED)
    known = await store.read(["open", "kite-0", "kite-1", "kite-2"])
    assert [record is not None for record in known] == [True, False, True, True]


async def test_a_worker_that_says_nothing_is_dead_after_a_while(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    await store.beat("one", {})
    for room in ("memory_store", "redis_store"):
        monkeypatch.setattr(f"rivya_async.workers.{room}.BEAT_LASTS", 0.001)
    await store.beat("two", {})
    await asyncio.sleep(0.01)
    expected: dict[str, Any] = (
        {} if isinstance(store, MemoryStore) else {"one": {}}
    )  # Redis was told at the time how long it counts
    assert await store.beats() == expected


async def test_redis_can_be_reached_by_a_socket_of_this_machine(redis: RedisServer) -> None:
    redis.stop()
    redis.start("--unixsocket", str(redis.folder / "redis.sock"))
    url = f"unix://{redis.folder / 'redis.sock'}"
    store = RedisStore(url)
    await store.open()
    assert await store.advance("kite", {None}, JobState.QUEUED) == JobRecord(key="kite")
    await store.aclose()
    worker = RivyaWorker.at(url)
    async with worker.started():
        assert await worker.read(["kite"]) == [JobRecord(key="kite")]
