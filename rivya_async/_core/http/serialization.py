"""Conversion between JSON and records.

Statuses and codes are open strings; times become aware UTC datetimes; values are not coerced. Only the fields without a
default are essential: if one is missing or invalid, `ResponseDecodeError` names its path. Any other member that is
unknown or cannot be read is kept in `extra`, and its field has the default.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Mapping
from operator import itemgetter
from types import NoneType
from typing import Any, Final, TypeVar

from ..errors import ConfigurationError, ResponseDecodeError
from ..types.generations import Generation, GenerationResult
from .record_readers import MAX_LIST_LENGTH, UnreadableError, parse_datetime, record_converter

R = TypeVar("R")

MAX_PATH_LENGTH: Final = 20
"""Maximum number of members in the path of a value that JSON cannot represent."""

_ZEROS: Final = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_INTEGER: Final = b"0" * 19
"""Digits of a number that may exceed 64 bits, as zeros: this search takes a tenth of the time of a regex."""

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
"""One half of a surrogate pair."""

_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""Escape sequence of a JSON string. The group matches half of a surrogate pair without the other half."""

DOCUMENTED_FIELDS: Final = (
    "id", "status", "model", "reserved_credits", "final_credits", "created_at", "updated_at", "result", "error",
)  # fmt: skip
"""Members of a generation in the documented order."""

_get_fields = itemgetter(*DOCUMENTED_FIELDS)
_get_result_fields = itemgetter("primary_url", "urls")


def load_strict_json(body: bytes) -> Any:
    """Parses JSON as orjson does: UTF-8, without NaN and infinities, which records cannot compare or send."""
    return json.loads(body.decode(), parse_constant=_finite_number, parse_float=_finite_number)


def _finite_number(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal:.20} is no JSON number")
    return number


try:
    from orjson import loads as _loads
except ImportError:  # the `speed` extra is not installed
    _loads = load_strict_json  # type: ignore[assignment]


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
"""Shared encoder: `json.dumps` with these arguments creates one per call."""


def encode_json(value: Mapping[str, Any]) -> bytes:
    """Returns a value as JSON. Raises `ConfigurationError` if JSON cannot represent it."""
    try:
        return _encoder.encode(value).encode()
    except (TypeError, ValueError, RecursionError):
        raise ConfigurationError(f"the request cannot be sent as JSON: {_describe_unencodable(value)}") from None


def _describe_unencodable(value: Any) -> str:
    """Returns the path of the first member that JSON cannot represent, with the reason."""
    path = ""
    for _ in range(MAX_PATH_LENGTH):
        members: Any = ()
        if isinstance(value, dict):
            wrong = next((key for key in value if not isinstance(key, str | int | float | NoneType)), None)
            if wrong is not None:
                return f"{path or 'the body'} has a key of type {type(wrong).__name__}. Use strings"
            members = ((f"{path}.{name}" if path else f"{name}", member) for name, member in value.items())
        elif isinstance(value, list | tuple):
            members = ((f"{path}[{index}]", member) for index, member in enumerate(value))
        found = next(((place, member) for place, member in members if not _is_encodable(member)), None)
        if found is None:
            break
        path, value = found
    shown = f"{value!r}" if isinstance(value, float) else f"this {type(value).__name__}"
    return f"{path or 'the body'}: {shown} has no form in JSON. Use strings, numbers, booleans, lists and dicts"


def _is_encodable(value: Any) -> bool:
    try:
        _encoder.encode(value).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def parse_json(body: bytes) -> Any:
    """Returns the JSON value of a response body, which may begin with a byte order mark.

    Services that cut texts at a number of UTF-16 units leave half of a surrogate pair, which no other text can hold: it
    becomes U+FFFD.
    """
    try:
        has_surrogate = b"\\u" in body and _SURROGATE.search(body) is not None
        if has_surrogate or _LONG_INTEGER in body.translate(_ZEROS):  # orjson rejects the one, rounds the other
            return load_strict_json(_ESCAPE.sub(_replace_lone_surrogate, body))
        return _loads(body)
    except (ValueError, RecursionError) as error:
        if body.startswith(codecs.BOM_UTF8):
            return parse_json(body.removeprefix(codecs.BOM_UTF8))
        shown = "an empty body" if not body.strip() else f"a body that is not JSON ({str(error)[:100]})"
        raise ResponseDecodeError(
            f"the service responded with {shown}: check base_url, and any proxy or gateway on the way",
            reason=str(error),
            is_json=False,
        ) from None


def _replace_lone_surrogate(escape: re.Match[bytes]) -> bytes:
    return escape[0] if escape[1] is None else b"\\ufffd"


# --- records ----------------------------------------------------------------------------------------------------------


def decode(body: bytes, record: type[R]) -> R:
    """Returns a record from a response body."""
    return structure(parse_json(body), record)


def structure(value: Any, record: type[R]) -> R:
    """Returns a record from a JSON value. Raises `ResponseDecodeError` only for members that identify the record."""
    try:
        made: R = record_converter().structure(value, record)
    except UnreadableError as error:
        raise ResponseDecodeError(
            f"the service responded with an invalid {record.__name__} at ${error.path}: {error.reason}. "
            "A newer version of this library may support it.",
            path=f"${error.path}",
            reason=error.reason,
        ) from None
    return made


def parse_usual_generation(value: Any, request_id: str | None = None) -> Generation | None:
    """Returns an open or succeeded job in its documented shape; None for any other value.

    Polls read these records most often: the shortcut takes half of the 17 us of the converter.
    """
    try:
        task_id, status, model, reserved, final, created, updated, result, error = _get_fields(value)
        is_usual = (
            type(task_id) is type(status) is type(model) is type(created) is type(updated) is str
            and type(reserved) is type(final) is int
            and error is None
            and len(value) == len(DOCUMENTED_FIELDS)
        )
        if not is_usual:
            return None
        instants = parse_datetime(created), parse_datetime(updated)
        files = None if result is None else _parse_usual_result(result)
        return Generation(task_id, status, model, reserved, final, *instants, files, request_id=request_id)
    except (LookupError, TypeError, ValueError):
        return None


def _parse_usual_result(value: Any) -> GenerationResult:
    """Returns a result in its documented shape. Raises for any other value."""
    primary_url, urls = _get_result_fields(value)
    if len(value) != 2 or type(urls) is not list or len(urls) > MAX_LIST_LENGTH:  # noqa: PLR2004 - the two fields
        raise ValueError("not a documented result")
    if {type(primary_url), *map(type, urls)} != {str}:
        raise ValueError("not a documented result")
    return GenerationResult(primary_url, tuple(urls))
