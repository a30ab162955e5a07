"""The base class of all records: their JSON form, their schema for Pydantic and their display in notebooks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast, get_type_hints

import attrs

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

R = TypeVar("R", bound="Record")


@attrs.frozen
class Record:
    """Value that converts to JSON, is a type for Pydantic and FastAPI, and has a display in notebooks.

    Unknown members of the service, which `extra` keeps, are members of the JSON object like all others.
    """

    _pydantic_types: ClassVar[Mapping[str, Any]] = {}
    """Types that Pydantic validates instead of the annotated ones, by field."""

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yields names and values, so that `dict(record)` works, as for Pydantic models."""
        extra = getattr(self, "extra", {})
        for field in attrs.fields(type(self)):
            if field.name != "extra" and field.name not in extra:
                yield field.name, getattr(self, field.name)
        yield from extra.items()

    def to_dict(self) -> dict[str, Any]:
        """Returns the record as a JSON object: dicts, lists, strings, numbers, booleans and None.

        Times are ISO 8601 strings that end in `Z`. Members of `extra` stand beside the fields. Raises `TypeError` for a
        value without a JSON form, such as bytes in `params`.

        >>> Credits(5, extra={"currency": "credits"}).to_dict()
        {'current_credits': 5, 'currency': 'credits'}
        """
        return {name: to_json_value(value) for name, value in self}

    def to_json(self, *, indent: int | None = None) -> str:
        """Returns the record as JSON text; `indent` is the number of spaces per level.

        Raises as `to_dict` does, and `ValueError` for NaN and infinities.

        >>> Credits(5).to_json()
        '{"current_credits": 5}'
        """
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=indent)

    def _repr_html_(self) -> str:
        from .notebook import record_html

        return record_html(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return select_types({"text/plain": repr(self), "text/html": self._repr_html_()}, include, exclude)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Returns the schema of the JSON object. Instances are accepted as they are."""
        from pydantic_core import core_schema

        hints = get_type_hints(cls)
        has_extra = "extra" in hints
        fields = {
            field.name: core_schema.typed_dict_field(
                _field_schema(handler, hints[field.name], cls._pydantic_types.get(field.name)),
                required=field.default is attrs.NOTHING,
            )
            for field in attrs.fields(cls)
            if field.name != "extra"
        }
        members = core_schema.typed_dict_schema(
            fields, cls_name=cls.__name__, extra_behavior="allow" if has_extra else "ignore"
        )
        return core_schema.no_info_wrap_validator_function(
            _validator(cls, fields, has_extra),
            members,
            serialization=core_schema.wrap_serializer_function_ser_schema(_serialize, schema=members),
            ref=f"{cls.__module__}.{cls.__qualname__}:{id(cls)}",
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        members: dict[str, Any] = handler(schema)
        summary = (cls.__doc__ or "").partition("\n\n")[0]
        handler.resolve_ref_schema(members).update(title=cls.__name__, description=summary)
        return members


class RecordList(list[R]):
    """List of records that notebooks show as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from .notebook import table_html

        return table_html(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        lines = "\n".join(str(getattr(record, "id", record)) for record in self)
        return select_types({"text/plain": lines or "[]", "text/html": self._repr_html_()}, include, exclude)


def to_json_value(value: Any) -> Any:
    """Returns a value with JSON types only. Raises `TypeError` if it has no JSON form."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): to_json_value(member) for key, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json_value(member) for member in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_datetime(value)
    for kind in (str, int, float):  # also their subclasses, such as enumerations
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Exception):
        return {"type": type(value).__name__, "message": str(value)}
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def format_datetime(instant: datetime) -> str:
    """Returns a time as ISO 8601 text, in UTC with `Z`; a naive time is kept."""
    return instant.isoformat() if instant.tzinfo is None else f"{instant.astimezone(UTC).isoformat()[:-6]}Z"


def select_types(
    bundle: dict[str, str], include: Iterable[str] | None, exclude: Iterable[str] | None
) -> dict[str, str]:
    """Returns the media types that a notebook asks for."""
    return {
        kind: text
        for kind, text in bundle.items()
        if (not include or kind in include) and not (exclude and kind in exclude)
    }


def _field_schema(handler: GetCoreSchemaHandler, hint: Any, validated_type: Any) -> CoreSchema:
    from pydantic import PydanticSchemaGenerationError
    from pydantic_core import core_schema

    try:
        if validated_type is None:
            return handler.generate_schema(hint)
        schema = handler.generate_schema(validated_type)
    except PydanticSchemaGenerationError:  # such as an exception
        schema = core_schema.any_schema()
    serializer = core_schema.plain_serializer_function_ser_schema(to_json_value)
    return cast("CoreSchema", {**schema, "serialization": serializer})


def _validator(cls: type[R], fields: Iterable[str], has_extra: bool) -> Callable[[Any, Callable[[Any], Any]], R]:  # noqa: FBT001 - one caller
    def validate(value: Any, handler: Callable[[Any], Any]) -> R:
        if isinstance(value, cls):
            return value
        members = handler(value)
        known = {name: member for name, member in members.items() if name in fields}
        if has_extra:
            known["extra"] = {name: member for name, member in members.items() if name not in fields}
        try:
            return cls(**known)
        except Exception as error:
            raise ValueError(str(error)) from error  # the error of a validator that Pydantic reports

    return validate


def _serialize(record: Any, handler: Callable[[Any], Any]) -> Any:
    fields = {field.name: getattr(record, field.name) for field in attrs.fields(type(record))}
    return handler({**fields.pop("extra", {}), **fields})
