"""N22: a notebook shows pictures of results and a table of the models."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from rivya_async.sandbox import Sandbox
from tests.chromium import IN_CHROMIUM, Chromium

CELLS = (
    "from rivya_async import *\nsession = RivyaSession()",
    "await session.generate('z-image', 'A red kite')",
    "await session.models.list()",
    "GenerationRequest('z-image', '<script>document.title = \"run\"</script>')",
    "await session.aclose()",
)

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the kernel's packages


async def execute(sandbox: Sandbox, folder: Path) -> nbformat.NotebookNode:
    """Returns the notebook with its outputs."""
    settings = f"import os; os.environ.update(RIVYA_API_KEY={sandbox.api_key!r}, RIVYA_BASE_URL={sandbox.base_url!r})"
    notebook: nbformat.NotebookNode = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in (settings, *CELLS)]
    )
    resources = {"metadata": {"path": str(folder)}}
    await NotebookClient(notebook, timeout=60, resources=resources).async_execute()
    del notebook.cells[0]
    return notebook


async def test_notebook_outputs_hold_the_picture_and_the_table(tmp_path: Path) -> None:
    async with Sandbox(speed=1000) as sandbox:
        _, job, models, request, _ = (await execute(sandbox, tmp_path)).cells
    assert '<img src="http://127.0.0.1:' in job.outputs[0].data["text/html"]
    assert job.outputs[0].data["text/plain"].startswith("Generation(")
    assert models.outputs[0].data["text/html"].count("<tr>") > 50
    assert len(models.outputs[0].data["text/plain"].splitlines()) > 50
    assert "<script" not in request.outputs[0].data["text/html"]


class TestPage:
    pytestmark = IN_CHROMIUM

    async def test_page_loads_the_picture_and_runs_no_text(self, browser: Chromium, tmp_path: Path) -> None:
        async with Sandbox(speed=1000) as sandbox:
            page, _ = HTMLExporter(exclude_input_prompt=True).from_notebook_node(await execute(sandbox, tmp_path))
            (tmp_path / "page.html").write_text(page)
            async with browser.tab((tmp_path / "page.html").as_uri()) as tab:
                await tab.wait_for("document.images.length && document.images[0].naturalWidth > 0")
                assert await tab.evaluate("document.querySelectorAll('table').length") == 3
                assert await tab.evaluate("document.title") != "run"
                await tab.screenshot(tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 10_000
