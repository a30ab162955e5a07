"""Routes in telemetry: few enough to count by, and the same as those of the contract."""

from __future__ import annotations

import re

import pytest

from rivya_async.otel.route import task_of, template_of
from tests.public.test_routes import CONTRACT


@pytest.mark.parametrize("route", [line.split()[1] for line in CONTRACT.split("\n")[1:-1]])
def test_every_route_of_the_contract_keeps_its_words_and_loses_its_ids(route: str) -> None:
    path = "/api/v1" + re.sub(r"{\w+}", "cm_8f1c2ab9", route)
    assert template_of(path) == "/api/v1" + re.sub(r"{\w+}", "{id}", route)


def test_a_query_is_no_part_of_it() -> None:
    assert template_of("/api/v1/webhooks?limit=5") == "/api/v1/webhooks"
    assert template_of("/api/v1/generations/task_1?key=secret") == "/api/v1/generations/{id}"


def test_what_nobody_knows_yet_is_as_good_as_an_id() -> None:
    assert template_of("/api/v1/songs/7") == "/api/v1/{id}/{id}"


@pytest.mark.parametrize(
    ("path", "task"),
    [
        ("/api/v1/generations/task_1", "task_1"),
        ("/api/v1/generations/a%2Fb", "a/b"),
        ("/api/v1/generations", None),
        ("/api/v1/files/file_1", None),
    ],
)
def test_a_task_is_what_a_reading_of_a_job_names(path: str, task: str | None) -> None:
    assert task_of(path) == task
