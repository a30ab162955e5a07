"""Counters, histograms and gauges of a session, and the URL templates that keep their attributes few."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from rivya_async import RivyaError, RivyaSession
from rivya_async.otel import Telemetry
from rivya_async.otel.telemetry import polled_task_id, url_template
from rivya_async.sandbox import Sandbox
from tests.otel.otel_kit import Backend
from tests.public.test_routes import CONTRACT
from tests.session.session_kit import POLL, SUBMIT


async def test_counters_and_histograms(
    session: RivyaSession, sandbox: Sandbox, backend: Backend, tmp_path: Path
) -> None:
    sandbox.faults.add(route=SUBMIT, status=429, times=1, headers={"Retry-After": "0"})
    sandbox.faults.add(route=POLL, status=502, times=1)
    job = await session.generate("z-image", "A red kite")
    (path,) = await session.download(job, tmp_path)
    with pytest.raises(RivyaError):
        await session.download(job, tmp_path, exists="error")
    assert backend.total("rivya.retries", error_type="RateLimitError") == 1
    assert backend.total("rivya.rejections") == 2
    assert backend.total("rivya.rejections", url_template="/api/v1/generations", error_type="RateLimitError") == 1
    assert backend.total("rivya.polls") == 2
    assert backend.total("rivya.polls", rivya_status="succeeded") == 1
    assert backend.total("rivya.polls", error_type="InternalServerError") == 1
    assert backend.total("rivya.download.bytes") == path.stat().st_size
    points = backend.points()
    durations = {name: sum(point.count for point in points[name]) for name in points if name.endswith("duration")}
    assert durations == {"http.client.request.duration": 4, "rivya.wait.duration": 1, "rivya.download.duration": 2}
    [wait] = points["rivya.wait.duration"]
    assert dict(wait.attributes) == {"rivya.model": "z-image", "rivya.status": "succeeded"}
    assert wait.explicit_bounds[-1] == 3600
    assert points["http.client.request.duration"][0].explicit_bounds[0] == 0.005


async def test_metrics_have_no_attribute_per_job(session: RivyaSession, backend: Backend) -> None:
    for _ in range(3):
        await session.generate("z-image", "A red kite")
    assert {name: len(points) for name, points in backend.points().items()} == {
        "http.client.request.duration": 2,  # submit and poll
        "rivya.wait.duration": 1,
        "rivya.polls": 1,
    }


def test_gauges_are_read_at_collection(backend: Backend) -> None:
    depths: list[int | None] = [3, None, 5]
    rates = iter([math.inf, 2.5, None])
    Telemetry(**backend.providers, queue_depth=lambda: depths.pop(0), rate_limit=lambda: next(rates))
    values = [{name: point.value for name, (point,) in backend.points().items()} for _ in range(3)]
    assert values == [{"rivya.queue.depth": 3}, {"rivya.rate_limit": 2.5}, {"rivya.queue.depth": 5}]


def test_no_gauges_without_functions(backend: Backend) -> None:
    Telemetry(**backend.providers)
    assert backend.points() == {}


# --- URL templates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", [line.split()[1] for line in CONTRACT.split("\n")[1:-1]])
def test_url_template_of_every_route(route: str) -> None:
    path = "/api/v1" + re.sub(r"{\w+}", "cm_8f1c2ab9", route)
    assert url_template(path) == "/api/v1" + re.sub(r"{\w+}", "{id}", route)


def test_url_template_has_no_query() -> None:
    assert url_template("/api/v1/webhooks?limit=5") == "/api/v1/webhooks"
    assert url_template("/api/v1/generations/task_1?key=secret") == "/api/v1/generations/{id}"


def test_unknown_segments_count_as_ids() -> None:
    assert url_template("/api/v1/songs/7") == "/api/v1/{id}/{id}"


@pytest.mark.parametrize(
    ("path", "task"),
    [
        ("/api/v1/generations/task_1", "task_1"),
        ("/api/v1/generations/a%2Fb", "a/b"),
        ("/api/v1/generations", None),
        ("/api/v1/files/file_1", None),
    ],
)
def test_polled_task_id(path: str, task: str | None) -> None:
    assert polled_task_id(path) == task
