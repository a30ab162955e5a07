"""Records convert to JSON types, and have a schema for Pydantic and HTML for notebooks."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from rivya_async import (
    ChatCapabilities,
    ChatCompletion,
    ChatMessage,
    Credits,
    ErrorDetail,
    File,
    Generation,
    GenerationRequest,
    GenerationResult,
    Model,
    ModelParam,
    Outcome,
    PurchaseCost,
    ReferenceMedia,
    ReferenceRules,
    Status,
    ValidationProblem,
    WaitTimeoutError,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from rivya_async._core.catalogue.reference_rules import FileLimit
from rivya_async._core.types.chat import ChatCredits, ChatSession, Usage
from rivya_async._core.types.generations import SavedFile
from rivya_async._core.types.record import Record, RecordList, to_json_value

EIGHT = datetime(2026, 5, 11, 8, tzinfo=UTC)
LINKS = ("https://c.example/a.png?sig=1", "https://c.example/b.mp4")
JOB = Generation(
    "task_1",
    Status.SUCCEEDED,
    "z-image",
    1,
    0.5,
    EIGHT,
    EIGHT + timedelta(seconds=1.5),
    GenerationResult(LINKS[0], LINKS, extra={"expires": {"in": [60]}}),
    extra={"queue": None},
)
RECORDS: list[Record] = [
    JOB,
    Generation("task_2", "failed", "z-image", error=ErrorDetail("refused", "<b>no</b>")),
    File("file_1", LINKS[0], "image", duration_token="token", created_at=EIGHT, extra={"x": 1}),
    ReferenceMedia(LINKS[0], "image", duration_seconds=2),
    Credits(5, extra={"currency": "credits"}),
    SavedFile("a.png", 1, "00"),
    ValidationProblem("params.seed", "range", "no", ("a", 1.5)),
    PurchaseCost(5, 4, "task_1"),
    ChatCompletion("c", "m", "s", ChatMessage("Hello", created_at=EIGHT), Usage(1, 2, 3), ChatCredits(1, 2), EIGHT),
    ChatSession("s", messages=(ChatMessage("a"), ChatMessage("b", "user"))),
    Model("z-image", params=(ModelParam("seed", "number", default=1, options=("a", 1, True)),), notices=({"a": 1},)),
    ChatCapabilities(web_search=True, reasoning_efforts=("low",)),
    ReferenceRules(2, ("image",), {"image": FileLimit(5, ("image/png",))}, {"image": 1}),
    WebhookEndpoint("whend_1", event_types=("a",), signing_secret="whsec_1", last_success_at=EIGHT),
    WebhookEvent("evt_1", "generation.succeeded", created_at=EIGHT, data={"object": {"id": "task_1"}}),
    WebhookDelivery("d", response_status=200, delivered_at=EIGHT, extra={"y": []}),
    GenerationRequest("z-image", "A kite", params={"seed": 5}, references=[File("file_1", LINKS[0], "image")]),
    Outcome(GenerationRequest("z-image"), JOB),
]
each_record = pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)


@each_record
def test_dict_and_json_hold_the_same_values(record: Record) -> None:
    assert json.loads(record.to_json()) == record.to_dict()
    assert json.loads(record.to_json(indent=2)) == record.to_dict()
    assert "extra" not in record.to_dict()


@each_record
def test_pydantic_restores_a_record_from_its_json(record: Record) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(type(record))
    assert adapter.validate_python(record) is record
    assert adapter.validate_python(record.to_dict()) == record
    assert adapter.validate_json(record.to_json()) == record
    assert adapter.dump_python(record, mode="json") == record.to_dict()
    assert json.loads(adapter.dump_json(record)) == record.to_dict()


@each_record
def test_pydantic_has_a_json_schema(record: Record) -> None:
    for mode in ("validation", "serialization"):
        schema = TypeAdapter(type(record)).json_schema(mode=mode)
        schema = schema if "properties" in schema else schema["$defs"][type(record).__name__]
        assert schema["title"] == type(record).__name__
        assert schema["properties"].keys() | {"queue", "x", "y", "currency"} >= record.to_dict().keys()


def test_unknown_members_stand_beside_the_fields_as_the_service_sent_them() -> None:
    record = Generation("task_1", "queued", "z-image", extra={"queue": {"position": 2}, "updated_at": ""})
    assert record.to_dict()["queue"] == {"position": 2}
    assert record.to_dict()["updated_at"] == ""
    assert dict(record)["updated_at"] == ""
    assert TypeAdapter(Generation).dump_python(record, mode="json")["updated_at"] is None  # its schema is a time


def test_times_are_utc_texts() -> None:
    assert to_json_value(EIGHT) == "2026-05-11T08:00:00Z"
    assert to_json_value(EIGHT.astimezone(timezone(timedelta(hours=2)))) == "2026-05-11T08:00:00Z"
    assert to_json_value(EIGHT.replace(tzinfo=None)) == "2026-05-11T08:00:00"


def test_values_have_json_types_only() -> None:
    outcome = Outcome(
        GenerationRequest(
            "z-image", params={"a": {1}, "b": (Status.FAILED, 1.5), "c": {2: EIGHT}}, references=[Path("a.png")]
        ),
        error=WaitTimeoutError("too late", task_id="task_1"),
    )
    made = outcome.to_dict()
    assert made["request"]["params"] == {"a": [1], "b": ["failed", 1.5], "c": {"2": "2026-05-11T08:00:00Z"}}
    assert made["request"]["references"] == ["a.png"]
    assert made["error"] == {"type": "WaitTimeoutError", "message": "too late"}
    assert type(made["request"]["params"]["b"][0]) is str
    with pytest.raises(TypeError, match="bytes has no JSON form"):
        GenerationRequest("z-image", params={"a": b""}).to_dict()
    with pytest.raises(ValueError, match="Out of range"):
        GenerationRequest("z-image", params={"a": float("nan")}).to_json()


class Page(BaseModel):
    job: Generation
    outcomes: list[Outcome] = []


def test_a_record_is_a_field_of_a_pydantic_model() -> None:
    page = Page(job=JOB, outcomes=[Outcome(GenerationRequest("z-image", references=["a.png"]), error=ValueError("x"))])
    made = page.model_dump(mode="json")
    assert made["job"] == JOB.to_dict()
    assert made["outcomes"][0]["error"] == {"type": "ValueError", "message": "x"}
    assert made["outcomes"][0]["request"]["references"] == ["a.png"]
    assert page.model_dump()["job"]["created_at"] == EIGHT
    assert "error" not in page.model_dump(exclude_none=True)["job"]
    assert set(Page.model_json_schema()["$defs"]) >= {"Generation", "GenerationResult", "ErrorDetail"}
    assert Page.model_validate({"job": {"id": "a", "status": "new", "model": "z", "b": 1}}).job.extra == {"b": 1}


def test_pydantic_names_invalid_members() -> None:
    with pytest.raises(ValidationError, match=r"job\.status\n  Field required"):
        Page.model_validate({"job": {"id": "task_1", "model": "z-image"}})
    with pytest.raises(ValidationError, match="must be the id of a model"):
        TypeAdapter(GenerationRequest).validate_python({"model": ""})


def test_pydantic_ignores_unknown_members_of_a_record_without_extra() -> None:
    assert TypeAdapter(SavedFile).validate_python({"path": "a", "size": 1, "sha256": "", "new": 1}) == SavedFile(
        "a", 1, ""
    )


def test_a_request_body_cannot_name_local_files() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(GenerationRequest).validate_python({"model": "z-image", "references": ["/etc/passwd"]})


def test_records_stay_small() -> None:
    assert not hasattr(JOB, "__dict__")
    assert sys.getsizeof(Credits(1)) == sys.getsizeof(
        attrs.make_class("Plain", ["a", "b"], frozen=True, slots=True)(1, 2)
    )


def test_notebook_shows_media_of_a_succeeded_job() -> None:
    html = JOB._repr_html_()
    assert '<img src="https://c.example/a.png?sig=1"' in html
    assert '<video src="https://c.example/b.mp4"' in html
    sound = Generation("a", "succeeded", "m", result=GenerationResult("https://c.example/x.MP3"))
    assert '<audio src="https://c.example/x.MP3"' in sound._repr_html_()
    assert "<img" in File("a", "https://c.example/x", "image")._repr_html_()
    assert "src=" not in File("a", "https://c.example/x", "other")._repr_html_()
    assert "<img" not in Generation("a", "succeeded", "m", result=GenerationResult("https://c.example/x"))._repr_html_()


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)//.png",
        "data:text/html,<script>alert(1)</script>.png",
        'https://c.example/"><script>alert(1)</script>.png',
        "https://c.example/a b.png",
        "//c.example/a.png",
        " https://c.example/a.png",
    ],
)
def test_notebook_shows_other_links_as_text(link: str) -> None:
    for record in (Generation("a", "succeeded", "m", result=GenerationResult(link)), File("a", link, "image")):
        html = record._repr_html_()
        assert "src=" not in html
        assert "href=" not in html
        assert "<script" not in html


def test_notebook_escapes_all_text() -> None:
    nasty = "<script>alert(1)</script>\"'&"
    record = Generation(nasty, nasty, nasty, error=ErrorDetail(nasty, nasty), extra={nasty: {nasty: [nasty]}})
    html = record._repr_html_() + RecordList([record, Credits(1)])._repr_html_()
    assert "<script" not in html
    assert "alert(1)" in html


def test_notebook_omits_secrets() -> None:
    endpoint = WebhookEndpoint("whend_1", signing_secret="whsec_1")
    assert "whsec_1" not in str(endpoint._repr_mimebundle_()) + RecordList([endpoint])._repr_html_()


def test_notebook_shows_a_list_as_a_table() -> None:
    models = RecordList([Model("z-image", display_name="Z", params=(ModelParam("seed"),)), Model("b")])
    html = models._repr_html_()
    assert html.count("<tr>") == 3
    assert '<td style="text-align:left">seed</td>' in html
    assert models._repr_mimebundle_()["text/plain"] == "z-image\nb"
    assert RecordList[Credits]([])._repr_html_() == "<p>(none)</p>"
    assert RecordList[Credits]([])._repr_mimebundle_()["text/plain"] == "[]"
    assert "and 50 more" in RecordList([Credits(1)] * 250)._repr_html_()
    assert list(models) == models


def test_notebook_shortens_values() -> None:
    assert "x" * 301 not in Generation("x" * 1000, "queued", "m")._repr_html_()


def test_notebook_chooses_media_types() -> None:
    assert JOB._repr_mimebundle_(include={"text/plain"}).keys() == {"text/plain"}
    assert JOB._repr_mimebundle_(exclude={"text/plain"}).keys() == {"text/html"}
    assert JOB._repr_mimebundle_(None, None).keys() == {"text/plain", "text/html"}
