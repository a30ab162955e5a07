"""Advice for keyword arguments and attributes that do not exist here: those of other SDKs, and misspelt ones."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from typing import Final, ParamSpec, TypeVar

from .catalogue.validation import closest_matches

P = ParamSpec("P")
R = TypeVar("R")

ADVICE: Final = {
    "api_base": "base_url=...",
    "close": "`await session.aclose()`, or `async with`",
    "default_headers": "headers={...}",
    "extra_body": "params={...}",
    "extra_headers": "session.with_options(headers={...})",
    "http_client": "http=aiohttp.ClientSession(...)",
    "limits": "max_connections=...",
    "max_retries": "retry=RetryPolicy(max_attempts=...) of the session or of with_options",
    "overwrite": 'exists="overwrite"',
    "proxies": "proxy=...",
    "timeout": "timeouts=Timeouts(total=...) of the session or of with_options",
    "token": "api_key=...",
    "verify": "ssl=...",
}
"""The way of this SDK, by the name that openai-python, httpx and others use."""


def advise(name: str, known: Iterable[str]) -> str:
    """Returns the end of an error message about an unknown name: the way of this SDK, or the nearest known names."""
    if name in ADVICE:
        return f": use {ADVICE[name]}"
    matches = closest_matches(name, known)
    return f": did you mean {' or '.join(map(repr, matches))}?" if matches else ""


def check_arguments(function: Callable[..., object], names: Collection[str]) -> None:
    """Raises `TypeError` with advice if the function has no keyword argument of one of these names."""
    code = function.__code__
    known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    for name in names:
        if name not in known:
            raise TypeError(f"{function.__name__}() has no argument {name!r}{advise(name, known[1:])}")


def explain_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a function so that an unknown keyword argument raises a `TypeError` with advice."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            check_arguments(function, tuple(kwargs))
            return function(*args, **kwargs)
        finally:
            del args, kwargs  # a traceback shows local variables: none of them may hold a secret

    return call
