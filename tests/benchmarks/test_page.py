"""The page of all benchmark results."""

from __future__ import annotations

from benchmarks import waiting
from benchmarks.page import HEAD, PAGE, describe, update_page
from benchmarks.report import format_table, target

ORDER = ["waiting", "layers"]


def test_replaces_one_section() -> None:
    page = update_page(HEAD, "waiting --tls", "over TLS", ORDER)
    page = update_page(page, "layers", "first", ORDER)
    page = update_page(page, "waiting", "plain\n\n\n\ntext", ORDER)
    assert page == f"{HEAD}\n## waiting\n\nplain\n\ntext\n\n## waiting --tls\n\nover TLS\n\n## layers\n\nfirst\n"
    assert update_page(page, "layers", "second", ORDER) == page.replace("first", "second")


def test_removes_unknown_sections() -> None:
    assert update_page(f"{HEAD}\n## else\n\ntext\n", "layers", "first", ORDER) == f"{HEAD}\n## layers\n\nfirst\n"


def test_describes_without_command() -> None:
    assert "python -m" not in describe(waiting)
    assert describe(waiting).startswith("CPU and memory of waiting for many jobs")


def test_formats_markdown() -> None:
    assert format_table(["", "us"], [["ours", "5"]]) == "\n|      | us |\n| ---- | -: |\n| ours |  5 |"
    assert target("at most 5", "4", met=True) == "- met: at most 5: 4"


def test_page_is_generated() -> None:
    assert PAGE.read_text("utf-8").startswith(HEAD)
