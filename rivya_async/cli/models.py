"""`rivya models`: the catalogue, and the params, limits and price of one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.assumptions import MEGABYTE
from .._core.catalogue.model_param import format_number
from .._core.errors import ConfigurationError
from .exit_codes import ExitCode
from .grid import Grid
from .model_filters import chosen
from .render import credits_text, model_json, plural, value_text
from .target import embedded, service

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Mapping, Sequence

    from .._core.catalogue.model import ChatCapabilities, Model
    from .._core.catalogue.model_param import ModelParam
    from .._core.catalogue.reference_rules import ReferenceRules
    from .jobs import Ledger
    from .output import Output


async def run(arguments: Namespace, output: Output, _ledger: Ledger) -> int:
    """List the models, or show one."""
    opened = embedded(output, renders=False) if arguments.sandbox else service(needs_key=False)
    async with opened as session:
        wanted = _wanted(arguments.model)
        if wanted is not None:
            _show_one(await session.models.retrieve(wanted), output)
        else:
            _show_all(chosen(await session.models.list(), arguments), output)
    return ExitCode.OK


def _wanted(words: Sequence[str]) -> str | None:
    """The id in `ID` or `show ID`."""
    ids = words[1:] if words[:1] == ["show"] else words
    if len(ids) > 1 or (words and not ids):
        raise ConfigurationError("show takes the id of one model: rivya models show ID")
    return ids[0] if ids else None


def _show_all(models: Sequence[Model], output: Output) -> None:
    if output.is_json:
        for model in models:
            output.result(model_json(model))
        return
    grid = Grid(
        ("ID", "NAME", "CATEGORY", "CREDITS", "PARAMS"),
        [
            (
                model.id,
                model.display_name,
                model.category,
                _price(model),
                ", ".join(param.key for param in model.params),
            )
            for model in models
        ],
        right=frozenset({"CREDITS"}),
        faint=frozenset({"NAME", "PARAMS"}),
    )
    output.result({}, text=grid.show())
    output.note(f"{plural(len(models), 'model')}. rivya models ID shows the params of one.")


def _price(model: Model) -> str:
    return "" if model.base_credits is None else f"{model.base_credits:,}"


def _show_one(model: Model, output: Output) -> None:
    if output.is_json:
        output.result(model_json(model))
        return
    output.result({}, text="\n".join(_heading(model)))
    if model.params:
        output.result({}, text=_params(model.params).show())
    else:
        output.result({}, text="It has no params.")


def _heading(model: Model) -> list[str]:
    price = "" if model.base_credits is None else f", from {credits_text(model.base_credits)}"
    lines = [f"{model.id}: {model.display_name}, {model.category}{price}"]
    if not model.is_available and model.api_status is not None:
        lines.append(f"Not to be bought through the API now: {model.api_status}.")
    if model.supported_modes:
        lines.append(f"Modes: {', '.join(model.supported_modes)}.")
    if model.max_prompt_length is not None:
        lines.append(f"Prompt: at most {model.max_prompt_length:,} characters.")
    if model.chat is not None:
        return [*lines, *_chat(model.chat), ""]
    return [*lines, _estimate(model), *_references(model.reference_rules), ""]


def _estimate(model: Model) -> str:
    price = model.estimate_credits()
    if price is None:
        return f"Estimate: none, the price is {model.billing_type or 'not told'}."
    return f"Estimate: {credits_text(price)} a job, whatever its params (assumed)."


def _references(rules: ReferenceRules | None) -> Iterator[str]:
    if rules is None:
        return
    most = "" if rules.max_files is None else f"at most {rules.max_files}, "
    yield f"References: {most}{' or '.join(rules.kinds) or 'of any kind'}."
    if rules.max_by_kind_with_video:
        with_video = _counts(rules.max_by_kind_with_video)
        yield f"  Alone at most {_counts(rules.max_by_kind)}; beside a video at most {with_video}."
    for kind, limit in rules.limits.items():
        size = "" if limit.max_bytes is None else f"up to {limit.max_bytes / MEGABYTE:g} MB"
        yield f"  {kind}: {' '.join(filter(None, [size, ', '.join(limit.mime_types)]))}"


def _counts(most: Mapping[str, int]) -> str:
    return " and ".join(f"{count} {kind}" for kind, count in most.items())


def _chat(chat: ChatCapabilities) -> Iterator[str]:
    claims = {"web search": chat.web_search, "images": chat.images, "thoughts": chat.thoughts}
    can = [name for name, claim in claims.items() if claim]
    yield f"Can do: {', '.join(can) or 'nothing that the catalogue tells'}."
    if chat.reasoning_efforts:
        yield f"Reasoning efforts: {', '.join(chat.reasoning_efforts)}."


def _params(params: Sequence[ModelParam]) -> Grid:
    return Grid(
        ("PARAM", "TYPE", "DEFAULT", "VALUES", "MEANING"),
        [(param.key, param.type, _default(param), _values(param), param.description) for param in params],
        faint=frozenset({"TYPE", "MEANING"}),
    )


def _default(param: ModelParam) -> str:
    default = "" if param.default is None else value_text(param.default)
    return f"{default} (required)".strip() if param.required else default


def _values(param: ModelParam) -> str:
    if param.options:
        return ", ".join(param.choices or map(value_text, param.options))
    low = "" if param.min is None else f"from {format_number(param.min)}"
    high = "" if param.max is None else f"to {format_number(param.max)}"
    step = "" if param.step is None else f"by {format_number(param.step)}"
    return " ".join(part for part in (low, high, step) if part)
