"""The guarantees of both stores."""

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
from rivya_async.workers import DeadLetter, JobRecord, JobState, MemoryStore, RedisStore, RivyaWorker, WorkerStore
from tests.workers.redis_server import RedisServer

QUEUE_NUMBERS = itertools.count()
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
async def store(request: pytest.FixtureRequest) -> AsyncIterator[WorkerStore]:
    if request.param == "memory":
        opened: WorkerStore = MemoryStore()
    else:
        opened = RedisStore(request.getfixturevalue("shared_redis").url, namespace=f"stores-{next(QUEUE_NUMBERS)}")
    await opened.open()
    await opened.open()
    yield opened
    await opened.aclose()
    await opened.aclose()


async def test_unknown_job_has_no_record(store: WorkerStore) -> None:
    assert await store.read([]) == []
    assert await store.read(["kite"]) == [None]
    assert await store.advance("kite", {None}, JobState.PLANNED) == JobRecord(key="kite")
    assert await store.read(["kite", "whale"]) == [JobRecord(key="kite"), None]


async def test_record_round_trip(store: WorkerStore) -> None:
    facts = {
        "intent_at": 1234.5,
        "task_id": "task_1",
        "generation": ENDED,
        "files": (SavedFile("kites/a b.png", 3, "00"),),
        "error_type": "FilesNotSavedError",
        "error": 'a "word" outside ASCII: Ä',
        "status": 402,
    }
    await store.advance("kite", {None}, JobState.PLANNED)
    advanced = await store.advance("kite", {JobState.PLANNED}, JobState.SUCCEEDED, **facts)
    assert advanced == JobRecord(key="kite", state=JobState.SUCCEEDED, **facts)  # type: ignore[arg-type]
    assert await store.read(["kite"]) == [advanced]


async def test_advance_requires_an_expected_state(store: WorkerStore) -> None:
    await store.advance("kite", {None}, JobState.PLANNED)
    await store.advance("kite", {JobState.PLANNED}, JobState.INTENT, intent_at=1.0)
    late = await store.advance("kite", {JobState.PLANNED}, JobState.WITHDRAWN)
    assert (late.state, late.intent_at) == (JobState.INTENT, 1.0)
    assert (await store.advance("kite", {None}, JobState.PLANNED)).state is JobState.INTENT


async def test_advance_without_match_changes_nothing(store: WorkerStore) -> None:
    await store.advance("kite", {None}, JobState.PLANNED)
    assert (await store.advance("kite", set(), JobState.DEAD)).state is JobState.PLANNED
    assert (await store.advance("whale", {JobState.PLANNED}, JobState.INTENT)).state is JobState.PLANNED
    assert await store.read(["whale"]) == [None], "no record was created"


async def test_concurrent_advance_has_one_winner(store: WorkerStore) -> None:
    await store.advance("kite", {None}, JobState.PLANNED)
    claims = [store.advance("kite", {JobState.PLANNED}, JobState.INTENT, intent_at=float(n)) for n in range(20)]
    winners = {record.intent_at for record in await asyncio.gather(*claims)}
    assert len(winners) == 1


async def test_increment_deliveries_keeps_the_state(store: WorkerStore) -> None:
    await store.advance("kite", {None}, JobState.PLANNED)
    assert [await store.increment_deliveries("kite") for _ in range(3)] == [1, 2, 3]
    assert await store.increment_deliveries("kite", -1) == 2
    (record,) = await store.read(["kite"])
    assert record == JobRecord(key="kite", deliveries=2)


async def test_read_changes_misses_none(store: WorkerStore) -> None:
    since, keys = await store.read_changes(math.inf)
    assert list(keys) == []
    await store.advance("kite", {None}, JobState.PLANNED)
    await store.advance("whale", {None}, JobState.PLANNED)
    await store.advance("kite", {JobState.PLANNED}, JobState.INTENT)
    later, keys = await store.read_changes(since)
    assert sorted(keys) == ["kite", "whale"]
    await store.advance("whale", {JobState.PLANNED}, JobState.INTENT)
    assert "whale" in (await store.read_changes(later))[1]


async def test_dead_letters_are_listed_latest_first(store: WorkerStore) -> None:
    letters = [DeadLetter(reason=f"reason {n}", error_type="A", key=f"kite-{n}", at=float(n)) for n in range(3)]
    for letter in letters:
        await store.add_dead_letter(letter)
    assert await store.list_dead_letters(2) == (3, [letters[2], letters[1]])


async def test_workers_are_listed_until_removed(store: WorkerStore) -> None:
    assert await store.list_workers() == {}
    assert await store.record_heartbeat("one", {"active_jobs": 1}) == 1
    assert await store.record_heartbeat("two", {"active_jobs": 2}) == 2
    assert await store.record_heartbeat("one", {"active_jobs": 3}) == 2
    await store.remove_worker("two")
    assert await store.list_workers() == {"one": {"active_jobs": 3}}


async def test_durations_round_trip(store: WorkerStore) -> None:
    assert await store.load_observations() is None
    await store.save_observations({"z-image": [1, 2.5]})
    assert await store.load_observations() == {"z-image": [1, 2.5]}


async def test_memory_store_drops_oldest_ended_records_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rivya_async.workers.memory_store.MAX_ENDED_RECORDS", 2)
    store = MemoryStore()
    await store.advance("open", {None}, JobState.SUBMITTED)
    for n in range(3):
        await store.advance(f"kite-{n}", {None}, JobState.SUCCEEDED)
    records = await store.read(["open", "kite-0", "kite-1", "kite-2"])
    assert [record is not None for record in records] == [True, False, True, True]


async def test_worker_without_heartbeat_expires(monkeypatch: pytest.MonkeyPatch, store: WorkerStore) -> None:
    await store.record_heartbeat("one", {})
    for module in ("memory_store", "redis_store"):
        monkeypatch.setattr(f"rivya_async.workers.{module}.HEARTBEAT_TTL", 0.001)
    await store.record_heartbeat("two", {})
    await asyncio.sleep(0.01)
    expected: dict[str, Any] = (
        {} if isinstance(store, MemoryStore) else {"one": {}}
    )  # Redis sets the expiry at the heartbeat
    assert await store.list_workers() == expected


async def test_redis_over_a_unix_socket(redis: RedisServer) -> None:
    redis.stop()
    redis.start("--unixsocket", str(redis.folder / "redis.sock"))
    url = f"unix://{redis.folder / 'redis.sock'}"
    store = RedisStore(url)
    await store.open()
    assert await store.advance("kite", {None}, JobState.PLANNED) == JobRecord(key="kite")
    await store.aclose()
    worker = RivyaWorker.from_url(url)
    async with worker.lifespan():
        assert await worker.read_jobs(["kite"]) == [JobRecord(key="kite")]


async def test_cancellation_propagates(shared_redis: RedisServer) -> None:
    store = RedisStore(shared_redis.url, namespace="cancel")
    await store.open()
    try:
        for steps in itertools.count():
            call = asyncio.create_task(store.advance(f"kite-{steps}", {None}, JobState.PLANNED))
            for _ in range(steps):
                await asyncio.sleep(0)
            if call.done():
                break
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(call, 5)
        assert steps > 3, "it was cancelled at several moments"
        assert await store.read(["no-such-kite"]) == [None], "the store still responds"
    finally:
        await store.aclose()
