from __future__ import annotations

import json

import pytest

from rivya_async._core.terminal_text import (
    escape_control_characters,
    shorten_text,
    strip_control_characters,
    to_one_line,
)

HOSTILE = "a\n\tb \x1b[2J\x07\x9b31m\u202e\u2028\ud800 c"


def test_no_control_character_is_left() -> None:
    assert strip_control_characters(HOSTILE) == "a\n\tb [2J31m c"
    assert to_one_line(HOSTILE) == "a b [2J 31m c"
    assert json.loads(escape_control_characters(json.dumps(HOSTILE, ensure_ascii=False))) == HOSTILE


@pytest.mark.parametrize(("text", "shown"), [("", ""), ("x" * 60, "x" * 60), ("x" * 61, "x" * 60 + "...")])
def test_texts_are_shortened(text: str, shown: str) -> None:
    assert shorten_text(text) == shown
