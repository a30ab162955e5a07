"""Downloads: valid files, safe names, no key for other hosts, broken transfers."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any, Final

import attrs
import av
import pytest
from aiohttp import web
from PIL import Image

from rivya_async import (
    ConfigurationError,
    DownloadError,
    Generation,
    GenerationResult,
    InternalServerError,
    NotFoundError,
    OutcomeUnknownError,
    RequestNotSentError,
    RivyaError,
    RivyaSession,
    Timeouts,
)
from rivya_async._engine.transfers.partial_file import PartialFile
from rivya_async.sandbox import Sandbox
from tests.session.session_kit import (
    FILE,
    POLL,
    QUICK_RETRY,
    SLOW,
    ReceivedRequest,
    RecordingHooks,
    open_session,
    plain_server,
    raw_server,
    wait_until,
)

PNG: Final = b"\x89PNG" + bytes(range(256)) * 400


def picture(_: ReceivedRequest) -> web.Response:
    return web.Response(body=PNG, content_type="image/png")


def files(folder: Path) -> list[str]:
    """Returns every file in a folder, hidden ones included."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# --- results of real jobs ---------------------------------------------------------------------------------------------


async def test_saves_valid_image(session: RivyaSession, tmp_path: Path) -> None:
    job = await session.generate("z-image", "A red kite", params={"aspect_ratio": "16:9"})
    (path,) = await session.download(job, tmp_path)
    assert path.parent == tmp_path
    assert path.stem == job.id
    with Image.open(path) as image:
        assert f".{str(image.format).lower().replace('jpeg', 'jpg')}" == path.suffix
        assert image.width > image.height > 0
        image.load()


async def test_saves_valid_video(session: RivyaSession, tmp_path: Path) -> None:
    models = await session.models.list()
    films = [model for model in models if model.category == "video" and model.is_available]
    from_text = [model for model in films if model.api_input_status == "available_text"]
    job = await session.generate(from_text[0].id, "A red kite")
    (path,) = await session.download(job, tmp_path)
    assert path.suffix == ".mp4"
    with av.open(str(path)) as film:
        assert next(film.decode(video=0)).width > 0


async def test_saves_valid_audio(session: RivyaSession, tmp_path: Path) -> None:
    models = await session.models.list()
    model = next(
        m
        for m in models
        if m.category == "audio" and m.is_available and m.max_prompt_length and not any(p.required for p in m.params)
    )
    job = await session.generate(model.id, "A red kite")
    (path,) = await session.download(job, tmp_path)
    with av.open(str(path)) as sound:
        assert sound.streams.audio
        assert next(sound.decode(audio=0)).samples > 0


async def test_saves_every_result(session: RivyaSession, tmp_path: Path) -> None:
    job = await session.generate("seedream-4-0", "A red kite", params={"max_images": 3})
    assert len(job.urls) == 3
    in_folder = await session.download(job, f"{tmp_path}/all/")
    named = await session.download(job, tmp_path / "named" / "kite.png")
    assert [path.stem for path in in_folder] == [job.id, f"{job.id}-2", f"{job.id}-3"]
    assert [path.name for path in named] == ["kite.png", "kite-2.png", "kite-3.png"]
    assert len({path.read_bytes() for path in named}) == 3
    assert [path.read_bytes() for path in in_folder] == [path.read_bytes() for path in named]
    assert len(files(tmp_path)) == 6


async def test_sends_no_key_for_service_files(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    job = await session.generate("z-image", "A red kite")
    await session.download(job, tmp_path)
    requests = [request for request in sandbox.request_log if request.route == FILE]
    assert [request.has_authorization for request in requests] == [False]


async def test_limits_concurrent_downloads(session: RivyaSession, tmp_path: Path) -> None:
    async with plain_server(picture) as server:
        urls = [f"{server.url}/{n}.png" for n in range(100)]
        paths = await asyncio.gather(*(session.download(url, tmp_path) for url in urls))
    assert len({path for (path,) in paths}) == 100
    assert all(path.read_bytes() == PNG for (path,) in paths)
    assert len(files(tmp_path)) == 100


async def test_rejects_open_job(tmp_path: Path) -> None:
    async with Sandbox(speed=SLOW) as slow, open_session(slow) as session:
        job = await session.submit("z-image", "A red kite")
        with pytest.raises(ConfigurationError, match="no files"):
            await session.download(job, tmp_path)
        assert slow.request_log.count(FILE) == 0
    assert files(tmp_path) == []


async def test_rejects_failed_job(session: RivyaSession, sandbox: Sandbox, tmp_path: Path) -> None:
    job = await session.wait_for(await session.submit("z-image", "[fail]"), raise_on_failure=False)
    with pytest.raises(ConfigurationError, match=r"failed.*submit the job again"):
        await session.download(job, tmp_path)


async def test_saves_the_job_of_a_task_id(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    job = await session.generate("z-image", "A red kite")
    (path,) = await session.download(job.id, tmp_path)
    assert path.name == f"{job.id}.png"
    assert await session.download(job, tmp_path) == [path]
    polls = sandbox.request_log.count(POLL)
    with pytest.raises(NotFoundError):
        await session.download("task_none", tmp_path)
    for source, name in [("pictures/kite", None), ("file:kite.png", None), (job.id, "{wrong}{ext}")]:
        with pytest.raises(ConfigurationError):
            await session.download(source, tmp_path, name=name)
    assert sandbox.request_log.count(POLL) == polls + 1


@pytest.mark.parametrize(("urls", "why"), [((), "without a link"), (("http://a.example/1", "data:,a"), "not a URL")])
async def test_rejects_job_without_usable_links(
    session: RivyaSession, tmp_path: Path, urls: tuple[str, ...], why: str
) -> None:
    job = await session.generate("z-image", "A red kite")
    odd = attrs.evolve(job, result=GenerationResult(primary_url="", urls=urls))
    with pytest.raises(ConfigurationError, match=why):
        await session.download(odd, tmp_path)


async def test_failed_file_does_not_affect_others(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    job = await session.generate("seedream-4-0", "A red kite", params={"max_images": 3})
    sandbox.faults.add(route=FILE, status=404, nth=2)
    with pytest.raises(NotFoundError) as raised:
        await session.download(job, tmp_path)
    third, first = files(tmp_path)
    assert third == first.replace(".", "-3.")
    assert all(str(tmp_path / name) in raised.value.__notes__[0] for name in (first, third))
    assert len(await session.download(job, tmp_path)) == len(files(tmp_path)) == 3
    assert sandbox.request_log.count(FILE) == 4


# --- where a file goes ------------------------------------------------------------------------------------------------

TYPES: Final = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "IMAGE/WEBP; charset=binary": ".webp",
    "video/mp4": ".mp4",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "image/jpg": ".jpg",
    "audio/mp3": ".mp3",
    "audio/x-flac": ".flac",
    "application/octet-stream": ".png",
    "text/html": ".png",
}


@pytest.mark.parametrize(("content_type", "suffix"), TYPES.items())
async def test_extension_follows_content(session: RivyaSession, tmp_path: Path, content_type: str, suffix: str) -> None:
    def answer(_: ReceivedRequest) -> web.Response:
        return web.Response(body=PNG, headers={"Content-Type": content_type})

    async with plain_server(answer) as server:
        (path,) = await session.download(f"{server.url}/kite.gif?width=100", tmp_path)
    assert path == tmp_path / f"kite{suffix}"


@pytest.mark.parametrize(
    "path",
    [
        "/../../../etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/passwd",
        "/a/..",
        "/",
        "",
        "/%00%0a.png",
        "/.bashrc",
        "/CON.png",
        "/a%5c..%5cb.png",
        "/" + "x" * 5000,
        "/" + "%F0%9F%90%9E" * 200 + ".png",
        "/%ff%fe.png",
        "/a:b*c?d.png",
        "/-rf.png",
        "/ .png",
    ],
)
async def test_url_cannot_leave_folder(session: RivyaSession, tmp_path: Path, path: str) -> None:
    folder = tmp_path / "one" / "two" / "three"
    async with plain_server(picture) as server:
        (saved,) = await session.download(server.url + path, f"{folder}/")
    assert saved.parent == folder
    assert saved.read_bytes() == PNG
    assert not saved.name.startswith(".")
    assert files(tmp_path) == [f"one/two/three/{saved.name}"]


async def test_task_id_cannot_leave_folder(session: RivyaSession, tmp_path: Path) -> None:
    async with plain_server(picture) as server:
        result = GenerationResult(f"{server.url}/a.png")
        job = Generation(id="../../task/1", status="succeeded", model="m", result=result)
        (saved,) = await session.download(job, f"{tmp_path}/out/")
    assert saved.parent == tmp_path / "out"
    assert files(tmp_path) == [f"out/{saved.name}"]


async def test_keeps_existing_file(session: RivyaSession, tmp_path: Path) -> None:
    async with plain_server(picture) as server:
        url = f"{server.url}/kite.png"
        (tmp_path / "kite.png").write_bytes(b"mine")
        for to in (tmp_path, tmp_path / "kite.png", str(tmp_path / "kite.png")):
            with pytest.raises(ConfigurationError, match="overwrite"):
                await session.download(url, to)
        assert (tmp_path / "kite.png").read_bytes() == b"mine"
        assert await session.download(url, tmp_path, exists="overwrite") == [tmp_path / "kite.png"]
        assert (tmp_path / "kite.png").read_bytes() == PNG
    assert files(tmp_path) == ["kite.png"]


async def test_concurrent_downloads_do_not_overwrite_each_other(session: RivyaSession, tmp_path: Path) -> None:
    bodies = [b"1" * 1000, b"2" * 1000]

    async def answer(seen: ReceivedRequest) -> web.Response:
        await asyncio.sleep(0.02)
        return web.Response(body=bodies[int(seen.path[-1])], content_type="image/png")

    async with plain_server(answer) as server:
        downloads = (session.download(f"{server.url}/{n}", tmp_path / "kite.png") for n in range(2))
        ends = await asyncio.gather(*downloads, return_exceptions=True)
    assert [type(end) for end in ends if isinstance(end, RivyaError)] == [ConfigurationError]
    assert files(tmp_path) == ["kite.png"]
    assert (tmp_path / "kite.png").read_bytes() in bodies


async def test_file_has_default_permissions(session: RivyaSession, tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        async with plain_server(picture) as server:
            (path,) = await session.download(f"{server.url}/kite.png", tmp_path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o644


async def test_folder_name_with_dot(session: RivyaSession, tmp_path: Path) -> None:
    (tmp_path / "v1.2").mkdir()
    async with plain_server(picture) as server:
        assert await session.download(f"{server.url}/kite.png", tmp_path / "v1.2") == [tmp_path / "v1.2" / "kite.png"]
        new = f"{tmp_path}/v1.3/"
        assert await session.download(f"{server.url}/kite.png", new) == [tmp_path / "v1.3" / "kite.png"]


# --- other hosts ------------------------------------------------------------------------------------------------------


async def test_sends_no_key_to_foreign_host(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    def away(seen: ReceivedRequest) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{other.url}/kite.png"})

    async with plain_server(picture) as other, plain_server(away) as first:
        await session.credits.retrieve()
        (path,) = await session.download(f"{first.url}/kite", tmp_path)
        seen = [*first.requests, *other.requests]
    assert path.read_bytes() == PNG
    assert len(seen) == 2
    for each in seen:
        assert not {name.lower() for name in each.headers} & {"authorization", "idempotency-key", "cookie"}
        assert sandbox.api_key not in repr(each)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/kite.png",
        "ftp://a.example/kite.png",
        "file:///etc/passwd",
        "http://",
        "http://[",
        "data:,a",
        "data:image/png;base64," + "A" * 100_000,
    ],
)
async def test_rejects_invalid_url(session: RivyaSession, tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        await session.download(url, tmp_path)
    assert len(str(raised.value)) < 300
    assert files(tmp_path) == []


@pytest.mark.parametrize("odd", [None, 5, b"http://a.example/1.png", ["http://a.example/1.png"]])
async def test_rejects_other_types(session: RivyaSession, tmp_path: Path, odd: Any) -> None:
    with pytest.raises(ConfigurationError):
        await session.download(odd, tmp_path)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://a.example/1", "http://", "//", "?" * 10])
async def test_redirect_without_location(session: RivyaSession, tmp_path: Path, location: str) -> None:
    def away(_: ReceivedRequest) -> web.Response:
        return web.Response(status=302, headers={"Location": location})

    async with plain_server(away) as server:
        with pytest.raises(RivyaError):
            await session.download(f"{server.url}/kite.png", tmp_path)
    assert files(tmp_path) == []


# --- transfers that break ---------------------------------------------------------------------------------------------

BROKEN: Final[dict[str, dict[str, Any]]] = {
    "dropped": {"drop": True},
    "cut at once": {"truncate": 0},
    "cut in the middle": {"truncate": 300},
    "long Content-Length": {"truncate": 10**9, "headers": {"Content-Length": "99999999"}},
    "500": {"status": 500},
    "503 with Retry-After": {"status": 503, "retry_after": 0.01},
    "429": {"status": 429},
    "read time-out": {"delay": 2.0},
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN.keys())
async def test_retries_broken_transfer(sandbox: Sandbox, tmp_path: Path, fault: dict[str, Any]) -> None:
    async with open_session(sandbox) as session:
        job = await session.generate("z-image", "A red kite")
        (whole,) = await session.download(job, f"{tmp_path}/whole/")  # the sandbox renders the file once
    timeouts = Timeouts(read=1.0) if "delay" in fault else Timeouts()
    async with open_session(sandbox, timeouts=timeouts) as session:
        sandbox.faults.add(route=FILE, times=2, **fault)
        (path,) = await session.download(job, f"{tmp_path}/again/")
    assert path.read_bytes() == whole.read_bytes()
    assert sandbox.request_log.count(FILE) == 1 + 3
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"drop": True}, OutcomeUnknownError),
        ({"truncate": 0}, OutcomeUnknownError),
        ({"status": 500}, InternalServerError),
        ({"status": 404}, NotFoundError),
        ({"status": 410, "body": b"gone"}, NotFoundError),
    ],
    ids=str,
)
async def test_failed_transfer_leaves_no_file(
    sandbox: Sandbox, session: RivyaSession, tmp_path: Path, fault: dict[str, Any], kind: type[RivyaError]
) -> None:
    job = await session.generate("z-image", "A red kite")
    sandbox.faults.add(route=FILE, **fault)
    with pytest.raises(kind) as raised:
        await session.download(job, f"{tmp_path}/out/")
    attempts = 1 if kind is NotFoundError else QUICK_RETRY.max_attempts
    assert raised.value.attempts == sandbox.request_log.count(FILE) == attempts
    assert files(tmp_path) == []
    assert raised.value.idempotency_key is None


async def test_unreachable_host(session: RivyaSession, tmp_path: Path) -> None:
    with pytest.raises(RequestNotSentError):
        await session.download("http://127.0.0.1:1/kite.png", tmp_path)


async def test_truncated_body_of_unknown_length(session: RivyaSession, tmp_path: Path) -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: image/png\r\n\r\n5\r\nhello\r\n")
        writer.write(b"0\r\n\r\n" if connections == 3 else b"")
        await writer.drain()

    async with raw_server(talk) as url:
        (path,) = await session.download(f"{url}/kite", tmp_path)
    assert path.read_bytes() == b"hello"
    assert connections == 3


@pytest.mark.parametrize("moment", range(0, 60, 3))
async def test_cancellation_leaves_no_file(sandbox: Sandbox, tmp_path: Path, moment: int) -> None:
    async def dripping(seen: ReceivedRequest) -> web.StreamResponse:
        return web.Response(body=PNG * 20, content_type="image/png")

    async with plain_server(dripping) as server, open_session(sandbox) as session:
        download = asyncio.create_task(session.download(f"{server.url}/kite.png", tmp_path))
        for _ in range(moment):
            await asyncio.sleep(0 if moment < 30 else 0.0005)
        download.cancel()
        (end,) = await asyncio.gather(download, return_exceptions=True)
        await asyncio.sleep(0.01)
        left = files(tmp_path)
        assert left == ["kite.png"] if isinstance(end, list) else left in ([], ["kite.png"])
        if left:  # a thread may have put it in its place just as it was cancelled; then it is whole
            assert (tmp_path / "kite.png").read_bytes() == PNG * 20
        assert not isinstance(end, Exception)


async def test_cancellation_in_mid_transfer(sandbox: Sandbox, tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 300_000)
        await writer.drain()
        await reader.read()

    async with raw_server(talk) as url, open_session(sandbox) as session:
        download = asyncio.create_task(session.download(f"{url}/kite.png", tmp_path))
        await wait_until(lambda: bool(files(tmp_path)))
        assert files(tmp_path)[0].endswith(".part")
        download.cancel()
        await asyncio.gather(download, return_exceptions=True)
        assert files(tmp_path) == []
        assert (await session.generate("z-image", "A red kite")).succeeded


# --- disks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("owner", "call"), [(PartialFile, "write"), (os, "fsync")])
async def test_full_disk_raises_and_leaves_no_file(
    session: RivyaSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, call: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    async with plain_server(picture) as server:
        monkeypatch.setattr(owner, call, full)
        with pytest.raises(DownloadError, match="No space left on device; free disk space"):
            await session.download(f"{server.url}/kite.png", tmp_path)
        assert len(server.requests) == 1
    assert files(tmp_path) == []


async def test_file_does_not_replace_folder(session: RivyaSession, tmp_path: Path) -> None:
    (tmp_path / "kite").mkdir()
    async with plain_server(picture) as server:
        with pytest.raises(ConfigurationError, match="is a folder"):
            await session.download(f"{server.url}/1.png", tmp_path, name="kite", exists="overwrite")
    assert files(tmp_path) == []


async def test_cancellation_waits_for_disk(
    session: RivyaSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancellation returns after the thread that writes to the disk has finished."""
    is_opening, may_open, truly_open = threading.Event(), threading.Event(), PartialFile.open

    def slowly(*arguments: Any) -> PartialFile:
        is_opening.set()
        may_open.wait(5)
        return truly_open(*arguments)

    monkeypatch.setattr(PartialFile, "open", slowly)
    async with plain_server(picture) as server:
        download = asyncio.create_task(session.download(f"{server.url}/kite.png", tmp_path))
        await wait_until(is_opening.is_set)
        download.cancel()
        asyncio.get_running_loop().call_soon(may_open.set)
        with pytest.raises(asyncio.CancelledError):
            await download
    assert files(tmp_path) == []


async def test_rejects_folder_that_is_a_file(session: RivyaSession, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    async with plain_server(picture) as server:
        with pytest.raises(DownloadError, match="choose a folder, not a file"):
            await session.download(f"{server.url}/kite.png", tmp_path / "out" / "kite.png")
    assert files(tmp_path) == ["out"]


async def test_downloads_call_no_request_hooks(sandbox: Sandbox, tmp_path: Path, hooks: RecordingHooks) -> None:
    async with plain_server(picture) as server, open_session(sandbox, hooks=[hooks]) as session:
        await session.download(f"{server.url}/kite.png", tmp_path)
    assert hooks.attempts == []


# --- names by template ------------------------------------------------------------------------------------------------


async def test_formats_name_template(session: RivyaSession, tmp_path: Path) -> None:
    job = await session.generate("seedream-4-0", "A red kite", params={"max_images": 3})
    paths = await session.download(job, tmp_path / "v1.2", name="{model}-{index:02}{ext}")
    assert [path.name for path in paths] == [f"seedream-4-0-0{n}{paths[0].suffix}" for n in (1, 2, 3)]
    assert files(tmp_path) == [f"v1.2/{path.name}" for path in paths]
    async with plain_server(picture) as server:
        (path,) = await session.download(f"{server.url}/kite", tmp_path, name="{task_id}-{model}{ext}")
    assert path.name == "kite-file.png"


@pytest.mark.parametrize("name", ["{task_id}{ext}", "{task}{index}", "../{index}", ""])
async def test_rejects_invalid_name_before_request(
    sandbox: Sandbox, session: RivyaSession, tmp_path: Path, name: str
) -> None:
    job = await session.generate("seedream-4-0", "A red kite", params={"max_images": 2})
    with pytest.raises(ConfigurationError, match="name"):
        await session.download(job, tmp_path, name=name)
    assert sandbox.request_log.count(FILE) == 0
    assert files(tmp_path) == []
