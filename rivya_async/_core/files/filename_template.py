"""Names of result files by the wish of the user: `{task_id}-{index}{ext}`."""

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
"""Marks that one system or another does not take in a name."""

MAX_FILENAME_BYTES: Final = 200
"""A name has room for 255: this leaves some for its temporary file."""


@attrs.frozen
class FilenameTemplate:
    """Made only of text and the fields `{task_id}`, `{model}`, `{index}` and `{ext}`.

    `index` counts the files of a job from 1 and takes a width (`{index:03}`); `ext` is the extension with its dot, by
    the content type. Every other value is made safe first. Raises `ConfigurationError` for what cannot be a name.

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
                raise ConfigurationError(f"name: {{{field}:{spec:.40}}} is no field: only index takes a width, as 03")
        self.format({}, index=1, ext=".png")

    @property
    def has_index(self) -> bool:
        """Whether the files of one job get different names."""
        return any(field == "index" for field, _ in self._fields())

    def format(self, values: Mapping[str, str], *, index: int, ext: str) -> str:
        """The name of one file. Raises `ConfigurationError` for one that no folder takes."""
        safe = {field: safe_stem(values.get(field) or field) for field in TEMPLATE_FIELDS[:2]}
        name = self.text.format(**safe, index=index, ext=ext)
        if (
            name != name.strip()
            or name.endswith(".")
            or not name
            or set(name) & FORBIDDEN_CHARACTERS
            or not name.isprintable()
        ):
            raise ConfigurationError(
                f"name makes {name!r:.80}, which is no file name on every system: folders belong in `to`"
            )
        if RESERVED_NAMES.fullmatch(name.partition(".")[0].rstrip()):
            raise ConfigurationError(f"name makes {name!r:.80}, which is the name of a device on Windows: add to it")
        if len(name.encode(errors="replace")) > MAX_FILENAME_BYTES:
            raise ConfigurationError(f"name makes a name of over {MAX_FILENAME_BYTES} bytes: make it shorter")
        return name

    def _fields(self) -> list[tuple[str, str]]:
        """Each field with what stands behind its colon, and what would change or look into its value."""
        try:
            parsed = list(Formatter().parse(self.text))
        except ValueError:
            raise ConfigurationError(f"name is no template: {self.text!r:.80}") from None
        return [
            (field, f"!{change}" if change else spec or "") for _, field, spec, change in parsed if field is not None
        ]
