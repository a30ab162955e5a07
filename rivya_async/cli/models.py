"""`rivya models`: the catalogue, and the params of one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.errors import ConfigurationError
from .exit_codes import ExitCode
from .grid import Grid
from .render import credits_text, model_json, plural, value_text
from .target import embedded, service
from .values import nearest

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from .._core.model import Model
    from .._core.model_param import ModelParam
    from .jobs import Ledger
    from .output import Output


async def run(arguments: Namespace, output: Output, _ledger: Ledger) -> int:
    """List the models, or show one."""
    opened = embedded(output, renders=False) if arguments.sandbox else service(needs_key=False)
    async with opened as target:
        if arguments.model is not None:
            model = await target.session.models.retrieve(arguments.model)
            _show_one(model, output)
        else:
            _show_all(_chosen(await target.session.models.list(), arguments.category), output)
    return ExitCode.OK


def _chosen(models: Sequence[Model], category: str | None) -> Sequence[Model]:
    if category is None:
        return models
    chosen = [model for model in models if model.category == category]
    if not chosen:
        known = dict.fromkeys(model.category for model in models)
        raise ConfigurationError(f"there is no category {category!r} {nearest(category, known)}")
    return chosen


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
    if model.file_kinds:
        lines.append(f"Takes references: {', '.join(model.file_kinds)}.")
    return [*lines, ""]


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
        return ", ".join(param.options)
    low = "" if param.min is None else f"from {param.min:g}"
    high = "" if param.max is None else f"to {param.max:g}"
    step = "" if param.step is None else f"by {param.step:g}"
    return " ".join(part for part in (low, high, step) if part)
