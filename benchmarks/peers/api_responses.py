"""Minimal responses of each service that its SDK accepts, reconstructed from the types of the SDKs.

`TASK` and `URL` are placeholders for the id of a job and the server's address over TLS. Real responses are longer.
"""

from __future__ import annotations

import json
from typing import Any, Final

import attrs

INSTANT: Final = "2026-01-01T00:00:00Z"
IMAGE_URL: Final = "https://cdn.example/TASK/1.png"


@attrs.frozen
class ApiResponses:
    """The bodies of one service; `result` if the result requires a separate request."""

    submitted: bytes
    waiting: bytes
    ended: bytes
    result: bytes | None = None


def _json(**fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _rivya(status: str, **fields: Any) -> bytes:
    record = {"id": "TASK", "status": status, "model": "z-image", "reserved_credits": 4, "final_credits": 0}
    times = {"created_at": INSTANT, "updated_at": INSTANT}
    return _json(**{**record, **times, "result": None, "error": None, **fields})


def _replicate(status: str, **fields: Any) -> bytes:
    return _json(
        **{
            "id": "TASK",
            "model": "owner/painter",
            "version": "v1",
            "status": status,
            "input": {"prompt": "A red kite"},
            "output": None,
            "logs": "",
            "error": None,
            "metrics": {},
            "created_at": INSTANT,
            "started_at": None,
            "completed_at": None,
            "urls": {"get": "URL/v1/predictions/TASK", "cancel": "URL/v1/predictions/TASK/cancel"},
            **fields,
        }
    )


def _runway(status: str, **fields: Any) -> bytes:
    return _json(id="TASK", createdAt=INSTANT, status=status, **fields)


def _openai(status: str, *, output: list[Any]) -> bytes:
    return _json(
        id="TASK",
        object="response",
        created_at=1767225600,
        status=status,
        background=True,
        error=None,
        incomplete_details=None,
        instructions=None,
        metadata={},
        model="gpt-5.2",
        output=output,
        parallel_tool_calls=True,
        temperature=1.0,
        tool_choice="auto",
        tools=[],
        top_p=1.0,
    )


OPENAI_MESSAGE: Final = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "A red kite.", "annotations": []}],
}
FAL_JOB: Final = "URL/fal-ai/flux/requests/TASK"
GOOGLE_JOB: Final = "publishers/google/models/veo-3.1-generate-001/operations/TASK"

API_RESPONSES: Final = {
    "rivya": ApiResponses(
        submitted=_rivya("queued"),
        waiting=_rivya("processing"),
        ended=_rivya("succeeded", final_credits=4, result={"primary_url": IMAGE_URL, "urls": [IMAGE_URL]}),
    ),
    "replicate": ApiResponses(
        submitted=_replicate("starting"),
        waiting=_replicate("processing", started_at=INSTANT),
        ended=_replicate("succeeded", output=[IMAGE_URL], started_at=INSTANT, completed_at=INSTANT),
    ),
    "runway": ApiResponses(
        submitted=_json(id="TASK"),
        waiting=_runway("RUNNING", show_progress=0.5, estimatedCost={"credits": 5}),
        ended=_runway("SUCCEEDED", output=[IMAGE_URL], cost={"credits": 5}),
    ),
    "openai": ApiResponses(
        submitted=_openai("queued", output=[]),
        waiting=_openai("in_progress", output=[]),
        ended=_openai("completed", output=[OPENAI_MESSAGE]),
    ),
    "fal": ApiResponses(
        submitted=_json(
            status="IN_QUEUE",
            request_id="TASK",
            response_url=FAL_JOB,
            status_url=f"{FAL_JOB}/status",
            cancel_url=f"{FAL_JOB}/cancel",
            queue_position=0,
        ),
        waiting=_json(status="IN_PROGRESS", request_id="TASK", response_url=FAL_JOB, logs=None),
        ended=_json(status="COMPLETED", request_id="TASK", response_url=FAL_JOB, logs=None, metrics={}),
        result=_json(images=[{"url": IMAGE_URL, "width": 1024, "height": 1024, "content_type": "image/png"}], seed=1),
    ),
    "google": ApiResponses(
        submitted=_json(name=GOOGLE_JOB),
        waiting=_json(name=GOOGLE_JOB, done=False),
        ended=_json(
            name=GOOGLE_JOB,
            done=True,
            response={"videos": [{"gcsUri": "gs://bucket/TASK.mp4", "mimeType": "video/mp4"}]},
        ),
    ),
}
