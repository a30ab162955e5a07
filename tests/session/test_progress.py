"""Progress of `map`, `as_completed` and transfers, as a callback and as a bar."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from rivya_async import ConfigurationError, GenerationRequest, Outcome, RivyaSession
from rivya_async.progress import Progress, ProgressBar, track
from rivya_async.sandbox import Sandbox

REQUESTS = [GenerationRequest("z-image", prompt) for prompt in ("A kite", "[fail]", "A whale")]


async def test_map_reports_each_end() -> None:
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
        job = await session.generate("z-image", "A red kite")
        with ProgressBar("kite.png") as bar:
            await session.download(job, tmp_path, on_progress=bar)
        assert "MB" in capsys.readouterr().err
        bar(5)
        assert capsys.readouterr().err == ""


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
