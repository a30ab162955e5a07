"""HTML of records for notebooks: results as pictures, videos and sounds, lists as tables. All text is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, Final

import attrs

from ..terminal_text import shorten_text

LINK: Final = re.compile(r"https?://[^\s<>\"'`\\]+", re.IGNORECASE)
"""Text that becomes a link. Other schemes, such as `javascript:`, remain text."""

SUFFIX: Final = re.compile(r"\.([a-z0-9]{2,5})(?:[?#]|$)", re.IGNORECASE)

KIND_BY_SUFFIX: Final = {
    **dict.fromkeys(("png", "jpg", "jpeg", "webp", "gif", "avif", "bmp", "svg"), "image"),
    **dict.fromkeys(("mp4", "webm", "mov", "m4v", "mkv"), "video"),
    **dict.fromkeys(("mp3", "wav", "ogg", "m4a", "aac", "flac", "opus"), "audio"),
}

REL: Final = 'target="_blank" rel="noopener noreferrer"'
STYLE: Final = 'style="max-width:100%;max-height:480px"'
CELL: Final = 'style="text-align:left"'

PLAYERS: Final = {
    "image": f'<a href="{{url}}" {REL}><img src="{{url}}" alt="{{name}}" referrerpolicy="no-referrer" {STYLE}></a>',
    "video": f'<video src="{{url}}" controls preload="metadata" aria-label="{{name}}" {STYLE}></video>',
    "audio": '<audio src="{url}" controls preload="metadata" aria-label="{name}"></audio>',
}

MAX_ROWS: Final = 200
"""Maximum number of rows of a table."""

MAX_TEXT: Final = 300
"""Maximum number of characters of one value."""

COLUMNS: Final = {
    "Model": ("id", "display_name", "category", "base_credits", "billing_type", "max_prompt_length", "params"),
}
"""Columns of a table by class. The columns of other records are the fields that have a value."""


def record_html(record: Any) -> str:
    """Returns the media of a record, and a table of the fields that have a value."""
    rows = "".join(
        f"<tr><th {CELL}>{escape(name)}</th><td {CELL}>{_value_html(value)}</td></tr>"
        for name, value in _shown_fields(record)
        if value not in (None, "", (), {})
    )
    caption = f"<caption {CELL}>{escape(type(record).__name__)}</caption>"
    return f"<div>{_media_html(record)}<table>{caption}<tbody>{rows}</tbody></table></div>"


def table_html(records: Sequence[Any]) -> str:
    """Returns a table with one row per record."""
    if not records:
        return "<p>(none)</p>"
    columns = COLUMNS.get(type(records[0]).__name__) or _used_columns(records[:MAX_ROWS])
    head = "".join(f"<th {CELL}>{escape(name)}</th>" for name in columns)
    rows = "".join(
        "<tr>" + "".join(f"<td {CELL}>{_value_html(getattr(record, name, None))}</td>" for name in columns) + "</tr>"
        for record in records[:MAX_ROWS]
    )
    left = len(records) - MAX_ROWS
    more = f"<p>and {left:,} more</p>" if left > 0 else ""
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}</div>"


def _used_columns(records: Sequence[Any]) -> list[str]:
    used = {
        name: None for record in records for name, value in _shown_fields(record) if value not in (None, "", (), {})
    }
    return list(used)


def _shown_fields(record: Any) -> list[tuple[str, Any]]:
    """Returns the fields without those that the repr omits, which are secrets and tokens."""
    hidden = {field.name for field in attrs.fields(type(record)) if not field.repr}
    return [(name, value) for name, value in record if name not in hidden]


def _media_html(record: Any) -> str:
    """Returns players for the links of a job or a file."""
    kind = getattr(record, "kind", None)
    links = (getattr(record, "url", ""),) if kind else getattr(record, "urls", ())
    name = str(getattr(record, "id", None) or type(record).__name__)
    return "".join(_player_html(link, kind, f"{name} {number}") for number, link in enumerate(links, 1))


def _player_html(link: object, kind: object, name: str) -> str:
    if not isinstance(link, str) or LINK.fullmatch(link) is None:
        return ""
    path = link.partition("?")[0].partition("#")[0]
    suffix = SUFFIX.search(path.rpartition("/")[2])
    found = kind if kind in PLAYERS else KIND_BY_SUFFIX.get(suffix[1].lower() if suffix else "", "")
    player = PLAYERS.get(str(found), "")
    return f"<p>{player.format(url=escape(link), name=escape(name))}</p>" if player else ""


def _value_html(value: Any) -> str:
    if isinstance(value, str):
        if LINK.fullmatch(value) is not None:
            return f'<a href="{escape(value)}" {REL}>{escape(shorten_text(value.partition("?")[0], MAX_TEXT))}</a>'
        return escape(shorten_text(value, MAX_TEXT))
    if isinstance(value, list | tuple):
        return ", ".join(_value_html(_name(member)) for member in value)
    if attrs.has(type(value)):
        return ", ".join(
            f"{escape(name)}: {_value_html(member)}"
            for name, member in _shown_fields(value)
            if member not in (None, "", (), {})
        )
    if isinstance(value, datetime):
        return escape(value.isoformat(" ", "seconds"))
    return (
        ""
        if value is None
        else escape(shorten_text(str(dict(value) if isinstance(value, Mapping) else value), MAX_TEXT))
    )


def _name(member: Any) -> Any:
    """Returns the name of a record in a list, such as the key of a param; other values are kept."""
    return next((getattr(member, name) for name in ("key", "id", "content") if hasattr(member, name)), member)
