"""Secrets in texts, and the wrapper of secret values."""

from __future__ import annotations

import pickle
import time
from urllib.parse import quote

import pytest

from rivya_async._core.errors import RivyaError
from rivya_async._core.masking import Secret, clean_body, clean_message, mask_secrets, mask_url, mask_urls


def test_secret_is_masked() -> None:
    secret = Secret("rvya_sk_1")
    assert secret.reveal() == "rvya_sk_1"
    assert "rvya" not in f"{secret} {secret!r} {[secret]}"


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret("a"))


KEY = "rvya_sk_a/b+c1"


@pytest.mark.parametrize(
    "shown",
    [
        KEY,
        KEY.replace("/", "\\/"),
        quote(KEY, safe=""),
        quote(quote(KEY, safe="")),
        "".join(f"\\u{ord(each):04X}" for each in KEY),
        repr("".join(f"\\x{ord(each):02x}" for each in KEY)),
        "".join(f"&#{ord(each)};" for each in KEY),
        "".join(f"&#x{ord(each):X};" for each in KEY),
    ],
)
def test_masks_escaped_secrets(shown: str) -> None:
    text = mask_secrets(f"before {shown} after", [KEY])
    assert text.replace("'", "").replace('"', "") == "before *** after"
    assert mask_secrets(shown.swapcase(), ["other"]) == shown.swapcase()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("see https://u:p@h.example/x?sig=1: no", "see https://h.example/x?***: no"),
        ("('https://h/x?c=d', HTTP://a@b@h/y#z)", "('https://h/x?***', HTTP://h/y)"),
        ("redis://:pw@localhost:6379/0 is down", "redis://localhost:6379/0 is down"),
        ("'data:image/png;base64,AAAA==' is not a file", "'data:image/png,***' is not a file"),
        ("no data: here, and a ://", "no data: here, and a ://"),
    ],
)
def test_masks_urls_in_texts(text: str, masked: str) -> None:
    assert mask_urls(text) == masked
    assert str(RivyaError(text)) == masked


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://u:p@h/x?y", "https://h/x?***"),
        ("/x?y", "/x?***"),
        ("/x#y", "/x"),
        ("/x#y?z", "/x"),
        ("https://h/x", "https://h/x"),
    ],
)
def test_masks_url(url: str, masked: str) -> None:
    assert mask_url(url) == masked


@pytest.mark.parametrize("length", [2_000, 2_001, 8_000, 8_001, 3_000_000])
def test_messages_have_a_maximum_length(length: int) -> None:
    message = str(RivyaError("a" * length))
    assert len(message) == 2_000
    assert (" ... " in message) is (length > 2_000)


def test_message_with_data_has_none_of_it() -> None:
    assert str(RivyaError("not a file: data:image/png;base64," + "QUFB" * 1_000_000)).startswith(
        "not a file: data:image"
    )
    assert "QUFB" not in str(RivyaError("not a file: data:image/png;base64," + "QUFB" * 1_000_000))


def test_masking_takes_linear_time() -> None:
    started = time.thread_time()
    for text in (
        "\\" * 8000,
        "rvya_sk_" * 1000,
        "a://" * 2000,
        "a://" + "@" * 7900,
        "data:a/" * 1100,
        '"secret' * 1000,
    ):
        mask_secrets(text, [KEY])
        clean_message(text)
        clean_body(text)
    assert time.thread_time() - started < 1.0
