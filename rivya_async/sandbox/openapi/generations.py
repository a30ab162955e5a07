"""Generations and their result files in the document."""

from __future__ import annotations

from typing import Final

from . import orders
from .binary import DOWNLOAD, RANGES
from .operation import IDEMPOTENCY_KEY, Operation, answer
from .schema import COUNT, INSTANT, TEXT, URL, array, or_null, record, ref

SCHEMAS: Final = {
    "ReferenceMediaItem": orders.REFERENCE,
    "GenerationRequest": orders.any_order(),
    **{orders.name_of(model): orders.order(model) for model in orders.MODELS},
    "GenerationResult": record(primary_url=URL, urls=array(URL, minItems=1)),
    "ErrorDetail": record(code=TEXT, message=TEXT),
    "Generation": record(
        id=TEXT,
        status={"enum": ["queued", "processing", "succeeded", "failed"]},
        model=TEXT,
        reserved_credits=COUNT,
        final_credits=COUNT,
        created_at=INSTANT,
        updated_at=INSTANT,
        result=or_null(ref("GenerationResult")),
        error=or_null(ref("ErrorDetail")),
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
