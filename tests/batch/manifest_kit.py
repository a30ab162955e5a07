"""What the tests of manifests share: files, and what is read from them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rivya_async import Model
from rivya_async._core.model import ModelList
from rivya_async._core.wire import parse, structure
from rivya_async.batch import InvalidRow, Manifest, Row
from rivya_async.sandbox.catalogue import load


@cache
def catalogue() -> Mapping[str, Model]:
    """The catalogue as a client reads it."""
    listing = structure(parse(load().listing), ModelList)
    return {model.id: model for model in listing.data}


def written(folder: Path, text: str | bytes, name: str = "kites.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(path: Path, **options: Any) -> list[Row | InvalidRow]:
    return list(Manifest(path, **options))


def the_row(path: Path, **options: Any) -> Row:
    (row,) = read(path, **options)
    assert isinstance(row, Row), row
    return row


def problem_of(path: Path, **options: Any) -> str:
    (bad,) = [row for row in read(path, **options) if isinstance(row, InvalidRow)]
    return "; ".join(bad.problems)
