"""Secrets that must not appear in errors and logs: a wrapper for values, and functions that mask texts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NoReturn

MASK: Final = "***"

MAX_MESSAGE_LENGTH: Final = 2000
"""Maximum length of an error message in characters."""

MAX_BODY_LENGTH: Final = 500
"""Maximum length of the response text in an error, in characters."""

_URL_PATTERN: Final = re.compile(
    r"""(?P<scheme>\b[a-z][a-z0-9+.-]{0,20}://)    # blanks and quotes end a URL in a text
        (?:[^\s/?\#"<>@]*@)*                       # user and password
        (?P<path>[^\s?\#"'<>]*)
        (?P<query>[?\#][^\s"'<>]*)?""",
    re.IGNORECASE | re.VERBOSE,
)

_DATA_URL_PATTERN: Final = re.compile(
    r"\bdata:([\w.+-]{0,40}/[\w.+-]{0,80})?[^\s,\"'<>]{0,80},[^\s\"'<>]+", re.IGNORECASE
)

_SECRET_MEMBER_PATTERN: Final = re.compile(
    r"""("[\w-]{0,40}(?:secret|token|password|api_?key)"\s{0,9}:\s{0,9}")[^"]*""", re.IGNORECASE
)


class Secret:
    """Secret text, such as an API key. The repr and the str are masked; `reveal` returns the text.

    >>> Secret("rvya_sk_1")
    Secret('***')
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Returns the text."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """Returns the text without the secrets, also where they are escaped as in JSON, URLs or HTML.

    >>> mask_secrets("no such key: rvya%5Fsk%5F1", ["rvya_sk_1"])
    'no such key: ***'
    """
    for secret in secrets:
        text = _secret_pattern(secret).sub(MASK, text)
    return text


@lru_cache(maxsize=16)
def _secret_pattern(secret: str) -> re.Pattern[str]:
    return re.compile("".join(map(_character_pattern, secret)))


def _character_pattern(character: str) -> str:
    """Returns the pattern of a character and its escapes. Repetitions are bounded, so that a search is linear."""
    code = ord(character)
    escapes = (
        rf"\\{{1,4}}u{code:04x}|\\{{1,4}}x{code:02x}|%(?:25){{0,3}}{code:02x}|&\#(?:0{{0,5}}{code}|x0{{0,5}}{code:x});"
    )
    return rf"(?:\\{{0,4}}{re.escape(character)}|(?i:{escapes}))"


def mask_url(url: str) -> str:
    """Returns a URL, absolute or relative, without user, password, query and fragment.

    >>> mask_url("https://user:password@files.example/1.png?signature=1")
    'https://files.example/1.png?***'
    """
    path, mark, _ = mask_urls(url.partition("#")[0]).partition("?")
    return f"{path}?{MASK}" if mark else path


def mask_urls(text: str) -> str:
    """Returns a text whose URLs have no user, password, query and fragment, and no data."""
    if "data:" in text:
        text = _DATA_URL_PATTERN.sub(rf"data:\1,{MASK}", text)
    return _URL_PATTERN.sub(_mask_url_match, text) if "://" in text else text


def _mask_url_match(match: re.Match[str]) -> str:
    query = match["query"]
    if not query:
        return f"{match['scheme']}{match['path']}"
    end = query[len(query.rstrip(".,:;)]}")) :]  # the punctuation of the sentence
    return f"{match['scheme']}{match['path']}" + (f"?{MASK}" if query.startswith("?") else "") + end


def clean_message(message: str) -> str:
    """Returns an error message without credentials in URLs, with its middle cut out if it is too long."""
    if len(message) > 4 * MAX_MESSAGE_LENGTH:  # before the search, whose time grows with the length
        message = f"{message[: 4 * MAX_MESSAGE_LENGTH]}..."
    message = mask_urls(message)
    if len(message) <= MAX_MESSAGE_LENGTH:
        return message
    tail = MAX_MESSAGE_LENGTH // 4
    return f"{message[: MAX_MESSAGE_LENGTH - tail - 5]} ... {message[-tail:]}"


def clean_body(text: str) -> str:
    """Returns the start of a response body for an error, without credentials in URLs and members that are secret."""
    masked = _SECRET_MEMBER_PATTERN.sub(rf"\1{MASK}", mask_urls(text[: 8 * MAX_BODY_LENGTH]))
    return masked if len(masked) <= MAX_BODY_LENGTH else f"{masked[: MAX_BODY_LENGTH - 3]}..."
