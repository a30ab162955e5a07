"""Click classes and decorators of the command line: unwrapped help text, lazy subcommands, commands as coroutines."""

from __future__ import annotations

import inspect
from functools import update_wrapper
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

from .exit_codes import format_exit_codes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .run import AsyncCommand


def _shared_option(*names: str, key: str, empty: Any, text: str, **attrs: Any) -> click.Option:
    """Returns an option that may stand before or after the name of a subcommand. Its value is in `Context.meta`."""

    def remember(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        ctx.meta[key] = value or ctx.meta.get(key, empty)

    return click.Option([*names, key], expose_value=False, callback=remember, help=text, show_default=False, **attrs)


SHARED_OPTIONS: Final = (
    _shared_option(
        "--json",
        key="is_json",
        empty=False,
        is_flag=True,
        text="Write one JSON object per line to stdout, nothing else.",
    ),
    _shared_option(
        "--sandbox",
        key="is_sandbox",
        empty=False,
        is_flag=True,
        text="Run against an embedded sandbox: no account, no purchase.",
    ),
    _shared_option(
        "--proxy",
        key="proxy",
        empty=None,
        metavar="URL",
        text="Proxy, instead of the variables HTTPS_PROXY and NO_PROXY.",
    ),
    _shared_option(
        "-v", "--verbose", key="verbosity", empty=0, count=True, text="Log to stderr; -vv every attempt and poll."
    ),
)
"""Options of every command. `Context.meta` holds their values."""


class RivyaCommand(click.Command):
    """Command whose help keeps the line breaks of its docstring and ends with the exit codes.

    It has the shared options, unless `is_plain`. Its options may stand anywhere.
    """

    def __init__(
        self,
        name: str | None,
        *,
        params: Sequence[click.Parameter] | None = None,
        is_plain: bool = False,
        **attrs: Any,
    ) -> None:
        attrs["params"] = [*(params or ()), *(() if is_plain else SHARED_OPTIONS)]
        super().__init__(name, **attrs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the arguments. Rejects text that cannot be sent, such as Latin-1; paths may have any bytes."""
        rest = super().parse_args(ctx, args)
        for param in self.params:
            if not isinstance(param.type, click.Path) and not _is_unicode(ctx.params.get(param.name or "")):
                raise click.BadParameter("it is not valid UTF-8: set the terminal to UTF-8", ctx, param)
        return rest

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


def _is_unicode(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_unicode, value))
    return not isinstance(value, str) or not any("\ud800" <= letter <= "\udfff" for letter in value)


def command(name: str, group: click.Group | None = None) -> Callable[[AsyncCommand], click.Command]:
    """Makes a command of a coroutine function that takes a `CommandContext` and the options, and returns an exit code.

    `None` counts as success. The docstring is the help text.
    """

    def decorate(function: AsyncCommand) -> click.Command:
        def invoke(**options: Any) -> int:
            from .run import run

            return run(function, options)

        update_wrapper(invoke, function)
        made = click.command(name, cls=RivyaCommand)(invoke)
        if group is not None:
            group.add_command(made)
        return made

    return decorate
