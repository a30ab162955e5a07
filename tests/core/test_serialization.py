"""Conversion between JSON and records with both JSON decoders."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import time
from collections.abc import Callable
from contextlib import suppress
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
from rivya_async._core.http import record_readers, serialization
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
    assert len(stated) == 58
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
    Generation: {"id": "a", "status": "b"},
    GenerationResult: {},
    ErrorDetail: {},
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
        (1778486400, EIGHT),
        (1778486400.0, EIGHT),
        (1778486400000, EIGHT),
    ],
)
def test_times_are_aware_utc(text: Any, instant: datetime) -> None:
    created_at = serialization.decode(generation(created_at=text), Generation).created_at
    assert created_at == instant
    assert created_at is not None
    assert created_at.tzinfo is UTC


# --- invalid members --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "path", "reason"),
    [
        ({"id": 1}, "$.id", "expected a string, got int"),
        ({"id": None}, "$.id", "expected a string, got NoneType"),
        ({"status": True}, "$.status", "expected a string, got bool"),
    ],
)
@pytest.mark.parametrize("others", [{}, {"unknown": 1}], ids=["alone", "beside-an-unknown"])
def test_names_invalid_essential_member(
    members: dict[str, Any], path: str, reason: str, others: dict[str, Any]
) -> None:
    with pytest.raises(ResponseDecodeError) as caught:
        serialization.decode(generation(**members, **others), Generation)
    assert caught.value.path == path
    assert caught.value.reason == reason
    assert f"an invalid Generation at {path}: {reason}" in str(caught.value)
    assert "newer version" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["model", "reserved_credits", "final_credits", "created_at", "updated_at", "result", "error"]
)
@pytest.mark.parametrize(
    "value", [True, [], {"a": {}}, "", "today", "9999-12-31T23:59:59-10:00", "100000-01-01T00:00:00Z", [1, "a"], 1e300]
)
def test_inessential_member_that_cannot_be_read_is_kept_in_extra(name: str, value: Any) -> None:
    default = getattr(Generation("a", "b"), name)
    made = serialization.decode(generation(status="succeeded", new=1, **{name: value}), Generation)
    assert (made.id, made.succeeded, made.extra["new"]) == ("task_ab12", True, 1)
    if name in made.extra:
        assert (getattr(made, name), made.extra[name]) == (default, value)
    else:  # a string for the model, a number for an amount, an object for a record
        assert getattr(made, name) == value or isinstance(value, dict)
    assert serialization.structure(made.to_dict(), Generation) == made


@pytest.mark.parametrize(
    ("result", "urls", "extra"),
    [
        ({"primary_url": 5, "urls": ["u"]}, ("u",), {"primary_url": 5}),
        ({"primary_url": "u", "urls": "v"}, ("u",), {"urls": "v"}),
        ({"primary_url": "u", "urls": {"0": "v"}}, ("u",), {"urls": {"0": "v"}}),
        ({"urls": [None, "u", 5]}, ("u",), {"urls": [None, "u", 5]}),
        ({"urls": [5]}, (), {"urls": [5]}),
        ({"primary_url": "u", "urls": [5] * 200}, ("u",), {"urls": [5] * 200}),
        ({"primary_url": "u", "urls": ["v"] * 10_001}, ("u",), {"urls": ["v"] * 10_001}),
    ],
    ids=["primary", "text", "object", "mixed", "numbers", "many numbers", "too many"],
)
def test_links_that_can_be_read_are_kept(result: Any, urls: tuple[str, ...], extra: dict[str, Any]) -> None:
    made = serialization.decode(generation(status="succeeded", result=result), Generation)
    assert made.urls == urls
    assert made.result is not None
    assert made.result.extra == extra


def test_member_that_cannot_be_read_is_logged_once_without_its_value(caplog: pytest.LogCaptureFixture) -> None:
    record_readers._warned.clear()
    for _ in range(3):
        serialization.decode(generation(updated_at="s3cret", error={"code": 5}), Generation)
    members = [str(record.args[0]) for record in caplog.records if isinstance(record.args, tuple)]
    assert sorted(members) == ["ErrorDetail.code", "Generation.updated_at"]
    assert {(record.name, record.levelname) for record in caplog.records} == {("rivya_async", "WARNING")}
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("body", [[5] * 400_000, ["u", *[5] * 400_000], [[]] * 400_000, [{"id": 5}] * 200_000])
@pytest.mark.parametrize("record", [Generation, ModelList])
def test_long_invalid_list_takes_milliseconds(body: list[Any], record: type[Any]) -> None:
    value = {"id": "a", "status": "b", "result": {"urls": body}, "data": body}
    started = time.thread_time()
    with suppress(ResponseDecodeError):
        serialization.structure(value, record)
    assert time.thread_time() - started < 0.1


@pytest.mark.parametrize(
    ("model", "extra"),
    [
        ({"id": "b", "max_prompt_length": "1000"}, {"max_prompt_length": "1000"}),
        ({"id": "b", "max_prompt_length": 1000.0}, {"max_prompt_length": 1000.0}),
        ({"id": "b", "requires_files_api": 1}, {"requires_files_api": 1}),
        ({"id": "b", "reference_media": []}, {"reference_media": []}),
        ({"id": "b", "file_kinds": "image"}, {"file_kinds": "image"}),
        ({"id": "b", "params": {}}, {"params": {}}),
    ],
)
def test_invalid_member_of_model_is_kept_in_extra(model: Any, extra: dict[str, Any]) -> None:
    body = json.dumps({"data": [{"id": "a"}, model]}).encode()
    assert serialization.decode(body, ModelList).data == (Model("a"), Model("b", extra=extra))


@pytest.mark.parametrize("model", [None, [], {}, {"id": 1}])
def test_model_without_id_is_left_out(model: Any) -> None:
    listed = serialization.decode(json.dumps({"data": [{"id": "a"}, model]}).encode(), ModelList)
    assert listed.data == (Model("a"),)
    assert listed.extra["data"] == [{"id": "a"}, model]


def test_list_of_invalid_records_only_is_invalid() -> None:
    with pytest.raises(ResponseDecodeError) as caught:
        serialization.structure({"data": [{}] * 101}, ModelList)
    assert caught.value.path == "$.data[0].id"
    with pytest.raises(ResponseDecodeError, match=r"at \$.data: expected a list"):
        serialization.structure({"data": {}}, ModelList)


@pytest.mark.parametrize(
    ("stated", "read"),
    [
        ("aspect_ratio", ModelParam("aspect_ratio", extra={"key": "aspect_ratio"})),
        (None, ModelParam("", extra={"key": None})),
        ({"name": "k"}, ModelParam("", extra={"name": "k"})),
        ({"key": "k", "min": "0", "max": 5}, ModelParam("k", max=5, extra={"min": "0"})),
        ({"key": "k", "required": 1}, ModelParam("k", extra={"required": 1})),
        ({"key": "k", "options": "5"}, ModelParam("k", extra={"options": "5"})),
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
        serialization.decode(b"x" * 1_000_000, Generation)
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
        ('{"current_credits": }'.encode("utf-8-sig"), "not JSON"),
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


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**40])
def test_long_integers_are_exact(number: int) -> None:
    made = serialization.decode(generation(seed=number, text="0123456789" * 3), Generation)
    assert made.extra["seed"] == number
    assert isinstance(made.extra["seed"], int)


def test_byte_order_mark_is_ignored() -> None:
    assert serialization.decode('{"current_credits": 5}'.encode("utf-8-sig"), Credits) == Credits(5)


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
    assert serialization.structure(serialization.parse_json(serialization.encode_json(made.to_dict())), record) == made


def test_ended_job_round_trip() -> None:
    links = ["https://rivya.ai/f/1.png"]
    ended = serialization.decode(
        generation(status="succeeded", result={"primary_url": links[0], "urls": links}), Generation
    )
    assert serialization.decode(serialization.encode_json(ended.to_dict()), Generation) == ended


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


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"params": {"a": {1}}}, "params.a: this set has no form"),
        ({"params": {"a": [1, {"b": math.nan}]}}, "params.a[1].b: nan has no form"),
        ({"params": {"a": (b"",)}}, "params.a[0]: this bytes has no form"),
        ({"params": {"a": {("x", "y"): 1}}}, "params.a has a key of type tuple"),
        ({"params": {"a": "\ud800"}}, "params.a: this str has no form"),
        ({"params": {"a": circle()}}, "params.a[0]"),
        ({object: 1}, "the body has a key of type type"),
        (object(), "the body: this object has no form"),
    ],
)
def test_names_value_outside_of_json(value: Any, shown: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        serialization.encode_json(value)
    assert shown in str(caught.value)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'"a\ud83d"', "a\ufffd"),
        (rb'"\uDC00a"', "\ufffda"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\\ud83d"', "\\ud83d"),
        (rb'"\ud83d\n"', "\ufffd\n"),
    ],
)
def test_lone_surrogates_are_replaced(body: bytes, value: str) -> None:
    assert serialization.parse_json(body) == value


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


def test_prepared_records_convert() -> None:
    record_readers.prepare_converter(Credits)
    assert serialization.decode(b'{"current_credits": 5}', Credits) == Credits(5)


@attrs.frozen
class StoredRecord:
    """A record without `extra`."""

    key: str
    files: tuple[ErrorDetail, ...] = ()


def test_record_without_extra_is_read_strictly() -> None:
    assert serialization.structure({"key": "a", "later": 1}, StoredRecord) == StoredRecord("a")
    with pytest.raises(ResponseDecodeError) as raised:
        serialization.structure({"key": "a", "files": [5]}, StoredRecord)
    assert raised.value.path == "$.files[0]"
