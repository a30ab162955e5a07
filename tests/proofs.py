"""Tests that a table of the fault matrix names."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


def defined(proof: str) -> bool:
    """Whether there is such a test: `session/test_download.py::test_a_video_opens`."""
    file, _, name = proof.partition("::")
    return name in _tests_of(file)


@cache
def _tests_of(file: str) -> frozenset[str]:
    tree = ast.parse((Path(__file__).parent / file).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
