"""Parameter types and options that several commands share."""

from __future__ import annotations

import errno
import math
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

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


class Text(click.ParamType[str]):
    """A text that may also come from stdin (`-`) or from a file (`@FILE`). A text that begins with @ is given as @@."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the text without its last line end. Fails for a file that cannot be read, is not UTF-8 or empty."""
        text = str(value)
        if text.startswith("@@"):
            return text[1:]
        if text != "-" and not text.startswith("@"):
            return text
        source = "stdin" if text == "-" else f"the file {text[1:]!r}"
        try:
            with read_stdin_bytes() if text == "-" else Path(text[1:]).open("rb") as file:
                found = file.read().decode("utf-8-sig").rstrip("\r\n")
        except (OSError, ValueError) as error:
            hint = "" if text == "-" else ". Write @@ for a text that begins with @"
            self.fail(f"{source} cannot be read: {getattr(error, 'strerror', None) or error}{hint}", param, ctx)
        if not found.strip():
            self.fail(f"{source} is empty.", param, ctx)
        return found


def read_stdin_bytes() -> AbstractContextManager[BinaryIO]:
    """Returns stdin as a binary stream that stays open. Raises `OSError` if it is closed."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, "stdin is closed")
    return nullcontext(sys.stdin.buffer)


SECONDS: Final = Seconds()
TEXT: Final = Text()

OUTPUT_HELP: Final = "Folder for the files, created if needed; with a suffix, the name of the file."

output_option = click.option("-o", "--output", "target", metavar="PATH", type=PATH, help=OUTPUT_HELP)
exists_option = click.option(
    "--exists",
    type=click.Choice(("keep", "error", "overwrite", "rename")),
    help="What to do where a file exists.  [default: keep for names with the task id, else error]",
)
price_file_option = click.option(
    "--price-file", metavar="FILE", type=FILE, help="Use the learned prices in this file, and save new ones there."
)
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
