"""The shortcut for open jobs equals the converter."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.errors import ResponseDecodeError
from rivya_async._core.http import serialization
from rivya_async._core.http.serialization import DOCUMENTED_FIELDS, parse_open_generation
from rivya_async._core.types.generations import Generation

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
EIGHT = datetime(2026, 5, 11, 8, tzinfo=UTC)


def test_reads_open_job() -> None:
    expected = Generation("task_ab12", "queued", "z-image", 1, 0, EIGHT, EIGHT)
    assert parse_open_generation(QUEUED) == expected == serialization.structure(QUEUED, Generation)


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
        {"result": {"primary_url": "https://rivya.ai/f/1.png"}},
        {"error": {"code": "generation_failed"}},
        {"mood": "calm"},
    ],
    ids=str,
)
def test_leaves_unusual_values_to_converter(members: dict[str, Any]) -> None:
    assert parse_open_generation(QUEUED | members) is None


@pytest.mark.parametrize("name", DOCUMENTED_FIELDS)
def test_leaves_incomplete_records_to_converter(name: str) -> None:
    assert parse_open_generation({member: value for member, value in QUEUED.items() if member != name}) is None


@pytest.mark.parametrize("value", [None, [], [1] * 9, "queued", 5, {}], ids=str)
def test_leaves_other_values_to_converter(value: Any) -> None:
    assert parse_open_generation(value) is None


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
INSTANTS = st.datetimes(timezones=st.none() | st.timezones()).map(datetime.isoformat)
ODD = SCALARS | INSTANTS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)


@given(
    st.dictionaries(st.sampled_from([*DOCUMENTED_FIELDS, "mood"]), ODD, max_size=3),
    st.sets(st.sampled_from(DOCUMENTED_FIELDS), max_size=1),
)
def test_fastpath_equals_converter(members: dict[str, Any], missing: set[str]) -> None:
    value = {name: member for name, member in (QUEUED | members).items() if name not in missing}
    short = parse_open_generation(value)
    if short is None:
        return
    try:
        assert short == serialization.structure(value, Generation)
    except ResponseDecodeError:
        pytest.fail("the converter rejects a value that the shortcut accepts")
