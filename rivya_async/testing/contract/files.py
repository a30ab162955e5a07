"""Files. Uploads cost nothing; two tiny ones stay behind in the account, since nothing deletes a file."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from typing import Any, Final

from .check import MAYBE_NUMBER, MAYBE_TEXT, TEXT, WHOLE, Checks, expect, expect_members
from .errors import expect_refusal, expect_success
from .service import Reply, Service, Upload

checks = Checks()

MEMBERS: Final = {
    "id": TEXT,
    "object": TEXT,
    "kind": TEXT,
    "url": TEXT,
    "name": TEXT,
    "mime_type": TEXT,
    "size_bytes": WHOLE,
    "duration_seconds": MAYBE_NUMBER,
    "duration_token": MAYBE_TEXT,
    "model": MAYBE_TEXT,
    "client_request_id": MAYBE_TEXT,
    "created_at": TEXT,
}


def png() -> bytes:
    """A picture of one grey pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixel = zlib.compress(b"\x00\x80")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def wav() -> bytes:
    """A second of silence."""
    data = io.BytesIO()
    with wave.open(data, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16_000))
    return data.getvalue()


async def send(service: Service, data: bytes, kind: str, name: str, **fields: str) -> Reply:
    """An upload."""
    return await service.ask("POST", "/files", upload=Upload(name, data, {"kind": kind, **fields}))


async def uploaded(service: Service, name: str, data: bytes, kind: str) -> dict[str, Any]:
    """A file of this run, sent once."""

    async def sent() -> dict[str, Any]:
        reply = await send(service, data, kind, name)
        expect_success(reply, "the file")
        expect_members(reply.json, {"url": TEXT})
        told: dict[str, Any] = reply.json
        return told

    file: dict[str, Any] = await service.shared(name, sent)
    return file


async def picture(service: Service) -> dict[str, Any]:
    """The picture of this run."""
    return await uploaded(service, "pixel.png", png(), "image")


@checks.documented("8")
async def taken(service: Service) -> None:
    """A PNG is taken, and has a URL."""
    url = (await picture(service))["url"]
    expect(str(url).startswith(("https://", "http://")), "a URL", url)


@checks.assumed("14.9")
async def members(service: Service) -> None:
    """A file has the members that we assume, and its id is called id."""
    file = await picture(service)
    expect_members(file, MEMBERS)
    came = (file["object"], file["kind"], file["mime_type"], file["size_bytes"])
    expect(came == ("file", "image", "image/png", len(png())), "a PNG of this size", came)


@checks.documented("8")
async def read_again(service: Service) -> None:
    """A file can be read again by its id, and is the same."""
    file = await picture(service)
    file_id = file.get("id") or file.get("file_id")
    expect(file_id, "an id", sorted(file))
    again = (await service.ask("GET", f"/files/{file_id}")).json
    expect_members(again, {"url": TEXT})
    expect(set(again) == set(file), f"the members {', '.join(sorted(file))}", sorted(again))


@checks.documented("8")
async def a_duration_token(service: Service) -> None:
    """A sound has a duration_token, and a picture has none."""
    sound = await uploaded(service, "silence.wav", wav(), "audio")
    expect_members(sound, {"duration_token": TEXT})
    expect((await picture(service)).get("duration_token") is None, "no token", "a token of a picture")


@checks.assumed("14.9")
async def a_duration(service: Service) -> None:
    """A sound tells how many seconds it lasts."""
    sound = await uploaded(service, "silence.wav", wav(), "audio")
    came = sound.get("duration_seconds")
    expect(isinstance(came, int | float) and 0.9 <= came <= 1.1, "about 1", came)


@checks.inferred("8")
async def an_unknown_file(service: Service) -> None:
    """A file that does not exist is 404 not_found."""
    expect_refusal(await service.ask("GET", "/files/file_contractnone"), 404, "not_found")


@checks.assumed("14.10")
async def a_wrong_content(service: Service) -> None:
    """A text that is sent as a picture is 400 validation_failed."""
    expect_refusal(await send(service, b"no picture", "image", "kite.png"), 400, "validation_failed")


@checks.assumed("14.10")
async def a_wrong_kind(service: Service) -> None:
    """A picture that is sent as a sound is 400 validation_failed."""
    expect_refusal(await send(service, png(), "audio", "pixel.png"), 400, "validation_failed")


@checks.documented("8")
async def an_unknown_kind(service: Service) -> None:
    """A kind other than image, video and audio is refused."""
    expect_refusal(await send(service, png(), "text", "pixel.png"), 400, "validation_failed")


@checks.documented("8")
async def a_long_trace_id(service: Service) -> None:
    """A client_request_id of 129 characters is refused."""
    reply = await send(service, png(), "image", "pixel.png", client_request_id="x" * 129)
    expect_refusal(reply, 400, "validation_failed")
