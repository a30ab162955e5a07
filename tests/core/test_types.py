"""Records are frozen values with equality, hash, pickle and repr."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from rivya_async._core.catalogue.model import Model, ModelList
from rivya_async._core.catalogue.model_param import ModelParam
from rivya_async._core.types.generations import (
    Credits,
    ErrorDetail,
    File,
    Generation,
    GenerationResult,
    ReferenceMedia,
    Status,
)

EIGHT = datetime(2026, 5, 11, 8, tzinfo=UTC)
LINKS = ("https://rivya.ai/f/1.png", "https://rivya.ai/f/2.png")

MAKERS: list[Callable[[], Any]] = [
    lambda: GenerationResult(LINKS[0], LINKS, extra={"expires_at": "soon"}),
    lambda: ErrorDetail("generation_failed", "The model gave up.", extra={"x": [1]}),
    lambda: Generation(
        "task_1",
        "failed",
        "z-image",
        1,
        0.5,
        EIGHT,
        EIGHT + timedelta(seconds=9),
        GenerationResult(LINKS[0]),
        ErrorDetail("c"),
        extra={"new": {"deep": []}},
    ),
    lambda: ReferenceMedia(LINKS[0], "image", "a.png", "image/png", 1.5, "token"),
    lambda: File("file_1", LINKS[0], "video", "a.mp4", "video/mp4", 9, 1.5, "token", "wan-2-6", "x", EIGHT),
    lambda: ModelParam("seed", "number", default=[], min=0, max=9, options=("a",), extra={"x": {}}),
    lambda: Model(
        "z-image",
        params=(ModelParam("seed", "number"),),
        reference_media={"image": 1},
        chat_capabilities={"web_search": True},
        notices=({"text": "new"},),
        extra={"x": 1},
    ),
    lambda: ModelList((Model("z-image"),), extra={"object": "list"}),
    lambda: Credits(123, extra={"currency": "credits"}),
]

every_record = pytest.mark.parametrize("make", MAKERS, ids=[type(make()).__name__ for make in MAKERS])


@every_record
def test_equal_records_hash_equally(make: Callable[[], Any]) -> None:
    assert make() == make()
    assert hash(make()) == hash(make())
    assert len({make(), make()}) == 1


@every_record
def test_every_member_counts_for_equality(make: Callable[[], Any]) -> None:
    record = make()
    for field in attrs.fields(type(record)):
        counts = field.name not in {"request_id", "replayed"}
        assert (attrs.evolve(record, **{field.name: object()}) != record) is counts


@every_record
@pytest.mark.parametrize(
    "travel",
    [
        *[
            pytest.param(lambda record, n=n: pickle.loads(pickle.dumps(record, n)), id=f"pickle-{n}")
            for n in range(2, pickle.HIGHEST_PROTOCOL + 1)
        ],
        copy.copy,
        copy.deepcopy,
    ],
)
def test_survives_pickle_and_copy(make: Callable[[], Any], travel: Callable[[Any], Any]) -> None:
    assert travel(make()) == make()


@every_record
def test_is_frozen_with_slots(make: Callable[[], Any]) -> None:
    record = make()
    for name in (attrs.fields(type(record))[0].name, "brand_new"):
        with pytest.raises((attrs.exceptions.FrozenInstanceError, AttributeError)):
            setattr(record, name, 1)
    assert not hasattr(record, "__dict__")


@every_record
def test_repr_has_class_name(make: Callable[[], Any]) -> None:
    assert repr(make()).startswith(f"{type(make()).__name__}(")


def test_missing_members_have_defaults() -> None:
    job = Generation("task_1", "queued", "z-image")
    assert (job.reserved_credits, job.final_credits, job.extra) == (0, 0, {})
    param = ModelParam("seed", "number")
    assert (param.required, param.default, param.options, param.description) == (False, None, (), "")


@every_record
def test_extra_is_keyword_only(make: Callable[[], Any]) -> None:
    record = make()
    arguments = [getattr(record, field.name) for field in attrs.fields(type(record)) if field.name != "extra"]
    type(record)(*arguments)
    with pytest.raises(TypeError):
        type(record)(*arguments, {})


@pytest.mark.parametrize(
    ("status", "is_terminal", "succeeded", "failed"),
    [
        ("queued", False, False, False),
        ("processing", False, False, False),
        ("succeeded", True, True, False),
        ("failed", True, False, True),
        (Status.SUCCEEDED, True, True, False),
        (Status.FAILED, True, False, True),
        ("cancelled", False, False, False),
        ("Succeeded", False, False, False),
        ("", False, False, False),
    ],
)
def test_only_documented_statuses_are_terminal(status: str, is_terminal: bool, succeeded: bool, failed: bool) -> None:
    record = Generation("task_1", status, "z-image")
    assert (record.is_terminal, record.succeeded, record.failed) == (is_terminal, succeeded, failed)


def test_status_is_string() -> None:
    assert {Status.QUEUED, "queued"} == {"queued"}
    assert f"{Status.PROCESSING}" == "processing"
    assert Generation("task_1", Status.QUEUED, "m") == Generation("task_1", "queued", "m")


@pytest.mark.parametrize(
    ("created_at", "updated_at", "duration"),
    [
        (EIGHT, EIGHT + timedelta(seconds=12.5), timedelta(seconds=12.5)),
        (EIGHT, EIGHT, timedelta(0)),
        (None, EIGHT, None),
        (EIGHT, None, None),
        (None, None, None),
    ],
)
def test_duration(created_at: datetime | None, updated_at: datetime | None, duration: timedelta | None) -> None:
    record = Generation("task_1", "succeeded", "z-image", created_at=created_at, updated_at=updated_at)
    assert record.duration == duration


@pytest.mark.parametrize(
    ("result", "urls"),
    [
        (None, ()),
        (GenerationResult(LINKS[0]), LINKS[:1]),
        (GenerationResult(LINKS[0], LINKS), LINKS),
    ],
)
def test_urls(result: GenerationResult | None, urls: tuple[str, ...]) -> None:
    assert Generation("task_1", "succeeded", "z-image", result=result).urls == urls


def test_reference_is_camel_case_on_wire() -> None:
    reference = ReferenceMedia("u", "audio", "a.mp3", "audio/mpeg", 2.5, "dt_1")
    assert reference.to_wire() == {
        "url": "u",
        "kind": "audio",
        "name": "a.mp3",
        "mimeType": "audio/mpeg",
        "durationSeconds": 2.5,
        "durationToken": "dt_1",
    }


def test_reference_sends_known_members_only() -> None:
    assert ReferenceMedia("u", "image", duration_seconds=0.0).to_wire() == {
        "url": "u",
        "kind": "image",
        "durationSeconds": 0.0,
    }


def test_reference_repr_omits_token() -> None:
    assert "dt_secret" not in repr(ReferenceMedia("u", "audio", duration_token="dt_secret"))


@pytest.mark.parametrize(
    ("api_status", "is_available"), [("available", True), ("coming_soon", False), ("studio_only", False), (None, False)]
)
def test_only_available_models_are_callable(api_status: str | None, is_available: bool) -> None:
    assert Model("m", api_status=api_status).is_available is is_available


def test_param_is_found_by_exact_key() -> None:
    ratio = ModelParam("aspectRatio", "select")
    model = Model("m", params=(ModelParam("seed", "number"), ratio))
    assert model.param("aspectRatio") is ratio
    assert model.param("aspect_ratio") is None


def test_file_as_reference_has_token() -> None:
    file = File("file_1", LINKS[0], "video", "a.mp4", "video/mp4", 9, 1.5, "dt_secret", extra={"object": "file"})
    assert file.as_reference() == ReferenceMedia(LINKS[0], "video", "a.mp4", "video/mp4", 1.5, "dt_secret")
    assert "dt_secret" not in repr(file) + repr(file.as_reference())
