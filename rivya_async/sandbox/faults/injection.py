"""What a fault makes of an answer, and of a delivery. Pure; the delay, the drop and the cut are the door's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import attrs

from ..api_error import code_for_status
from ..responses import HTML_TYPE, JSON_TYPE, ApiResponse, envelope
from ..sse import SHAPES, Ending, SseEvent, encode, first_events
from .fault import Fault

TOLD_TO: Final = "The sandbox was told to answer this."

ENDINGS: Final[Mapping[str | None, Ending]] = {"cut": "cut", "stall": "stall"}


def inject_fault(answer: ApiResponse, fault: Fault, request_id: str) -> ApiResponse:
    """What becomes of the true answer under this fault."""
    if fault.status is not None:
        answer = attrs.evolve(answer, status=fault.status)
    if fault.replaces_answer:
        answer = attrs.evolve(
            answer, body=_told(answer.status, fault, request_id), content_type=JSON_TYPE, headers={}, pieces=()
        )
        if answer.body.lstrip()[:1] == b"<":
            answer = attrs.evolve(answer, content_type=HTML_TYPE)
    if answer.pieces:
        answer = _streamed(answer, fault, request_id)
    else:
        answer = attrs.evolve(answer, body=alter_body(answer.body, fault))
    wish = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
    kept = filter_headers(answer.headers, fault)
    return attrs.evolve(answer, headers=kept).with_headers({**wish, **fault.headers})


def alter_body(body: bytes, fault: Fault) -> bytes:
    """A body with other members, or with padding; one that is no JSON object has no members."""
    if fault.members or fault.without:
        try:
            told = json.loads(body)
        except ValueError:
            told = None
        if isinstance(told, dict):
            merged = {**told, **fault.members}
            body = json.dumps({name: value for name, value in merged.items() if name not in fault.without}).encode()
    return body + b" " * fault.padding


def filter_headers(headers: Mapping[str, str], fault: Fault) -> dict[str, str]:
    """The headers that the fault does not leave out, in any case."""
    gone = {name.lower() for name in fault.without}
    return {name: value for name, value in headers.items() if name.lower() not in gone}


def _streamed(answer: ApiResponse, fault: Fault, request_id: str) -> ApiResponse:
    pieces = answer.pieces if fault.shape is None else SHAPES[fault.shape](answer.pieces)
    if fault.stream is not None:
        pieces = first_events(pieces, fault.after_events)
    if fault.stream == "error":
        code = fault.code or "internal_error"
        pieces += (SseEvent("error", json.loads(envelope(code, TOLD_TO, request_id))),)
    return attrs.evolve(answer, pieces=pieces, body=encode(pieces), ending=ENDINGS.get(fault.stream, "whole"))


def _told(status: int, fault: Fault, request_id: str) -> bytes:
    if fault.body is not None:
        return fault.body
    if status < 400:  # noqa: PLR2004  a redirect
        return b""
    return envelope(fault.code or code_for_status(status), TOLD_TO, request_id)
