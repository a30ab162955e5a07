"""The key, the digest, the name and the credits of a row."""

from __future__ import annotations

import pytest

from rivya_async import ConfigurationError
from rivya_async._jobs.transitions import JobState
from rivya_async.batch.row import Row, RowRecord, derive_idempotency_key, validate_name


def row(**changes: object) -> Row:
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
def test_digest_depends_on_purchase(other: dict[str, object]) -> None:
    assert row(**other).digest != row().digest


def test_digest_ignores_position_and_name() -> None:
    assert row(line=9, number=8, name="kite").digest == row().digest
    assert row(params={"a": 1, "b": 2}).digest == row(params={"b": 2, "a": 1}).digest


@pytest.mark.parametrize("where", [{"prompt": "\ud800"}, {"params": {"text": "\udfff"}}])
def test_rejects_lone_surrogate(where: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="half of a character"):
        _ = row(**where).digest


def test_key_depends_on_batch_row_content_and_purchase() -> None:
    record = RowRecord(row=row(), batch_id="kites")
    keys = {
        record.key,
        derive_idempotency_key("other", "row-000003", row().digest, 1),
        derive_idempotency_key("kites", "row-000004", row().digest, 1),
        derive_idempotency_key("kites", "row-000003", row(prompt="A blue kite").digest, 1),
        derive_idempotency_key("kites", "row-000003", row().digest, 2),
    }
    assert len(keys) == 5
    assert record.key == derive_idempotency_key("kites", "row-000003", row().digest, 1)


@pytest.mark.parametrize("name", ["kite", "Kite 7", "kite-2", "drachen_grün", "a.b", "rowing-5"])
def test_accepts_valid_names(name: str) -> None:
    assert validate_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", " kite", "con", "kite.", "a:b", "row-000001", "ROW-7", "kite.2", "x" * 200]
)
def test_rejects_invalid_and_reserved_names(name: str) -> None:
    with pytest.raises(ConfigurationError, match="name"):
        validate_name(name)


def test_row_counts() -> None:
    def counted(**known: object) -> object:
        return RowRecord(row=row(), batch_id="kites", expected_credits=5, **known).credits  # type: ignore[arg-type]

    assert counted() == 0, "nothing was sent"
    assert counted(body="{}", state=JobState.INTENT) == 5
    assert counted(body="{}", state=JobState.DEAD) == 5, "it may have been bought"
    assert counted(body="{}", reserved_credits=4) == 4
    assert counted(body="{}", reserved_credits=4, final_credits=0) == 0, "a failed job costs nothing"
    assert counted(body="{}", reserved_credits=4, earlier_credits=3) == 7
