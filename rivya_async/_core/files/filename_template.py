"""Templates for the names of result files, such as `{task_id}-{index}{ext}`."""

from __future__ import annotations

import re
from string import Formatter
from typing import TYPE_CHECKING, Final

import attrs

from ..catalogue.validation import closest_matches, suggestion_text
from ..errors import ConfigurationError
from .filenames import RESERVED_NAMES, safe_stem

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPLATE_FIELDS: Final = ("task_id", "model", "index", "ext")
WIDTH_PATTERN: Final = re.compile(r"(0?[1-9])?")
NO_SPEC_PATTERN: Final = re.compile("")

FORBIDDEN_CHARACTERS: Final = frozenset('/\\<>:"|?*')
"""Characters that are invalid in a file name on some system."""

MAX_FILENAME_BYTES: Final = 200
"""Maximum length of a name in bytes. Names have at most 255: the rest is for the suffix of a temporary file."""


@attrs.frozen
class FilenameTemplate:
    """Template of text and the fields `{task_id}`, `{model}`, `{index}` and `{ext}`.

    `index` counts the files of a job from 1 and accepts a width (`{index:03}`); `ext` is the extension with its dot.
    Other values are made safe. Raises `ConfigurationError` for a template that makes no valid name.

    >>> FilenameTemplate("{model}-{index:02}{ext}").format({"model": "z/image"}, index=3, ext=".png")
    'z_image-03.png'
    """

    text: str

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ConfigurationError(f"name must be a template such as '{{task_id}}{{ext}}', not {self.text!r:.40}")
        for field, spec in self._fields():
            if field not in TEMPLATE_FIELDS:
                hint = suggestion_text(closest_matches(field, TEMPLATE_FIELDS), TEMPLATE_FIELDS)
                raise ConfigurationError(f"name has an unknown field {{{field:.40}}} {hint}")
            if not (WIDTH_PATTERN if field == "index" else NO_SPEC_PATTERN).fullmatch(spec):
                raise ConfigurationError(
                    f"name: {{{field}:{spec:.40}}} is not a field: only index accepts a width, such as 03"
                )
        self.format({}, index=1, ext=".png")

    @property
    def has_index(self) -> bool:
        """True if the files of one job get different names."""
        return any(field == "index" for field, _ in self._fields())

    @property
    def has_task_id(self) -> bool:
        """True if the files of different jobs get different names."""
        return any(field == "task_id" for field, _ in self._fields())

    @property
    def _has_suffix(self) -> bool:
        """True if the name ends with `{ext}`, or with an extension that the template contains as text."""
        return "." in self.text.rpartition("}")[2] or self.text.endswith("{ext}")

    def format(self, values: Mapping[str, str], *, index: int, ext: str) -> str:
        """Returns the name of one file. Raises `ConfigurationError` for an invalid name."""
        safe = {field: safe_stem(values.get(field) or field) for field in TEMPLATE_FIELDS[:2]}
        if not self._has_suffix:  # a value of the service must not choose the extension
            safe = {field: value.replace(".", "_") for field, value in safe.items()}
        name = self.text.format(**safe, index=index, ext=ext)
        if (
            name != name.strip()
            or name.endswith(".")
            or not name
            or set(name) & FORBIDDEN_CHARACTERS
            or not name.isprintable()
        ):
            raise ConfigurationError(
                f"name makes {name!r:.80}, which is not a file name on every system: folders belong in `to`"
            )
        if RESERVED_NAMES.fullmatch(name.partition(".")[0].rstrip()):
            raise ConfigurationError(f"name makes {name!r:.80}, which is the name of a device on Windows: add to it")
        if len(name.encode(errors="replace")) > MAX_FILENAME_BYTES:
            raise ConfigurationError(f"name makes a name of over {MAX_FILENAME_BYTES} bytes: make it shorter")
        return name

    def _fields(self) -> list[tuple[str, str]]:
        """Returns each field with its format specification or conversion."""
        try:
            parsed = list(Formatter().parse(self.text))
        except ValueError:
            raise ConfigurationError(f"name is not a template: {self.text!r:.80}") from None
        return [
            (field, f"!{conversion}" if conversion else spec or "")
            for _, field, spec, conversion in parsed
            if field is not None
        ]
