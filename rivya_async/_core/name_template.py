"""Names of result files by the wish of the user: `{task_id}-{index}{ext}`."""

from __future__ import annotations

import re
from string import Formatter
from typing import TYPE_CHECKING, Final

import attrs

from .errors import ConfigurationError
from .filenames import RESERVED, safe_stem
from .nearest import hint, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS: Final = ("task_id", "model", "index", "ext")
WIDTH: Final = re.compile(r"(0?[1-9])?")
NOTHING: Final = re.compile("")

FORBIDDEN: Final = frozenset('/\\<>:"|?*')
"""Marks that one system or another does not take in a name."""

MOST_BYTES: Final = 200
"""A name has room for 255: this leaves some for its temporary file."""


@attrs.frozen
class NameTemplate:
    """Made only of text and the fields `{task_id}`, `{model}`, `{index}` and `{ext}`.

    `index` counts the files of a job from 1 and takes a width (`{index:03}`); `ext` is the extension with its dot, by
    the content type. Every other value is made safe first. Raises `ConfigurationError` for what cannot be a name.

    >>> NameTemplate("{model}-{index:02}{ext}").name({"model": "z/image"}, index=3, ext=".png")
    'z_image-03.png'
    """

    text: str

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ConfigurationError(f"name must be a template such as '{{task_id}}{{ext}}', not {self.text!r:.40}")
        for field, spec in self._fields():
            if field not in FIELDS:
                raise ConfigurationError(
                    f"name has an unknown field {{{field:.40}}} {hint(nearest(field, FIELDS), FIELDS)}"
                )
            if not (WIDTH if field == "index" else NOTHING).fullmatch(spec):
                raise ConfigurationError(f"name: {{{field}:{spec:.40}}} is no field: only index takes a width, as 03")
        self.name({}, index=1, ext=".png")

    @property
    def tells_apart(self) -> bool:
        """Whether the files of one job get different names."""
        return any(field == "index" for field, _ in self._fields())

    def name(self, values: Mapping[str, str], *, index: int, ext: str) -> str:
        """The name of one file. Raises `ConfigurationError` for one that no folder takes."""
        safe = {field: safe_stem(values.get(field) or field) for field in FIELDS[:2]}
        name = self.text.format(**safe, index=index, ext=ext)
        if name != name.strip() or name.endswith(".") or not name or set(name) & FORBIDDEN or not name.isprintable():
            raise ConfigurationError(
                f"name makes {name!r:.80}, which is no file name on every system: folders belong in `to`"
            )
        if RESERVED.fullmatch(name.partition(".")[0].rstrip()):
            raise ConfigurationError(f"name makes {name!r:.80}, which is the name of a device on Windows: add to it")
        if len(name.encode(errors="replace")) > MOST_BYTES:
            raise ConfigurationError(f"name makes a name of over {MOST_BYTES} bytes: make it shorter")
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
