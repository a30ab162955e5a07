"""The model catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rivya_async import Model
from rivya_async._core.http.serialization import structure

from .checks import (
    ARRAY,
    BOOLEAN,
    NULLABLE_NUMBER,
    NULLABLE_OBJECT,
    NULLABLE_STRING,
    NUMBER,
    STRING,
    CheckGroup,
    expect,
    expect_fields,
    expect_list,
)
from .service import Inconclusive, Response, Service

checks = CheckGroup("models")

FIELDS: Final = {
    "id": STRING,
    "display_name": STRING,
    "category": STRING,
    "runtime": STRING,
    "base_credits": NUMBER,
    "billing_type": STRING,
    "supported_modes": ARRAY,
    "max_prompt_length": NULLABLE_NUMBER,
    "reference_media": NULLABLE_OBJECT,
    "params": ARRAY,
    "api_status": STRING,
    "api_input_status": STRING,
    "supported_api_inputs": ARRAY,
    "requires_files_api": BOOLEAN,
    "requires_upload_for_modes": ARRAY,
    "url_input_supported": BOOLEAN,
    "file_kinds": ARRAY,
    "chat_capabilities": NULLABLE_OBJECT,
    "notices": ARRAY,
}

PARAM: Final = {"key": STRING, "type": STRING, "required": BOOLEAN}

VOCABULARIES: Final = {
    "category": {"image", "video", "audio", "chat"},
    "billing_type": {"FIXED", "METERED", "TOKEN_BASED"},
    "api_status": {"available", "coming_soon", "studio_only"},
    "api_input_status": {"available_text", "available_url_input", "partial_requires_files", "requires_files_api"},
}


async def fetch_catalogue(service: Service) -> list[dict[str, Any]]:
    """Fetches all models, once per run and without a key."""

    async def fetch() -> list[dict[str, Any]]:
        response = await service.request("GET", "/models", key="")
        expect(response.status == 200, "200", response.status)
        return expect_list(response.json, {"id": STRING})

    models: list[dict[str, Any]] = await service.run_once("catalogue", fetch)
    expect(models, "at least one model", models)
    return models


async def find_cheapest_model(service: Service, category: str) -> dict[str, Any]:
    """Returns the cheapest available model of a category that needs only text."""
    candidates = [
        model
        for model in await fetch_catalogue(service)
        if model.get("category") == category
        and model.get("api_status") == "available"
        and "text" in model.get("supported_api_inputs", ())
        and not any(param.get("required") for param in model.get("params", ()))
    ]
    if not candidates:
        raise Inconclusive(f"no {category} model is available")
    return min(candidates, key=lambda model: (model["base_credits"], model["id"]))


async def find_priced_model(service: Service) -> tuple[Model, str, str]:
    """Returns the cheapest image model with a param that changes its price, the param, and a value that is not default.

    The param is recognised by its name.
    """
    found = []
    for entry in await fetch_catalogue(service):
        model = structure(entry, Model)
        params = [param for param in model.params if param.key in model.price_params and param.default is not None]
        values = [(param.key, choice) for param in params for choice in param.choices if choice != param.default]
        needs_more = any(param.required for param in model.params) or not model.needs_prompt
        if model.category == "image" and model.is_available and values and not needs_more:
            found.append((model, *values[0]))
    if not found:
        raise Inconclusive("no image model has a param that is known to change its price")
    return min(found, key=lambda each: (each[0].base_credits or 0, each[0].id))


async def post_with_cheapest_model(
    service: Service, category: str, path: str, key: str | None, model_fields: Mapping[str, Any]
) -> Response:
    """Posts `fields` with the cheapest model of a category, unless `fields` names a model."""
    if "model" not in model_fields:
        model_fields = {"model": (await find_cheapest_model(service, category))["id"], **model_fields}
    headers = {} if key is None else {"Idempotency-Key": service.idempotency_key(key)}
    return await service.request("POST", path, json=model_fields, headers=headers)


@checks.documented("5")
async def list_without_key(service: Service) -> None:
    """The list of models needs no key."""
    await fetch_catalogue(service)


@checks.documented("5")
async def model_fields(service: Service) -> None:
    """Every model has the documented fields with the documented types."""
    for model in await fetch_catalogue(service):
        expect_fields(model, FIELDS)


@checks.documented("5")
async def enum_values(service: Service) -> None:
    """Category, billing type and both statuses have documented values only."""
    for name, known in VOCABULARIES.items():
        actual = {str(model.get(name)) for model in await fetch_catalogue(service)}
        expect(actual <= known, f"{name}: {', '.join(sorted(known))}", sorted(actual - known))


@checks.assumed("14.18")
async def runtime(service: Service) -> None:
    """The runtime is chat for chat models and async_task for all others."""
    for model in await fetch_catalogue(service):
        expected = "chat" if model.get("category") == "chat" else "async_task"
        expect(model.get("runtime") == expected, f"{expected} for {model['id']}", model.get("runtime"))


@checks.assumed("14.19")
async def param_fields(service: Service) -> None:
    """A param has key, type and required, and its options, if present, are strings."""
    found = [param for model in await fetch_catalogue(service) for param in model.get("params", ())]
    expect(found, "params of some model", found)
    for param in found:
        expect_fields(param, PARAM)
        options = param.get("options") or []
        expect(all(isinstance(option, str) for option in options), "options that are strings", param)


@checks.assumed("14.19")
async def reference_media_fields(service: Service) -> None:
    """reference_media has max_files and file_kinds."""
    found = [model["reference_media"] for model in await fetch_catalogue(service) if model.get("reference_media")]
    expect(found, "reference_media of some model", found)
    for rule in found:
        expect_fields(rule, {"max_files": NULLABLE_NUMBER, "file_kinds": ARRAY})


@checks.assumed("14.19")
async def chat_capability_fields(service: Service) -> None:
    """chat_capabilities has web_search, image_attachments, thoughts and reasoning_efforts."""
    found = [model["chat_capabilities"] for model in await fetch_catalogue(service) if model.get("chat_capabilities")]
    expect(found, "chat_capabilities of some model", found)
    for capabilities in found:
        expect_fields(
            capabilities,
            {"web_search": BOOLEAN, "image_attachments": BOOLEAN, "thoughts": BOOLEAN, "reasoning_efforts": ARRAY},
        )


@checks.assumed("14.19")
async def param_descriptions(service: Service) -> None:
    """A param has its default, min, max, step, options and description."""
    for model in await fetch_catalogue(service):
        for param in model.get("params", ()):
            expect_fields(
                param,
                {
                    **dict.fromkeys(("min", "max", "step"), NULLABLE_NUMBER),
                    "options": (list, type(None)),
                    "description": NULLABLE_STRING,
                },
            )
            expect("default" in param, "a default, or null", param)
