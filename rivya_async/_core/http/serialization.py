"""Between bytes and records: one cattrs converter, made when the first answer is read.

Unknown members are kept in `extra`; statuses and codes are open strings; `params` is never touched; instants become
aware UTC; nothing is coerced. What does not fit is a `ResponseDecodeError` with the path of the bad member.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from operator import itemgetter
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args, get_type_hints

import attrs

from ..catalogue.model_param import ModelParam
from ..errors import ConfigurationError, ResponseDecodeError
from ..types.generations import Amount, Generation

if TYPE_CHECKING:
    from cattrs import Converter

R = TypeVar("R")


def load_strict_json(body: bytes) -> Any:
    """JSON as orjson reads it: UTF-8, without NaN and infinities, which a record could neither compare nor send on."""
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
"""Made once: `json.dumps` with these arguments makes one per call."""


def encode_json(value: Mapping[str, Any]) -> bytes:
    """A value as JSON; `ConfigurationError` where JSON cannot hold it."""
    try:
        return _encoder.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"the request cannot be sent as JSON: {error}") from None


def parse_json(body: bytes) -> Any:
    """The JSON value of an answer's body."""
    try:
        return _loads(body)
    except (ValueError, RecursionError) as error:
        shown = "an empty body" if not body.strip() else "a body that is not JSON"
        raise ResponseDecodeError(
            f"the service answered with {shown}: check base_url, and what stands between here and there",
            reason=str(error),
            is_json=False,
        ) from None


def decode(body: bytes, record: type[R]) -> R:
    """A record out of an answer's body."""
    return structure(parse_json(body), record)


def structure(value: Any, record: type[R]) -> R:
    """A record out of a JSON value."""
    convert = get_converter()
    try:
        return convert.structure(value, record)
    except Exception as error:  # noqa: BLE001 - cattrs wraps whatever a hook raises, and tells us where
        raise _response_decode_error(error, record) from None


def unstructure(record: Any) -> dict[str, Any]:
    """A record as the service would write it, for JSON; `structure` makes it again."""
    told: dict[str, Any] = get_converter().unstructure(record)
    return told


def _response_decode_error(error: Exception, record: type[Any]) -> ResponseDecodeError:
    from cattrs import transform_error

    reason, _, path = transform_error(error, path="$", format_exception=_describe_error)[0].rpartition(" @ ")
    return ResponseDecodeError(
        f"the service answered with a {record.__name__} that does not fit at {path}: {reason}. "
        "A newer version of this library may know this shape.",
        path=path,
        reason=reason,
    )


def _describe_error(error: BaseException, _kind: object) -> str:
    return "it is missing" if isinstance(error, KeyError) else str(error)


@cache
def get_converter() -> Converter:
    """The one configured converter."""
    from cattrs import Converter

    convert = Converter(detailed_validation=True)
    convert.register_structure_hook(str, _structure_str)
    convert.register_structure_hook(bool, _structure_bool)
    convert.register_structure_hook(int, _structure_int)
    convert.register_structure_hook(datetime, lambda value, _kind: parse_datetime(value))
    convert.register_structure_hook_func(_is_amount, _structure_amount)
    convert.register_structure_hook_func(_is_mapping, _structure_mapping)
    convert.register_structure_hook_factory(_is_tuple, lambda kind: _tuple_hook(convert, kind))
    convert.register_structure_hook_factory(attrs.has, lambda record: _record_hook(convert, record))
    convert.register_structure_hook(ModelParam, _model_param_hook(convert))
    convert.register_unstructure_hook(datetime, datetime.isoformat)
    convert.register_unstructure_hook_factory(attrs.has, lambda record: _unstructure_hook(convert, record))
    return convert


def _unstructure_hook(convert: Converter, record: type[Any]) -> Callable[[Any], dict[str, Any]]:
    """Unstructures a record, with the members that it does not name beside those that it does."""
    from cattrs.gen import make_dict_unstructure_fn

    named = make_dict_unstructure_fn(record, convert)

    def plain_record(value: Any) -> dict[str, Any]:
        told = named(value)
        told.update(told.pop("extra", {}))
        return told

    return plain_record


def _model_param_hook(convert: Converter) -> Callable[[Any, Any], ModelParam]:
    """Structures a param of the catalogue, whose shape is an assumption: one of another shape spoils no catalogue."""
    from cattrs import BaseValidationError

    strict = _record_hook(convert, ModelParam)

    def structure_param(value: Any, kind: Any) -> ModelParam:
        try:
            param: ModelParam = strict(value, kind)
        except (BaseValidationError, TypeError):
            members = value if isinstance(value, dict) else {"key": value}
            key = members.get("key")
            return ModelParam(key if isinstance(key, str) else "", extra=members)
        return param

    return structure_param


def _record_hook(convert: Converter, record: type[Any]) -> Callable[[Any, Any], Any]:
    """Structures a record and keeps the members that it does not name in `extra`."""
    from cattrs.gen import make_dict_structure_fn, override

    fields = [field for field in attrs.fields(record) if field.name != "extra"]
    known = frozenset(field.name for field in fields)
    hints = get_type_hints(record)
    never_null = {
        field.name for field in fields if field.default is not attrs.NOTHING and not _is_optional(hints[field.name])
    }
    plain = make_dict_structure_fn(record, convert, extra=override(omit=True))

    def structure_record(value: Any, kind: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, got {type(value).__name__}")
        if value.keys() <= known and not any(value.get(name, 0) is None for name in never_null):
            return plain(value, kind)
        made = plain(
            {name: member for name, member in value.items() if member is not None or name not in never_null},
            kind,
        )
        extra = {name: member for name, member in value.items() if name not in known}
        return attrs.evolve(made, extra=extra) if extra else made

    return structure_record


def _structure_str(value: Any, _kind: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {type(value).__name__}")
    return value


def _structure_bool(value: Any, _kind: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {type(value).__name__}")
    return value


def _structure_int(value: Any, _kind: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, got {type(value).__name__}")
    return value


def _structure_amount(value: Any, kind: Any) -> Amount | None:
    if value is None and _is_optional(kind):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {type(value).__name__}")
    number: Amount = value
    return number


def parse_datetime(value: Any) -> datetime:
    """An aware UTC datetime; TypeError or ValueError for what is none."""
    text = _structure_str(value, str)
    try:
        told = datetime.fromisoformat(text)
        if told.tzinfo is UTC:
            return told
        return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter for what leaves the calendar on its way to UTC
        raise ValueError(f"expected an ISO 8601 date, got {text[:40]!r}") from None


def _tuple_hook(convert: Converter, kind: Any) -> Callable[[Any, Any], Any]:
    """Structures a JSON list; a string is no list of its letters."""
    members: Any = list[get_args(kind)[0]]  # type: ignore[misc]

    def structure_tuple(value: Any, _kind: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError(f"expected a list, got {type(value).__name__}")
        return tuple(convert.structure(value, members))

    return structure_tuple


def _is_optional(kind: Any) -> bool:
    return kind is Any or NoneType in get_args(kind)


def _is_amount(kind: Any) -> bool:
    return {int, float} <= set(get_args(kind)) <= {int, float, NoneType}


def _is_tuple(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is tuple


def _is_mapping(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is Mapping


def _structure_mapping(value: Any, _kind: Any) -> Any:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {type(value).__name__}")
    return value


DOCUMENTED_FIELDS: Final = (
    "id", "status", "model", "reserved_credits", "final_credits", "created_at", "updated_at", "result", "error",
)  # fmt: skip

_get_fields = itemgetter(*DOCUMENTED_FIELDS)


def parse_open_generation(value: Any) -> Generation | None:
    """The job that this JSON value tells of; None where anything is unusual. Saves half of the converter's 17 us."""
    try:
        task_id, status, model, reserved, final, created, updated, result, error = _get_fields(value)
        is_usual = (
            type(task_id) is type(status) is type(model) is type(created) is type(updated) is str
            and type(reserved) is type(final) is int
            and result is error is None
            and len(value) == len(DOCUMENTED_FIELDS)
        )
        if not is_usual:
            return None
        return Generation(
            task_id,
            status,
            model,
            reserved,
            final,
            parse_datetime(created),
            parse_datetime(updated),
        )
    except (LookupError, TypeError, ValueError):
        return None
