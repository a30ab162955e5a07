"""Result files: rendering, ranges, expiring links and the cache."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rivya_async.sandbox import FAIL_MARKER, Sandbox, results
from rivya_async.sandbox.media import Artifact, RenderRequest
from rivya_async.sandbox.results import RenderCache
from tests.sandbox.sandbox_client import HttpReply, SandboxClient, running_sandbox

DAY = 24 * 3600.0


def render_stub(brief: RenderRequest) -> Artifact:
    """Returns ten bytes, equal for equal arguments, instead of an image."""
    return Artifact(f"{brief.index}:{brief.seed % 10**8:08d}".encode(), "image/png")


@pytest.fixture
def fast_render(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "render", render_stub)


async def submit_and_finish(client: SandboxClient, **body: Any) -> HttpReply:
    """Submits a task and returns its status after its end."""
    task_id = await client.submit_task(**body)
    client.clock.now += 3600
    return await client.poll(task_id)


async def download(client: SandboxClient, url: str, **headers: str) -> HttpReply:
    async with client.http.get(url, headers=headers) as response:
        return HttpReply(response.status, response.headers, await response.read())


async def test_result_is_png() -> None:
    async with running_sandbox() as client:
        done = (await submit_and_finish(client)).json
        picture = await download(client, done["result"]["primary_url"])
        assert (picture.status, picture.headers["Content-Type"]) == (200, "image/png")
        assert picture.raw.startswith(b"\x89PNG\r\n\x1a\n")
        assert int(picture.headers["Content-Length"]) == len(picture.raw)


@pytest.mark.usefixtures("fast_render")
async def test_several_images_have_several_urls() -> None:
    async with running_sandbox() as client:
        done = (await submit_and_finish(client, model="seedream-4-0", params={"max_images": 3, "seed": 7})).json
        urls = done["result"]["urls"]
        assert [url.rpartition("/")[2] for url in urls] == ["0.png", "1.png", "2.png"]
        assert [(await download(client, url)).raw for url in urls] == [b"0:00000007", b"1:00000007", b"2:00000007"]


@pytest.mark.usefixtures("fast_render")
async def test_rejects_results_before_success_and_unknown_names() -> None:
    async with running_sandbox() as client:
        task_id = await client.submit_task()
        assert (await download(client, f"/results/{task_id}/0.png")).code == "not_found"
        client.clock.now += 3600
        assert (await download(client, f"/results/{task_id}/0.png")).status == 200
        for name in ("1.png", "0.jpg", "0", "-1.png", "00.png"):
            assert (await download(client, f"/results/{task_id}/{name}")).code == "not_found"
        assert (await download(client, "/results/task_missing/0.png")).code == "not_found"
        failed = (await submit_and_finish(client, prompt=FAIL_MARKER)).json
        assert (await download(client, f"/results/{failed['id']}/0.png")).code == "not_found"


@pytest.mark.usefixtures("fast_render")
@pytest.mark.parametrize(
    ("headers", "status", "start", "stop"),
    [
        ({"Range": "bytes=0-3"}, 206, 0, 4),
        ({"Range": "bytes=4-"}, 206, 4, 10),
        ({"Range": "bytes=-3"}, 206, 7, 10),
        ({"Range": "bytes=8-99"}, 206, 8, 10),
        ({"Range": "bytes=10-"}, 416, 0, 0),
        ({"Range": "bytes=x"}, 200, 0, 10),
        ({"Range": "bytes=0-3", "If-Range": '"another file"'}, 200, 0, 10),
        ({}, 200, 0, 10),
    ],
)
async def test_serves_ranges(headers: dict[str, str], status: int, start: int, stop: int) -> None:
    async with running_sandbox() as client:
        url = (await submit_and_finish(client, model="seedream-3-0", params={"seed": 5})).json["result"]["primary_url"]
        whole = b"0:00000005"
        part = await download(client, url, **headers)
        assert (part.status, part.raw) == (status, whole[start:stop])
        assert part.headers["Accept-Ranges"] == "bytes"
        assert part.headers.get("Content-Range") == {
            206: f"bytes {start}-{stop - 1}/10",
            416: "bytes */10",
        }.get(status)
        resumed = await download(client, url, Range="bytes=1-", **{"If-Range": part.headers["ETag"]})
        assert (resumed.status, resumed.raw) == (206, whole[1:])


@pytest.mark.usefixtures("fast_render")
async def test_links_expire() -> None:
    async with running_sandbox(link_lifetime=60) as client:
        job = (await submit_and_finish(client)).json
        url = job["result"]["primary_url"]
        assert (await download(client, url)).status == 200
        client.clock.now += 60
        expired = await download(client, url)
        assert (expired.status, expired.raw) == (403, b"The link has expired.\n")
        fresh = (await client.poll(job["id"])).json["result"]["primary_url"]
        assert (await download(client, fresh)).status == 200
        for odd in ("", "?expires=", "?expires=never", "?expires=nan"):
            assert (await download(client, url.partition("?")[0] + odd)).status == 403


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_rejects_invalid_link_lifetime(seconds: float) -> None:
    with pytest.raises(ValueError, match="link_lifetime"):
        Sandbox(link_lifetime=seconds)


async def test_renders_once_and_evicts_least_recently_used(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[int] = []

    def counting_render(brief: RenderRequest) -> Artifact:
        rendered.append(brief.index)
        return render_stub(brief)

    monkeypatch.setattr(results, "render", counting_render)
    async with running_sandbox() as client:
        done = (await submit_and_finish(client, model="seedream-4-0", params={"max_images": 3})).json
        task, cache = client.sandbox.service_state.tasks[done["id"]], RenderCache(max_bytes=20)
        for index in (0, 1, 0, 2, 0, 1):
            await cache.get(task, f"{index}.png")
        assert rendered == [0, 1, 2, 1]


async def test_missing_renderer_names_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing_render(brief: RenderRequest) -> Artifact:
        raise ImportError("install rivya-async[sandbox]")

    monkeypatch.setattr(results, "render", missing_render)
    async with running_sandbox() as client:
        rejected = await download(client, (await submit_and_finish(client)).json["result"]["primary_url"])
        assert (rejected.status, rejected.code) == (500, "internal_error")
        assert "rivya-async[sandbox]" in rejected.json["error"]["message"]
