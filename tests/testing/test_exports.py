"""The names of the test kit: complete, documented, light to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rivya_async import testing
from rivya_async.testing import contract
from rivya_async.testing.contract import ALL


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    assert getattr(testing, name).__doc__


def test_all_is_sorted() -> None:
    assert testing.__all__ == sorted(testing.__all__)


def test_what_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        testing.no_such_name  # noqa: B018 - reading it is the test


@pytest.mark.parametrize(
    "code", ["from rivya_async.testing import *", "from rivya_async import testing; testing.contract"]
)
def test_names_are_found_without_an_import_of_their_module(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_importing_it_is_light() -> None:
    loaded = "{'aiohttp', 'asyncio', 'attrs', 'pytest', 'rivya_async.session', 'rivya_async.sandbox'} & {*sys.modules}"
    code = f"import sys, rivya_async.testing; print(*{loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == ""


def test_the_contract_is_sorted_and_documented_too() -> None:
    assert contract.__all__ == sorted(contract.__all__)
    undocumented = [name for name in contract.__all__ if not getattr(contract, name).__doc__]
    assert undocumented == ["Maker"]  # an alias has no docstring that could be read
    grouped = [check for name in contract.__all__ for check in getattr(getattr(contract, name), "checks", ())]
    assert sorted(grouped, key=ALL.index) == list(ALL)
