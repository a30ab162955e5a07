"""Rules of a model for its references: count, kind, format and size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from .. import assumptions
from ..generation_request import Reference
from ..public_module import set_public_module
from ..types.generations import File, ReferenceMedia, ValidationProblem
from ..types.record import Record
from .validation import closest_matches, shorten, suggestion_text

LOCAL_FILE: Final = object()
"""Placeholder for a local file: before its upload it is only counted."""

KINDS_WITH_DURATION_TOKEN: Final = ("audio", "video")
"""Kinds that need the `durationToken` of their upload."""


@attrs.frozen
class FileLimit(Record):
    """Limits of a file of one kind."""

    max_bytes: int | None = None
    """Maximum size in bytes; None if unknown."""
    mime_types: tuple[str, ...] = ()
    """Accepted media types; empty if unknown."""


@attrs.frozen
class ReferenceRules(Record):
    """Limits of a model for its references, as listed in the catalogue.

    `max_by_kind` and `max_by_kind_with_video` are empty for most models. The names in the catalogue are an assumption;
    members missing from another shape are not checked.

    >>> ReferenceRules(max_files=1, kinds=("image",)).kinds
    ('image',)
    """

    max_files: int | None = None
    """Maximum number of references; None if unknown."""
    kinds: tuple[str, ...] = ()
    """Accepted kinds; empty if unknown."""
    limits: Mapping[str, FileLimit] = attrs.field(factory=dict, hash=False)
    """Limits of a file, by kind."""
    max_by_kind: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    """Maximum number of references, by kind."""
    max_by_kind_with_video: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    """Maximum number of references by kind, if one of them is a video."""

    @classmethod
    def from_catalogue(cls, reference_media: Mapping[str, Any], kinds: Sequence[str] = ()) -> ReferenceRules:
        """Reads `reference_media` of a model; `kinds`, its `file_kinds`, are the fallback."""
        caps = _as_mapping(reference_media.get(assumptions.REFERENCE_CAPS_FIELD))
        limits = [limit for limit in _as_list(reference_media.get("limits")) if isinstance(limit, Mapping)]
        return cls(
            max_files=_as_count(reference_media.get("max_files")),
            kinds=_as_texts(reference_media.get("file_kinds")) or tuple(kinds),
            limits={limit["kind"]: _read_limit(limit) for limit in limits if isinstance(limit.get("kind"), str)},
            max_by_kind=_as_counts(caps.get("without_video")),
            max_by_kind_with_video=_as_counts(caps.get("with_video")),
        )

    def problems(self, model_id: str, items: Sequence[Any]) -> Iterator[ValidationProblem]:
        """Yields the problems of items of `params.referenceMediaItems`, which may have `size_bytes` too."""
        kinds: Counter[str] = Counter()
        for index, item in enumerate(items):
            if item is LOCAL_FILE:
                continue
            problems = list(_item_problems(f"references[{index}]", item))
            if not problems:
                kinds[item["kind"]] += 1
                problems = list(self._file_problems(model_id, f"references[{index}]", item))
            yield from problems
        if self.max_files is not None and len(items) > self.max_files:
            limit = f"{self.max_files} reference{'' if self.max_files == 1 else 's'}"
            yield ValidationProblem("references", "count", f"{model_id} takes at most {limit}, not {len(items)}")
        has_video_caps = bool(self.max_by_kind_with_video and kinds["video"])
        caps = self.max_by_kind_with_video if has_video_caps else self.max_by_kind
        for kind, count in kinds.items():
            if caps and count > (cap := caps.get(kind, 0)):
                suffix = " beside a video" if has_video_caps else ""
                message = f"{model_id} takes at most {cap} references of kind {kind!r}{suffix}, not {count}"
                yield ValidationProblem("references", "count", message)

    def _file_problems(self, model_id: str, where: str, item: Mapping[str, Any]) -> Iterator[ValidationProblem]:
        kind = item["kind"]
        if self.kinds and kind not in self.kinds:
            matches = closest_matches(kind, self.kinds)
            message = f"{where} cannot be of kind {shorten(kind)} for {model_id} {suggestion_text(matches, self.kinds)}"
            yield ValidationProblem(where, "kind", message, matches)
            return
        limit = self.limits.get(kind, FileLimit())
        mime_type, size = item.get("mimeType"), item.get("size_bytes")
        if isinstance(mime_type, str) and limit.mime_types and mime_type not in limit.mime_types:
            matches = closest_matches(mime_type, limit.mime_types)
            hint = suggestion_text(matches, limit.mime_types)
            message = f"{where} cannot be {shorten(mime_type)} for {model_id} {hint}"
            yield ValidationProblem(where, "format", message, matches)
        if isinstance(size, int) and limit.max_bytes is not None and size > limit.max_bytes:
            message = f"{where} has {size:,} bytes, and {model_id} takes at most {limit.max_bytes:,} for kind {kind!r}"
            yield ValidationProblem(where, "size", message, (limit.max_bytes,))


def describe_reference(reference: Reference) -> Any:
    """Returns a reference as it is sent, with the size of its file if known."""
    if isinstance(reference, File):
        return {**reference.as_reference().to_wire(), "size_bytes": reference.size_bytes}
    return reference.to_wire() if isinstance(reference, ReferenceMedia) else LOCAL_FILE


def _item_problems(where: str, item: Any) -> Iterator[ValidationProblem]:
    if not isinstance(item, Mapping):
        yield ValidationProblem(where, "type", f"{where} must be an object with url and kind, not {shorten(item)}")
        return
    for name in ("url", "kind"):
        if not isinstance(item.get(name), str) or not item[name]:
            yield ValidationProblem(where, "missing", f"{where} needs a string {name!r}")
    token = item.get("durationToken")
    kind = item.get("kind")
    if kind in KINDS_WITH_DURATION_TOKEN and not (isinstance(token, str) and token):
        message = f"{where} is of kind {kind!r} and needs the duration token of its upload through the Files API"
        yield ValidationProblem(where, "missing", message)


def _read_limit(limit: Mapping[str, Any]) -> FileLimit:
    megabytes = limit.get("max_size_mb")
    max_bytes = round(megabytes * assumptions.MEGABYTE) if isinstance(megabytes, int | float) else None
    return FileLimit(max_bytes, _as_texts(limit.get("mime_types")))


def _as_mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _as_list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _as_texts(value: object) -> tuple[str, ...]:
    return tuple(text for text in _as_list(value) if isinstance(text, str))


def _as_count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _as_counts(value: object) -> dict[str, int]:
    counts = {kind: _as_count(count) for kind, count in _as_mapping(value).items()}
    return {kind: count for kind, count in counts.items() if count is not None}


set_public_module("rivya_async", FileLimit, ReferenceRules)
