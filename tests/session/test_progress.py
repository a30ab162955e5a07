"""Progress of `map`, `as_completed` and transfers, as a callback and as a bar."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from rivya_async import ConfigurationError, GenerationRequest, Outcome, PollPolicy, RivyaSession
from rivya_async.batch import Batch, Row
from rivya_async.blocking import BlockingSession
from rivya_async.progress import Progress, ProgressBar, track
from rivya_async.sandbox import Sandbox
from rivya_async.testing import FakeService, FakeTransport
from rivya_async.testing.sandbox_thread import run_in_thread

QUICK = PollPolicy(first=0.02, base=0.02, cap=0.1, floor=0.01)

REQUESTS = [GenerationRequest("z-image", prompt) for prompt in ("A kite", "[fail]", "A whale")]


@pytest.mark.parametrize("is_async", [False, True])
async def test_methods_report_each_end(*, is_async: bool) -> None:
    seen: list[Progress] = []

    async def append(progress: Progress) -> None:
        seen.append(progress)

    on_progress = append if is_async else seen.append
    async with Sandbox(speed=1000) as sandbox, RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
        outcomes = [each async for each in session.map(REQUESTS, on_progress=on_progress)]
        assert [(each.done + each.failed, each.open) for each in seen] == [(0, 3), (1, 2), (2, 1), (3, 0)]
        assert (seen[-1].done, seen[-1].failed, seen[-1].credits) == (2, 1, 2)
        assert seen[0].rate is None
        assert seen[-1].rate
        seen.clear()
        ids = [outcome.generation.id for outcome in outcomes if outcome.generation]
        assert len([each async for each in session.as_completed([*ids, *ids], on_progress=on_progress)]) == 3
        assert [(each.done + each.failed, each.open) for each in seen] == [(0, 3), (1, 2), (2, 1), (3, 0)]


async def test_source_without_length_reports_started_jobs() -> None:
    seen: list[Progress] = []
    async with FakeTransport(FakeService()).session(poll=QUICK) as session:
        requests = (request for request in REQUESTS)
        outcomes = [each async for each in session.map(requests, max_in_flight=2, on_progress=seen.append)]
    assert len(outcomes) == 3
    assert [(each.done + each.failed) for each in seen] == [0, 1, 2, 3]
    assert all(each.open <= 2 for each in seen)
    assert seen[-1].open == 0


@pytest.mark.parametrize("method", ["map", "as_completed"])
async def test_error_of_the_callback_ends_the_loop(method: str) -> None:
    def fail(progress: Progress) -> None:
        if progress.done:
            raise ZeroDivisionError

    async with FakeTransport(FakeService()).session(poll=QUICK) as session:
        jobs = [await session.submit("z-image", "A kite") for _ in range(3)]
        items: Any = session.map(REQUESTS[:1], on_progress=fail)
        if method == "as_completed":
            items = session.as_completed(jobs, on_progress=fail)
        with pytest.raises(ZeroDivisionError):
            await anext(items)
        wrong: Any = 5
        with pytest.raises(ConfigurationError, match="on_progress must be a function of one Progress"):
            await anext(getattr(session, method)([], on_progress=wrong))


def test_blocking_methods_report_in_the_calling_thread() -> None:
    threads: set[threading.Thread] = set()
    seen: list[Progress] = []

    def on_progress(progress: Progress) -> None:
        threads.add(threading.current_thread())
        seen.append(progress)

    with (
        run_in_thread(Sandbox(speed=1000)) as sandbox,
        BlockingSession(sandbox.api_key, base_url=sandbox.base_url) as session,
    ):
        jobs = [each.generation for each in session.map(REQUESTS, on_progress=on_progress) if each.generation]
        assert len(list(session.as_completed(jobs, on_progress=on_progress))) == 3
    assert threads == {threading.current_thread()}
    assert [(each.done, each.failed, each.open) for each in (seen[3], seen[-1])] == [(2, 1, 0)] * 2


async def test_batch_awaits_an_async_callback(tmp_path: Path) -> None:
    seen: list[Progress] = []

    async def append(progress: Progress) -> None:
        seen.append(progress)

    async with FakeTransport(FakeService()).session(poll=QUICK) as session, Batch.open(tmp_path / "journal") as batch:
        await batch.add([Row(number=1, line=1, model="z-image", prompt="A kite")])
        assert len([each async for each in batch.run(session, on_progress=append)]) == 1
    assert [each.open for each in seen] == [1, 0]


async def test_track_reports_each_end() -> None:
    seen: list[Progress] = []
    async with Sandbox(speed=1000) as sandbox, RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
        outcomes = [each async for each in track(session.map(REQUESTS), total=3, on_progress=seen.append)]
        ids = [outcome.generation.id for outcome in outcomes if outcome.generation]
        records = [each async for each in track(session.as_completed(ids), on_progress=seen.append)]
    assert len(outcomes) == len(records) == 3
    assert [(each.done + each.failed, each.open) for each in seen[:4]] == [(0, 3), (1, 2), (2, 1), (3, 0)]
    assert (seen[3].done, seen[3].failed, seen[3].credits) == (2, 1, 2)
    assert seen[0].rate is None
    assert seen[3].rate
    assert seen[-1].total == 3


def test_plain_generators_are_tracked() -> None:
    closed: list[bool] = []

    def outcomes() -> Generator[Outcome]:
        try:
            for request in REQUESTS:
                yield Outcome(request, error=LookupError())
        finally:
            closed.append(True)

    seen: list[Progress] = []
    tracked = track(outcomes(), on_progress=seen.append)
    next(tracked)
    tracked.close()
    assert closed
    assert [each.failed for each in seen] == [0, 1]
    assert len(list(track([Outcome(REQUESTS[0])], on_progress=seen.append))) == 1
    assert seen[-2].open == 1


async def test_bar_in_a_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    async with Sandbox(speed=1000) as sandbox, RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
        async for outcome in track(session.map(REQUESTS), total=3, description="[kites]"):
            assert outcome.request.model
        assert "[kites]" in (shown := capsys.readouterr().err)
        assert "3 of 3, 1 failed, 2 credits" in shown
        with ProgressBar("kites") as bar:
            assert len([each async for each in session.map(REQUESTS, on_progress=bar)]) == 3
        assert "3 of 3, 1 failed, 2 credits" in capsys.readouterr().err
        job = await session.generate("z-image", "A red kite")
        with ProgressBar("kite.png") as bar:
            await session.download(job, tmp_path, on_progress=bar)
        assert "MB" in capsys.readouterr().err
        bar(5)
        assert capsys.readouterr().err == ""
    with pytest.raises(ConfigurationError, match="with ProgressBar"):
        ProgressBar()(5)


@pytest.mark.filterwarnings("ignore")  # those of the kernel's packages
async def test_bar_in_a_notebook(tmp_path: Path) -> None:
    code = (
        "from rivya_async import *\nfrom rivya_async.progress import *\n"
        "with ProgressBar('<b>kites</b>', total=9) as bar:\n"
        "    bar(Progress(1, 1, 7, 2, 0.5))\n    bar(Progress(8, 1, 0, 8, 1))"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    await NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).async_execute()
    (output,) = notebook.cells[0].outputs
    assert output.data["text/html"] == (
        '<div>&lt;b&gt;kites&lt;/b&gt; <progress value="9" max="9"></progress> 9 of 9, 1 failed, 8 credits, 1.0/s</div>'
    )


def test_bar_without_rich_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rich.console", None)
    with pytest.raises(ConfigurationError, match=r"rivya-async\[cli\]"), ProgressBar():
        pass


async def test_map_that_is_left_names_the_jobs_that_it_did_not_yield(caplog: pytest.LogCaptureFixture) -> None:
    transport = FakeTransport(FakeService())
    async with transport.session(poll=QUICK) as session:
        async with aclosing(session.map([GenerationRequest("z-image", "A kite")] * 25)) as outcomes:
            read = [(await anext(outcomes)).unwrap().id for _ in range(2)]
            while session.open_jobs:  # noqa: ASYNC110 - no event reports the end of the last job
                await asyncio.sleep(0.01)
        (record,) = caplog.records
        message = record.getMessage()
        ids = message.partition("ended jobs: ")[2].partition(". Paid")[0].split(", ")
        assert len(set(ids)) == 23
        assert not set(ids) & set(read)
        caplog.clear()
        assert len([each async for each in session.map([GenerationRequest("z-image", "A kite")])]) == 1
    assert caplog.records == []
