"""The contact sheet: jobs and the bytes of their files to one HTML page that needs nothing else. Pure.

Everything that comes from outside is escaped; a content security policy forbids the page to load anything.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

import attrs

from .contact_sheet_style import STYLE
from .render import format_credits, format_duration, format_param_value, pluralize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._core.records import Amount

EMBED_BYTES: Final = 16 * 1024 * 1024
"""Larger files are linked, not embedded: browsers choke on endless data URIs."""

POLICY: Final = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"

HEAD: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
"""


@attrs.frozen
class Medium:
    """One file of a job: its name beside the page, its content, and for a film a picture, for a sound its shape."""

    name: str
    mime_type: str
    data: bytes = attrs.field(repr=False)
    poster: bytes | None = attrs.field(default=None, repr=False)
    shape: Sequence[float] = ()

    @property
    def kind(self) -> str:
        """`image`, `video`, `audio` or something else."""
        return self.mime_type.partition("/")[0]


@attrs.frozen(kw_only=True)
class Card:
    """One job as the sheet shows it. `problem` says why there are no files; `duration` is in seconds."""

    model: str
    prompt: str
    params: Mapping[str, Any]
    status: str
    task_id: str | None
    duration: float | None
    credits: Amount
    media: Sequence[Medium] = ()
    problem: str | None = None


@attrs.frozen(kw_only=True)
class Sheet:
    """The whole page. `took` is in seconds; `made_by` names whom the jobs were bought from."""

    title: str
    made_by: str
    made_at: str
    took: float
    cards: Sequence[Card]


def page(sheet: Sheet) -> str:
    """The HTML."""
    head = HEAD.format(policy=POLICY, title=escape(sheet.title), style=STYLE)
    cards = "\n".join(_card(number, card) for number, card in enumerate(sheet.cards, 1))
    return f'{head}{_header(sheet)}\n<main class="sheet">\n{cards}\n</main>\n{_footer(sheet)}\n</body>\n</html>\n'


def data_uri(mime_type: str, data: bytes) -> str:
    """The bytes as a URL."""
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"


def _header(sheet: Sheet) -> str:
    succeeded = sum(card.status == "succeeded" for card in sheet.cards)
    kinds = [medium.kind for card in sheet.cards for medium in card.media]
    tally = [
        pluralize(kinds.count(kind), noun)
        for kind, noun in (("image", "image"), ("video", "video"), ("audio", "sound"))
        if kinds.count(kind)
    ]
    facts = (
        ("jobs", str(len(sheet.cards))),
        ("succeeded", str(succeeded)),
        ("credits", f"{sum(card.credits for card in sheet.cards):,}"),
        ("took", format_duration(sheet.took)),
    )
    told = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return (
        f'<header><div class="name"><p class="by">{escape(sheet.made_by)}</p><h1>{escape(sheet.title)}</h1>'
        f'<p class="tally">{escape(", ".join(tally))}</p></div><dl class="sum">{told}</dl></header>'
    )


def _footer(sheet: Sheet) -> str:
    told = f"Made by <code>rivya demo</code>, {escape(sheet.made_at)}. This page holds all of its media."
    return f"<footer><p>{told}</p></footer>"


def _card(number: int, card: Card) -> str:
    media = "".join(_medium(medium, card.prompt) for medium in card.media) or _empty(card)
    params = "".join(
        f"<li><span>{escape(key)}</span> {escape(format_param_value(value))}</li>" for key, value in card.params.items()
    )
    return (
        f'<article class="card {_kind(card)}" id="job-{number}">{media}<div class="text">'
        f'<div class="line"><h2>{escape(card.model)}</h2>{_status(card)}</div>'
        f'<p class="prompt">{escape(card.prompt)}</p>'
        + (f'<ul class="params">{params}</ul>' if params else "")
        + f"{_facts(card)}</div></article>"
    )


def _kind(card: Card) -> str:
    return card.media[0].kind if card.media and card.media[0].kind in {"image", "video", "audio"} else "none"


def _status(card: Card) -> str:
    look = card.status if card.status in {"succeeded", "failed"} else "other"
    return f'<span class="status {look}">{escape(card.status)}</span>'


def _facts(card: Card) -> str:
    facts = [
        ("time", escape(format_duration(card.duration))),
        ("cost", escape(format_credits(card.credits))),
        ("task", f"<code>{escape(card.task_id)}</code>" if card.task_id else ""),
        (
            "files" if len(card.media) > 1 else "file",
            " ".join(
                f'<a href="{escape(medium.name)}">{escape(_size(len(medium.data)))} {escape(medium.mime_type)}</a>'
                for medium in card.media
            ),
        ),
    ]
    told = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts if value)
    return f'<dl class="facts">{told}</dl>'


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB" if count >= 1_000_000 else f"{max(count / 1000, 0.1):.0f} kB"  # noqa: PLR2004


def _empty(card: Card) -> str:
    return f'<div class="frame empty"><p>{escape(card.problem or "There is no file.")}</p></div>'


def _medium(medium: Medium, prompt: str) -> str:
    if len(medium.data) > EMBED_BYTES or medium.kind not in {"image", "video", "audio"}:
        return f'<div class="frame empty"><p><a href="{escape(medium.name)}">{escape(medium.name)}</a></p></div>'
    source = data_uri(medium.mime_type, medium.data)
    if medium.kind == "image":
        return f'<div class="frame"><img src="{source}" alt="{escape(prompt)}" loading="lazy"></div>'
    if medium.kind == "video":
        picture = f' poster="{data_uri("image/jpeg", medium.poster)}"' if medium.poster else ""
        return (
            f'<div class="frame"><video src="{source}"{picture} controls loop playsinline preload="metadata" '
            f'aria-label="{escape(prompt)}"></video></div>'
        )
    return (
        f'<div class="frame sound">{_wave(medium.shape)}'
        f'<audio src="{source}" controls preload="metadata" aria-label="{escape(prompt)}"></audio></div>'
    )


def _wave(shape: Sequence[float]) -> str:
    """A sound's shape as bars around a middle line; a quiet row of dots where it is not known."""
    heights = shape or [0.0] * 48
    bars = "".join(
        f'<rect x="{n * 6 + 1}" y="{50 - height:.1f}" width="4" height="{2 * height:.1f}" rx="2"/>'
        for n, level in enumerate(heights)
        for height in [max(2.0, 46 * min(max(level, 0.0), 1.0))]
    )
    box = f'viewBox="0 0 {len(heights) * 6} 100" preserveAspectRatio="none"'
    return f'<svg class="wave" {box} aria-hidden="true">{bars}</svg>'
