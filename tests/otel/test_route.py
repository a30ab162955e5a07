"""Routes in telemetry: few enough to count by, and the same as those of the contract."""

from __future__ import annotations

import re

import pytest

from rivya_async.otel.telemetry import polled_task_id, url_template
from tests.public.test_routes import CONTRACT


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
