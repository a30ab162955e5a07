"""Docstrings, comments, messages, test names and Markdown files use plain technical English.

`python -m tests.public.test_language` prints all findings, or those in the paths given as arguments.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import pytest

ROOT: Final = Path(__file__).parents[2]

EVERYWHERE: Final = (
    *("told", "tells", "whoever", "whatever", "anew", "amiss", "manieth", "of ours", "of yours", "who has"),
    *("nobody", "farewell", "dice", "clerk", "clerks", "purse", "purses", "turned away", "is to be", "are to be"),
    *("noun", "nouns"),
)
"""Words and phrases that docstrings, comments, string literals, Markdown and test names must not contain."""

PROSE: Final = (
    *("tell", "what is", "what has", "what was", "what it", "what they", "what a", "what an", "what the"),
    *("house", "houses", "room", "rooms", "floors", "desk", "desks", "crew", "courier", "parcel", "shelf", "law"),
    *("look", "looks", "looked", "carries", "carried", "carry"),
)
"""Words and phrases that only prose must not contain. String literals can: they include prompts and code."""

OPENINGS: Final = ("What", "Who", "Whose", "Whoever", "Whether", "Whatever", "How", "When", "Where")
"""First words that a docstring must not have."""

ALLOWED: Final = frozenset(
    {
        ("tests/public/test_language.py", "*"),
    }
)
"""Pairs of a path and a permitted word in it; "*" permits all words."""


@attrs.frozen
class Finding:
    """A banned word or opening in a file."""

    path: str
    line: int
    word: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word!r} in {self.text!r:.120}"


def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    alternatives = "|".join(sorted(map(re.escape, words), key=len, reverse=True)).replace(r"\ ", r"\s+")
    return re.compile(rf"(?<![\w`/.-])({alternatives})(?![\w`(=-])", re.IGNORECASE)


_IN_STRINGS: Final = _pattern(EVERYWHERE)
_IN_PROSE: Final = _pattern(EVERYWHERE + PROSE)
_OPENING: Final = re.compile(rf"\s*({'|'.join(OPENINGS)})\b(?!`)")
_CODE: Final = re.compile(r"```.*?```|`[^`\n]*`|^\s*(?:>>>|\.\.\.) .*$", re.DOTALL | re.MULTILINE)
_DEFINITIONS: Final = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def find_in_file(path: Path) -> list[Finding]:
    """Returns the findings in a Python or Markdown file."""
    name = str(path.relative_to(ROOT))
    text = path.read_text()
    findings = _find_in_prose(name, 1, text) if path.suffix == ".md" else _find_in_python(name, text)
    return [found for found in findings if not {(name, found.word.lower()), (name, "*")} & ALLOWED]


def _find_in_prose(name: str, line: int, text: str, pattern: re.Pattern[str] = _IN_PROSE) -> Iterator[Finding]:
    text = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    for match in pattern.finditer(text):
        context = text[max(0, match.start() - 40) : match.end() + 40].replace("\n", " ").strip()
        yield Finding(name, line + text.count("\n", 0, match.start()), match[1], context)


def _find_in_python(name: str, source: str) -> Iterator[Finding]:
    tree = ast.parse(source)
    docstrings = dict(_docstrings(tree))
    for node, is_definition in docstrings.items():
        text = str(node.value)
        yield from _find_in_prose(name, node.lineno, text)
        if is_definition and (opening := _OPENING.match(text)):
            yield Finding(name, node.lineno, opening[1], text.splitlines()[0])
    for child in ast.walk(tree):
        if isinstance(child, ast.Constant) and isinstance(child.value, str) and child not in docstrings:
            yield from _find_in_prose(name, child.lineno, child.value, _IN_STRINGS)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and child.name.startswith("test_"):
            yield from _find_in_prose(name, child.lineno, child.name.replace("_", " "))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from _find_in_prose(name, token.start[0], token.string)


def _docstrings(tree: ast.Module) -> Iterator[tuple[ast.Constant, bool]]:
    """Yields every string statement, with True for docstrings of modules, classes and functions."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for position, child in enumerate(body if isinstance(body, list) else ()):
            text = child.value if isinstance(child, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield text, position == 0 and isinstance(node, _DEFINITIONS)


def find_in_path(path: str) -> list[Finding]:
    """Returns the findings in a file or a directory."""
    start = ROOT / path
    files = [start] if start.is_file() else sorted([*start.rglob("*.py"), *start.rglob("*.md")])
    return [found for file in files for found in find_in_file(file)]


def checked_files() -> list[Path]:
    """Returns all Python and Markdown files of the project."""
    roots = [ROOT / name for name in ("rivya_async", "benchmarks", "examples", "tests")]
    files = [file for root in roots for suffix in ("py", "md") for file in root.rglob(f"*.{suffix}")]
    files += [*ROOT.glob("*.py"), *ROOT.glob("*.md")]
    return sorted(files)


@pytest.mark.parametrize("path", checked_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_plain_language(path: Path) -> None:
    assert [str(found) for found in find_in_file(path)] == []


def test_finds_every_kind_of_text() -> None:
    source = """
def test_nobody_waits():
    '''Whether it works.'''
    # as told
    raise ValueError(f"{x} is to be sent anew")
LIMIT = 5
'''What it is.'''
"""
    assert sorted((found.line, found.word) for found in _find_in_python("x.py", source)) == [
        (2, "nobody"),
        (3, "Whether"),
        (4, "told"),
        (5, "anew"),
        (5, "is to be"),
        (7, "What it"),
    ]


def test_ignores_code_and_prompts() -> None:
    source = '''
def f():
    """Calls `tell`.

    >>> tell(nobody)
    """
    return "A house by the sea, what is it?"
'''
    assert list(_find_in_python("x.py", source)) == []


def main() -> None:
    """Prints the findings in the paths of the command line, or in the whole project."""
    paths = sys.argv[1:] or [str(file.relative_to(ROOT)) for file in checked_files()]
    for path in paths:
        for found in find_in_path(path):
            print(found)


if __name__ == "__main__":
    main()
