"""The catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .check import (
    FLAG,
    LIST,
    MAYBE_NUMBER,
    MAYBE_OBJECT,
    MAYBE_TEXT,
    NUMBER,
    TEXT,
    Checks,
    expect,
    expect_list,
    expect_members,
)
from .service import CannotTell, Reply, Service

checks = Checks()

MEMBERS: Final = {
    "id": TEXT,
    "display_name": TEXT,
    "category": TEXT,
    "runtime": TEXT,
    "base_credits": NUMBER,
    "billing_type": TEXT,
    "supported_modes": LIST,
    "max_prompt_length": MAYBE_NUMBER,
    "reference_media": MAYBE_OBJECT,
    "params": LIST,
    "api_status": TEXT,
    "api_input_status": TEXT,
    "supported_api_inputs": LIST,
    "requires_files_api": FLAG,
    "requires_upload_for_modes": LIST,
    "url_input_supported": FLAG,
    "file_kinds": LIST,
    "chat_capabilities": MAYBE_OBJECT,
    "notices": LIST,
}

PARAM: Final = {"key": TEXT, "type": TEXT, "required": FLAG}

VOCABULARIES: Final = {
    "category": {"image", "video", "audio", "chat"},
    "billing_type": {"FIXED", "METERED", "TOKEN_BASED"},
    "api_status": {"available", "coming_soon", "studio_only"},
    "api_input_status": {"available_text", "available_url_input", "partial_requires_files", "requires_files_api"},
}


async def catalogue(service: Service) -> list[dict[str, Any]]:
    """All models, asked once in a run, without a key."""

    async def asked() -> list[dict[str, Any]]:
        reply = await service.ask("GET", "/models", key="")
        expect(reply.status == 200, "200", reply.status)
        return expect_list(reply.json, {"id": TEXT})

    models: list[dict[str, Any]] = await service.shared("catalogue", asked)
    expect(models, "at least one model", models)
    return models


async def cheapest(service: Service, category: str) -> dict[str, Any]:
    """The cheapest available model of a category that takes text alone."""
    fitting = [
        model
        for model in await catalogue(service)
        if model.get("category") == category
        and model.get("api_status") == "available"
        and "text" in model.get("supported_api_inputs", ())
        and not any(param.get("required") for param in model.get("params", ()))
    ]
    if not fitting:
        raise CannotTell(f"no {category} model is available")
    return min(fitting, key=lambda model: (model["base_credits"], model["id"]))


async def ask_cheapest(
    service: Service, category: str, path: str, key: str | None, members: Mapping[str, Any]
) -> Reply:
    """What the cheapest model of a category, unless the members name one, makes of them."""
    if "model" not in members:
        members = {"model": (await cheapest(service, category))["id"], **members}
    headers = {} if key is None else {"Idempotency-Key": service.key_for(key)}
    return await service.ask("POST", path, json=members, headers=headers)


@checks.documented("5")
async def public(service: Service) -> None:
    """The list of models needs no key."""
    await catalogue(service)


@checks.documented("5")
async def members(service: Service) -> None:
    """Every model has the documented members, of the documented types."""
    for model in await catalogue(service):
        expect_members(model, MEMBERS)


@checks.documented("5")
async def vocabularies(service: Service) -> None:
    """Category, billing type and both statuses have no value beyond the documented ones."""
    for name, known in VOCABULARIES.items():
        came = {str(model.get(name)) for model in await catalogue(service)}
        expect(came <= known, f"{name}: {', '.join(sorted(known))}", sorted(came - known))


@checks.assumed("14.18")
async def runtimes(service: Service) -> None:
    """The runtime of chat models is chat, of all others async_task."""
    for model in await catalogue(service):
        expected = "chat" if model.get("category") == "chat" else "async_task"
        expect(model.get("runtime") == expected, f"{expected} for {model['id']}", model.get("runtime"))


@checks.assumed("14.19")
async def params(service: Service) -> None:
    """A param has key, type and required, and its options, where it has any, are strings."""
    found = [param for model in await catalogue(service) for param in model.get("params", ())]
    expect(found, "params of some model", found)
    for param in found:
        expect_members(param, PARAM)
        options = param.get("options") or []
        expect(all(isinstance(option, str) for option in options), "options that are strings", param)


@checks.assumed("14.19")
async def reference_media(service: Service) -> None:
    """The rule for references tells max_files and file_kinds."""
    found = [model["reference_media"] for model in await catalogue(service) if model.get("reference_media")]
    expect(found, "reference_media of some model", found)
    for rule in found:
        expect_members(rule, {"max_files": MAYBE_NUMBER, "file_kinds": LIST})


@checks.assumed("14.19")
async def chat_capabilities(service: Service) -> None:
    """A chat model tells of web_search, image_attachments, thoughts and reasoning_efforts."""
    found = [model["chat_capabilities"] for model in await catalogue(service) if model.get("chat_capabilities")]
    expect(found, "chat_capabilities of some model", found)
    for told in found:
        expect_members(
            told, {"web_search": FLAG, "image_attachments": FLAG, "thoughts": FLAG, "reasoning_efforts": LIST}
        )


@checks.assumed("14.19")
async def descriptions(service: Service) -> None:
    """A param tells its default, min, max, step, options and description."""
    for model in await catalogue(service):
        for param in model.get("params", ()):
            expect_members(
                param,
                {
                    **dict.fromkeys(("min", "max", "step"), MAYBE_NUMBER),
                    "options": (list, type(None)),
                    "description": MAYBE_TEXT,
                },
            )
            expect("default" in param, "a default, or null", param)
