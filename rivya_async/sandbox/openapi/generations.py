"""Generations and their result files in the document."""

from __future__ import annotations

from typing import Final

from ..catalogue import load
from ..validation import REFERENCE_KEY
from .binary import DOWNLOAD, RANGES
from .operation import IDEMPOTENCY_KEY, Operation, answer
from .schema import COUNT, INSTANT, KIND, NEVER, NUMBER, STRING, TEXT, TRACE_ID, URL, array, or_null, record, ref, shape

MODELS: Final = sorted(model.id for model in load().models.values() if model.is_available and not model.is_chat)

SCHEMAS: Final = {
    "ReferenceMediaItem": {
        **shape(
            "url kind",
            url=URL,
            kind=KIND,
            name=STRING,
            mimeType=STRING,
            durationSeconds=NUMBER,
            durationToken=STRING,
        ),
        "description": "An uploaded file. durationToken is required for audio and video.",
    },
    "GenerationRequest": {
        **shape(
            "model",
            model={"type": "string", "enum": MODELS},
            prompt=or_null(STRING),
            params=or_null(shape("", **{REFERENCE_KEY: array(ref("ReferenceMediaItem"))})),
            client_request_id=or_null(TRACE_ID),
            files=NEVER,
        ),
        "examples": [{"model": "z-image", "prompt": "A red kite", "params": {"aspect_ratio": "16:9"}}],
        "description": "GET /models says of each model which params it takes and how long its prompt may be.",
    },
    "GenerationResult": record(primary_url=URL, urls=array(URL, minItems=1)),
    "GenerationError": record(code=TEXT, message=TEXT),
    "Generation": record(
        id=TEXT,
        status={"enum": ["queued", "processing", "succeeded", "failed"]},
        model=TEXT,
        reserved_credits=COUNT,
        final_credits=COUNT,
        created_at=INSTANT,
        updated_at=INSTANT,
        result=or_null(ref("GenerationResult")),
        error=or_null(ref("GenerationError")),
    ),
}

OPERATIONS: Final = {
    "POST /api/v1/generations": Operation(
        "createGeneration",
        "Order an image, a video or a sound.",
        answer("The queued generation, or the stored answer of a replayed key.", ref("Generation")),
        refuses="insufficient_credits idempotency_conflict",
        parameters=[IDEMPOTENCY_KEY],
        body=ref("GenerationRequest"),
    ),
    "GET /api/v1/generations/{task_id}": Operation(
        "getGeneration",
        "One generation as it stands now.",
        answer("The generation.", ref("Generation")),
        refuses="not_found",
    ),
    "GET /results/{task_id}/{name}": Operation(
        "getResultFile",
        "A file of a succeeded generation; needs no key.",
        DOWNLOAD,
        refuses="not_found",
        parameters=RANGES,
    ),
}
