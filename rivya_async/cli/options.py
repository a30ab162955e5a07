"""Parameter types and options that several commands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

POSITIVE: Final = click.IntRange(min=1)
PORT: Final = click.IntRange(0, 65535)
FOLDER: Final = click.Path(file_okay=False, readable=False)
PATH: Final = click.Path(readable=False)
FILE: Final = click.Path(readable=False, path_type=Path)
MEDIA_KIND: Final = click.Choice(("image", "video", "audio"))


class KeyValue(click.ParamType[tuple[str, str]]):
    """Two texts with an equals sign between them. `example` completes the error message."""

    def __init__(self, form: str, example: str) -> None:
        self.name = form
        self.example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Returns both texts. Fails if the first one or the equals sign is missing."""
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not equals or not key:
            self.fail(f"{value!r:.80} is not {self.name}, such as {self.example}.", param, ctx)
        return key, text


class Seconds(click.FloatRange):
    """A duration from 0 on."""

    def __init__(self) -> None:
        super().__init__(min=0)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Returns the seconds. Fails for NaN, which is in no range."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return number


SECONDS: Final = Seconds()

folder_option = click.option("-o", "--output", "folder", metavar="DIR", type=FOLDER, help="Download the files there.")
timeout_option = click.option(
    "--timeout", metavar="S", type=SECONDS, help="Stop waiting after S seconds; jobs continue.  [default: 1800]"
)
key_option = click.option("--key", metavar="KEY", help="Idempotency key: the same key repeats the same purchase.")
secret_option = click.option("--secret", metavar="S", help="Signing secret; - reads it from stdin.")


def broker_options(purpose: str) -> Decorator:
    """Returns the options `--broker` and `--queue`."""
    broker = click.option(
        "--broker", metavar="URL", envvar="RIVYA_BROKER", show_envvar=True, help=f"{purpose}: redis://HOST:PORT."
    )
    queue = click.option("--queue", metavar="NAME", default="rivya", help="Name of the queue at the broker.")
    return lambda function: broker(queue(function))
