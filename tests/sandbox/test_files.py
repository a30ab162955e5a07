"""Uploads: taken to disk, checked by content and rule, and good as references of their own account only."""

from __future__ import annotations

import asyncio
import gc
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from rivya_async.sandbox import Sandbox
from rivya_async.sandbox.catalogue import MEGABYTE
from rivya_async.sandbox.files.file_store import MAX_UPLOAD_BYTES
from tests.media_kit import MIME_TYPES, media, padded
from tests.sandbox.sandbox_kit import UPLOAD, HttpReply, SandboxClient, running_sandbox, until

NULLABLE = {"duration_seconds", "duration_token", "model", "client_request_id"}


@pytest.fixture
async def on() -> AsyncIterator[SandboxClient]:
    async with running_sandbox() as running:
        yield running


async def send(
    on: SandboxClient, data: Any, kind: str | None = "image", *, key: str | None = None, **fields: str
) -> HttpReply:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("file", data, filename="kite.bin", content_type="application/octet-stream")
    for name, value in {**({} if kind is None else {"kind": kind}), **fields}.items():
        form.add_field(name, value)
    return await on.ask("POST", "/api/v1/files", data=form, key=key)


async def kept(on: SandboxClient, extension: str, **fields: str) -> dict[str, Any]:
    """A file that was taken."""
    reply = await send(on, media(extension), MIME_TYPES[extension].partition("/")[0], **fields)
    assert reply.status == 200, reply.raw
    return dict(reply.json)


def left(on: SandboxClient) -> list[Path]:
    """What lies on disk."""
    return list(on.sandbox._api.files.folder.iterdir())


# --- taken ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", [extension for extension in MIME_TYPES if extension != "mkv"])
async def test_every_documented_type_is_taken_and_served(on: SandboxClient, extension: str) -> None:
    file = await kept(on, extension)
    kind = MIME_TYPES[extension].partition("/")[0]
    assert (file["kind"], file["mime_type"], file["object"]) == (kind, MIME_TYPES[extension], "file")
    assert file["size_bytes"] == len(media(extension))
    assert file["id"].startswith("file_")
    assert file["name"] == "kite.bin"
    assert file["created_at"] == "2026-05-11T08:00:00.000Z"
    assert {name for name, value in file.items() if value is None} <= NULLABLE
    if kind == "image":
        assert file["duration_seconds"] is file["duration_token"] is None
    else:
        assert file["duration_seconds"] == pytest.approx(1.0, abs=0.1)
        assert file["duration_token"].startswith("dur_")
    assert (await on.ask("GET", f"/api/v1/files/{file['id']}")).json == file
    content = await on.ask("GET", file["url"].removeprefix(on.sandbox.base_url), key="")
    assert content.raw == media(extension)
    assert content.headers["Content-Type"] == MIME_TYPES[extension]


async def test_what_came_with_it_is_told_back_and_on_record(on: SandboxClient) -> None:
    file = await kept(on, "png", model="qwen-image", client_request_id="x" * 128)
    assert (file["model"], file["client_request_id"]) == ("qwen-image", "x" * 128)
    (request,) = on.sandbox.request_log
    assert (request.route, request.status, request.body) == (UPLOAD, 200, None)
    assert request.upload is not None
    assert (request.upload.file_id, request.upload.size_bytes) == (file["id"], len(media("png")))
    assert (request.upload.kind, request.upload.model, request.upload.name) == ("image", "qwen-image", "kite.bin")
    assert on.sandbox.request_log.uploads == 1
    on.sandbox.request_log.clear()
    assert on.sandbox.request_log.uploads == 0


async def test_the_same_file_twice_is_two_files(on: SandboxClient) -> None:
    one, two = await kept(on, "mp3"), await kept(on, "mp3")
    assert one["id"] != two["id"]
    assert one["duration_token"] != two["duration_token"]


async def test_a_body_in_chunks_of_unknown_length_is_taken(on: SandboxClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(media("mp4")), 100):
            yield media("mp4")[start : start + 100]

    assert (await send(on, pieces(), "video")).json["size_bytes"] == len(media("mp4"))


async def test_a_part_of_a_file_is_served(on: SandboxClient) -> None:
    path = (await kept(on, "png"))["url"].removeprefix(on.sandbox.base_url)
    part = await on.ask("GET", path, key="", headers={"Range": "bytes=1-3"})
    assert (part.status, part.raw) == (206, b"PNG")


async def test_a_big_film_goes_to_disk_with_nothing_of_it_in_memory(on: SandboxClient) -> None:
    film = padded(media("mp4"), 95 * MEGABYTE)
    reply = await send(on, io.BytesIO(film), "video", model="happyhorse-1-0")
    assert reply.json["size_bytes"] == 95 * MEGABYTE
    assert reply.json["duration_seconds"] == pytest.approx(1.0)


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind", "fields", "says"),
    [
        (media("png"), None, {}, "kind must be one of image, video, audio"),
        (media("png"), "picture", {}, "kind must be one of"),
        (media("png"), "video", {}, "content of the file is no video"),
        (media("mp4"), "image", {}, "content of the file is no image"),
        (b"GIF89a" + bytes(64), "image", {}, "content of the file is no image"),
        (b"", "image", {}, "content of the file is no image"),
        (b"hello", "audio", {}, "content of the file is no audio"),
        (media("mkv"), "video", {}, "video/x-matroska is not taken"),
        (media("webm"), "video", {"model": "wan-2-6"}, "video/webm is not taken"),
        (b"ID3" + bytes(64), "audio", {}, "no audio that can be played"),
        (media("mp4")[:64], "video", {}, "no video that can be played"),
        (media("mp4"), "audio", {}, "no audio that can be played"),
        (media("png"), "image", {"model": "z-image"}, "z-image takes no file of kind 'image'"),
        (media("mp4"), "video", {"model": "qwen-image"}, "qwen-image takes no file of kind 'video'"),
        (media("png"), "image", {"model": "no-such"}, "'no-such' is not a model"),
        (media("png"), "image", {"client_request_id": "x" * 129}, "at most 128"),
        (media("png") + bytes(10 * MEGABYTE), "image", {}, "too large: 10 MB"),
        (media("png") + bytes(10 * MEGABYTE), "image", {"model": "kling-3-0"}, "too large: 10 MB"),
        (padded(media("mp4"), 51 * MEGABYTE), "video", {}, "too large: 50 MB"),
        (padded(media("mp4"), 11 * MEGABYTE), "video", {"model": "wan-2-6"}, "too large: 10 MB"),
        (bytes(MAX_UPLOAD_BYTES + 1), "video", {}, "too large: 134,217,728 bytes"),
    ],
    ids=range(21),
)
async def test_what_is_refused_is_not_kept(
    on: SandboxClient, data: bytes, kind: str, fields: dict[str, str], says: str
) -> None:
    reply = await send(on, io.BytesIO(data), kind, **fields)
    assert (reply.status, reply.code) == (400, "validation_failed")
    assert says in reply.json["error"]["message"]
    assert on.sandbox.request_log.uploads == 0
    assert left(on) == []


@pytest.mark.parametrize(
    ("data", "kind", "fields"),
    [
        (media("mkv"), "video", {"model": "wan-2-6"}),
        (media("png") + bytes(10 * MEGABYTE - len(media("png"))), "image", {}),
        (media("png") + bytes(29 * MEGABYTE), "image", {"model": "nano-banana-2"}),
        (media("png") + bytes(19 * MEGABYTE), "image", {"model": "wan-2-7-image"}),
        (media("jpg"), "image", {"model": "gpt-5-2-chat"}),
        (media("m4a"), "audio", {"model": "wan-2-2-a14b-turbo"}),
    ],
    ids=range(6),
)
async def test_a_model_may_take_more(on: SandboxClient, data: bytes, kind: str, fields: dict[str, str]) -> None:
    assert (await send(on, io.BytesIO(data), kind, **fields)).status == 200


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{}", "application/json"),
        (b"", "multipart/form-data"),
        (b"--x--\r\n", "multipart/form-data; boundary=x"),
        (b"hello", "multipart/form-data; boundary=x"),
        (
            b'--x\r\nContent-Disposition: form-data; name="kind"\r\n\r\nimage\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n\x89PNG', "multipart/form-data; boundary=x"),
        (
            b'--x\r\nContent-Disposition: form-data; name="kind"\r\n\r\n\xff\xfe\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (
            b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\na\r\n--y--\r\n--x--\r\n",
            "multipart/form-data; boundary=x",
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\na\r\n' * 2 + b"--x--",
            "multipart/form-data; boundary=x",
        ),
    ],
    ids=range(9),
)
async def test_what_is_no_form_with_one_file_is_refused(on: SandboxClient, body: bytes, content_type: str) -> None:
    reply = await on.ask("POST", "/api/v1/files", data=body, headers={"Content-Type": content_type})
    assert (reply.status, reply.code) == (400, "validation_failed")
    assert left(on) == []


async def test_a_text_part_beyond_all_reason_is_refused(on: SandboxClient) -> None:
    form = aiohttp.FormData()
    form.add_field("kind", io.BytesIO(bytes(3 * MEGABYTE)))
    reply = await on.ask("POST", "/api/v1/files", data=form)
    assert (reply.status, reply.code) == (413, "body_too_large")
    assert left(on) == []


async def test_scopes(on: SandboxClient) -> None:
    reader = on.sandbox.add_key(scopes={"files:read"})
    writer = on.sandbox.add_key(scopes={"files:create"})
    stranger = on.sandbox.add_key(credits=10)
    assert (await send(on, media("png"), key=reader)).code == "api_scope_denied"
    assert (await send(on, media("png"), key="")).code == "api_key_missing"
    file = (await send(on, media("png"), key=writer)).json
    path = f"/api/v1/files/{file['id']}"
    assert (await on.ask("GET", path, key=reader)).json == file
    assert (await on.ask("GET", path, key=writer)).code == "api_scope_denied"
    assert (await on.ask("GET", path, key=stranger)).code == "not_found"
    assert (await on.ask("GET", "/api/v1/files/file_none")).code == "not_found"
    assert (await on.ask("GET", "/files/file_none.png", key="")).code == "not_found"


# --- references -------------------------------------------------------------------------------------------------------


def item(file: dict[str, Any], **changes: Any) -> dict[str, Any]:
    whole = {"url": file["url"], "kind": file["kind"], "durationToken": file["duration_token"], **changes}
    return {name: value for name, value in whole.items() if value is not None}


async def refer(on: SandboxClient, *items: dict[str, Any], model: str = "wan-2-6", key: str | None = None) -> HttpReply:
    return await on.order(model=model, params={"referenceMediaItems": list(items)}, key=key)


async def test_a_job_may_refer_to_files_of_its_account(on: SandboxClient) -> None:
    film, photo = await kept(on, "mp4"), await kept(on, "png", model="qwen-image")
    assert (await refer(on, item(film))).status == 200
    assert (await refer(on, item(photo))).status == 200
    assert (await refer(on, item(photo, durationToken="unasked"))).status == 200


async def test_a_reference_is_checked(on: SandboxClient) -> None:
    film, other, photo = await kept(on, "mp4"), await kept(on, "mov"), await kept(on, "png")
    stranger = on.sandbox.add_key(credits=1000)
    for reply, says in [
        (await refer(on, item(photo, url="https://files.example/kite.png")), "is not a file of this account"),
        (await refer(on, item(photo), key=stranger), "is not a file of this account"),
        (await refer(on, item(film, kind="image")), "the file is of kind 'video'"),
        (await refer(on, item(film, durationToken=None)), "durationToken is required"),
        (await refer(on, item(film, durationToken="dur_forged")), "durationToken is not the one"),
        (await refer(on, item(film, durationToken=other["duration_token"])), "durationToken is not the one"),
        (await refer(on, item(film, durationToken=film["duration_token"][:-1])), "durationToken is not the one"),
    ]:
        assert (reply.status, reply.code) == (400, "validation_failed")
        assert says in reply.json["error"]["message"]
    assert on.sandbox.request_log.purchases == 0


async def test_the_sandbox_keeps_its_files_when_it_is_down_for_a_while() -> None:
    sandbox = Sandbox(port=0)
    async with sandbox, aiohttp.ClientSession(sandbox.base_url) as http:
        photo = await kept(SandboxClient(sandbox, None, http), "png")  # type: ignore[arg-type]
    async with sandbox, aiohttp.ClientSession(sandbox.base_url) as http:
        assert (await refer(SandboxClient(sandbox, None, http), item(photo))).status == 200  # type: ignore[arg-type]


async def test_a_sandbox_that_is_gone_leaves_no_file() -> None:
    async with running_sandbox() as on:
        await kept(on, "png")
        folder = on.sandbox._api.files.folder
        assert folder.exists()
    del on
    gc.collect()
    assert not folder.exists()


# --- faults -----------------------------------------------------------------------------------------------------------


async def test_a_connection_dropped_in_mid_upload(on: SandboxClient) -> None:
    on.sandbox.faults.add(route=UPLOAD, drop=True, receive=100_000, times=1)
    film = padded(media("mp4"), 20 * MEGABYTE)
    with pytest.raises(aiohttp.ClientError):
        await send(on, io.BytesIO(film), "video")
    (dropped,) = on.sandbox.request_log
    assert (dropped.route, dropped.status, dropped.upload) == (UPLOAD, None, None)
    assert left(on) == []
    assert (await send(on, io.BytesIO(film), "video")).status == 200


async def test_a_drop_after_more_than_there_is(on: SandboxClient) -> None:
    on.sandbox.faults.add(route=UPLOAD, drop=True, receive=10**9, times=1)
    with pytest.raises(aiohttp.ClientError):
        await send(on, media("png"))
    assert on.sandbox.request_log.uploads == 0


async def test_a_file_that_was_kept_and_not_told_of(on: SandboxClient) -> None:
    on.sandbox.faults.add(route=UPLOAD, drop=True, act=True, times=1)
    with pytest.raises(aiohttp.ClientError):
        await send(on, media("png"))
    assert on.sandbox.request_log.uploads == 1
    assert len(left(on)) == 1


async def test_a_refusal_before_the_body_was_read(on: SandboxClient) -> None:
    on.sandbox.faults.add(route=UPLOAD, status=503, times=1)
    assert (await send(on, io.BytesIO(bytes(5 * MEGABYTE)))).status == 503
    assert left(on) == []


async def test_a_client_that_goes_away_leaves_nothing(on: SandboxClient) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield bytes(2 * MEGABYTE)
        await asyncio.get_running_loop().create_future()

    sending = asyncio.create_task(send(on, half(), "video"))
    await until(lambda: bool(left(on)) and left(on)[0].stat().st_size > 0)
    sending.cancel()
    await until(lambda: not on.sandbox.request_log.in_flight)
    assert left(on) == []
    assert on.sandbox.request_log.uploads == 0


async def test_a_client_that_asks_for_leave_first(on: SandboxClient) -> None:
    form = aiohttp.FormData({"kind": "image"})
    form.add_field("file", media("png"), filename="a.png")
    reply = await on.ask("POST", "/api/v1/files", data=form, expect100=True)
    assert reply.status == 200


def test_a_fault_that_receives_and_does_not_drop_makes_no_sense() -> None:
    nonsense: list[dict[str, Any]] = [{"delay": 1, "receive": 5}, {"receive": -1, "drop": True}]
    for fields in [*nonsense, {"receive": 5, "drop": True, "act": True}]:
        with pytest.raises(ValueError, match="receive is a number of bytes"):
            Sandbox().faults.add(route=UPLOAD, **fields)
