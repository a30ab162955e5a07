"""Media types by first bytes, and the limits of uploads."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.assumptions import MEGABYTE
from rivya_async._core.catalogue.model import Model
from rivya_async._core.catalogue.reference_rules import FileLimit
from rivya_async._core.errors import ConfigurationError, InvalidRequestError, RivyaError
from rivya_async._core.files.media_type import (
    KINDS,
    MediaType,
    check_upload,
    detect_media_type,
    is_result_media,
    limit_for,
    name_mismatch,
    result_extension,
    size_warning,
)


def box(brand: bytes, also: bytes) -> bytes:
    return b"\x00\x00\x00\x14ftyp" + brand + b"\x00\x00\x02\x00" + also


HEADS = {
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "image/jpeg"),
    "png": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image/png"),
    "webp": (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
    "gif": (b"GIF89a\x01\x00", "image/gif"),
    "mp4": (box(b"isom", b"mp41"), "video/mp4"),
    "m4v": (box(b"M4V ", b"mp42"), "video/mp4"),
    "mov": (box(b"qt  ", b"qt  "), "video/quicktime"),
    "webm": (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", "video/webm"),
    "mkv": (b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81\x01\x42\x82\x88matroska", "video/x-matroska"),
    "mp3": (b"ID3\x04\x00\x00\x00\x00\x00\x23", "audio/mpeg"),
    "bare mp3": (b"\xff\xfb\x90\x64\x00\x00", "audio/mpeg"),
    "m4a": (box(b"M4A ", b"isom"), "audio/mp4"),
    "wav": (b"RIFF\x24\x00\x00\x00WAVEfmt ", "audio/x-wav"),
    "aac": (b"\xff\xf1\x50\x80\x00\x1f\xfc", "audio/aac"),
    "ogg": (b"OggS\x00\x02\x00\x00", "audio/ogg"),
}


@pytest.mark.parametrize(("head", "mime_type"), HEADS.values(), ids=HEADS.keys())
def test_detects_type_from_bytes(head: bytes, mime_type: str) -> None:
    kind = mime_type.partition("/")[0]
    head += bytes(300)
    assert detect_media_type(head, name=None, kind=None) == MediaType(kind, mime_type)
    assert detect_media_type(head, name="misnamed.txt", kind=kind) == MediaType(kind, mime_type)


def test_animated_png_is_png() -> None:
    head = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + bytes(17) + b"\x00\x00\x00\x08acTL" + bytes(300)
    assert detect_media_type(head, name=None, kind=None).mime_type == "image/png"


def test_mp4_may_be_audio() -> None:
    head = HEADS["mp4"][0] + bytes(300)
    assert detect_media_type(head, name="talk.mp4", kind="audio") == MediaType("audio", "audio/mp4")


def test_extension_is_fallback() -> None:
    old_film = b"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat" + bytes(300)
    assert detect_media_type(old_film, name="OLD.MOV", kind="video") == MediaType("video", "video/quicktime")
    assert detect_media_type(b"??", name="a.JPEG", kind="image").mime_type == "image/jpeg"
    for name, kind in [("old.mov", None), ("old.mov", "audio"), (None, "video"), ("old", "video"), ("a.xyz", "video")]:
        with pytest.raises(ConfigurationError, match="is not a known image"):
            detect_media_type(old_film, name=name, kind=kind)


@pytest.mark.parametrize(
    ("head", "kind", "error", "message"),
    [
        (b"", None, InvalidRequestError, "'a.png' cannot be uploaded: it is empty"),
        (b"%PDF-1.7" + bytes(300), None, InvalidRequestError, "it is application/pdf, not an image"),
        (HEADS["png"][0] + bytes(300), "video", InvalidRequestError, "it is image/png, not of kind 'video'"),
        (HEADS["png"][0], "picture", ConfigurationError, "kind must be one of image, video, audio"),
    ],
)
def test_rejects_invalid_files(head: bytes, kind: str | None, error: type[RivyaError], message: str) -> None:
    with pytest.raises(error, match=message):
        detect_media_type(head, name="a.png", kind=kind)


@given(st.binary(max_size=64), st.text() | st.none(), st.sampled_from([*KINDS, None]))
def test_any_bytes_have_type_or_error(head: bytes, name: str | None, kind: str | None) -> None:
    try:
        found = detect_media_type(head, name=name, kind=kind)
    except (ConfigurationError, InvalidRequestError):
        return
    assert found.mime_type.startswith(found.kind)
    assert kind in {None, found.kind}


# --- limits -----------------------------------------------------------------------------------------------------------


def model(**facts: Any) -> Model:
    return Model("happyhorse-1-0", **{"supported_api_inputs": ("text", "file"), **facts})


def test_known_limits_reject() -> None:
    image = FileLimit(10 * MEGABYTE, ("image/jpeg", "image/png"))
    png = MediaType("image", "image/png")
    check_upload(image, png, name=None, size=10 * MEGABYTE)
    check_upload(image, png, name=None, size=None)
    with pytest.raises(InvalidRequestError, match="10,485,761 bytes are more than the 10,485,760"):
        check_upload(image, png, name="a.png", size=10 * MEGABYTE + 1)
    with pytest.raises(InvalidRequestError, match="convert it to image/jpeg or image/png"):
        check_upload(image, MediaType("image", "image/gif"), name="a.gif", size=1)
    assert size_warning(image, png, name="a.png", size=10 * MEGABYTE + 1) is None


@pytest.mark.parametrize(
    ("kind", "size", "warns"),
    [
        ("image", 10 * MEGABYTE, False),
        ("image", 10 * MEGABYTE + 1, True),
        ("video", 50 * MEGABYTE, False),
        ("video", 50 * MEGABYTE + 1, True),
        ("audio", 10 * MEGABYTE + 1, True),
        ("audio", None, False),
    ],
)
def test_size_above_the_default_is_a_warning(kind: str, size: int | None, warns: bool) -> None:
    media, limit = MediaType(kind, f"{kind}/x-novel"), limit_for(kind, None)
    check_upload(limit, media, name="a", size=size)
    warning = size_warning(limit, media, name="a", size=size)
    assert (warning is not None) is warns
    assert warning is None or f"'a' has {size:,} bytes: the documented default limit" in warning


def test_model_has_own_limits() -> None:
    limits = [
        "nonsense",
        {"kind": "image", "max_size_mb": 10, "mime_types": ["image/png"]},
        {"kind": "video", "max_size_mb": 95, "mime_types": ["video/mp4"]},
    ]
    restricted = model(reference_media={"limits": limits})
    assert limit_for("video", restricted) == FileLimit(95 * MEGABYTE, ("video/mp4",))
    assert limit_for("audio", restricted) == FileLimit()


@pytest.mark.parametrize(
    "reference_media",
    [
        None,
        {},
        {"limits": None},
        {"limits": "10 MB"},
        {"limits": [{"kind": "image"}]},
        {"limits": [{"kind": "image", "max_size_mb": "10", "mime_types": []}]},
    ],
)
def test_unlisted_limits_are_not_checked(reference_media: Any) -> None:
    limit = limit_for("image", model(reference_media=reference_media))
    assert limit == FileLimit()
    check_upload(limit, MediaType("image", "image/gif"), name=None, size=10**12)


def test_model_accepts_listed_kinds() -> None:
    assert limit_for("image", model(file_kinds=("image",))) == FileLimit()
    assert limit_for("image", model(supported_api_inputs=())) == FileLimit()
    with pytest.raises(InvalidRequestError, match="happyhorse-1-0 takes no file of kind 'audio', only image and video"):
        limit_for("audio", model(file_kinds=("image", "video")))
    with pytest.raises(InvalidRequestError, match="takes no file of kind 'image', and none of any other"):
        limit_for("image", model(supported_api_inputs=("text",)))


# --- results ----------------------------------------------------------------------------------------------------------

FLAC: Final = b"fLaC" + bytes(100)
GIF: Final = b"GIF89a" + bytes(100)
UNKNOWN: Final = b"\x00\x01\x02"


@pytest.mark.parametrize(
    ("content_type", "head", "url", "extension"),
    [
        ("image/jpg", UNKNOWN, "", ".jpg"),
        ("audio/mp3", UNKNOWN, "", ".mp3"),
        ("image/gif", UNKNOWN, "", ".gif"),
        ("audio/flac; a=b", UNKNOWN, "", ".flac"),
        ("application/octet-stream", FLAC, "https://a.example/x.py", ".flac"),
        (None, GIF, "https://a.example/x.png", ".gif"),
        ("text/x-python", UNKNOWN, "https://a.example/x.py", ".bin"),
        ("application/x-sh", UNKNOWN, "https://a.example/x.webm", ".webm"),
        (None, b"PK\x03\x04" + bytes(100), "", ".bin"),
        ("application/zip", b"PK\x03\x04" + bytes(100), "https://a.example/x.png", ".bin"),
        ("image/svg+xml", b"<svg/>", "https://a.example/x.png", ".bin"),
        ("application/octet-stream", b"", "https://a.example/x.png", ".png"),
        (None, b"", "", ".bin"),
    ],
)
def test_result_extension(content_type: str | None, head: bytes, url: str, extension: str) -> None:
    assert result_extension(content_type, head, url) == extension


@pytest.mark.parametrize(
    ("content_type", "head", "is_result", "is_file"),
    [
        ("image/png", b"x", True, True),
        ("image/png", b"  <!DOCTYPE html>", False, False),
        ("text/html", GIF, True, True),
        ("text/html; charset=utf-8", b"<p>", False, False),
        ("application/problem+json", b"{}", False, True),
        ("application/xml", UNKNOWN, False, True),
        ("application/xhtml+xml", UNKNOWN, False, False),
        ("image/svg+xml", b"<?xml?><svg>", True, True),
        ("image/x-unknown", UNKNOWN, True, True),
        ("text/plain", UNKNOWN, False, True),
        ("text/plain", b"link expired", False, True),
        (None, b"link expired \xe6\xbc", False, True),
        (None, b"<Error>\xe9t\xe9</Error>", False, True),
        (None, b"\xe9t\xe9 \xff", True, True),
        (None, UNKNOWN, True, True),
        ("application/octet-stream", UNKNOWN, True, True),
        ("application/octet-stream", b"PK\x03\x04" + bytes(100), False, True),
        ("application/pdf", b"%PDF-1.7\n" + bytes(100), False, True),
    ],
)
def test_recognizes_result(content_type: str | None, head: bytes, is_result: bool, is_file: bool) -> None:
    assert is_result_media(content_type, head, rejects_text=True) is is_result
    assert is_result_media(content_type, head, rejects_text=False) is is_file


@pytest.mark.parametrize(
    ("suffix", "extension", "differs"),
    [
        (".mp4", ".png", True),
        (".JPEG", ".jpg", False),
        (".jpg", ".png", True),
        (".mp4", ".bin", False),
        (".dat", ".png", False),
        ("", ".png", False),
    ],
)
def test_compares_chosen_name_with_format(suffix: str, extension: str, differs: bool) -> None:
    assert name_mismatch(suffix, extension) is differs


def test_long_name_is_shortened_in_message() -> None:
    with pytest.raises(InvalidRequestError) as raised:
        detect_media_type(b"", name="x" * 100_000, kind=None)
    assert len(str(raised.value)) < 300
