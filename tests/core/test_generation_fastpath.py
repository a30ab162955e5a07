"""The shortcut for open and succeeded jobs equals the converter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.errors import ResponseDecodeError
from rivya_async._core.http import serialization
from rivya_async._core.http.record_readers import MAX_LIST_LENGTH
from rivya_async._core.http.serialization import DOCUMENTED_FIELDS, parse_usual_generation
from rivya_async._core.types.generations import Generation, GenerationResult

QUEUED: dict[str, Any] = {
    "id": "task_ab12",
    "status": "queued",
    "model": "z-image",
    "reserved_credits": 1,
    "final_credits": 0,
    "created_at": "2026-05-11T08:00:00.000Z",
    "updated_at": "2026-05-11T10:00:00.000+02:00",
    "result": None,
    "error": None,
}
URL = "https://rivya.ai/f/1.png"
RESULT = {"primary_url": URL, "urls": [URL, "https://rivya.ai/f/2.png"]}
EIGHT = datetime(2026, 5, 11, 8, tzinfo=UTC)


def test_reads_open_job() -> None:
    expected = Generation("task_ab12", "queued", "z-image", 1, 0, EIGHT, EIGHT)
    assert parse_usual_generation(QUEUED) == expected == serialization.structure(QUEUED, Generation)


@pytest.mark.parametrize("result", [RESULT, {"primary_url": URL, "urls": []}], ids=["two files", "no urls"])
def test_reads_succeeded_job(result: dict[str, Any]) -> None:
    value = QUEUED | {"status": "succeeded", "result": result}
    expected = Generation(
        "task_ab12", "succeeded", "z-image", 1, 0, EIGHT, EIGHT, GenerationResult(URL, tuple(result["urls"]))
    )
    assert parse_usual_generation(value) == expected == serialization.structure(value, Generation)


@pytest.mark.parametrize(
    "members",
    [
        {"id": 5},
        {"status": None},
        {"model": ["m"]},
        {"reserved_credits": True},
        {"final_credits": 0.5},
        {"created_at": None},
        {"created_at": 1778486400},
        {"updated_at": "yesterday"},
        {"updated_at": "0001-01-01T00:00:00+23:59"},
        {"result": {"primary_url": URL}},
        {"result": [URL]},
        {"result": RESULT | {"primary_url": None}},
        {"result": RESULT | {"urls": URL}},
        {"result": RESULT | {"urls": [URL, None]}},
        {"result": RESULT | {"urls": [URL] * (MAX_LIST_LENGTH + 1)}},
        {"result": RESULT | {"thumbnail": URL}},
        {"error": {"code": "generation_failed"}},
        {"mood": "calm"},
    ],
    ids=lambda members: str(members)[:60],
)
def test_leaves_unusual_values_to_converter(members: dict[str, Any]) -> None:
    assert parse_usual_generation(QUEUED | members) is None


@pytest.mark.parametrize("name", DOCUMENTED_FIELDS)
def test_leaves_incomplete_records_to_converter(name: str) -> None:
    assert parse_usual_generation({member: value for member, value in QUEUED.items() if member != name}) is None


@pytest.mark.parametrize("value", [None, [], [1] * 9, "queued", 5, {}], ids=str)
def test_leaves_other_values_to_converter(value: Any) -> None:
    assert parse_usual_generation(value) is None


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
INSTANTS = st.datetimes(timezones=st.none() | st.timezones()).map(datetime.isoformat)
ODD = SCALARS | INSTANTS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)


@given(
    st.dictionaries(st.sampled_from([*DOCUMENTED_FIELDS, "mood"]), ODD, max_size=3),
    st.sets(st.sampled_from(DOCUMENTED_FIELDS), max_size=1),
    st.none() | st.dictionaries(st.sampled_from(["primary_url", "urls", "mood"]), ODD, max_size=3),
)
def test_fastpath_equals_converter(members: dict[str, Any], missing: set[str], result: dict[str, Any] | None) -> None:
    members = members if result is None else members | {"result": RESULT | result}
    value = {name: member for name, member in (QUEUED | members).items() if name not in missing}
    short = parse_usual_generation(value)
    if short is None:
        return
    try:
        assert short == serialization.structure(value, Generation)
    except ResponseDecodeError:
        pytest.fail("the converter rejects a value that the shortcut accepts")
