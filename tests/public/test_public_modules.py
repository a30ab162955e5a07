"""Public classes show the package that exports them: in tracebacks, pickles and type hints."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import subprocess
import sys
import traceback
import typing
from collections.abc import Callable
from typing import Any, Final

import attrs
import pytest

from rivya_async import Generation, GenerationFailedError, PollPolicy, RateLimitError, RivyaSession, Status

PACKAGES: Final = [
    "rivya_async",
    *(f"rivya_async.{name}" for name in ("batch", "otel", "receiver", "sandbox", "testing", "workers")),
]

SHARED: Final = {"JobState": "rivya_async.batch"}
"""The package of a class that several packages export."""

CLASSES: Final = [
    pytest.param(package, value, id=f"{package}.{name}")
    for package in PACKAGES
    for name in importlib.import_module(package).__all__
    if inspect.isclass(value := getattr(importlib.import_module(package), name))
]


@pytest.mark.parametrize(("package", "cls"), CLASSES)
def test_class_shows_its_package(package: str, cls: type) -> None:
    assert cls.__module__ == SHARED.get(cls.__name__, package)
    assert cls.__qualname__ == cls.__name__
    assert getattr(importlib.import_module(cls.__module__), cls.__name__) is cls
    assert pickle.loads(pickle.dumps(cls)) is cls


@pytest.mark.parametrize(("package", "cls"), CLASSES)
def test_type_hints_are_resolved(package: str, cls: type) -> None:
    hints = typing.get_type_hints(cls)
    assert not [name for name, hint in hints.items() if isinstance(hint, str)]
    if attrs.has(cls):
        attrs.resolve_types(cls)


@pytest.mark.parametrize("package", ["rivya_async", "rivya_async.testing"])
def test_dir_has_public_names_only(package: str) -> None:
    """N23"""
    module = importlib.import_module(package)
    assert dir(module) == sorted([*module.__all__, *getattr(module, "_SUBMODULES", ())])


def test_traceback_shows_the_public_name() -> None:
    """N23"""
    text = "".join(traceback.format_exception(RateLimitError("slow down", status=429)))
    assert text == "rivya_async.RateLimitError: slow down\n"


def test_instances_are_pickled_across_processes() -> None:
    record = Generation(id="task_1", status="failed", model="z-image")
    values = [
        record,
        GenerationFailedError("failed", task_id="task_1", last=record),
        PollPolicy(first=1.0),
        Status.FAILED,
    ]
    code = """
import pickle, sys
values = pickle.load(sys.stdin.buffer)
assert all(type(value).__module__ == "rivya_async" for value in values)
sys.stdout.buffer.write(pickle.dumps(values))
"""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        sent = pickle.dumps(values, protocol)
        assert b"_core" not in sent
        done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
        back = pickle.loads(done.stdout)
        assert [back[0], *back[2:]] == [values[0], *values[2:]]
        assert vars(back[1]) == vars(values[1])


def test_methods_keep_their_source() -> None:
    assert "async def start" in inspect.getsource(RivyaSession.start)
    assert typing.get_type_hints(RivyaSession.start)["return"] is type(None)


class Holder:
    def __init__(self, value: Any) -> None:
        self.value = value


@pytest.mark.parametrize("name", ["session", "view", "generations", "holder"])
def test_session_is_not_copied_or_pickled(name: str) -> None:
    """C18"""
    session = RivyaSession("rvya_sk_1")
    things = {
        "session": session,
        "view": session.with_options(),
        "generations": session.generations,
        "holder": Holder(session),
    }
    actions: list[Callable[[Any], object]] = [copy.deepcopy, pickle.dumps]
    if name in {"session", "view"}:
        actions.append(copy.copy)
    for act in actions:
        with pytest.raises(TypeError, match="a RivyaSession is not copied or pickled"):
            act(things[name])
