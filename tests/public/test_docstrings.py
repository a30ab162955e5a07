"""Runs every docstring example; `in_sandbox` runs one against a new sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import rivya_async
from rivya_async import testing
from rivya_async.sandbox import Sandbox

QUICK = rivya_async.PollPolicy(first=0.05, base=0.1, cap=0.2, floor=0.02)


def in_sandbox(example: Callable[[rivya_async.RivyaSession], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with (
            Sandbox(speed=200.0) as sandbox,
            rivya_async.RivyaSession(sandbox.api_key, base_url=sandbox.base_url, poll=QUICK) as session,
        ):
            return await example(session)

    return asyncio.run(main())


class Finder(doctest.DocTestFinder):
    """Finds the examples of public classes too, whose `__module__` is the package that exports them."""

    def _from_module(self, module: Any, object: Any) -> bool:  # noqa: A002 - as doctest names it
        if inspect.isclass(object):
            source = inspect.getsource(module)
            return re.search(rf"^class {object.__name__}\b", source, re.MULTILINE) is not None
        inherited: Callable[..., bool] = getattr(super(), "_from_module")  # noqa: B009 - not in the stubs
        return inherited(module, object)


def examples() -> Iterator[Any]:
    finder = Finder(exclude_empty=True)
    for found in pkgutil.walk_packages(rivya_async.__path__, "rivya_async."):
        if not found.name.endswith("__main__"):
            module = importlib.import_module(found.name)
            for test in finder.find(module, found.name):
                if test.examples:
                    yield pytest.param(test, id=test.name)


EXAMPLES = list(examples())


def test_public_packages_have_examples() -> None:
    packages = {str(param.id).split(".")[1] for param in EXAMPLES}
    assert packages >= {"session", "resources", "receiver", "testing", "_core"}
    assert len(EXAMPLES) > 60


@pytest.mark.parametrize("test", EXAMPLES)
def test_example(test: doctest.DocTest, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    public = {name: getattr(rivya_async, name) for name in rivya_async.__all__}
    public |= {name: getattr(testing, name) for name in testing.__all__}
    test.globs = {**public, "asyncio": asyncio, "in_sandbox": in_sandbox, "Sandbox": Sandbox} | test.globs
    report = io.StringIO()
    with contextlib.redirect_stdout(report):
        failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed
    assert not failed, report.getvalue()
