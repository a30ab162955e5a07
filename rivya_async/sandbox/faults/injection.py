"""The effect of a fault on a response, and on the body and headers of a webhook delivery."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import attrs

from ..responses import HTML_TYPE, JSON_TYPE, ApiResponse, code_for_status, error_body
from ..sse import SHAPES, SseEvent, StreamEnd, encode_stream, truncate_stream
from .fault import Fault

MESSAGE: Final = "The sandbox returned this error because of a fault."

STREAM_ENDS: Final[Mapping[str | None, StreamEnd]] = {"cut": "cut", "stall": "stall"}


def inject_fault(response: ApiResponse, fault: Fault, request_id: str) -> ApiResponse:
    """Returns the response as the fault changes it."""
    if fault.status is not None:
        response = attrs.evolve(response, status=fault.status)
    if fault.replaces_response:
        body = _replacement_body(response.status, fault, request_id)
        content_type = HTML_TYPE if body.lstrip()[:1] == b"<" else JSON_TYPE
        response = attrs.evolve(response, body=body, content_type=content_type, headers={}, events=())
    if response.events:
        response = _alter_stream(response, fault, request_id)
    else:
        response = attrs.evolve(response, body=alter_body(response.body, fault))
    retry_after = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
    response = attrs.evolve(response, headers=filter_headers(response.headers, fault))
    return response.with_headers({**retry_after, **fault.headers})


def alter_body(body: bytes, fault: Fault) -> bytes:
    """Returns the body with other members, if it is a JSON object, and with padding."""
    if fault.members or fault.without:
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        if isinstance(value, dict):
            merged = {**value, **fault.members}
            body = json.dumps({name: value for name, value in merged.items() if name not in fault.without}).encode()
    return body + b" " * fault.padding


def filter_headers(headers: Mapping[str, str], fault: Fault) -> dict[str, str]:
    """Returns the headers without those that the fault removes, in any case."""
    removed = {name.lower() for name in fault.without}
    return {name: value for name, value in headers.items() if name.lower() not in removed}


def _alter_stream(response: ApiResponse, fault: Fault, request_id: str) -> ApiResponse:
    events = response.events if fault.shape is None else SHAPES[fault.shape](response.events)
    if fault.stream is not None:
        events = truncate_stream(events, fault.after_events)
    if fault.stream == "error":
        error = error_body(fault.code or "internal_error", MESSAGE, request_id)
        events += (SseEvent("error", json.loads(error)),)
    end = STREAM_ENDS.get(fault.stream, "complete")
    return attrs.evolve(response, events=events, body=encode_stream(events), stream_end=end)


def _replacement_body(status: int, fault: Fault, request_id: str) -> bytes:
    if fault.body is not None:
        return fault.body
    if status < 400:  # noqa: PLR2004  a redirect
        return b""
    return error_body(fault.code or code_for_status(status), MESSAGE, request_id)
