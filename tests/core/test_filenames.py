"""File names from untrusted input are portable, and stay inside of the folder."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rivya_async._core.files.filenames import (
    EXTENSION_ALIASES,
    EXTENSIONS,
    KIND_BY_EXTENSION,
    MEDIA_TYPE_ALIASES,
    canonical_extension,
    canonical_media_type,
    extension_from_url,
    safe_stem,
    stem_from_url,
    upload_filename,
)


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("task_ab12", "task_ab12"),
        ("a red kite", "a red kite"),
        ("été-2026.final", "été-2026.final"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..\\..\\boot", "_.._boot"),
        ("/", "download"),
        ("", "download"),
        (".", "download"),
        ("..", "download"),
        ("___", "download"),
        (" . . ", "download"),
        (".hidden", "hidden"),
        ("trailing. ", "trailing"),
        ("a\x00b\nc", "a_b_c"),
        ("a:b*c?d", "a_b_c_d"),
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("nul .txt", "_nul .txt"),
        ("com1", "_com1"),
        ("COM\u00b9", "_COM\u00b9"),
        ("lpt\u00b3.x", "_lpt\u00b3.x"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u093f\u0928\u094d\u0926\u0940"),
        ("\u0e20\u0e32\u0e29\u0e32\u0e17\u0e35\u0e48", "\u0e20\u0e32\u0e29\u0e32\u0e17\u0e35\u0e48"),
        ("console", "console"),
        ("\ud800", "download"),
    ],
    ids=ascii,
)
def test_safe_stem(text: str, stem: str) -> None:
    assert safe_stem(text) == stem


@given(st.text() | st.text(alphabet="./\\ \x00_conCON1", max_size=12) | st.text(alphabet="漢𠀀é", min_size=90))
@example("漢" * 200)
@example("𠀀" * 200)
def test_any_stem_is_safe(text: str) -> None:
    stem = safe_stem(text)
    assert stem
    assert not set(stem) & set('/\\:*?"<>|\x00\n')
    assert stem == stem.strip(" .")
    assert len(stem.encode()) <= 200, "a file name has at most 255 bytes, including the extension"


@pytest.mark.parametrize(
    ("url", "stem"),
    [
        ("https://cdn.example/r/kite.png", "kite"),
        ("https://cdn.example/r/kite.png?sig=abc/def.exe#x", "kite"),
        ("https://cdn.example/r/a%20red%20kite.png", "a red kite"),
        ("https://cdn.example/r/%2e%2e%2fpasswd", "_passwd"),
        ("https://cdn.example/r/..", "download"),
        ("https://cdn.example/r/.png", "png"),
        ("https://cdn.example/r/v1.2 final", "v1.2 final"),
        ("https://cdn.example/", "download"),
        ("https://cdn.example", "download"),
        ("https://[::1", "download"),
        ("", "download"),
    ],
)
def test_stem_from_url(url: str, stem: str) -> None:
    assert stem_from_url(url) == stem


@pytest.mark.parametrize(
    ("url", "suffix"),
    [
        ("https://cdn.example/kite.MP4?sig=1.exe", ".mp4"),
        ("https://cdn.example/kite.JPEG", ".jpg"),
        ("https://cdn.example/kite.webm", ".webm"),
        ("https://cdn.example/kite.py", ".bin"),
        ("https://cdn.example/kite.html", ".bin"),
        ("https://cdn.example/kite", ".bin"),
        ("https://cdn.example/kite.", ".bin"),
        ("https://cdn.example/.png", ".bin"),
        ("https://cdn.example/kite.a-very-long-one", ".bin"),
        ("https://cdn.example/kite.p%2Fg", ".bin"),
        ("https://[::1", ".bin"),
        ("", ".bin"),
    ],
)
def test_extension_from_url(url: str, suffix: str) -> None:
    assert extension_from_url(url) == suffix


@given(st.text())
def test_extension_of_any_url_is_in_table(url: str) -> None:
    assert extension_from_url(f"https://cdn.example/kite.{url}") in {*EXTENSIONS.values(), ".bin"}


@pytest.mark.parametrize(
    ("content_type", "media_type"),
    [
        ("image/png", "image/png"),
        ("IMAGE/PNG; charset=binary", "image/png"),
        ("image/jpg", "image/jpeg"),
        ("audio/mp3", "audio/mpeg"),
        ("audio/x-flac", "audio/flac"),
        ("audio/x-mp3", "audio/mpeg"),
        ("audio/x-wav", "audio/x-wav"),
        ("video/x-m4v", "video/mp4"),
        ("image/x-unknown", "image/x-unknown"),
        ("", ""),
        (None, ""),
    ],
)
def test_canonical_media_type(content_type: str | None, media_type: str) -> None:
    assert canonical_media_type(content_type) == media_type


def test_aliases_refer_to_table() -> None:
    assert set(MEDIA_TYPE_ALIASES.values()) <= set(EXTENSIONS)
    assert set(EXTENSION_ALIASES.values()) <= set(EXTENSIONS.values())
    assert canonical_extension(".JPE") == ".jpg"
    assert canonical_extension(".py") == ".py"


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("kite.png", "kite.png"),
        ("/home/me/ein Drachen, blå.png", "ein Drachen, blå.png"),
        ("C:\\Users\\me\\kite.png", "kite.png"),
        ('a"; filename="b.png\r\nX-Evil: 1', "a_; filename=_b.png__X-Evil: 1"),
        ("", "file"),
        ("folder/", "folder"),
        ("a\ud800.png", "a_.png"),
        ("x" * 300 + ".png", "x" * 146 + ".png"),
    ],
    ids=ascii,
)
def test_upload_filename_is_quotable(name: str, sent: str) -> None:
    assert upload_filename(name) == sent


def test_jpeg_extension_is_image() -> None:
    assert (KIND_BY_EXTENSION[".jpg"], KIND_BY_EXTENSION[".jpeg"], KIND_BY_EXTENSION[".mp4"]) == (
        "image",
        "image",
        "video",
    )
