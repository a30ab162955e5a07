"""Which references a model takes, and what is wrong with those that it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from .. import assumptions
from ..generation_request import Reference
from ..types.generations import File, ReferenceMedia, ValidationProblem
from .validation import closest_matches, shorten, suggestion_text

LOCAL_FILE: Final = object()
"""Stands for a file of this machine: nothing is known of it before its upload but that it counts."""

KINDS_WITH_DURATION_TOKEN: Final = frozenset({"audio", "video"})
"""Kinds that travel with the `durationToken` of their upload."""


@attrs.frozen
class FileLimit:
    """What a file of one kind may be: `max_bytes` at most, of one of `mime_types`; None and empty where not said."""

    max_bytes: int | None = None
    mime_types: tuple[str, ...] = ()


@attrs.frozen
class ReferenceRules:
    """How many references a model takes and of what kind, as far as the catalogue says [5].

    `max_files` in all, `kinds` of them (empty: not said), `limits` of a file by kind. `most` of each kind, and
    `most_beside_video` where a video is among them; both empty on nearly all models. The names in the catalogue are an
    assumption (`from_catalogue`); what another shape leaves unsaid is not checked.

    >>> ReferenceRules(max_files=1, kinds=("image",)).kinds
    ('image',)
    """

    max_files: int | None = None
    kinds: tuple[str, ...] = ()
    limits: Mapping[str, FileLimit] = attrs.field(factory=dict, hash=False)
    max_by_kind: Mapping[str, int] = attrs.field(factory=dict, hash=False)
    max_by_kind_with_video: Mapping[str, int] = attrs.field(factory=dict, hash=False)

    @classmethod
    def from_catalogue(cls, stated: Mapping[str, Any], kinds: Sequence[str] = ()) -> ReferenceRules:
        """Read `reference_media`; `kinds` are the model's `file_kinds`, which count where it names none."""
        caps = _as_mapping(stated.get(assumptions.REFERENCE_CAPS_FIELD))
        limits = [limit for limit in _as_list(stated.get("limits")) if isinstance(limit, Mapping)]
        return cls(
            max_files=_as_count(stated.get("max_files")),
            kinds=_as_texts(stated.get("file_kinds")) or tuple(kinds),
            limits={limit["kind"]: _read_limit(limit) for limit in limits if isinstance(limit.get("kind"), str)},
            most=_as_counts(caps.get("without_video")),
            most_beside_video=_as_counts(caps.get("with_video")),
        )

    def problems(self, model_id: str, items: Sequence[Any]) -> Iterator[ValidationProblem]:
        """What is wrong with these items of `params.referenceMediaItems`; they may also have `size_bytes`."""
        kinds: Counter[str] = Counter()
        for index, item in enumerate(items):
            if item is LOCAL_FILE:
                continue
            found = list(_item_problems(f"references[{index}]", item))
            if not found:
                kinds[item["kind"]] += 1
                found = list(self._file_problems(model_id, f"references[{index}]", item))
            yield from found
        if self.max_files is not None and len(items) > self.max_files:
            some = f"{self.max_files} reference{'' if self.max_files == 1 else 's'}"
            yield ValidationProblem("references", "count", f"{model_id} takes at most {some}, not {len(items)}")
        most = self.max_by_kind_with_video if self.max_by_kind_with_video and kinds["video"] else self.max_by_kind
        for kind, count in kinds.items():
            if most and count > most.get(kind, 0):
                beside = " beside a video" if most is self.max_by_kind_with_video else ""
                claim = f"{model_id} takes at most {most.get(kind, 0)} references of kind {kind!r}{beside}, not {count}"
                yield ValidationProblem("references", "count", claim)

    def _file_problems(self, model_id: str, where: str, item: Mapping[str, Any]) -> Iterator[ValidationProblem]:
        kind = item["kind"]
        if self.kinds and kind not in self.kinds:
            meant = closest_matches(kind, self.kinds)
            claim = f"{where} cannot be of kind {shorten(kind)} for {model_id} {suggestion_text(meant, self.kinds)}"
            yield ValidationProblem(where, "kind", claim, meant)
            return
        limit = self.limits.get(kind, FileLimit())
        mime_type, size = item.get("mimeType"), item.get("size_bytes")
        if isinstance(mime_type, str) and limit.mime_types and mime_type not in limit.mime_types:
            meant = closest_matches(mime_type, limit.mime_types)
            claim = f"{where} cannot be {shorten(mime_type)} for {model_id} {suggestion_text(meant, limit.mime_types)}"
            yield ValidationProblem(where, "format", claim, meant)
        if isinstance(size, int) and limit.max_bytes is not None and size > limit.max_bytes:
            claim = f"{where} has {size:,} bytes, and {model_id} takes at most {limit.max_bytes:,} for kind {kind!r}"
            yield ValidationProblem(where, "size", claim, (limit.max_bytes,))


def describe_reference(reference: Reference) -> Any:
    """A reference as it travels, with the size of its file where that is known."""
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
    if item.get("kind") in list(KINDS_WITH_DURATION_TOKEN) and not (isinstance(token, str) and token):
        claim = f"{where} is of kind {item['kind']!r} and needs the duration token of its upload through the Files API"
        yield ValidationProblem(where, "missing", claim)


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
