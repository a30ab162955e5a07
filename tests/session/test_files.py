"""Uploads: sources, validation, retries, and references that jobs share."""

from __future__ import annotations

import asyncio
import io
import os
import pickle
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

import pytest
from aiohttp import web

from rivya_async import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    File,
    GenerationRequest,
    InvalidRequestError,
    NotFoundError,
    OutcomeUnknownError,
    ReferenceMedia,
    RequestNotSentError,
    RetryPolicy,
    RivyaError,
    RivyaSession,
    SessionClosedError,
    Timeouts,
)
from rivya_async._core import assumptions
from rivya_async._core.assumptions import MEGABYTE
from rivya_async._core.generation_request import Reference
from rivya_async.sandbox import Sandbox
from rivya_async.sandbox.request_log import LoggedUpload
from tests.media_kit import MIME_TYPES, media, padded, picture
from tests.session.session_kit import (
    MODELS,
    SUBMIT,
    UPLOAD,
    ReceivedRequest,
    RecordingHooks,
    open_session,
    plain_server,
    raw_server,
    wait_until,
)

PNG: Final = media("png")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "kite.png"
    path.write_bytes(PNG)
    return path


def uploads(sandbox: Sandbox) -> list[LoggedUpload]:
    """Returns the complete uploads in order."""
    return [request.upload for request in sandbox.request_log if request.upload is not None]


async def in_pieces(data: bytes, length: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), length):
        yield data[start : start + length]
        yield b""  # says nothing, and is not the end
        await asyncio.sleep(0)


def open_files(path: Path) -> int:
    """Returns the number of open handles of a file."""
    return [os.path.realpath(handle) for handle in Path("/proc/self/fd").iterdir()].count(str(path))


# --- what can be uploaded ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", [extension for extension in MIME_TYPES if extension != "mkv"])
async def test_detects_every_documented_type(session: RivyaSession, extension: str) -> None:
    file = await session.files.upload(media(extension))
    assert file.mime_type == MIME_TYPES[extension]
    assert file.kind == MIME_TYPES[extension].partition("/")[0]
    assert (file.duration_token is None) is (file.kind == "image")
    assert file.duration_token is None or file.duration_token not in repr(file)
    assert await session.files.retrieve(file.id) == file


class Pipe(io.RawIOBase):
    """A binary file that cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        return self._data.readinto(room)


def standing_at(data: bytes, start: int) -> BinaryIO:
    file = io.BytesIO(b"?" * start + data)
    file.seek(start)
    return file


LONG: Final = PNG + bytes(700_000)


@pytest.mark.parametrize(
    "source",
    [
        lambda _: LONG,
        lambda _: bytearray(LONG),
        lambda _: memoryview(LONG),
        lambda path: path,
        str,
        lambda path: io.BytesIO(LONG),
        lambda path: standing_at(LONG, 100),
        lambda path: io.BufferedReader(Pipe(LONG)),
        lambda path: Pipe(LONG),
        lambda path: in_pieces(LONG),
        lambda path: in_pieces(LONG, 300_000),
    ],
    ids=range(11),
)
async def test_uploads_every_source(
    sandbox: Sandbox, session: RivyaSession, tmp_path: Path, source: Callable[[Path], Any]
) -> None:
    path = tmp_path / "long.png"
    path.write_bytes(LONG)
    progress: list[tuple[int, int | None]] = []
    file = await session.files.upload(source(path), on_progress=lambda sent, total: progress.append((sent, total)))
    assert file.size_bytes == len(LONG)
    assert await session.download(file.url, tmp_path / "back.png") == [tmp_path / "back.png"]
    assert (tmp_path / "back.png").read_bytes() == LONG
    assert [sent for sent, _ in progress] == sorted({sent for sent, _ in progress})
    assert progress[-1][0] == len(LONG)
    assert {total for _, total in progress} in ({len(LONG)}, {None})
    assert open_files(path) == 0


async def test_leaves_given_file_open(session: RivyaSession, photo: Path) -> None:
    with photo.open("rb") as file:
        assert (await session.files.upload(file)).name == "kite.png"
        assert not file.closed
        file.seek(0)
        assert (await session.files.upload(file, filename="other.png")).name == "other.png"


async def test_filenames(sandbox: Sandbox, session: RivyaSession, photo: Path) -> None:
    for name in ["kite.png", 'a"b.png', "ein Drachen, blå.png", "../kite.png"]:
        await session.files.upload(photo, filename=name)
    await session.files.upload(PNG)
    assert [upload.name for upload in uploads(sandbox)] == [
        "kite.png",
        "a_b.png",
        "ein Drachen, blå.png",
        "kite.png",
        "file.png",
    ]


async def test_sent_form_fields(photo: Path) -> None:
    def answer(seen: ReceivedRequest) -> web.Response:
        return web.json_response({"file_id": "file_1", "url": "https://rivya.ai/f/1"})

    async with plain_server(answer) as server, RivyaSession("rvya_sk_x", base_url=server.url) as session:
        file = await session.files.upload(photo, kind="image", client_request_id="order-1")
        assert file == File("file_1", "https://rivya.ai/f/1", "image")
        await session.files.upload(in_pieces(PNG * 200))
    known, unknown = server.requests
    assert known.headers["Authorization"] == "Bearer rvya_sk_x"
    assert known.headers["Content-Length"] == str(len(known.body))
    assert known.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert "Idempotency-Key" not in known.headers
    assert known.body.index(b'name="kind"') < known.body.index(b'name="file"')
    assert b'name="client_request_id"\r\n\r\norder-1' in known.body
    assert b'filename="kite.png"' in known.body
    assert b"Content-Type: image/png" in known.body
    assert unknown.headers["Transfer-Encoding"] == "chunked"


async def test_awaits_async_listener(session: RivyaSession) -> None:
    progress: list[int] = []

    async def on_progress(sent: int, _total: int | None) -> None:
        await asyncio.sleep(0)
        progress.append(sent)

    await session.files.upload(LONG, on_progress=on_progress)
    assert progress == [262144, 524288, len(LONG)]


# --- refused before the first byte ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "options", "raises"),
    [
        ("missing.png", {}, (ConfigurationError, r"cannot be read: .*missing\.png")),
        (".", {}, (ConfigurationError, "is not a file")),
        ("", {}, (ConfigurationError, "is not the path")),
        ("a\0b", {}, (ConfigurationError, "is not the path")),
        ("https://a.example/1.png", {}, (ConfigurationError, "download it first")),
        (5, {}, (ConfigurationError, "not int")),
        (["a.png"], {}, (ConfigurationError, "not list")),
        (io.StringIO("text"), {}, (ConfigurationError, "binary mode")),
        (b"", {}, (InvalidRequestError, "it is empty")),
        (b"hello", {}, (ConfigurationError, "pass its kind")),
        (
            b"GIF89a" + bytes(300),
            {"model": "kling-3-0"},
            (InvalidRequestError, "image/gif is not accepted, convert it to image/jpeg"),
        ),
        (PNG, {"kind": "video"}, (InvalidRequestError, "not of kind 'video'")),
        (PNG, {"kind": "picture"}, (ConfigurationError, "kind must be one of")),
        (PNG, {"client_request_id": "x" * 129}, (ConfigurationError, "128")),
        (PNG, {"on_progress": 5}, (ConfigurationError, "on_progress")),
        (PNG, {"model": 5}, (ConfigurationError, "must be a string")),
        (PNG, {"model": "qwen-imgae"}, (NotFoundError, "did you mean")),
        (PNG, {"model": "z-image"}, (InvalidRequestError, "z-image takes no file of kind 'image'")),
        (media("webm"), {"model": "wan-2-6"}, (InvalidRequestError, "video/webm is not accepted")),
        (PNG + bytes(10 * MEGABYTE), {"model": "kling-3-0"}, (InvalidRequestError, "more than the 10,485,760")),
        (padded(media("mp4"), 11 * MEGABYTE), {"model": "wan-2-6"}, (InvalidRequestError, "more than the 10,485,760")),
    ],
    ids=range(21),
)
async def test_rejected_file_sends_nothing(
    sandbox: Sandbox, session: RivyaSession, source: Any, options: dict[str, Any], raises: tuple[type[RivyaError], str]
) -> None:
    with pytest.raises(raises[0], match=raises[1]):
        await session.files.upload(source, **options)
    assert sandbox.request_log.count(UPLOAD) == 0


async def test_model_limit_exceeds_default(sandbox: Sandbox, session: RivyaSession) -> None:
    big = PNG + bytes(29 * MEGABYTE)
    assert (await session.files.upload(big, model="nano-banana-2")).model == "nano-banana-2"
    assert (await session.files.upload(media("mkv"), model="wan-2-6")).mime_type == "video/x-matroska"
    assert sandbox.request_log.count(MODELS) == 1


async def test_unknown_limit_warns_above_the_default(sandbox: Sandbox, session: RivyaSession) -> None:
    with (
        pytest.warns(UserWarning, match="10,485,[0-9]+ bytes: the documented default limit for kind 'image'"),
        pytest.raises(BadRequestError, match="too large"),
    ):
        await session.files.upload(PNG + bytes(10 * MEGABYTE))
    assert (await session.files.upload(media("mkv"))).mime_type == "video/x-matroska"
    assert sandbox.request_log.count(UPLOAD) == 2


async def test_unreadable_catalogue_skips_model_limits(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=MODELS, status=500)
    async with open_session(sandbox, retry=RetryPolicy(max_attempts=1)) as session:
        assert (await session.files.upload(PNG, model="qwen-image")).model == "qwen-image"
        with pytest.raises(BadRequestError, match="z-image takes no file"):
            await session.files.upload(PNG, model="z-image")
    assert sandbox.request_log.count(UPLOAD) == 2


async def test_limits_source_of_unknown_size(sandbox: Sandbox, session: RivyaSession) -> None:
    with pytest.raises(InvalidRequestError, match="more than the 10,485,760 bytes"):
        await session.files.upload(in_pieces(PNG + bytes(11 * MEGABYTE), 100_000), model="kling-3-0")
    await wait_until(lambda: not sandbox.request_log.in_flight)
    assert sandbox.request_log.uploads == 0


async def test_needs_api_key(sandbox: Sandbox) -> None:
    async with RivyaSession(base_url=sandbox.base_url) as session:
        with pytest.raises(ConfigurationError, match="RIVYA_API_KEY"):
            await session.files.upload(PNG)


# --- sources that fail ------------------------------------------------------------------------------------------------


async def test_growing_file_raises(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    path.write_bytes(LONG)

    def grow(sent: int, _: int | None) -> None:
        with path.open("ab") as file:
            file.write(bytes(1000))

    with pytest.raises(ConfigurationError, match="had 700,") as raised:
        await session.files.upload(path, on_progress=grow)
    assert raised.value.attempts == 1
    await wait_until(lambda: not sandbox.request_log.in_flight)
    assert (sandbox.request_log.count(UPLOAD), sandbox.request_log.uploads) == (1, 0)
    assert open_files(path) == 0


async def test_shrinking_file_raises(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    path.write_bytes(LONG)
    with pytest.raises(ConfigurationError, match="changed while it was uploaded"):
        await session.files.upload(path, on_progress=lambda *_: os.truncate(path, 300_000))
    await wait_until(lambda: not sandbox.request_log.in_flight)
    assert sandbox.request_log.uploads == 0


async def test_deleted_file_raises(sandbox: Sandbox, photo: Path) -> None:
    sandbox.faults.add(route=UPLOAD, drop=True, act=True, times=1)
    async with open_session(sandbox) as session:
        with pytest.raises(ConfigurationError, match="cannot be read"):
            await session.files.upload(photo, on_progress=lambda *_: photo.unlink())


class UserError(Exception):
    """An exception of user code."""


async def test_user_exception_propagates(sandbox: Sandbox, session: RivyaSession) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield LONG
        raise UserError

    def listener(_sent: int, _total: int | None) -> None:
        raise UserError

    async def slow_listener(_sent: int, _total: int | None) -> None:
        raise TimeoutError("of the user's own")

    with pytest.raises(UserError):
        await session.files.upload(breaks())
    with pytest.raises(UserError):
        await session.files.upload(LONG, on_progress=listener)
    with pytest.raises(ConfigurationError, match="of the user's own"):
        await session.files.upload(LONG, on_progress=slow_listener)
    await wait_until(lambda: not sandbox.request_log.in_flight)
    assert (sandbox.request_log.count(UPLOAD), sandbox.request_log.uploads) == (3, 0)


@pytest.mark.parametrize("piece", ["text", 5, None])
async def test_rejects_iterator_of_other_types(session: RivyaSession, piece: Any) -> None:
    async def pieces() -> AsyncIterator[Any]:
        yield LONG
        yield piece

    with pytest.raises(ConfigurationError, match="an upload is made of bytes"):
        await session.files.upload(pieces())


# --- repeated, cut, cancelled -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rewinds", [True, False])
async def test_retry_rewinds_to_start_position(
    sandbox: Sandbox, session: RivyaSession, tmp_path: Path, rewinds: bool
) -> None:
    sandbox.faults.add(route=UPLOAD, drop=True, receive=100_000, times=2)
    if rewinds:
        progress: list[int] = []
        file = await session.files.upload(standing_at(LONG, 9), on_progress=lambda sent, _: progress.append(sent))
        assert file.size_bytes == len(LONG)
        assert progress[-1] == len(LONG)
        assert sandbox.request_log.count(UPLOAD) == 3
    else:
        with pytest.raises(OutcomeUnknownError) as raised:
            await session.files.upload(in_pieces(LONG, 50_000))
        assert raised.value.attempts == 1
        assert sandbox.request_log.count(UPLOAD) == 1


async def test_single_use_source_waits_for_service(hooks: RecordingHooks) -> None:
    sandbox = Sandbox()
    async with sandbox:
        await sandbox.aclose()
        patient = RetryPolicy(max_attempts=1000, base=0.01, cap=0.02)
        async with open_session(sandbox, hooks=[hooks], retry=patient) as session:
            sending = asyncio.create_task(session.files.upload(in_pieces(LONG, 50_000)))
            await wait_until(lambda: len(hooks.retries) > 3)
            await sandbox.start()
            assert (await sending).size_bytes == len(LONG)
    assert sandbox.request_log.count(UPLOAD) == 1
    assert {type(attempt.error) for attempt in hooks.attempts} == {RequestNotSentError, type(None)}


async def test_upload_timeout_covers_one_transfer(sandbox: Sandbox) -> None:
    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.5)  # and takes nothing of the body meanwhile

    limits = Timeouts(upload=0.2, total=0.05, read=0.05)
    loop = asyncio.get_running_loop()
    async with (
        raw_server(talk) as url,
        open_session(sandbox, base_url=url, timeouts=limits, retry=RetryPolicy(max_attempts=1)) as session,
    ):
        began = loop.time()
        with pytest.raises(OutcomeUnknownError, match="took too long"):
            await session.files.upload(PNG + bytes(9 * MEGABYTE))
        assert 0.15 < loop.time() - began < 1.0


async def held(sandbox: Sandbox, session: RivyaSession, path: Path) -> asyncio.Task[File]:
    """Starts an upload whose listener never returns."""
    reached = asyncio.Event()

    async def on_progress(_sent: int, _total: int | None) -> None:
        reached.set()
        await asyncio.get_running_loop().create_future()

    sending = asyncio.create_task(session.files.upload(path, on_progress=on_progress))
    await reached.wait()
    await wait_until(lambda: sandbox.request_log.in_flight > 0)
    assert open_files(path) == 1
    return sending


async def test_cancellation_closes_connection_and_file(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    path.write_bytes(LONG)
    sending = await held(sandbox, session, path)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert open_files(path) == 0
    await wait_until(lambda: not sandbox.request_log.in_flight)
    assert sandbox.request_log.uploads == 0
    assert (await session.files.upload(path)).size_bytes == len(LONG)


async def test_closing_session_aborts_uploads(sandbox: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    path.write_bytes(LONG)
    session = open_session(sandbox)
    sending = await held(sandbox, session, path)
    await session.aclose()
    with pytest.raises(OutcomeUnknownError, match="the session was closed"):
        await sending
    assert open_files(path) == 0
    with pytest.raises(SessionClosedError, match="is closed"):
        await session.files.upload(path)


async def test_closing_session_ends_backoff_and_queue(sandbox: Sandbox, photo: Path, hooks: RecordingHooks) -> None:
    sandbox.faults.add(route=UPLOAD, status=503)
    session = open_session(sandbox, hooks=[hooks], retry=RetryPolicy(base=30, cap=30))
    calls = [session.files.upload(PNG), *(session.submit("qwen-image", "x", references=[photo]) for _ in range(3))]
    sending = [asyncio.create_task(call) for call in calls]
    await wait_until(lambda: len(hooks.retries) == 2)
    await session.aclose()
    for result in await asyncio.gather(*sending, return_exceptions=True):
        assert isinstance(result, RivyaError)


async def test_uploads_do_not_use_request_slots(sandbox: Sandbox) -> None:
    sandbox.faults.add(route=UPLOAD, delay=0.3)
    async with open_session(sandbox, max_connections=1) as session:
        sending = [asyncio.create_task(session.files.upload(PNG)) for _ in range(6)]
        await wait_until(lambda: sandbox.request_log.in_flight == 4)
        assert (await session.generate("z-image", "A red kite")).succeeded
        assert not any(task.done() for task in sending)
        await asyncio.gather(*sending)
    assert sandbox.request_log.peak_in_flight == 5


# --- references -------------------------------------------------------------------------------------------------------


async def test_mixes_paths_files_and_references(
    sandbox: Sandbox, session: RivyaSession, photo: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.png"
    other.write_bytes(picture(color=0x00FF00))
    before = await session.files.upload(picture(color=0xFF0000), model="qwen-image")
    given: list[Reference] = [photo, before.as_reference(), str(other), before]
    params = {"nested": {"list": [1]}}
    job = await session.generate("flux-2-pro", "Merge", references=given, params=params)
    assert job.succeeded
    assert given == [photo, before.as_reference(), str(other), before]
    assert params == {"nested": {"list": [1]}}
    bodies = [request.body for request in sandbox.request_log if request.route == SUBMIT]
    body = (bodies[0] or b"").decode()
    names = [upload.name for upload in uploads(sandbox)]
    assert sorted(names) == ["file.png", "kite.png", "other.png"]
    assert body.index("kite.png") < body.index("file.png") < body.index("other.png")


async def test_uploads_content_once_for_thousand_jobs(
    sandbox: Sandbox, session: RivyaSession, photo: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(PNG)
    sandbox.faults.add(route=UPLOAD, delay=0.05)
    jobs = [GenerationRequest("qwen-image", str(n), references=[photo if n % 2 else copy]) for n in range(1000)]
    assert pickle.loads(pickle.dumps(jobs)) == jobs
    outcomes = [outcome async for outcome in session.map(jobs, max_in_flight=300)]
    assert all(outcome.ok for outcome in outcomes)
    assert {id(outcome.request) for outcome in outcomes} == set(map(id, jobs))
    assert sandbox.request_log.uploads == 1
    assert sandbox.request_log.purchases == 1000


async def test_uploads_again_for_other_model_or_content(sandbox: Sandbox, session: RivyaSession, photo: Path) -> None:
    await session.submit("qwen-image", "x", references=[photo])
    await session.submit("qwen-image", "x", references=[photo])
    assert sandbox.request_log.uploads == 1
    await session.submit("flux-2-pro", "x", references=[photo])
    assert sandbox.request_log.uploads == 2
    photo.write_bytes(picture(color=0x00FF00))
    await session.submit("qwen-image", "x", references=[photo])
    assert sandbox.request_log.uploads == 3
    assert [upload.model for upload in uploads(sandbox)] == ["qwen-image", "flux-2-pro", "qwen-image"]


async def test_cached_upload_expires(sandbox: Sandbox, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assumptions, "UPLOAD_LIFETIME", 0.0)
    async with open_session(sandbox) as session:
        await session.submit("qwen-image", "x", references=[photo])
        await session.submit("qwen-image", "x", references=[photo])
    assert sandbox.request_log.uploads == 2


async def test_upload_failure_is_not_cached(sandbox: Sandbox, session: RivyaSession, photo: Path) -> None:
    sandbox.faults.add(route=UPLOAD, status=401, times=1)
    calls = [session.submit("qwen-image", "x", references=[photo], idempotency_key=f"key-{n}") for n in range(5)]
    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(failure) for failure in failures] == [AuthenticationError] * 5
    assert [getattr(failure, "idempotency_key", None) for failure in failures] == [f"key-{n}" for n in range(5)]
    assert sandbox.request_log.count(UPLOAD) == 1
    assert sandbox.request_log.count(SUBMIT) == 0
    await session.submit("qwen-image", "x", references=[photo])
    assert sandbox.request_log.uploads == 1


async def test_cancelled_job_does_not_cancel_shared_upload(
    sandbox: Sandbox, session: RivyaSession, photo: Path
) -> None:
    sandbox.faults.add(route=UPLOAD, delay=0.1)
    jobs = [asyncio.create_task(session.submit("qwen-image", "x", references=[photo])) for _ in range(3)]
    await wait_until(lambda: sandbox.request_log.in_flight > 0)
    jobs[0].cancel()
    assert await asyncio.gather(*jobs[1:])
    assert jobs[0].cancelled()
    assert (sandbox.request_log.uploads, sandbox.request_log.purchases) == (1, 2)


async def test_last_cancelled_job_cancels_upload(sandbox: Sandbox, session: RivyaSession, photo: Path) -> None:
    sandbox.faults.add(route=UPLOAD, delay=1.0, times=1)
    jobs = [asyncio.create_task(session.submit("qwen-image", "x", references=[photo])) for _ in range(3)]
    await wait_until(lambda: sandbox.request_log.in_flight > 0)
    before = asyncio.all_tasks()
    for job in jobs:
        job.cancel()
    await asyncio.gather(*jobs, return_exceptions=True)
    assert all(job.cancelled() for job in jobs)
    assert not [task for task in before if "_fly" in repr(task) and not task.done()]
    await session.submit("qwen-image", "x", references=[photo])
    assert sandbox.request_log.uploads == 1


async def test_creates_key_before_uploads(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    for call in (
        session.submit("qwen-image", "x", references=[tmp_path / "missing.png"]),
        session.generate("qwen-image", "x", references=[tmp_path / "missing.png"]),
    ):
        with pytest.raises(ConfigurationError, match="missing") as raised:
            await call
        assert raised.value.idempotency_key
    assert sandbox.request_log.count(SUBMIT) == 0


async def test_invalid_reference_cancels_other_uploads(
    sandbox: Sandbox, session: RivyaSession, photo: Path, tmp_path: Path
) -> None:
    sandbox.faults.add(route=UPLOAD, delay=1.0)
    with pytest.raises(ConfigurationError, match="missing"):
        await session.submit("flux-2-pro", "x", references=[photo, tmp_path / "missing.png"])
    await wait_until(lambda: not [task for task in asyncio.all_tasks() if "_fly" in repr(task)])


async def test_deadline_includes_uploads(sandbox: Sandbox, session: RivyaSession, photo: Path) -> None:
    sandbox.faults.add(route=UPLOAD, delay=1.0, times=1)
    with pytest.raises(RequestNotSentError, match="nothing was bought") as raised:
        await session.generate("qwen-image", "x", references=[photo], timeout=0.2)
    assert raised.value.idempotency_key
    assert sandbox.request_log.purchases == 0
    assert (await session.generate("qwen-image", "x", references=[photo])).succeeded


async def test_reference_uses_limits_of_model(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    film = tmp_path / "a.mp4"
    film.write_bytes(media("mp4"))
    with pytest.raises(InvalidRequestError, match="qwen-image takes no file of kind 'video', only image"):
        await session.submit("qwen-image", "x", references=[film])
    assert sandbox.request_log.count(UPLOAD) == sandbox.request_log.count(SUBMIT) == 0


async def test_video_has_duration_token(sandbox: Sandbox, session: RivyaSession, tmp_path: Path) -> None:
    film = tmp_path / "a.mp4"
    film.write_bytes(media("mp4"))
    assert (await session.submit("wan-2-6", "x", references=[film])).status == "queued"
    file = await session.files.upload(film, model="wan-2-6")
    bare = ReferenceMedia(file.url, file.kind)
    with pytest.raises(BadRequestError, match="durationToken is required"):
        await session.submit("wan-2-6", "x", references=[bare])
    assert sandbox.request_log.purchases == 1
