"""Click classes and decorators of the command line: unwrapped help text, lazy subcommands, commands as coroutines."""

from __future__ import annotations

import inspect
from functools import update_wrapper
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from .exit_codes import format_exit_codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from .run import AsyncCommand


class RivyaCommand(click.Command):
    """Command whose help keeps the line breaks of its docstring and ends with the exit codes."""

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 - click's
        """Returns the first line of the docstring, whole."""
        return inspect.cleandoc(self.help or "").partition("\n")[0]

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Writes the docstring."""
        write_lines(formatter, inspect.cleandoc(self.help or ""))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Writes the exit codes."""
        write_lines(formatter, format_exit_codes())


class RivyaGroup(RivyaCommand, click.Group):
    """Group that lists its commands in the order of their definition, and fails without a command."""

    def __init__(self, *args: Any, **attrs: Any) -> None:
        super().__init__(*args, **{"no_args_is_help": False, **attrs})

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Returns the names of the commands."""
        return list(self.commands)


class LazyCommand(click.Command):
    """Stand-in for a command in help, suggestions and completion, without its module."""

    def __init__(self, name: str, module: str, summary: str) -> None:
        super().__init__(name, short_help=summary)
        self._module = module

    def load(self) -> click.Command:
        """Imports the module and returns its command, an attribute of the same name."""
        module = import_module(f".commands.{self._module}", __package__)
        loaded: click.Command = getattr(module, str(self.name))
        return loaded


class LazyGroup(RivyaGroup):
    """Group that loads a `LazyCommand` when the command runs, shows its help or completes its options."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Returns the name, the loaded command and the remaining arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, LazyCommand) else command, rest


def write_lines(formatter: click.HelpFormatter, text: str) -> None:
    """Writes text without wrapping it."""
    formatter.write_paragraph()
    formatter.write("".join(f"  {line}".rstrip() + "\n" for line in text.splitlines()))


def _shared_flag(option: str, name: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Returns a flag that may stand before or after the name of a subcommand. Its value is in `Context.meta`."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
        ctx.meta[name] = value or ctx.meta.get(name, False)

    return click.option(option, name, is_flag=True, expose_value=False, callback=remember, help=text)


json_option = _shared_flag("--json", "is_json", "Write one JSON object per line to stdout, and nothing else.")
sandbox_option = _shared_flag("--sandbox", "is_sandbox", "Run against an embedded sandbox: no account, no purchase.")


def command(
    name: str, group: click.Group | None = None, *, has_sandbox: bool = True
) -> Callable[[AsyncCommand], click.Command]:
    """Makes a command of a coroutine function that takes a `CommandContext` and the options, and returns an exit code.

    `None` counts as success. The docstring is the help text. Every such command takes `--json`, and `--sandbox` unless
    `has_sandbox` is false.
    """

    def decorate(function: AsyncCommand) -> click.Command:
        def invoke(**options: Any) -> int:
            from .run import run

            return run(function, options)

        update_wrapper(invoke, function)
        made = click.command(name, cls=RivyaCommand)(json_option(sandbox_option(invoke) if has_sandbox else invoke))
        if group is not None:
            group.add_command(made)
        return made

    return decorate
