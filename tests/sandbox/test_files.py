"""The Files API: uploads, their validation, and references to them."""

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
from rivya_async.sandbox.files.uploads import MAX_UPLOAD_BYTES
from tests.media_kit import MIME_TYPES, media, padded
from tests.sandbox.sandbox_client import UPLOAD, HttpReply, SandboxClient, running_sandbox, wait_until

NULLABLE = {"duration_seconds", "duration_token", "model", "client_request_id"}


@pytest.fixture
async def client() -> AsyncIterator[SandboxClient]:
    async with running_sandbox() as running:
        yield running


async def send(
    client: SandboxClient, data: Any, kind: str | None = "image", *, key: str | None = None, **fields: str
) -> HttpReply:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("file", data, filename="kite.bin", content_type="application/octet-stream")
    for name, value in {**({} if kind is None else {"kind": kind}), **fields}.items():
        form.add_field(name, value)
    return await client.request("POST", "/api/v1/files", data=form, key=key)


async def upload(client: SandboxClient, extension: str, **fields: str) -> dict[str, Any]:
    """Uploads a valid file."""
    reply = await send(client, media(extension), MIME_TYPES[extension].partition("/")[0], **fields)
    assert reply.status == 200, reply.raw
    return dict(reply.json)


def stored_files(client: SandboxClient) -> list[Path]:
    """Returns the files on disk."""
    return list(client.sandbox._api.files.folder.iterdir())


# --- accepted uploads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", [extension for extension in MIME_TYPES if extension != "mkv"])
async def test_accepts_and_serves_documented_types(client: SandboxClient, extension: str) -> None:
    file = await upload(client, extension)
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
    assert (await client.request("GET", f"/api/v1/files/{file['id']}")).json == file
    content = await client.request("GET", file["url"].removeprefix(client.sandbox.base_url), key="")
    assert content.raw == media(extension)
    assert content.headers["Content-Type"] == MIME_TYPES[extension]


async def test_upload_fields_are_returned_and_logged(client: SandboxClient) -> None:
    file = await upload(client, "png", model="qwen-image", client_request_id="x" * 128)
    assert (file["model"], file["client_request_id"]) == ("qwen-image", "x" * 128)
    (request,) = client.sandbox.request_log
    assert (request.route, request.status, request.body) == (UPLOAD, 200, None)
    assert request.upload is not None
    assert (request.upload.file_id, request.upload.size_bytes) == (file["id"], len(media("png")))
    assert (request.upload.kind, request.upload.model, request.upload.name) == ("image", "qwen-image", "kite.bin")
    assert client.sandbox.request_log.uploads == 1
    client.sandbox.request_log.clear()
    assert client.sandbox.request_log.uploads == 0


async def test_repeated_upload_creates_second_file(client: SandboxClient) -> None:
    one, two = await upload(client, "mp3"), await upload(client, "mp3")
    assert one["id"] != two["id"]
    assert one["duration_token"] != two["duration_token"]


async def test_accepts_chunked_body(client: SandboxClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(media("mp4")), 100):
            yield media("mp4")[start : start + 100]

    assert (await send(client, pieces(), "video")).json["size_bytes"] == len(media("mp4"))


async def test_serves_range_of_file(client: SandboxClient) -> None:
    path = (await upload(client, "png"))["url"].removeprefix(client.sandbox.base_url)
    part = await client.request("GET", path, key="", headers={"Range": "bytes=1-3"})
    assert (part.status, part.raw) == (206, b"PNG")


async def test_accepts_large_video(client: SandboxClient) -> None:
    video = padded(media("mp4"), 95 * MEGABYTE)
    reply = await send(client, io.BytesIO(video), "video", model="happyhorse-1-0")
    assert reply.json["size_bytes"] == 95 * MEGABYTE
    assert reply.json["duration_seconds"] == pytest.approx(1.0)


# --- rejected uploads -------------------------------------------------------------------------------------------------


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
        (media("webm"), "video", {"model": "wan-2-6"}, "video/webm is not accepted"),
        (b"ID3" + bytes(64), "audio", {}, "no audio that can be played"),
        (media("mp4")[:64], "video", {}, "no video that can be played"),
        (media("mp4"), "audio", {}, "no audio that can be played"),
        (media("png"), "image", {"model": "z-image"}, "z-image takes no file of kind 'image'"),
        (media("mp4"), "video", {"model": "qwen-image"}, "qwen-image takes no file of kind 'video'"),
        (media("png"), "image", {"model": "no-such"}, "'no-such' is not a model"),
        (media("png"), "image", {"client_request_id": "x" * 129}, "at most 128"),
        (media("png") + bytes(10 * MEGABYTE), "image", {}, "too large: the limit is 10 MB"),
        (media("png") + bytes(10 * MEGABYTE), "image", {"model": "kling-3-0"}, "too large: the limit is 10 MB"),
        (padded(media("mp4"), 51 * MEGABYTE), "video", {}, "too large: the limit is 50 MB"),
        (padded(media("mp4"), 11 * MEGABYTE), "video", {"model": "wan-2-6"}, "too large: the limit is 10 MB"),
        (bytes(MAX_UPLOAD_BYTES + 1), "video", {}, "too large: the limit is 134,217,728 bytes"),
    ],
    ids=range(20),
)
async def test_rejected_file_is_removed(
    client: SandboxClient, data: bytes, kind: str, fields: dict[str, str], says: str
) -> None:
    reply = await send(client, io.BytesIO(data), kind, **fields)
    assert (reply.status, reply.code) == (400, "validation_failed")
    assert says in reply.json["error"]["message"]
    assert client.sandbox.request_log.uploads == 0
    assert stored_files(client) == []


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
async def test_model_limits_replace_default_limits(
    client: SandboxClient, data: bytes, kind: str, fields: dict[str, str]
) -> None:
    assert (await send(client, io.BytesIO(data), kind, **fields)).status == 200


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
async def test_rejects_malformed_form(client: SandboxClient, body: bytes, content_type: str) -> None:
    reply = await client.request("POST", "/api/v1/files", data=body, headers={"Content-Type": content_type})
    assert (reply.status, reply.code) == (400, "validation_failed")
    assert stored_files(client) == []


async def test_rejects_large_text_part(client: SandboxClient) -> None:
    form = aiohttp.FormData()
    form.add_field("kind", io.BytesIO(bytes(3 * MEGABYTE)))
    reply = await client.request("POST", "/api/v1/files", data=form)
    assert (reply.status, reply.code) == (413, "body_too_large")
    assert stored_files(client) == []


async def test_operations_need_scopes_and_files_are_private(client: SandboxClient) -> None:
    reader = client.sandbox.add_key(scopes={"files:read"})
    writer = client.sandbox.add_key(scopes={"files:create"})
    stranger = client.sandbox.add_key(credits=10)
    assert (await send(client, media("png"), key=reader)).code == "api_scope_denied"
    assert (await send(client, media("png"), key="")).code == "api_key_missing"
    file = (await send(client, media("png"), key=writer)).json
    path = f"/api/v1/files/{file['id']}"
    assert (await client.request("GET", path, key=reader)).json == file
    assert (await client.request("GET", path, key=writer)).code == "api_scope_denied"
    assert (await client.request("GET", path, key=stranger)).code == "not_found"
    assert (await client.request("GET", "/api/v1/files/file_none")).code == "not_found"
    assert (await client.request("GET", "/files/file_none.png", key="")).code == "not_found"


# --- references -------------------------------------------------------------------------------------------------------


def reference(file: dict[str, Any], **changes: Any) -> dict[str, Any]:
    whole = {"url": file["url"], "kind": file["kind"], "durationToken": file["duration_token"], **changes}
    return {name: value for name, value in whole.items() if value is not None}


async def submit_with_references(
    client: SandboxClient, *items: dict[str, Any], model: str = "wan-2-6", key: str | None = None
) -> HttpReply:
    return await client.submit(model=model, params={"referenceMediaItems": list(items)}, key=key)


async def test_accepts_references_of_account(client: SandboxClient) -> None:
    video, photo = await upload(client, "mp4"), await upload(client, "png", model="qwen-image")
    assert (await submit_with_references(client, reference(video))).status == 200
    assert (await submit_with_references(client, reference(photo))).status == 200
    assert (await submit_with_references(client, reference(photo, durationToken="unasked"))).status == 200


async def test_rejects_invalid_references(client: SandboxClient) -> None:
    video, other, photo = await upload(client, "mp4"), await upload(client, "mov"), await upload(client, "png")
    stranger = client.sandbox.add_key(credits=1000)
    for reply, says in [
        (
            await submit_with_references(client, reference(photo, url="https://files.example/kite.png")),
            "is not a file of this account",
        ),
        (await submit_with_references(client, reference(photo), key=stranger), "is not a file of this account"),
        (await submit_with_references(client, reference(video, kind="image")), "the file is of kind 'video'"),
        (await submit_with_references(client, reference(video, durationToken=None)), "durationToken is required"),
        (
            await submit_with_references(client, reference(video, durationToken="dur_forged")),
            "durationToken is not the one",
        ),
        (
            await submit_with_references(client, reference(video, durationToken=other["duration_token"])),
            "durationToken is not the one",
        ),
        (
            await submit_with_references(client, reference(video, durationToken=video["duration_token"][:-1])),
            "durationToken is not the one",
        ),
    ]:
        assert (reply.status, reply.code) == (400, "validation_failed")
        assert says in reply.json["error"]["message"]
    assert client.sandbox.request_log.purchases == 0


async def test_files_survive_close_and_start() -> None:
    sandbox = Sandbox(port=0)
    async with sandbox, aiohttp.ClientSession(sandbox.base_url) as http:
        photo = await upload(SandboxClient(sandbox, None, http), "png")  # type: ignore[arg-type]
    async with sandbox, aiohttp.ClientSession(sandbox.base_url) as http:
        assert (await submit_with_references(SandboxClient(sandbox, None, http), reference(photo))).status == 200  # type: ignore[arg-type]


async def test_files_are_removed_with_sandbox() -> None:
    async with running_sandbox() as client:
        await upload(client, "png")
        folder = client.sandbox._api.files.folder
        assert folder.exists()
    del client
    gc.collect()
    assert not folder.exists()


# --- faults -----------------------------------------------------------------------------------------------------------


async def test_drop_during_upload(client: SandboxClient) -> None:
    client.sandbox.faults.add(route=UPLOAD, drop=True, receive=100_000, times=1)
    video = padded(media("mp4"), 20 * MEGABYTE)
    with pytest.raises(aiohttp.ClientError):
        await send(client, io.BytesIO(video), "video")
    (dropped,) = client.sandbox.request_log
    assert (dropped.route, dropped.status, dropped.upload) == (UPLOAD, None, None)
    assert stored_files(client) == []
    assert (await send(client, io.BytesIO(video), "video")).status == 200


async def test_drop_after_whole_body(client: SandboxClient) -> None:
    client.sandbox.faults.add(route=UPLOAD, drop=True, receive=10**9, times=1)
    with pytest.raises(aiohttp.ClientError):
        await send(client, media("png"))
    assert client.sandbox.request_log.uploads == 0


async def test_drop_after_processing_keeps_file(client: SandboxClient) -> None:
    client.sandbox.faults.add(route=UPLOAD, drop=True, act=True, times=1)
    with pytest.raises(aiohttp.ClientError):
        await send(client, media("png"))
    assert client.sandbox.request_log.uploads == 1
    assert len(stored_files(client)) == 1


async def test_error_before_body_is_read(client: SandboxClient) -> None:
    client.sandbox.faults.add(route=UPLOAD, status=503, times=1)
    assert (await send(client, io.BytesIO(bytes(5 * MEGABYTE)))).status == 503
    assert stored_files(client) == []


async def test_disconnected_client_leaves_no_file(client: SandboxClient) -> None:
    async def half_body() -> AsyncIterator[bytes]:
        yield bytes(2 * MEGABYTE)
        await asyncio.get_running_loop().create_future()

    sending = asyncio.create_task(send(client, half_body(), "video"))
    await wait_until(lambda: bool(stored_files(client)) and stored_files(client)[0].stat().st_size > 0)
    sending.cancel()
    await wait_until(lambda: not client.sandbox.request_log.in_flight)
    assert stored_files(client) == []
    assert client.sandbox.request_log.uploads == 0


async def test_upload_with_100_continue(client: SandboxClient) -> None:
    form = aiohttp.FormData({"kind": "image"})
    form.add_field("file", media("png"), filename="a.png")
    reply = await client.request("POST", "/api/v1/files", data=form, expect100=True)
    assert reply.status == 200


def test_rejects_receive_without_drop() -> None:
    invalid_fields: list[dict[str, Any]] = [{"delay": 1, "receive": 5}, {"receive": -1, "drop": True}]
    for fields in [*invalid_fields, {"receive": 5, "drop": True, "act": True}]:
        with pytest.raises(ValueError, match="receive is a number of bytes"):
            Sandbox().faults.add(route=UPLOAD, **fields)
