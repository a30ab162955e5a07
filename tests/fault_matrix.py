"""Checks that the tests named in the tables of the fault matrix exist."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


def is_defined_test(node_id: str) -> bool:
    """Returns True if a test such as "session/test_download.py::test_resumes_after_stall" exists."""
    file, _, name = node_id.partition("::")
    return name in _test_names(file)


@cache
def _test_names(file: str) -> frozenset[str]:
    tree = ast.parse((Path(__file__).parent / file).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
