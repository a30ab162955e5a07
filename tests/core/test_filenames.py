"""File names from untrusted input are portable, and stay inside of the folder."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rivya_async._core.files.filenames import (
    KIND_BY_EXTENSION,
    file_extension,
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
    ("content_type", "url", "suffix"),
    [
        ("image/png", "https://cdn.example/kite.jpg", ".png"),
        ("IMAGE/PNG; charset=binary", "https://cdn.example/kite", ".png"),
        ("image/jpeg", "", ".jpg"),
        ("video/quicktime", "", ".mov"),
        ("audio/x-wav", "", ".wav"),
        ("application/octet-stream", "https://cdn.example/kite.MP4?sig=1.exe", ".mp4"),
        ("", "https://cdn.example/kite.webm", ".webm"),
        (None, "https://cdn.example/kite.webm", ".webm"),
        (None, "https://cdn.example/kite", ".bin"),
        (None, "https://cdn.example/kite.", ".bin"),
        (None, "https://cdn.example/.png", ".bin"),
        (None, "https://cdn.example/kite.a-very-long-one", ".bin"),
        (None, "https://cdn.example/kite.p%2Fg", ".bin"),
        (None, "https://[::1", ".bin"),
        (None, "", ".bin"),
    ],
)
def test_file_extension(content_type: str | None, url: str, suffix: str) -> None:
    assert file_extension(content_type, url) == suffix


@given(st.text(), st.text())
def test_any_extension_is_short_and_plain(content_type: str, url: str) -> None:
    suffix = file_extension(content_type, url)
    assert suffix[0] == "."
    assert suffix[1:].isalnum()
    assert suffix.isascii()
    assert len(suffix) <= 9


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
