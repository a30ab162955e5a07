"""The models that the sandbox knows, as `GET /models` lists them and as validation asks for them.

The facts are package data (`models.json`), read from the public pages. Where a page states no value, the listing says
what the assumptions say: `runtime` by category, an empty list for a list, `url_input_supported` from the inputs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import attrs

UNSEEN_RULE_MAX_REFERENCES: Final = 10
"""References that a model takes whose own limit no public page shows; the median of the limits that are known is 2."""

REASONING_EFFORTS: Final = ("default", "minimal", "low", "medium", "high", "xhigh")
"""Documented values of `reasoning_effort`; that every chat model takes all of them is invented."""

MEGABYTE: Final = 1_048_576
"""Bytes in an MB. Assumed."""

_LISTS: Final = ("supported_modes", "requires_upload_for_modes", "file_kinds", "notices")


@attrs.frozen
class Param:
    """One entry of a model's `params`: how a value of this key must look."""

    key: str
    type: str
    required: bool
    default: Any
    min: float | None
    max: float | None
    options: frozenset[str]


@attrs.frozen
class References:
    """How many `params.referenceMediaItems` a model takes: in all, of each kind, and of each kind beside a video."""

    most: int
    kinds: Mapping[str, int]
    beside_video: Mapping[str, int]


@attrs.frozen
class UploadLimit:
    """What an uploaded file of one kind may be."""

    max_bytes: int
    mime_types: frozenset[str]


DEFAULT_LIMITS: Final[Mapping[str, UploadLimit]] = {
    "image": UploadLimit(10 * MEGABYTE, frozenset({"image/jpeg", "image/png", "image/webp"})),
    "video": UploadLimit(50 * MEGABYTE, frozenset({"video/mp4", "video/quicktime", "video/webm"})),
    "audio": UploadLimit(10 * MEGABYTE, frozenset({"audio/mpeg", "audio/mp4", "audio/wav", "audio/aac", "audio/ogg"})),
}
"""What holds for an upload unless its model has a limit of its own."""


@attrs.frozen
class Model:
    """What validation and pricing ask about a model."""

    id: str
    category: str
    price: int
    is_available: bool
    needs_prompt: bool
    max_prompt_length: int | None
    params: tuple[Param, ...]
    references: References | None
    takes_files: bool
    uploads: Mapping[str, UploadLimit]

    @property
    def is_chat(self) -> bool:
        """Whether the model belongs to the Chat API."""
        return self.category == "chat"

    def filled(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The `params` that this model knows, with the documented defaults where the caller gave nothing."""
        values = {param.key: params.get(param.key, param.default) for param in self.params}
        return {key: value for key, value in values.items() if value is not None}


@attrs.frozen
class Catalogue:
    """All models by id, and the body of `GET /models`."""

    models: Mapping[str, Model]
    listing: bytes


@cache
def load() -> Catalogue:
    """The catalogue of the package."""
    return read(json.loads(Path(__file__).with_name("models.json").read_text(encoding="utf-8")))


def read(facts: Mapping[str, Any]) -> Catalogue:
    """The catalogue that these facts describe."""
    data = [fill(entry, facts) for entry in facts["data"]]
    listing = json.dumps({"object": "list", "data": data}).encode()
    return Catalogue({entry["id"]: _model(entry, facts) for entry in data}, listing)


def fill(entry: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with its unknown values filled in as the assumptions say; a prompt limit stays null."""
    filled = {key: [] if key in _LISTS and value is None else value for key, value in entry.items()}
    is_chat = filled["category"] == "chat"
    if filled["runtime"] is None:
        filled["runtime"] = "chat" if is_chat else "async_task"
    if filled["requires_files_api"] is None:
        filled["requires_files_api"] = filled["api_input_status"] == "requires_files_api"
    if filled["url_input_supported"] is None:
        filled["url_input_supported"] = "url" in filled["supported_api_inputs"]
    rule = _references(entry, facts)
    if rule is not None:
        filled["reference_media"] = _reference_media(entry, facts, rule)
        filled["file_kinds"] = filled["reference_media"]["file_kinds"]
    if is_chat and filled["chat_capabilities"] is None:
        filled["chat_capabilities"] = {
            "web_search": True,
            "image_attachments": "file" in filled["supported_api_inputs"],
            "thoughts": True,
            "reasoning_efforts": list(REASONING_EFFORTS),
        }
    return filled


def _reference_media(entry: Mapping[str, Any], facts: Mapping[str, Any], rule: References) -> dict[str, Any]:
    """The rule for references as the listing tells it: what the page states, and what validation holds beyond that."""
    stated = {"rule": None, "max_files": None, "file_kinds": None, "limits": None, **(entry["reference_media"] or {})}
    stated["max_files"] = rule.most
    stated["file_kinds"] = list(dict.fromkeys([*rule.kinds, *rule.beside_video]))
    caps = facts["reference_caps"].get(entry["id"])
    return {**stated, "caps": caps} if caps else stated


def _model(entry: Mapping[str, Any], facts: Mapping[str, Any]) -> Model:
    references = _references(entry, facts)
    return Model(
        id=entry["id"],
        category=entry["category"],
        price=entry["base_credits"],
        is_available=entry["api_status"] == "available",
        needs_prompt=entry["id"] not in facts["prompt_optional"],
        max_prompt_length=entry["max_prompt_length"],
        params=tuple(_param(param) for param in entry["params"]),
        references=references,
        takes_files="file" in entry["supported_api_inputs"],
        uploads=_uploads(entry, references),
    )


def _param(param: Mapping[str, Any]) -> Param:
    kept = {key: param[key] for key in ("key", "type", "required", "default", "min", "max")}
    return Param(**kept, options=frozenset(param["options"] or ()))


def _uploads(entry: Mapping[str, Any], references: References | None) -> Mapping[str, UploadLimit]:
    """What may be uploaded for a model: the kinds that it refers to; for a chat model that takes files, images."""
    kinds = set() if references is None else {*references.kinds, *references.beside_video}
    if entry["category"] == "chat" and "file" in entry["supported_api_inputs"]:
        kinds = {"image"}
    stated = {limit["kind"]: limit for limit in (entry["reference_media"] or {}).get("limits") or ()}
    return {kind: _limit(stated[kind]) if kind in stated else DEFAULT_LIMITS[kind] for kind in kinds}


def _limit(stated: Mapping[str, Any]) -> UploadLimit:
    return UploadLimit(int(stated["max_size_mb"] * MEGABYTE), frozenset(stated["mime_types"]))


def _references(entry: Mapping[str, Any], facts: Mapping[str, Any]) -> References | None:
    stated: Mapping[str, Any] = entry["reference_media"] or {}
    caps = facts["reference_caps"].get(entry["id"], {})
    unseen: Sequence[str] | None = facts["reference_rule_unseen"].get(entry["id"])
    if caps:
        alone = caps["without_video"]
        return References(stated["max_files"] or sum(alone.values()), alone, caps.get("with_video", {}))
    if stated:
        most = int(stated["max_files"])
        return References(most, dict.fromkeys(stated["file_kinds"], most), {})
    if unseen:
        most = UNSEEN_RULE_MAX_REFERENCES
        return References(most, dict.fromkeys(unseen, most), {})
    return None
