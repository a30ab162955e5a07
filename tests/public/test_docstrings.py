"""Runs every docstring example; `in_sandbox` runs one against a new sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import doctest
import importlib
import io
import pkgutil
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


def examples() -> Iterator[Any]:
    finder = doctest.DocTestFinder(exclude_empty=True)
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
