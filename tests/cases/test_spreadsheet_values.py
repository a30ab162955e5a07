"""Values as spreadsheets write them. B16."""

from __future__ import annotations

import pytest

from rivya_async._core.catalogue.model_param import ModelParam


@pytest.mark.parametrize(
    ("options", "text", "sent"),
    [
        (("true", "false"), "TRUE", "true"),
        (("true", "false"), "False", "false"),
        (("5", "10"), "5.0", "5"),
        (("5", "10"), "05", "5"),
        (("5", "10"), "10", "10"),
        (("5", "10"), "TRUE", "TRUE"),
        (("5", "10"), "7", "7"),
        (("16:9", "True North"), "true", "true"),
        (("high", "low"), "HIGH", "HIGH"),
    ],
)
def test_options_are_recognised(options: tuple[str, ...], text: str, sent: str) -> None:
    assert ModelParam("x", "select", options=options).coerce(text) == sent


@pytest.mark.parametrize(("text", "sent"), [("5.0", 5), ("05", 5), ("0.50", 0.5)])
def test_numbers_are_recognised(text: str, sent: float) -> None:
    assert ModelParam("x", "number").coerce(text) == sent
