"""Unknown keyword arguments name the way of this SDK, or the nearest argument."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from rivya_async import RivyaSession
from rivya_async._core.argument_advice import explain_arguments
from rivya_async.blocking import BlockingSession
from rivya_async.testing import FakeTransport

KEY = "rvya_sk_" + "0" * 32


@explain_arguments
def connect(host: str, *, base_url: str = "", other: int = 0) -> str:
    return f"{host}{base_url}{other}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("api_base", r"connect\(\) has no argument 'api_base': use base_url=\.\.\.$"),
        ("base_ulr", r"has no argument 'base_ulr': did you mean 'base_url'\?$"),
        ("zzz", r"has no argument 'zzz'$"),
    ],
)
def test_unknown_argument(name: str, message: str) -> None:
    arguments: Any = {name: 1}
    with pytest.raises(TypeError, match=message):
        connect("a", **arguments)
    assert connect("a", base_url="b") == "ab0"
    assert list(inspect.signature(connect).parameters) == ["host", "base_url", "other"]


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("max_retries", "retry=RetryPolicy"),
        ("timeout", "timeouts=Timeouts"),
        ("api_base", "base_url"),
        ("default_headers", "headers="),
        ("max_conections", "max_connections"),
    ],
)
@pytest.mark.parametrize("kind", [RivyaSession, BlockingSession])
def test_arguments_of_sessions(kind: Any, name: str, way: str) -> None:
    with pytest.raises(TypeError, match=way):
        kind(KEY, **{name: 3})
    assert "max_spend" in inspect.signature(kind).parameters


def test_arguments_of_views() -> None:
    options: Any = {"max_retries": 3}
    for session in (RivyaSession(KEY), BlockingSession(KEY)):
        with pytest.raises(TypeError, match="retry=RetryPolicy"):
            session.with_options(**options)


@pytest.mark.parametrize(
    ("method", "name", "way"),
    [
        ("submit", "extra_headers", "with_options"),
        ("submit", "extra_body", "params="),
        ("download", "overwrite", 'exists="overwrite"'),
        ("map", "max_inflight", "max_in_flight"),
    ],
)
def test_arguments_of_blocking_methods(method: str, name: str, way: str) -> None:
    transport = FakeTransport(lambda _: {})
    with transport.blocking_session() as session, pytest.raises(TypeError, match=way):
        list(getattr(session, method)("z-image", "A kite", **{name: 1}))
    assert transport.requests == []


def test_attributes_that_do_not_exist() -> None:
    session: Any = RivyaSession(KEY)
    with pytest.raises(AttributeError, match=r"has no attribute 'close': use `await session\.aclose\(\)`"):
        session.close()
    with pytest.raises(AttributeError, match="did you mean 'generations'") as raised:
        _ = session.generation
    assert (raised.value.name, raised.value.obj) == ("generation", session)
    assert not hasattr(session, "images")
