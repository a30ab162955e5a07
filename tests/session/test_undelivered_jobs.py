"""N1: after an interruption, a session names every job that it bought and has not returned; `map` saves files."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from rivya_async import (
    ConfigurationError,
    DownloadError,
    GenerationFailedError,
    GenerationRequest,
    PollPolicy,
    RivyaSession,
)
from rivya_async.testing import FakeRequest, FakeResponse, FakeService, FakeTransport

QUICK = PollPolicy(first=0.01, base=0.01, floor=0.01)
KITE = GenerationRequest("z-image", "A kite")


def undelivered(session: RivyaSession) -> list[str]:
    return [job.task_id for job in session.undelivered_jobs]


async def test_map_that_is_left_leaves_the_jobs_that_it_did_not_yield(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeTransport(FakeService()).session(poll=QUICK) as session:
        async with aclosing(session.map([KITE] * 5)) as outcomes:
            read = (await anext(outcomes)).unwrap().id
            while session.open_jobs:  # noqa: ASYNC110 - no event reports the end of the last job
                await asyncio.sleep(0.01)
            assert len(undelivered(session)) == 4
            second = (await anext(outcomes)).unwrap().id
        rest = undelivered(session)
        assert len({read, second, *rest}) == 5
        assert (await session.wait_for(rest[0])).succeeded
        assert (await session.generations.retrieve(rest[1])).succeeded
        assert undelivered(session) == rest[2:]
        assert [each.id async for each in session.as_completed(rest[2:])] == rest[2:]
        assert undelivered(session) == []
    assert "3 ended jobs" in caplog.text


async def test_every_outcome_of_a_map_is_delivered() -> None:
    async with FakeTransport(FakeService()).session(poll=QUICK) as session:
        requests = [KITE, GenerationRequest("z-image", "[fail]"), GenerationRequest("no-model", "A kite")]
        assert len([outcome async for outcome in session.map(requests, ordered=True)]) == 3
        assert session.undelivered_jobs == ()


async def test_map_saves_the_files_of_each_job_before_it_yields_it(tmp_path: Path) -> None:
    async with FakeTransport(FakeService()).session(poll=QUICK) as session:
        requests = [KITE, KITE, GenerationRequest("z-image", "[fail]")]
        async for outcome in session.map(requests, to=tmp_path):
            assert isinstance(outcome.error, GenerationFailedError) or any(tmp_path.glob(f"{outcome.unwrap().id}.*"))
        assert len(list(tmp_path.iterdir())) == 2


async def test_map_returns_a_failed_download_with_the_ended_job(tmp_path: Path) -> None:
    service = FakeService()

    async def without_files(request: FakeRequest) -> FakeResponse:
        return FakeResponse(404) if "/results/" in request.path else await service(request)

    async with FakeTransport(without_files).session(poll=QUICK) as session:
        (outcome,) = [each async for each in session.map([KITE], to=tmp_path)]
        assert isinstance(outcome.error, DownloadError)
        assert outcome.generation is not None
        assert outcome.generation.succeeded
        assert outcome.error.task_id == outcome.generation.id


@pytest.mark.parametrize("options", [{"to": "kite.png"}, {"to": 3}, {"exists": "keep"}, {"to": "a/", "exists": "no"}])
async def test_map_refuses_a_target_that_is_no_folder(options: dict[str, str]) -> None:
    async with FakeTransport(FakeService()).session() as session:
        with pytest.raises(ConfigurationError):
            await anext(session.map([KITE], **options))  # type: ignore[arg-type] # the wrong values are the point


async def test_generate_that_is_cancelled_while_it_saves_leaves_its_job(tmp_path: Path) -> None:
    service, started = FakeService(), asyncio.Event()

    async def slow_files(request: FakeRequest) -> FakeResponse:
        if "/results/" in request.path:
            started.set()
            await asyncio.Event().wait()
        return await service(request)

    async with FakeTransport(slow_files).session(poll=QUICK) as session:
        task = asyncio.create_task(session.generate("z-image", "A kite", to=tmp_path))
        await started.wait()
        assert session.open_jobs == ()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert undelivered(session) == ["task_1"]
        with pytest.raises(GenerationFailedError):
            await session.generate("z-image", "[fail]", to=tmp_path)
        assert undelivered(session) == ["task_1"]
