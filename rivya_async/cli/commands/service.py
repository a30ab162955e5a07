"""`rivya models`, `credits` and `openapi`: facts that the service publishes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ..._core.assumptions import MEGABYTE
from ..._core.catalogue.model_param import format_number
from ..._core.catalogue.validation import closest_matches, suggestion_text
from ..._core.errors import ConfigurationError
from ..command import command
from ..options import MEDIA_KIND
from ..render import format_credits, format_param_value, pluralize, record_to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..._core.catalogue.model import Model
    from ..._core.catalogue.model_param import ModelParam
    from ..._core.catalogue.reference_rules import ReferenceRules
    from ..._core.types.chat import ChatCapabilities
    from ..output import Output
    from ..run import CommandContext


@command("credits")
async def credits(context: CommandContext) -> None:  # noqa: A001 - the name of the command
    """Show the credit balance.

    --json: {"current_credits": 1234}

    Examples:
      rivya credits
      rivya credits --json
    """
    async with context.open_session() as session:
        balance = await session.credits.retrieve()
    context.output.write_result(record_to_json(balance), text=format_credits(balance.current_credits))


@command("openapi")
async def openapi(context: CommandContext) -> None:
    """Show the OpenAPI document of the service.

    --json: the document in one line.

    Examples:
      rivya openapi > rivya.json
      rivya openapi --sandbox
    """
    async with context.open_session() as session:
        document = await session.openapi.retrieve()
    context.output.write_result(document, text=json.dumps(document, indent=2, ensure_ascii=False))


@command("models")
@click.argument("words", metavar="[[show] ID]", nargs=-1)
@click.option("--category", metavar="C", help="Only image, video, audio or chat.")
@click.option("--takes", type=MEDIA_KIND, help="Only those that take a reference file of this kind.")
@click.option("--max-credits", metavar="N", type=float, help="Only those whose base price is at most N.")
@click.option("--search", metavar="TEXT", help="Only those with these words in id, name or params.")
@click.option("--available", is_flag=True, help="Only those that can be bought now.")
async def models(
    context: CommandContext,
    *,
    words: tuple[str, ...],
    category: str | None,
    takes: str | None,
    max_credits: float | None,
    search: str | None,
    available: bool,
) -> None:
    """List the models, or show the params, limits and price of one.

    No API key is needed.
    --json: a line for each model.

    Examples:
      rivya models --category video --takes image
      rivya models --max-credits 5 --search seed
      rivya models show z-image --sandbox
    """
    ids = words[1:] if words[:1] == ("show",) else words
    async with context.open_session(needs_key=False) as session:
        if len(ids) > 1 or (words and not ids):
            raise ConfigurationError("show takes the id of one model: rivya models show ID")
        if ids:
            _write_model(await session.models.retrieve(ids[0]), context.output)
            return
        listed = await session.models.list()
    categories = dict.fromkeys(model.category for model in listed)
    if category is not None and category not in categories:
        suggestion = suggestion_text(closest_matches(category, categories), categories)
        raise ConfigurationError(f"there is no category {category!r} {suggestion}")
    found = [
        model
        for model in listed
        if category in {None, model.category}
        and (takes is None or _takes(model, takes))
        and (max_credits is None or (model.base_credits or 0) <= max_credits)
        and (search is None or _matches(model, search))
        and (model.is_available or not available)
    ]
    _write_models(found, context.output)


def _takes(model: Model, kind: str) -> bool:
    """Reports if a job may have such a reference; it may where the catalogue has no rule."""
    if model.chat is not None:
        return kind == "image" and bool(model.chat.images)
    rules = model.reference_rules
    return rules is not None and (not rules.kinds or kind in rules.kinds)


def _matches(model: Model, text: str) -> bool:
    """Reports if every word is in its id, its name or the keys of its params, in any case."""
    words = " ".join([model.id, model.display_name, *(param.key for param in model.params)]).casefold()
    return all(word in words for word in text.casefold().split())


def _write_models(models: Sequence[Model], output: Output) -> None:
    if output.is_json:
        for model in models:
            output.write_result(record_to_json(model))
        return
    rows = [
        (
            model.id,
            model.display_name,
            model.category,
            "" if model.base_credits is None else f"{model.base_credits:,}",
            ", ".join(param.key for param in model.params),
        )
        for model in models
    ]
    headers = ("ID", "NAME", "CATEGORY", "CREDITS", "PARAMS")
    output.write_table(headers, rows, right={"CREDITS"}, dim={"NAME", "PARAMS"})
    output.write_note(f"{pluralize(len(models), 'model')}. rivya models ID shows the params of one.")


def _write_model(model: Model, output: Output) -> None:
    output.write_result(record_to_json(model), text="\n".join(_heading(model)))
    if output.is_json:
        return
    if not model.params:
        output.write_result({}, text="It has no params.")
        return
    rows = [(param.key, param.type, _default(param), _values(param), param.description) for param in model.params]
    output.write_table(("PARAM", "TYPE", "DEFAULT", "VALUES", "MEANING"), rows, dim={"TYPE", "MEANING"})


def _heading(model: Model) -> list[str]:
    price = "" if model.base_credits is None else f", from {format_credits(model.base_credits)}"
    lines = [f"{model.id}: {model.display_name}, {model.category}{price}"]
    if not model.is_available and model.api_status is not None:
        lines.append(f"Not available through the API now: {model.api_status}.")
    if model.supported_modes:
        lines.append(f"Modes: {', '.join(model.supported_modes)}.")
    if model.max_prompt_length is not None:
        lines.append(f"Prompt: at most {model.max_prompt_length:,} characters.")
    if model.chat is not None:
        return [*lines, *_chat(model.chat), ""]
    return [*lines, _estimate(model), *_references(model.reference_rules), ""]


def _estimate(model: Model) -> str:
    price = model.estimate_credits()
    if price.credits is None:
        return f"Estimate: none, the price is {model.billing_type or 'unknown'}."
    others = f"; {', '.join(model.price_params)} may change it" if model.price_params else ""
    return f"Estimate: {price} a job with the default settings{others} (assumed)."


def _references(rules: ReferenceRules | None) -> Iterator[str]:
    if rules is None:
        return
    most = "" if rules.max_files is None else f"at most {rules.max_files}, "
    yield f"References: {most}{' or '.join(rules.kinds) or 'of any kind'}."
    if rules.max_by_kind_with_video:
        alone, with_video = _counts(rules.max_by_kind), _counts(rules.max_by_kind_with_video)
        yield f"  Alone at most {alone}; beside a video at most {with_video}."
    for kind, limit in rules.limits.items():
        size = "" if limit.max_bytes is None else f"up to {limit.max_bytes / MEGABYTE:g} MB"
        yield f"  {kind}: {' '.join(filter(None, [size, ', '.join(limit.mime_types)]))}"


def _counts(most: Mapping[str, int]) -> str:
    return " and ".join(f"{count} {kind}" for kind, count in most.items())


def _chat(chat: ChatCapabilities) -> Iterator[str]:
    claims = {"web search": chat.web_search, "images": chat.images, "thoughts": chat.thoughts}
    can = [name for name, claim in claims.items() if claim]
    yield f"Can do: {', '.join(can) or 'nothing that the catalogue lists'}."
    if chat.reasoning_efforts:
        yield f"Reasoning efforts: {', '.join(chat.reasoning_efforts)}."


def _default(param: ModelParam) -> str:
    default = "" if param.default is None else format_param_value(param.default)
    return f"{default} (required)".strip() if param.required else default


def _values(param: ModelParam) -> str:
    if param.options:
        return ", ".join(param.choices or map(format_param_value, param.options))
    low = "" if param.min is None else f"from {format_number(param.min)}"
    high = "" if param.max is None else f"to {format_number(param.max)}"
    step = "" if param.step is None else f"by {format_number(param.step)}"
    return " ".join(part for part in (low, high, step) if part)
