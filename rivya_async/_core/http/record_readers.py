"""The converter that reads JSON values as records, with one hook for each type of a field.

Only the fields without a default are essential. Any other member that is unknown or cannot be read is kept in `extra`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, partial, reduce
from operator import or_
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Never, get_args, get_origin, get_type_hints

import attrs

from ..catalogue.model_param import ModelParam

if TYPE_CHECKING:
    from cattrs import Converter

MAX_LIST_LENGTH: Final = 10_000
"""Maximum number of items of a list in a record."""

MAX_UNREADABLE_ITEMS: Final = 100
"""Number of invalid items after which a list is not read any further."""

MAX_UNIX_SECONDS: Final = 100_000_000_000
"""Largest Unix time in seconds, in the year 5138; a larger number is in milliseconds."""

_log = logging.getLogger("rivya_async")
_warned: set[str] = set()
"""Members that were logged: the names of fields, so their number is limited."""


class UnreadableError(Exception):
    """Value of another type than expected. `readable` has the items of a list that could be read."""

    def __init__(self, reason: str, path: str = "", readable: tuple[Any, ...] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.readable = readable


@cache
def record_converter() -> Converter:
    """Returns the converter of all records. Its hooks raise `UnreadableError`."""
    from cattrs import Converter

    converter = Converter(detailed_validation=False)
    for kind, read in READERS_BY_CLASS.items():
        converter.register_structure_hook(kind, partial(_call_reader, read))
    converter.register_structure_hook_func(_is_amount, partial(_call_reader, _read_amount))
    converter.register_structure_hook_func(_is_mapping, partial(_call_reader, _read_mapping))
    converter.register_structure_hook_factory(_is_tuple, partial(_tuple_hook, converter))
    converter.register_structure_hook_factory(attrs.has, partial(_record_hook, converter))
    converter.register_structure_hook(ModelParam, _param_hook(converter))
    return converter


def prepare_converter(*records: type[Any]) -> None:
    """Creates the converter and the hooks of these records, which takes some milliseconds at their first use."""
    for record in records:
        record_converter().get_structure_hook(record)


def _without_none(kind: Any) -> Any:
    """Returns the type of a field without None, for which no hook is called. A union with str is an open string."""
    if get_origin(kind) is not UnionType:
        return kind
    kinds = [each for each in get_args(kind) if each is not NoneType]
    return str if str in kinds else reduce(or_, kinds)


def _is_amount(kind: Any) -> bool:
    return set(get_args(kind)) == {int, float}


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is Mapping


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _call_reader(read: Callable[[Any], Any], value: Any, _kind: Any) -> Any:
    return read(value)


def _record_hook(converter: Converter, record: type[Any]) -> Callable[[Any, Any], Any]:
    """Returns a hook that keeps in `extra` all members that are unknown, and those that cannot be read.

    A record without `extra` ignores unknown members; each member that it has must be readable.
    """
    hints = get_type_hints(record)
    kinds = {field.name: _without_none(hints[field.name]) for field in attrs.fields(record) if field.name != "extra"}
    hooks = {name: (converter.get_structure_hook(kind), kind) for name, kind in kinds.items()}
    essential = [field.name for field in attrs.fields(record) if field.default is attrs.NOTHING]
    has_extra = "extra" in hints

    def structure_record(value: Any, _kind: Any) -> Any:
        if not isinstance(value, dict):
            raise UnreadableError(f"expected an object, got {type(value).__name__}")
        fields: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, member in value.items():
            if name not in hooks:
                extra[name] = member
            elif member is not None or name in essential:
                hook, kind = hooks[name]
                try:
                    fields[name] = hook(member, kind)
                except UnreadableError as error:
                    if not has_extra:
                        raise UnreadableError(error.reason, f".{name}{error.path}") from None
                    if error.readable is not None:
                        fields[name] = error.readable
                    extra[name] = _keep_value(member, error, record, name, is_essential=name in essential)
        missing = next((name for name in essential if name not in fields), None)
        if missing is not None:
            raise UnreadableError("it is missing", f".{missing}")
        return record(**fields, extra=extra) if extra and has_extra else record(**fields)

    return structure_record


def _keep_value(member: Any, error: UnreadableError, record: type[Any], name: str, *, is_essential: bool) -> Any:
    """Returns a member that cannot be read, for `extra`. Raises the error if it is essential."""
    if is_essential and error.readable is None:
        raise UnreadableError(error.reason, f".{name}{error.path}") from None
    _warn_once(f"{record.__name__}.{name}")
    return member


def _warn_once(member: str) -> None:
    """Logs a member that cannot be read: once in a process, and without its value."""
    if member not in _warned:
        _warned.add(member)
        _log.warning("the service sent a %s that cannot be read: its value is kept in `extra`", member)


def _tuple_hook(converter: Converter, kind: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
    """Returns a hook that reads JSON lists."""
    item_kind = get_args(kind)[0]
    hook = converter.get_structure_hook(item_kind)

    def read(item: Any) -> Any:
        return hook(item, item_kind)

    def structure_tuple(value: Any, _kind: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise UnreadableError(f"expected a list, got {type(value).__name__}")
        if len(value) > MAX_LIST_LENGTH:
            raise UnreadableError(f"expected at most {MAX_LIST_LENGTH} items, got {len(value)}")
        try:
            return tuple(map(read, value))
        except UnreadableError:
            return _read_items(read, value)

    return structure_tuple


def _read_items(read: Callable[[Any], Any], items: list[Any]) -> Never:
    """Raises the first error of a list, with all items that can be read. Stops after too many errors."""
    readable, errors = [], []
    for index, item in enumerate(items):
        try:
            readable.append(read(item))
        except UnreadableError as error:
            errors.append((error.reason, f"[{index}]{error.path}"))
            if len(errors) > MAX_UNREADABLE_ITEMS:
                break
    reason, path = errors[0]
    raise UnreadableError(reason, path, None if len(errors) > MAX_UNREADABLE_ITEMS else tuple(readable))


def _read_exact(kind: type[Any], expected: str, value: Any) -> Any:
    """Returns a value of this type; a bool is not an int."""
    if not isinstance(value, kind) or (value.__class__ is bool and kind is int):
        raise UnreadableError(f"expected {expected}, got {type(value).__name__}")
    return value


def _read_amount(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnreadableError(f"expected a number, got {type(value).__name__}")
    return value


def _read_datetime(value: Any) -> datetime:
    try:
        return parse_datetime(value)
    except (TypeError, ValueError) as error:
        raise UnreadableError(str(error)) from None


_read_mapping = partial(_read_exact, dict, "an object")

READERS_BY_CLASS: Final[Mapping[type[Any], Callable[[Any], Any]]] = {
    str: partial(_read_exact, str, "a string"),
    int: partial(_read_exact, int, "a whole number"),
    bool: partial(_read_exact, bool, "true or false"),
    datetime: _read_datetime,
}
"""Functions that read the values of a class."""


def _param_hook(converter: Converter) -> Callable[[Any, Any], ModelParam]:
    """Returns a hook that accepts params of any shape, since their shape is an assumption."""
    structure_record = _record_hook(converter, ModelParam)

    def structure_param(value: Any, kind: Any) -> ModelParam:
        try:
            param: ModelParam = structure_record(value, kind)
        except UnreadableError:
            members = value if isinstance(value, dict) else {"key": value}
            key = members.get("key")
            return ModelParam(key if isinstance(key, str) else "", extra=members)
        return param

    return structure_param


def parse_datetime(value: Any) -> datetime:
    """Returns an aware UTC datetime of an ISO 8601 date, or of a Unix time in seconds or milliseconds.

    Raises TypeError or ValueError for another value.
    """
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if abs(value) > MAX_UNIX_SECONDS else value, UTC)
        if not isinstance(value, str):
            raise TypeError(f"expected an ISO 8601 date, got {type(value).__name__}")
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is UTC:
            return instant
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError, OSError):  # OverflowError: the UTC date is outside of the calendar
        raise ValueError(f"expected an ISO 8601 date, got {str(value)[:40]!r}") from None
