"""The public names of the test kit are complete, documented and quick to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rivya_async import testing


@pytest.mark.parametrize("name", testing.__all__)
def test_public_names_are_documented(name: str) -> None:
    assert getattr(testing, name).__doc__


def test_all_is_sorted() -> None:
    assert testing.__all__ == sorted(testing.__all__)


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(testing, "no_such_name")  # noqa: B009 - type checkers reject the plain form


def test_star_import_needs_no_import_of_submodules() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", "from rivya_async.testing import *"], check=True)


def test_import_loads_no_heavy_modules() -> None:
    loaded = "{'aiohttp', 'asyncio', 'attrs', 'pytest', 'rivya_async.session', 'rivya_async.sandbox'} & {*sys.modules}"
    code = f"import sys, rivya_async.testing; print(*{loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == ""
