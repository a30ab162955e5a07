"""Models in the document."""

from __future__ import annotations

from typing import Final

from .operation import Operation, answer
from .schema import BOOLEAN, COUNT, KIND, NUMBER, OBJECT, STRING, TEXT, array, listing, or_null, record, ref

STRINGS: Final = array(STRING)

SCHEMAS: Final = {
    "ModelParam": record(
        key=TEXT,
        type={"enum": ["select", "number", "text", "array"]},
        required=BOOLEAN,
        default=or_null({"type": ["string", "number"]}),
        min=or_null(NUMBER),
        max=or_null(NUMBER),
        step=or_null(NUMBER),
        options=or_null(STRINGS),
        description=STRING,
    ),
    "Model": record(
        id=TEXT,
        display_name=TEXT,
        category={"enum": ["image", "video", "audio", "chat"]},
        runtime={"enum": ["async_task", "chat"]},
        base_credits=COUNT,
        billing_type={"enum": ["FIXED", "METERED", "TOKEN_BASED"]},
        supported_modes=STRINGS,
        max_prompt_length=or_null(COUNT),
        reference_media=or_null(OBJECT),
        params=array(ref("ModelParam")),
        api_status={"enum": ["available", "coming_soon", "studio_only"]},
        api_input_status={
            "enum": ["available_text", "available_url_input", "partial_requires_files", "requires_files_api"]
        },
        supported_api_inputs=array({"enum": ["text", "file", "url"]}),
        requires_files_api=BOOLEAN,
        requires_upload_for_modes=STRINGS,
        url_input_supported=BOOLEAN,
        file_kinds=array(KIND),
        chat_capabilities=or_null(OBJECT),
        notices=array(STRING),
    ),
    "ModelList": listing("Model"),
}

OPERATIONS: Final = {
    "GET /api/v1/models": Operation(
        "listModels",
        "All models of the public layer, also those that cannot be called yet.",
        answer("The models.", ref("ModelList")),
    ),
}
