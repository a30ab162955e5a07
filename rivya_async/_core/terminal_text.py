"""Removal of characters that a terminal or a log file obeys from texts of the service. Pure."""

from __future__ import annotations

import re
from typing import Final

UNSAFE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal obeys, or that change the order of others, except tab and newline; lone surrogates."""

MAX_SHOWN_LENGTH: Final = 60
"""Maximum length of a value in a message, in characters."""


def strip_control_characters(text: str) -> str:
    r"""Returns the text without the characters that a terminal obeys; newlines and tabs stay.

    >>> strip_control_characters("One\n\x1b[31mtwo")
    'One\n[31mtwo'
    """
    return UNSAFE.sub("", text)


def escape_control_characters(text: str) -> str:
    """Returns JSON in which these characters are escapes. The value stays the same."""
    return UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def to_one_line(text: str) -> str:
    r"""Returns the text on one line of printable characters.

    >>> to_one_line("One\n\x1b[31mtwo")
    'One [31mtwo'
    """
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def shorten_text(text: str, limit: int = MAX_SHOWN_LENGTH) -> str:
    """Returns the text, or its beginning if it is longer than `limit` characters."""
    return text if len(text) <= limit else f"{text[:limit]}..."
