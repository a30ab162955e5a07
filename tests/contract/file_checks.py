"""Files. Uploads cost nothing; each run leaves two small files in the account, since the API cannot delete files."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from typing import Any, Final

from .checks import (
    INTEGER,
    NULLABLE_NUMBER,
    NULLABLE_STRING,
    STRING,
    CheckGroup,
    expect,
    expect_error,
    expect_fields,
    expect_success,
)
from .service import Response, Service, Upload

checks = CheckGroup("files")

FIELDS: Final = {
    "id": STRING,
    "object": STRING,
    "kind": STRING,
    "url": STRING,
    "name": STRING,
    "mime_type": STRING,
    "size_bytes": INTEGER,
    "duration_seconds": NULLABLE_NUMBER,
    "duration_token": NULLABLE_STRING,
    "model": NULLABLE_STRING,
    "client_request_id": NULLABLE_STRING,
    "created_at": STRING,
}


def png() -> bytes:
    """Returns a PNG with one grey pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixel = zlib.compress(b"\x00\x80")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def wav() -> bytes:
    """Returns a WAV with one second of silence."""
    data = io.BytesIO()
    with wave.open(data, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16_000))
    return data.getvalue()


async def upload_file(service: Service, data: bytes, kind: str, name: str, **fields: str) -> Response:
    """Uploads a file."""
    return await service.request("POST", "/files", upload=Upload(name, data, {"kind": kind, **fields}))


async def upload_once(service: Service, name: str, data: bytes, kind: str) -> dict[str, Any]:
    """Uploads a file that all checks of a run share."""

    async def upload() -> dict[str, Any]:
        response = await upload_file(service, data, kind, name)
        expect_success(response, "the file")
        expect_fields(response.json, {"url": STRING})
        uploaded: dict[str, Any] = response.json
        return uploaded

    file: dict[str, Any] = await service.run_once(name, upload)
    return file


async def upload_image_once(service: Service) -> dict[str, Any]:
    """Returns the image that all checks of a run share."""
    return await upload_once(service, "pixel.png", png(), "image")


@checks.documented("8")
async def upload_png(service: Service) -> None:
    """A PNG upload is accepted and returns a URL."""
    url = (await upload_image_once(service))["url"]
    expect(str(url).startswith(("https://", "http://")), "a URL", url)


@checks.assumed("14.9")
async def file_fields(service: Service) -> None:
    """A file has the assumed fields, and its id field is named id."""
    file = await upload_image_once(service)
    expect_fields(file, FIELDS)
    actual = (file["object"], file["kind"], file["mime_type"], file["size_bytes"])
    expect(actual == ("file", "image", "image/png", len(png())), "a PNG of this size", actual)


@checks.documented("8")
async def retrieve_file(service: Service) -> None:
    """A file can be retrieved by its id with the same fields."""
    file = await upload_image_once(service)
    file_id = file.get("id") or file.get("file_id")
    expect(file_id, "an id", sorted(file))
    again = (await service.request("GET", f"/files/{file_id}")).json
    expect_fields(again, {"url": STRING})
    expect(set(again) == set(file), f"the fields {', '.join(sorted(file))}", sorted(again))


@checks.documented("8")
async def duration_token(service: Service) -> None:
    """An audio file has a duration_token, and an image has none."""
    sound = await upload_once(service, "silence.wav", wav(), "audio")
    expect_fields(sound, {"duration_token": STRING})
    expect((await upload_image_once(service)).get("duration_token") is None, "no token", "a token of an image")


@checks.assumed("14.9")
async def duration_seconds(service: Service) -> None:
    """An audio file has its duration in seconds."""
    sound = await upload_once(service, "silence.wav", wav(), "audio")
    actual = sound.get("duration_seconds")
    expect(isinstance(actual, int | float) and 0.9 <= actual <= 1.1, "about 1", actual)


@checks.inferred("8")
async def unknown_file(service: Service) -> None:
    """A file that does not exist returns 404 not_found."""
    expect_error(await service.request("GET", "/files/file_contractnone"), 404, "not_found")


@checks.assumed("14.10")
async def text_as_image(service: Service) -> None:
    """A text uploaded as an image returns 400 validation_failed."""
    expect_error(await upload_file(service, b"not an image", "image", "kite.png"), 400, "validation_failed")


@checks.assumed("14.10")
async def image_as_audio(service: Service) -> None:
    """An image uploaded as audio returns 400 validation_failed."""
    expect_error(await upload_file(service, png(), "audio", "pixel.png"), 400, "validation_failed")


@checks.documented("8")
async def unknown_kind(service: Service) -> None:
    """A kind other than image, video and audio is rejected."""
    expect_error(await upload_file(service, png(), "text", "pixel.png"), 400, "validation_failed")


@checks.documented("8")
async def long_client_request_id(service: Service) -> None:
    """A client_request_id of 129 characters is rejected."""
    response = await upload_file(service, png(), "image", "pixel.png", client_request_id="x" * 129)
    expect_error(response, 400, "validation_failed")
