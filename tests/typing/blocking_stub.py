"""Writes `rivya_async/blocking.pyi`, the types of the blocking session: `python -m tests.typing.blocking_stub`."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any, Final

from rivya_async import RivyaSession, blocking
from rivya_async._engine.streaming.chat_stream import ChatStream
from rivya_async.resources import Resource

STUB: Final = Path(blocking.__file__).with_suffix(".pyi")

RENAMED: Final = {"AsyncGenerator": "Generator", "ChatStream": "BlockingChatStream", "RivyaSession": "BlockingSession"}


class StubWriter:
    """Builds the stub, and collects the imports of the names in its annotations."""

    def __init__(self) -> None:
        self._imports = {"Generator": "from collections.abc import Generator"}

    def build(self) -> str:
        """Returns the text of the stub."""
        classes = [*self._class_texts(ChatStream), *self._class_texts(RivyaSession)]
        head = '"""The types of `blocking`. `python -m tests.typing.blocking_stub` writes this file."""'
        return "\n".join([head, "", *sorted(self._imports.values()), "", *classes])

    def _class_texts(self, kind: type) -> Iterator[str]:
        """Yields the classes of the resources, then the class itself."""
        cls = blocking_class(kind)
        lines = [f"class {cls.__name__}:", docstring(cls, 4)]
        for name in dict(inspect.getmembers_static(cls)):
            original, member = inspect.getattr_static(kind, name, None), inspect.getattr_static(cls, name)
            if isinstance(original, Resource):
                yield from self._class_texts(original.kind)
                lines += [f"    {name}: {blocking_class(original.kind).__name__}", docstring(original.kind, 4)]
            elif isinstance(original, property):
                lines += ["    @property", self._function_text(name, original.fget), docstring(member, 8)]
            elif name == "__init__" and cls is blocking.BlockingSession:
                lines.append(f"{self._function_text(name, inspect.unwrap(RivyaSession.__init__))} ...")
            elif isinstance(member, FunctionType) and member.__module__ == blocking.__name__ and name[0] != "_":
                lines += [self._function_text(name, member), docstring(member, 8)]
            elif isinstance(member, FunctionType) and name[0] != "_":
                lines += [self._function_text(name, inspect.unwrap(member)), docstring(member, 8)]
            elif name in {"__enter__", "__exit__", "__iter__"}:
                lines.append(f"{self._function_text(name, member)} ...")
        yield "\n".join(lines) + "\n"

    def _function_text(self, name: str, function: Any) -> str:
        signature = inspect.signature(function, follow_wrapped=False)
        parts: list[str] = []
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts and not any("*" in each for each in parts):
                parts.append("*")
            if parameter.name != "http":  # it belongs to another event loop
                parts.append(self._parameter_text(parameter, function))
        returned = self._annotation(signature.return_annotation, function)
        return f"    def {name}({', '.join(parts)}) -> {returned}:"

    def _parameter_text(self, parameter: inspect.Parameter, function: Any) -> str:
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        if parameter.annotation is parameter.empty:
            return star + parameter.name
        text = f"{star}{parameter.name}: {self._annotation(parameter.annotation, function)}"
        if parameter.default is parameter.empty:
            return text
        return f"{text} = {parameter.default!r}"

    def _annotation(self, text: str, function: Any) -> str:
        """Returns an annotation with blocking types, and imports its names."""
        known = dict(imported_names(inspect.getmodule(function)))
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                node.id = RENAMED.get(node.id, node.id)
                if node.id in known:
                    assert self._imports.setdefault(node.id, known[node.id]) == known[node.id], node.id
        if "NotGiven" in self._imports:  # the repr of a default
            self._imports["NOT_GIVEN"] = self._imports["NotGiven"].replace("NotGiven", "NOT_GIVEN")
        return ast.unparse(tree)


def blocking_class(kind: type) -> Any:
    """Returns the blocking form of a class."""
    return getattr(blocking, f"Blocking{kind.__name__.removeprefix('Rivya').removesuffix('Resource')}")


def imported_names(module: Any) -> Iterator[tuple[str, str]]:
    """Yields the names that a module defines or imports, also for type checkers only, with absolute imports."""
    for name in vars(module):
        if not hasattr(__builtins__, name) and name not in RENAMED.values():
            yield name, f"from {module.__name__} import {name}"
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, f"import {alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.__name__.split(".")[: -node.level] if node.level else []
            source = ".".join([*parents, *([node.module] if node.module else [])])
            yield from ((alias.name, f"from {source} import {alias.name}") for alias in node.names)


def docstring(value: Any, indent: int) -> str:
    """Returns the docstring of a class or member as source text."""
    text = (inspect.getdoc(value) or "").partition("\n\n>>> ")[0].replace("\\", "\\\\")
    return textwrap.indent(f'"""{text}{chr(10) if chr(10) in text else ""}"""', " " * indent)


if __name__ == "__main__":
    STUB.write_text(StubWriter().build(), encoding="utf-8")
