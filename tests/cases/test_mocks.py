"""Mocks and completion of sessions: verbs are coroutine functions, resources are visible on the class."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, create_autospec

import pytest

import rivya_async.session
from rivya_async import RivyaSession
from rivya_async.blocking import BlockingSession

RESOURCES = ["chat", "credits", "files", "generations", "models", "openapi", "webhook_events", "webhooks"]


async def test_autospec_mocks_the_methods_of_resources() -> None:
    """N3"""
    session: Any = create_autospec(RivyaSession, instance=True)
    session.generations.create.return_value = "job"
    assert await session.generations.create("z-image", "A red kite") == "job"
    session.generations.create.assert_awaited_once_with("z-image", "A red kite")
    session.chat.completions.create.return_value = "answer"
    assert await session.chat.completions.create("a-model", "Hello") == "answer"
    with pytest.raises(TypeError):
        await session.generations.retrieve("task_1", "another argument")
    with pytest.raises(AttributeError):
        _ = session.generations.no_such_method
    with pytest.raises(AttributeError):
        _ = session.generation
    session.submit.return_value = "job"
    assert await session.submit("z-image") == "job"


@pytest.mark.parametrize("name", ["durations", "prices", "spend", "open_jobs", "undelivered_jobs", "base_url"])
def test_values_are_visible_and_mocked(name: str) -> None:
    """N3"""
    assert hasattr(create_autospec(RivyaSession, instance=True), name)
    assert inspect.getdoc(inspect.getattr_static(RivyaSession, name))
    assert name in dir(BlockingSession)


@pytest.mark.parametrize("name", RESOURCES)
async def test_every_resource_is_mocked(name: str) -> None:
    session: Any = create_autospec(RivyaSession, instance=True)
    methods = [each for each in dir(getattr(RivyaSession("rvya_sk_1"), name)) if not each.startswith("_")]
    assert methods
    for method in methods:
        assert hasattr(getattr(session, name), method)
    spec: Any = AsyncMock(spec=RivyaSession)
    assert hasattr(spec, name)


@pytest.mark.parametrize("name", RESOURCES)
def test_resources_are_visible_and_documented(name: str) -> None:
    """N3, N18"""
    assert name in dir(RivyaSession)
    assert inspect.isclass(getattr(RivyaSession, name))
    assert inspect.getdoc(getattr(RivyaSession, name))
    source = Path(rivya_async.session.__file__).read_text()
    assert f"    {name}: {getattr(RivyaSession, name).__name__} = resource(" in source
    assert isinstance(getattr(RivyaSession("rvya_sk_1"), name), getattr(RivyaSession, name))


@pytest.mark.parametrize("name", ["submit", "wait_for", "generate", "download", "start", "aclose"])
def test_verbs_are_coroutine_functions(name: str) -> None:
    """C1"""
    assert inspect.iscoroutinefunction(getattr(RivyaSession, name))
    assert inspect.iscoroutinefunction(getattr(RivyaSession("rvya_sk_1"), name))
