"""The models: the body of `GET /models`, and the rules that validation applies.

The data (`catalogue/models.json`) is from the public pages. Values that no page states are assumed: `runtime` by
category, an empty list for a list, `url_input_supported` from the inputs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import attrs

MODELS_FILE: Final = Path(__file__).parents[1] / "catalogue" / "models.json"

UNDOCUMENTED_MAX_REFERENCES: Final = 10
"""Most references of a model whose limit no public page states; the median of the known limits is 2."""

REASONING_EFFORTS: Final = ("default", "minimal", "low", "medium", "high", "xhigh")
"""Documented values of `reasoning_effort`. Assumed: every chat model takes all of them."""

WEB_SEARCH_MODELS: Final = frozenset({"gemini-2-5-flash-chat", "gpt-5-2-chat", "claude-sonnet-4-6-chat"})
"""Chat models whose pages state web search. Assumed: they return thoughts, too, and the others do neither."""

MEGABYTE: Final = 1_048_576
"""Bytes in an MB. Assumed."""

PROPORTIONAL_PARAMS: Final = ("duration", "duration_seconds", "n_frames")
"""Params whose numbers multiply the price: twice as long costs twice as much. Invented."""

RESOLUTION_PARAMS: Final = ("resolution", "image_resolution")
"""Params whose numbers multiply the price by their square root: `4K` costs twice as much as `1K`. Invented."""

PRICE_WEIGHTS: Final[Mapping[str, Mapping[str, float]]] = {
    "rendering_speed": {"TURBO": 0.5, "BALANCED": 1.0, "QUALITY": 1.5},
    "quality": {"basic": 1.0, "medium": 1.0, "high": 1.5, "720p": 1.0, "1080p": 1.5},
    "mode": {"std": 0.75, "pro": 1.0},
    "size": {"standard": 1.0, "high": 1.5},
    "sound": {"true": 1.5},
    "generate_audio": {"true": 1.5},
    "enable_pro": {"true": 2.0},
    "multi_shots": {"true": 1.25},
}
"""Weights of further values; others weigh 1. A price is multiplied by value / default. Invented, like all factors."""

ONE_PRICE_MODELS: Final = frozenset({"seedream-4-0"})
"""Models with one price for all params, by their page."""

_LIST_FIELDS: Final = ("supported_modes", "requires_upload_for_modes", "file_kinds", "notices")


@attrs.frozen
class Param:
    """One entry of a model's `params`: the rules for its value."""

    key: str
    type: str
    required: bool
    default: Any
    min: float | None
    max: float | None
    options: frozenset[str]


@attrs.frozen
class ReferenceRule:
    """The most `params.referenceMediaItems` of a model: in total, of each kind, and of each kind with a video."""

    max_items: int
    kinds: Mapping[str, int]
    kinds_with_video: Mapping[str, int]


@attrs.frozen
class UploadLimit:
    """The limits of an uploaded file of one kind. Without `mime_types`, any type of the kind is accepted."""

    max_bytes: int
    mime_types: frozenset[str]


DEFAULT_LIMITS: Final[Mapping[str, UploadLimit]] = {
    "image": UploadLimit(10 * MEGABYTE, frozenset()),
    "video": UploadLimit(50 * MEGABYTE, frozenset()),
    "audio": UploadLimit(10 * MEGABYTE, frozenset()),
}
"""Upload limits by kind, without a limit of the model. The pages name common media types, not all."""


@attrs.frozen
class Model:
    """The facts of a model that validation and pricing need. `price` is that of its default settings."""

    id: str
    category: str
    price: int
    is_available: bool
    needs_prompt: bool
    max_prompt_length: int | None
    params: tuple[Param, ...]
    references: ReferenceRule | None
    takes_files: bool
    uploads: Mapping[str, UploadLimit]

    @property
    def is_chat(self) -> bool:
        """True for a model of the Chat API."""
        return self.category == "chat"

    def price_of(self, params: Mapping[str, Any]) -> int:
        """Returns the price of a job with valid params: `price`, times an invented factor per param, rounded up."""
        if self.id in ONE_PRICE_MODELS:
            return self.price
        factors = [
            _price_weight(param.key, params[param.key]) / _price_weight(param.key, param.default)
            for param in self.params
            if params.get(param.key) is not None
        ]
        return max(1, math.ceil(round(self.price * math.prod(factors), 6)))

    def filled(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the `params` that this model has, with the documented defaults."""
        values = {param.key: params.get(param.key, param.default) for param in self.params}
        return {key: value for key, value in values.items() if value is not None}


@attrs.frozen
class Catalogue:
    """All models by id, and `listing`, the body of `GET /models`."""

    models: Mapping[str, Model]
    listing: bytes


@cache
def load_catalogue() -> Catalogue:
    """Returns the catalogue of the package."""
    return parse_catalogue(json.loads(MODELS_FILE.read_text(encoding="utf-8")))


def parse_catalogue(facts: Mapping[str, Any]) -> Catalogue:
    """Returns the catalogue of these facts."""
    data = [_fill_entry(entry, facts) for entry in facts["data"]]
    listing = json.dumps({"object": "list", "data": data}).encode()
    return Catalogue({entry["id"]: _model(entry, facts) for entry in data}, listing)


def _fill_entry(entry: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an entry with the assumptions in place of unknown values; an unknown prompt limit stays null."""
    filled = {key: [] if key in _LIST_FIELDS and value is None else value for key, value in entry.items()}
    is_chat = filled["category"] == "chat"
    if filled["runtime"] is None:
        filled["runtime"] = "chat" if is_chat else "async_task"
    if filled["requires_files_api"] is None:
        filled["requires_files_api"] = filled["api_input_status"] == "requires_files_api"
    if filled["url_input_supported"] is None:
        filled["url_input_supported"] = "url" in filled["supported_api_inputs"]
    rule = _reference_rule(entry, facts)
    if rule is not None:
        filled["reference_media"] = _reference_media(entry, facts, rule)
        filled["file_kinds"] = filled["reference_media"]["file_kinds"]
    if is_chat and filled["chat_capabilities"] is None:
        filled["chat_capabilities"] = {
            "web_search": entry["id"] in WEB_SEARCH_MODELS,
            "image_attachments": "file" in filled["supported_api_inputs"],
            "thoughts": entry["id"] in WEB_SEARCH_MODELS,
            "reasoning_efforts": list(REASONING_EFFORTS),
        }
    return filled


def _reference_media(entry: Mapping[str, Any], facts: Mapping[str, Any], rule: ReferenceRule) -> dict[str, Any]:
    """Returns the listed rule for references: the page's statement, completed by the rule that validation applies."""
    stated = {"rule": None, "max_files": None, "file_kinds": None, "limits": None, **(entry["reference_media"] or {})}
    stated["max_files"] = rule.max_items
    stated["file_kinds"] = list(dict.fromkeys([*rule.kinds, *rule.kinds_with_video]))
    caps = facts["reference_caps"].get(entry["id"])
    return {**stated, "caps": caps} if caps else stated


def _model(entry: Mapping[str, Any], facts: Mapping[str, Any]) -> Model:
    references = _reference_rule(entry, facts)
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


def _price_weight(key: str, value: Any) -> float:
    number = re.match(r"\d+(?:\.\d+)?", str(value))
    if key in PROPORTIONAL_PARAMS and number is not None:
        return float(number[0])
    if key in RESOLUTION_PARAMS and number is not None:
        return math.sqrt(float(number[0]))
    return PRICE_WEIGHTS.get(key, {}).get(str(value), 1.0)


def _param(param: Mapping[str, Any]) -> Param:
    kept = {key: param[key] for key in ("key", "type", "required", "default", "min", "max")}
    return Param(**kept, options=frozenset(param["options"] or ()))


def _uploads(entry: Mapping[str, Any], references: ReferenceRule | None) -> Mapping[str, UploadLimit]:
    """Returns the upload limits of a model: of the kinds of its references; of images for a chat model with files."""
    kinds = set() if references is None else {*references.kinds, *references.kinds_with_video}
    if entry["category"] == "chat" and "file" in entry["supported_api_inputs"]:
        kinds = {"image"}
    stated = {limit["kind"]: limit for limit in (entry["reference_media"] or {}).get("limits") or ()}
    return {kind: _limit(stated[kind]) if kind in stated else DEFAULT_LIMITS[kind] for kind in kinds}


def _limit(stated: Mapping[str, Any]) -> UploadLimit:
    return UploadLimit(int(stated["max_size_mb"] * MEGABYTE), frozenset(stated["mime_types"]))


def _reference_rule(entry: Mapping[str, Any], facts: Mapping[str, Any]) -> ReferenceRule | None:
    stated: Mapping[str, Any] = entry["reference_media"] or {}
    caps = facts["reference_caps"].get(entry["id"], {})
    undocumented: Sequence[str] | None = facts["reference_rule_unseen"].get(entry["id"])
    if caps:
        alone = caps["without_video"]
        return ReferenceRule(stated["max_files"] or sum(alone.values()), alone, caps.get("with_video", {}))
    if stated:
        max_items = int(stated["max_files"])
        return ReferenceRule(max_items, dict.fromkeys(stated["file_kinds"], max_items), {})
    if undocumented:
        return ReferenceRule(UNDOCUMENTED_MAX_REFERENCES, dict.fromkeys(undocumented, UNDOCUMENTED_MAX_REFERENCES), {})
    return None
