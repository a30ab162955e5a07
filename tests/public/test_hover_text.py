"""Every public name and each field of every public class has text that editors show."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PACKAGES: Final = [
    "rivya_async",
    *(f"rivya_async.{name}" for name in ("batch", "otel", "progress", "receiver", "sandbox", "testing", "workers")),
]


def public_classes() -> Iterator[tuple[str, type]]:
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            if inspect.isclass(value := getattr(module, name)):
                yield f"{package}.{name}", value


CLASSES: Final = dict(public_classes())


def source_node(cls: type) -> ast.ClassDef:
    """Returns the definition of a class, whose `__module__` is the package that exports it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("rivya_async.") and vars(module).get(cls.__name__) is cls:
            for node in ast.parse(Path(str(module.__file__)).read_text()).body:
                if isinstance(node, ast.ClassDef) and node.name == cls.__name__:
                    return node
    raise LookupError(cls)


def undocumented_fields(cls: type) -> list[str]:
    """Returns the public fields that neither have a docstring nor are named in that of their class."""
    node = source_node(cls)
    constructors = [each.body for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    named = set(re.findall(r"`(\w+)", cls.__doc__ or ""))
    missing = []
    for body in [node.body, *constructors]:
        for statement, following in zip(body, [*body[1:], None], strict=True):
            name = field_name(statement, prefix="" if body is node.body else "self.")
            is_documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if name is not None and not name.startswith("_") and not is_documented and name not in named:
                missing.append(name)
    return missing


def field_name(statement: ast.stmt, prefix: str) -> str | None:
    """Returns the name of the field that a statement defines."""
    if isinstance(statement, ast.AnnAssign):
        text = ast.unparse(statement.target)
    elif isinstance(statement, ast.Assign):
        text = ast.unparse(statement.targets[0])
    else:
        return None
    return text.removeprefix(prefix) if text.startswith(prefix) and text.removeprefix(prefix).isidentifier() else None


@pytest.mark.parametrize("path", CLASSES)
def test_class_and_fields_have_text(path: str) -> None:
    cls = CLASSES[path]
    assert cls.__doc__
    assert undocumented_fields(cls) == []
