"""A griffe extension for the reference: shows examples as code, and default values as values."""

from __future__ import annotations

import importlib
import re
from typing import Any, Final

import attrs
import griffe

EXAMPLE: Final = re.compile(r"^(?:>>>.*\n(?:(?!$).*\n?)*)", re.MULTILINE)
SECTION: Final = re.compile(r"TROUBLESHOOTING\.md#(\w+)")
CONSTANT: Final = re.compile(r"_?[A-Z][A-Z0-9_]*")


class Docstrings(griffe.Extension):
    """Changes the objects that griffe has read, before they are rendered."""

    def on_instance(self, *, obj: griffe.Object | griffe.Alias, **_: Any) -> None:
        """Marks the examples of a docstring as Python sessions, and links to the page of the errors."""
        if obj.docstring is not None:
            text = SECTION.sub(r"[\1](../../rivya_async/TROUBLESHOOTING/#\1)", obj.docstring.value)
            obj.docstring.value = fence_examples(text)

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Shows the defaults of the fields of an attrs class."""
        for name, attribute in cls.attributes.items():
            if str(attribute.value) in (name, f"resource({attribute.annotation})"):
                attribute.value = None
        loaded = load(cls.path)
        if loaded is None or not attrs.has(loaded):
            return
        for field in attrs.fields(loaded):
            member = cls.members.get(field.name)
            if isinstance(member, griffe.Attribute):
                member.value = default_text(field)

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Shows default values in place of the names of constants."""
        for parameter in func.parameters:
            constant = str(parameter.default)
            value = load(f"{func.module.path}.{constant}") if CONSTANT.fullmatch(constant) else None
            if value is not None:
                parameter.default = repr(value)


def fence_examples(text: str) -> str:
    """Returns a docstring whose examples are fenced blocks."""
    return EXAMPLE.sub(lambda match: f"```pycon\n{match.group().rstrip()}\n```\n", text + "\n").strip()


def default_text(field: attrs.Attribute[Any]) -> str | None:
    """Returns the default of a field as an expression, or None for a required field."""
    if field.default is attrs.NOTHING:
        return None
    if (factory := getattr(field.default, "factory", None)) is not None:
        return f"{getattr(factory, '__name__', 'object')}()"
    return repr(field.default)


def load(path: str) -> Any:
    """Returns the object of a path, or None."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None
