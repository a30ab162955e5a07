"""Conversion between JSON and records with both JSON decoders."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rivya_async
from rivya_async._core.catalogue.model import Model, ModelList
from rivya_async._core.catalogue.model_param import ModelParam
from rivya_async._core.errors import ConfigurationError, ResponseDecodeError
from rivya_async._core.http import serialization
from rivya_async._core.types.generations import (
    Credits,
    ErrorDetail,
    Generation,
    GenerationResult,
)


@pytest.fixture(params=[orjson.loads, serialization.load_strict_json], ids=["orjson", "json"], autouse=True)
def _decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialization, "_loads", request.param)


QUEUED: dict[str, Any] = {
    "id": "task_ab12",
    "status": "queued",
    "model": "z-image",
    "reserved_credits": 1,
    "final_credits": 0,
    "created_at": "2026-05-11T08:00:00.000Z",
    "updated_at": "2026-05-11T08:00:00.000Z",
    "result": None,
    "error": None,
}
EIGHT = datetime(2026, 5, 11, 8, tzinfo=UTC)


def generation(**members: Any) -> bytes:
    return json.dumps(QUEUED | members).encode()


# --- the documented shapes --------------------------------------------------------------------------------------------


def test_reads_queued_job() -> None:
    assert serialization.decode(generation(), Generation) == Generation(
        id="task_ab12", status="queued", model="z-image", reserved_credits=1, created_at=EIGHT, updated_at=EIGHT
    )


def test_reads_succeeded_job() -> None:
    links = ["https://rivya.ai/f/1.png", "https://rivya.ai/f/2.png"]
    body = generation(status="succeeded", final_credits=1, result={"primary_url": links[0], "urls": links})
    record = serialization.decode(body, Generation)
    assert record.succeeded
    assert record.final_credits == 1
    assert record.result == GenerationResult(links[0], tuple(links))


@pytest.mark.parametrize(
    ("result", "urls"),
    [
        ({"primary_url": None, "urls": ["u"]}, ("u",)),
        ({"primary_url": "u", "urls": None}, ("u",)),
        ({"primary_url": "u"}, ("u",)),
        ({}, ()),
        (None, ()),
    ],
)
def test_reads_paid_result_with_missing_member(result: Any, urls: tuple[str, ...]) -> None:
    assert serialization.decode(generation(status="succeeded", result=result), Generation).urls == urls


def test_reads_failed_job() -> None:
    body = generation(status="failed", error={"code": "generation_failed", "message": "The model gave up."})
    record = serialization.decode(body, Generation)
    assert record.failed
    assert record.error == ErrorDetail("generation_failed", "The model gave up.")


def test_reads_abbreviated_job_of_landing_page() -> None:
    body = b'{"id": "task_1", "status": "queued", "model": "z-image", "reserved_credits": 1}'
    assert serialization.decode(body, Generation) == Generation("task_1", "queued", "z-image", 1)


def test_reads_balance() -> None:
    assert serialization.decode(b'{"current_credits": 123}', Credits) == Credits(123)


Z_IMAGE = {
    "id": "z-image",
    "display_name": "Z-Image",
    "category": "image",
    "runtime": "async_task",
    "base_credits": 1,
    "billing_type": "FIXED",
    "supported_modes": ["text-to-image"],
    "max_prompt_length": 1000,
    "reference_media": None,
    "params": [],
    "api_status": "available",
    "api_input_status": "available_text",
    "supported_api_inputs": ["text"],
    "requires_files_api": False,
    "requires_upload_for_modes": [],
    "url_input_supported": False,
    "file_kinds": [],
    "chat_capabilities": None,
    "notices": [],
}


def test_reads_catalogue_of_models_page() -> None:
    body = json.dumps({"object": "list", "data": [Z_IMAGE]}).encode()
    assert serialization.decode(body, ModelList).data == (
        Model(
            id="z-image",
            display_name="Z-Image",
            category="image",
            runtime="async_task",
            base_credits=1,
            billing_type="FIXED",
            supported_modes=("text-to-image",),
            max_prompt_length=1000,
            api_status="available",
            api_input_status="available_text",
            supported_api_inputs=("text",),
            requires_files_api=False,
            url_input_supported=False,
        ),
    )


def test_catalogue_round_trip() -> None:
    catalogue_file = Path(rivya_async.__file__).parent / "catalogue" / "models.json"
    stated = json.loads(catalogue_file.read_text(encoding="utf-8"))["data"]
    assert len(stated) == 54
    decoded_list = serialization.decode(json.dumps({"object": "list", "data": stated}).encode(), ModelList)
    for model, members in zip(decoded_list.data, stated, strict=True):
        assert not model.extra
        assert_holds(model, members)


def assert_holds(record: Any, members: dict[str, Any]) -> None:
    """Asserts that all members are kept; a null may have become an empty value."""
    for name, member in members.items():
        value = getattr(record, name)
        if name == "params":
            for param, stated in zip(value, member, strict=True):
                assert not param.extra
                assert_holds(param, stated)
        elif member is None:
            assert not value
        else:
            assert value == (tuple(member) if isinstance(member, list) else member)


# --- unknown, missing and null members --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["paused", "SUCCEEDED", "", "queued ", "漢"])
def test_unknown_status_is_kept_and_open(status: str) -> None:
    record = serialization.decode(generation(status=status), Generation)
    assert record.status == status
    assert not record.is_terminal


def test_unknown_code_is_kept() -> None:
    record = serialization.decode(generation(status="failed", error={"code": "some_new_code"}), Generation)
    assert record.error == ErrorDetail("some_new_code")


def test_unknown_members_are_kept_on_every_level() -> None:
    new = {"new": [1, {"deep": None}], "null": None}
    body = generation(
        **new,
        result={"primary_url": "u", "urls": ["u"], "expires_at": "soon"},
        error={"code": "c", "message": "m", "requestId": "req_1"},
    )
    record = serialization.decode(body, Generation)
    assert record.extra == new
    assert record.result == GenerationResult("u", ("u",), extra={"expires_at": "soon"})
    assert record.error == ErrorDetail("c", "m", extra={"requestId": "req_1"})
    catalogue = serialization.decode(
        b'{"object": "list", "data": [{"id": "a", "x": 1, "params": [{"key": "k", "type": "t", "y": 2}]}]}', ModelList
    )
    assert catalogue.extra == {"object": "list"}
    assert catalogue.data[0].extra == {"x": 1}
    assert catalogue.data[0].params[0].extra == {"y": 2}


@pytest.mark.parametrize("value", [{"a": 1}, 5, None, "text"])
def test_member_named_extra_is_unknown_member(value: Any) -> None:
    assert serialization.decode(generation(extra=value), Generation).extra == {"extra": value}


REQUIRED: dict[type[Any], dict[str, Any]] = {
    Generation: {"id": "a", "status": "b", "model": "c"},
    GenerationResult: {},
    ErrorDetail: {"code": "a"},
    Model: {"id": "a"},
    ModelList: {"data": []},
    Credits: {"current_credits": 1},
}
OPTIONAL = [
    (record, field.name)
    for record, required in REQUIRED.items()
    for field in attrs.fields(record)
    if field.name not in required and field.name != "extra"
] + [(ModelParam, field.name) for field in attrs.fields(ModelParam) if field.name not in {"key", "extra"}]


@pytest.mark.parametrize(("record", "name"), OPTIONAL)
@pytest.mark.parametrize("others", [{}, {"unknown": 1}], ids=["alone", "beside-an-unknown"])
def test_null_equals_missing_member(record: type[Any], name: str, others: dict[str, Any]) -> None:
    left_out = REQUIRED.get(record, {"key": "a"}) | others
    assert serialization.structure(left_out | {name: None}, record) == serialization.structure(left_out, record)


@pytest.mark.parametrize("record", REQUIRED)
def test_required_members(record: type[Any]) -> None:
    for name in REQUIRED[record]:
        members = dict(REQUIRED[record])
        del members[name]
        with pytest.raises(ResponseDecodeError, match="missing") as missing:
            serialization.structure(members, record)
        assert missing.value.path == f"$.{name}"
        with pytest.raises(ResponseDecodeError) as null:
            serialization.structure(members | {name: None}, record)
        assert null.value.path == f"$.{name}"


@pytest.mark.parametrize("value", [0, 5, 2.5, -1, 2**53, 10**17])
def test_amounts_are_not_coerced(value: float) -> None:
    credits_ = serialization.decode(json.dumps({"current_credits": value}).encode(), Credits).current_credits
    assert credits_ == value
    assert type(credits_) is type(value)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-05-11T00:00:00.000Z", datetime(2026, 5, 11, tzinfo=UTC)),
        ("2026-05-11T00:00:00.123Z", datetime(2026, 5, 11, 0, 0, 0, 123_000, tzinfo=UTC)),
        ("2026-05-11T00:00:00.123456789Z", datetime(2026, 5, 11, 0, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-05-11T10:00:00+02:00", EIGHT),
        ("2026-05-11T08:00:00", EIGHT),
        ("2026-05-11 08:00:00Z", EIGHT),
    ],
)
def test_times_are_aware_utc(text: str, instant: datetime) -> None:
    created_at = serialization.decode(generation(created_at=text), Generation).created_at
    assert created_at == instant
    assert created_at is not None
    assert created_at.tzinfo is UTC


# --- invalid members --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "path", "reason"),
    [
        ({"id": 1}, "$.id", "expected a string, got int"),
        ({"status": True}, "$.status", "expected a string, got bool"),
        ({"model": ["z-image"]}, "$.model", "expected a string, got list"),
        ({"reserved_credits": "1"}, "$.reserved_credits", "expected a number, got str"),
        ({"reserved_credits": True}, "$.reserved_credits", "expected a number, got bool"),
        ({"final_credits": {}}, "$.final_credits", "expected a number, got dict"),
        ({"created_at": 1_778_486_400}, "$.created_at", "expected a string, got int"),
        ({"created_at": "today"}, "$.created_at", "expected an ISO 8601 date, got 'today'"),
        ({"created_at": "a @ b"}, "$.created_at", "expected an ISO 8601 date, got 'a @ b'"),
        ({"updated_at": ""}, "$.updated_at", "expected an ISO 8601 date, got ''"),
        ({"updated_at": "2026-13-01T00:00:00Z"}, "$.updated_at", "expected an ISO 8601 date"),
        ({"updated_at": "100000-01-01T00:00:00Z"}, "$.updated_at", "expected an ISO 8601 date"),
        ({"updated_at": "9999-12-31T23:59:59-10:00"}, "$.updated_at", "expected an ISO 8601 date"),
        ({"updated_at": "0001-01-01T00:00:00+10:00"}, "$.updated_at", "expected an ISO 8601 date"),
        ({"result": []}, "$.result", "expected an object, got list"),
        ({"result": "https://rivya.ai/f/1.png"}, "$.result", "expected an object, got str"),
        ({"result": {"primary_url": 5}}, "$.result.primary_url", "expected a string, got int"),
        ({"result": {"primary_url": "u", "urls": "u"}}, "$.result.urls", "expected a list, got str"),
        ({"result": {"primary_url": "u", "urls": {"0": "u"}}}, "$.result.urls", "expected a list, got dict"),
        ({"result": {"primary_url": "u", "urls": ["u", None]}}, "$.result.urls[1]", "expected a string, got NoneType"),
        ({"error": "boom"}, "$.error", "expected an object, got str"),
        ({"error": {"message": "boom"}}, "$.error.code", "it is missing"),
        ({"error": {"code": "c", "message": 5}}, "$.error.message", "expected a string, got int"),
    ],
)
@pytest.mark.parametrize("others", [{}, {"unknown": 1}], ids=["alone", "beside-an-unknown"])
def test_names_invalid_member_of_job(members: dict[str, Any], path: str, reason: str, others: dict[str, Any]) -> None:
    with pytest.raises(ResponseDecodeError) as caught:
        serialization.decode(generation(**members, **others), Generation)
    assert caught.value.path == path
    assert caught.value.reason.startswith(reason)
    assert f"an invalid Generation at {path}: {reason}" in str(caught.value)
    assert "newer version" in str(caught.value)


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (None, "$.data[1]"),
        ([], "$.data[1]"),
        ({}, "$.data[1].id"),
        ({"id": 1}, "$.data[1].id"),
        ({"id": "b", "max_prompt_length": "1000"}, "$.data[1].max_prompt_length"),
        ({"id": "b", "max_prompt_length": 1000.0}, "$.data[1].max_prompt_length"),
        ({"id": "b", "max_prompt_length": True}, "$.data[1].max_prompt_length"),
        ({"id": "b", "requires_files_api": 1}, "$.data[1].requires_files_api"),
        ({"id": "b", "url_input_supported": "true"}, "$.data[1].url_input_supported"),
        ({"id": "b", "base_credits": "1"}, "$.data[1].base_credits"),
        ({"id": "b", "reference_media": []}, "$.data[1].reference_media"),
        ({"id": "b", "chat_capabilities": True}, "$.data[1].chat_capabilities"),
        ({"id": "b", "file_kinds": "image"}, "$.data[1].file_kinds"),
        ({"id": "b", "supported_modes": ["a", 2]}, "$.data[1].supported_modes[1]"),
        ({"id": "b", "params": {}}, "$.data[1].params"),
    ],
)
def test_names_invalid_member_of_catalogue(model: Any, path: str) -> None:
    with pytest.raises(ResponseDecodeError) as caught:
        serialization.decode(json.dumps({"data": [{"id": "a"}, model]}).encode(), ModelList)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("stated", "read"),
    [
        ("aspect_ratio", ModelParam("aspect_ratio", extra={"key": "aspect_ratio"})),
        (None, ModelParam("", extra={"key": None})),
        ({"name": "k"}, ModelParam("", extra={"name": "k"})),
        ({"key": "k", "min": "0"}, ModelParam("k", extra={"key": "k", "min": "0"})),
        ({"key": "k", "required": 1}, ModelParam("k", extra={"key": "k", "required": 1})),
        ({"key": "k", "options": "5"}, ModelParam("k", extra={"key": "k", "options": "5"})),
        ({"key": "k", "new": 5}, ModelParam("k", extra={"new": 5})),
    ],
)
def test_param_of_other_shape_is_kept_in_extra(stated: Any, read: ModelParam) -> None:
    body = json.dumps({"data": [{"id": "a", "params": [stated, {"key": "seed", "type": "number"}]}]}).encode()
    assert serialization.decode(body, ModelList).data[0].params == (read, ModelParam("seed", "number"))


@pytest.mark.parametrize("value", ["[]", "null", "5", '"text"', "true"])
@pytest.mark.parametrize("record", REQUIRED)
def test_rejects_response_that_is_not_an_object(value: str, record: type[Any]) -> None:
    with pytest.raises(ResponseDecodeError, match="expected an object") as caught:
        serialization.decode(value.encode(), record)
    assert caught.value.path == "$"


def test_shortens_long_values() -> None:
    with pytest.raises(ResponseDecodeError) as caught:
        serialization.decode(generation(created_at="x" * 1_000_000), Generation)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", "an empty body"),
        (b" \r\n\t ", "an empty body"),
        (b"<html><body>502 Bad Gateway</body></html>", "not JSON"),
        (b'{"id": "task_1"', "not JSON"),
        (b'{"id": "task_1"} trailing', "not JSON"),
        (b'{"id": "task_\xff"}', "not JSON"),
        (b"{'id': 'task_1'}", "not JSON"),
        (b"\x00", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ('{"current_credits": 5}'.encode("utf-16"), "not JSON"),
        ('{"current_credits": 5}'.encode("utf-8-sig"), "not JSON"),
        (b'{"current_credits": NaN}', "not JSON"),
        (b'{"current_credits": Infinity}', "not JSON"),
        (b'{"current_credits": -Infinity}', "not JSON"),
        (b'{"current_credits": 1e999}', "not JSON"),
        (b'{"current_credits": ' + b"9" * 5_000 + b"}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "not JSON"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else value,
)
def test_rejects_body_that_is_not_json(body: bytes, shown: str) -> None:
    with pytest.raises(ResponseDecodeError, match=shown) as caught:
        serialization.decode(body, Credits)
    assert caught.value.path == "$"
    assert caught.value.reason
    assert "base_url" in str(caught.value), "the message says what to do next"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.sampled_from(list(REQUIRED)), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_record_or_decode_error(record: type[Any], data: st.DataObject) -> None:
    names = [field.name for field in attrs.fields(record)]
    stated = data.draw(st.dictionaries(st.sampled_from([*names, "unknown"]), json_values) | json_values)
    try:
        made = serialization.decode(json.dumps(stated).encode(), record)
    except ResponseDecodeError as error:
        made = error
    assert isinstance(made, record) or (made.path.startswith("$") and made.reason)


@given(st.sampled_from(list(REQUIRED)), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_record_round_trip(record: type[Any], data: st.DataObject) -> None:
    stated = {**REQUIRED[record], **data.draw(st.dictionaries(st.sampled_from(["unknown", "extra"]), json_values))}
    made = serialization.structure(stated, record)
    assert (
        serialization.structure(
            serialization.parse_json(serialization.encode_json(made.to_dict())), record
        )
        == made
    )


def test_ended_job_round_trip() -> None:
    links = ["https://rivya.ai/f/1.png"]
    ended = serialization.decode(
        generation(status="succeeded", result={"primary_url": links[0], "urls": links}), Generation
    )
    assert serialization.decode(serialization.encode_json(serialization.unstructure(ended)), Generation) == ended


@given(json_values)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_encoded_json_can_be_parsed(value: Any) -> None:
    assert serialization.parse_json(serialization.encode_json({"value": value})) == {"value": value}


# --- encoding ---------------------------------------------------------------------------------------------------------


class Ratio(StrEnum):
    WIDE = "16:9"


def test_json_is_compact_utf8() -> None:
    assert serialization.encode_json(
        {"prompt": "漢 é", "params": {"ratio": Ratio.WIDE, "n": [1, 2.5, True, None]}}
    ) == ('{"prompt":"漢 é","params":{"ratio":"16:9","n":[1,2.5,true,null]}}'.encode())


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "make",
    [
        lambda: math.nan,
        lambda: math.inf,
        lambda: -math.inf,
        object,
        lambda: {1, 2},
        lambda: b"bytes",
        lambda: EIGHT,
        lambda: Path("kite.png"),
        lambda: MappingProxyType({}),
        lambda: {("a", "b"): 1},
        lambda: "\ud800",
        lambda: {"\udfff": 1},
        lambda: 10**5000,
        deep,
        circle,
    ],
    ids=["nan", "inf", "-inf", "object", "set", "bytes", "datetime", "path", "proxy", "tuple-key", "surrogate",
         "surrogate-key", "endless-int", "deep", "circle"],
)  # fmt: skip
def test_rejects_values_outside_of_json(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigurationError, match="cannot be sent as JSON"):
        serialization.encode_json({"params": {"value": make()}})


# --- optional orjson --------------------------------------------------------------------------------------------------


def test_uses_orjson_if_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, {"orjson": orjson})._loads is orjson.loads


def test_works_without_orjson(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = loaded(monkeypatch, {"orjson": None})
    assert plain.parse_json(b'{"current_credits": 1}') == {"current_credits": 1}
    with pytest.raises(ResponseDecodeError):
        plain.parse_json(b"NaN")


def loaded(monkeypatch: pytest.MonkeyPatch, modules: dict[str, Any]) -> Any:
    """Reloads the module with these modules installed; None means not installed."""
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("rivya_async._core.http.reloaded", serialization.__file__)
    assert spec is not None
    assert spec.loader is not None
    reloaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reloaded)
    return reloaded
