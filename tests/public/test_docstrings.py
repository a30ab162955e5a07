"""Runs every docstring example as it stands, against a new sandbox that the environment names."""

from __future__ import annotations

import asyncio
import contextlib
import doctest
import functools
import importlib
import inspect
import io
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rivya_async
from rivya_async import testing
from rivya_async.resources import Resource
from rivya_async.sandbox import Sandbox
from rivya_async.testing.sandbox_thread import run_in_thread

PACKAGES = ["rivya_async", *(f"rivya_async.{name}" for name in ("batch", "blocking", "catalogue", "otel", "progress"))]
PACKAGES += [f"rivya_async.{name}" for name in ("receiver", "sandbox", "testing", "workers")]
QUICK = rivya_async.PollPolicy(first=0.05, base=0.1, cap=0.2, floor=0.02)


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
    if "RivyaSession() as" not in (test.docstring or ""):
        run_example(test, rivya_async.RivyaSession)
        return
    with run_in_thread(Sandbox(speed=200.0)) as sandbox:
        monkeypatch.setenv("RIVYA_API_KEY", sandbox.api_key)
        monkeypatch.setenv("RIVYA_BASE_URL", sandbox.base_url)
        run_example(test, functools.partial(rivya_async.RivyaSession, poll=QUICK))


def run_example(test: doctest.DocTest, session: object) -> None:
    public = {name: getattr(rivya_async, name) for name in rivya_async.__all__}
    public |= {name: getattr(testing, name) for name in testing.__all__}
    test.globs = {**public, "asyncio": asyncio, "Sandbox": Sandbox} | test.globs | {"RivyaSession": session}
    report = io.StringIO()
    with contextlib.redirect_stdout(report):
        failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed
    assert not failed, report.getvalue()


def public_docstrings() -> Iterator[tuple[str, str]]:
    """Yields the docstrings that users read: those of public classes, of their members and of resources."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        yield package, module.__doc__ or ""
        for name in getattr(module, "__all__", []):
            yield from class_docstrings(f"{package}.{name}", getattr(module, name))


def class_docstrings(path: str, value: object) -> Iterator[tuple[str, str]]:
    yield path, getattr(value, "__doc__", None) or ""
    if inspect.isclass(value):
        for name, member in inspect.getmembers_static(value):
            if isinstance(member, Resource):
                yield from class_docstrings(f"{path}.{name}", member.kind)
            elif not name.startswith("_"):
                yield f"{path}.{name}", getattr(member, "__doc__", None) or ""


def test_public_docstrings_cite_nothing_that_users_lack() -> None:
    """N18"""
    citation = re.compile(r"contract\s+section|assumption \d|in_sandbox|\[\d+(, ?\d+)*\]")
    example = re.compile(r"^ *(>>>|\.\.\. ).*$", re.MULTILINE)
    found = [
        f"{path}: {match[0]}" for path, text in public_docstrings() if (match := citation.search(example.sub("", text)))
    ]
    assert found == []
