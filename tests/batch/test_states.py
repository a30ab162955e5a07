"""State transitions of a row, its digest, names, key and credits."""

from __future__ import annotations

import itertools

import pytest

from rivya_async import ConfigurationError
from rivya_async.batch.record import RowRecord
from rivya_async.batch.row import Row, derive_idempotency_key, validate_name
from rivya_async.batch.states import ALLOWED, State, checked, is_open


@pytest.mark.parametrize(("old", "new"), list(itertools.product(State, State)))
def test_only_allowed_transitions(old: State, new: State) -> None:
    if new in ALLOWED[old]:
        assert checked(old, new) is new
    else:
        with pytest.raises(ConfigurationError, match=f"a row that is {old} cannot become {new}"):
            checked(old, new)


def test_purchases_are_sent_from_an_intent_only() -> None:
    assert [old for old in State if State.SUBMITTED in ALLOWED[old]] == [State.INTENT, State.DEAD]


def test_open_states_depend_on_downloads() -> None:
    open_states = {state for state in State if is_open(state, downloads=False)}
    assert open_states == {State.PLANNED, State.INTENT, State.SUBMITTED}
    assert {state for state in State if is_open(state, downloads=True)} == open_states | {State.SUCCEEDED}


def make_row(**changes: object) -> Row:
    return Row(**{"number": 3, "line": 4, "model": "z-image", "prompt": "A red kite", **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        {"model": "flux-2-pro"},
        {"prompt": "A blue kite"},
        {"prompt": None},
        {"params": {"seed": 1}},
        {"references": ["kite.png"]},
        {"client_request_id": "order-42"},
    ],
)
def test_digest_depends_on_the_content(other: dict[str, object]) -> None:
    assert make_row(**other).digest != make_row().digest


def test_digest_is_independent_of_place_and_name() -> None:
    assert make_row(line=9, number=8, name="kite").digest == make_row().digest
    assert make_row(params={"a": 1, "b": 2}).digest == make_row(params={"b": 2, "a": 1}).digest


@pytest.mark.parametrize("where", [{"prompt": "\ud800"}, {"params": {"text": "\udfff"}}])
def test_digest_rejects_lone_surrogates(where: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="half of a character"):
        _ = make_row(**where).digest


def test_key_depends_on_batch_row_content_and_purchase() -> None:
    record = RowRecord(row=make_row(), batch_id="kites")
    keys = {
        record.key,
        derive_idempotency_key("other", "row-000003", make_row().digest, 1),
        derive_idempotency_key("kites", "row-000004", make_row().digest, 1),
        derive_idempotency_key("kites", "row-000003", make_row(prompt="A blue kite").digest, 1),
        derive_idempotency_key("kites", "row-000003", make_row().digest, 2),
    }
    assert len(keys) == 5
    assert record.key == derive_idempotency_key("kites", "row-000003", make_row().digest, 1)


@pytest.mark.parametrize("name", ["kite", "Kite 7", "kite-2", "drachen_grün", "a.b", "rowing-5"])
def test_valid_names(name: str) -> None:
    assert validate_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", " kite", "con", "kite.", "a:b", "row-000001", "ROW-7", "kite.2", "x" * 200]
)
def test_invalid_names(name: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        validate_name(name)


def test_credits_of_a_row() -> None:
    def credits_of(**known: object) -> object:
        return RowRecord(row=make_row(), batch_id="kites", expected_credits=5, **known).credits  # type: ignore[arg-type]

    assert credits_of() == 0, "nothing was sent"
    assert credits_of(body="{}", state=State.INTENT) == 5
    assert credits_of(body="{}", state=State.DEAD) == 5, "it may have been purchased"
    assert credits_of(body="{}", reserved_credits=4) == 4
    assert credits_of(body="{}", reserved_credits=4, final_credits=0) == 0, "a failed job costs nothing"
    assert credits_of(body="{}", reserved_credits=4, earlier_credits=3) == 7
