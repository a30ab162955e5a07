"""Templates of file names: valid fields, portable names inside of the folder."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivya_async._core.errors import ConfigurationError
from rivya_async._core.files.filename_template import MAX_FILENAME_BYTES, FilenameTemplate

VALUES = {"task_id": "task_1", "model": "z-image"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{task_id}{ext}", "task_1.png"),
        ("{model}-{index}{ext}", "z-image-7.png"),
        ("{index:03}{ext}", "007.png"),
        ("{index:2}.dat", " 7.dat"),
        ("a red kite {{1}}{ext}", "a red kite {1}.png"),
        ("kite", "kite"),
    ],
)
def test_formats_name(text: str, name: str) -> None:
    if name != name.strip():
        with pytest.raises(ConfigurationError, match="not a file name"):
            FilenameTemplate(text)
        return
    template = FilenameTemplate(text)
    assert template.format(VALUES, index=7, ext=".png") == name
    assert template.has_index is ("index" in text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{task}{ext}", r"did you mean 'task_id'"),
        ("{}{ext}", "unknown field"),
        ("{0}", "unknown field"),
        ("{task_id.__class__}", "unknown field"),
        ("{task_id[0]}", "unknown field"),
        ("{index", "not a template"),
        ("index}", "not a template"),
        ("{task_id!r}", "accepts a width"),
        ("{task_id:>999999999}", "accepts a width"),
        ("{index:999999999}", "accepts a width"),
        ("{index:{ext}}", "accepts a width"),
        ("../{task_id}", "folders belong in `to`"),
        ("{model}/{task_id}{ext}", "folders belong in `to`"),
        ("a\\b", "folders belong in `to`"),
        ("", "not a file name"),
        ("{task_id}:{index}{ext}", "not a file name"),
        ("kite?", "not a file name"),
        ("kite.", "not a file name"),
        ("con{ext}", "name of a device"),
        ("LPT1 .{task_id}", "name of a device"),
        (".", "not a file name"),
        ("..", "not a file name"),
        (" kite", "not a file name"),
        ("kite\n", "not a file name"),
        ("a\0b", "not a file name"),
        ("x" * (MAX_FILENAME_BYTES + 1), "make it shorter"),
        (5, "must be a template"),
        (None, "must be a template"),
    ],
)
def test_rejects_invalid_template(text: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        FilenameTemplate(text)


def test_rejects_long_name() -> None:
    with pytest.raises(ConfigurationError, match="make it shorter"):
        FilenameTemplate("{task_id}{task_id}").format({"task_id": "x" * 120}, index=1, ext=".png")


@given(st.text(), st.text(), st.text(max_size=8))
def test_values_never_leave_folder(task_id: str, model: str, ext: str) -> None:
    template = FilenameTemplate("{task_id}-{model}{ext}")
    try:
        name = template.format({"task_id": task_id, "model": model}, index=1, ext=ext)
    except ConfigurationError:
        return
    assert not set(name) & {"/", "\\", "\0"}
    assert name.strip(".")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{task_id}", "app_py"),
        ("{model}-{task_id}", "m_exe-app_py"),
        ("{task_id}.png", "app.py.png"),
        ("{model}{ext}", "m.exe.png"),
        ("v1.{index}-{task_id}", "v1.1-app_py"),
    ],
)
def test_values_choose_no_extension(text: str, name: str) -> None:
    assert FilenameTemplate(text).format({"task_id": "app.py", "model": "m.exe"}, index=1, ext=".png") == name
    assert FilenameTemplate(text).has_task_id is ("{task_id}" in text)
