"""Output of a command: results on stdout, everything else on stderr, as text or as JSON lines."""

from __future__ import annotations

import json
import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Final, TextIO

from .._core.config import API_KEY_VARIABLE
from .errors import error_message, error_to_json, suggested_command
from .exit_codes import ExitCode
from .render import format_interrupt_summary, interrupt_summary_to_json, to_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from .jobs import JobList

MASK: Final = "rvya_sk_***"

UNLIMITED_WIDTH: Final = 1_000_000
"""Columns of a table that goes to a file or a pipe: its lines are never wrapped."""


class Output:
    """Writer of a command's output. In JSON mode stdout holds JSON lines, stderr lines of `{"error": ...}`.

    `is_embedded`: the jobs live in a sandbox of this process, so that no later command can resume them.
    `stdout_closed`: the reader of stdout closed it; later output is dropped.
    Secrets are masked in everything that is written, also in messages from elsewhere.
    """

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self.is_embedded = False
        self.stdout_closed = False
        self._is_mid_line = False
        self._secrets: list[str] = []
        self.mask_secret(os.environ.get(API_KEY_VARIABLE))
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")  # a terminal may lack our characters

    @property
    def shows_progress(self) -> bool:
        """Reports if stderr is a terminal, so that a live display is possible."""
        return not self.is_json and sys.stderr.isatty()

    def mask_secret(self, secret: str | None) -> None:
        """Replaces this secret in all later output."""
        if secret and secret.strip():
            self._secrets.append(secret.strip())

    def write_result(self, value: dict[str, Any], text: str | None = None) -> None:
        """Writes the value in JSON mode, else the text if there is one."""
        if self.is_json:
            self._write(sys.stdout, json.dumps(value, ensure_ascii=False))
        elif text is not None:
            self._write(sys.stdout, text)

    def write_table(
        self,
        headers: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        right: Collection[str] = (),
        dim: Collection[str] = (),
    ) -> None:
        """Writes a table: with rules and colours on a terminal, in plain aligned columns elsewhere.

        `right` names the columns of numbers, `dim` the less important ones.
        """
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        is_terminal = sys.stdout.isatty()
        table = Table(box=box.SIMPLE_HEAD if is_terminal else None, pad_edge=False, header_style="bold")
        for header in headers:
            justify, style = "right" if header in right else "left", "dim" if header in dim else ""
            table.add_column(header, justify=justify, style=style, overflow="fold")  # type: ignore[arg-type] # literals
        for row in rows:
            table.add_row(*(Text(to_one_line(cell)) for cell in row))
        console = Console(width=None if is_terminal else UNLIMITED_WIDTH)
        with console.capture() as captured:
            console.print(table)
        self._write(sys.stdout, "\n".join(line.rstrip() for line in captured.get().splitlines()))

    def write_document(self, write: Callable[[TextIO], None]) -> None:
        """Lets `write` write to stdout for other programs: in UTF-8, with its own line ends."""
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="replace", newline="")
        try:
            write(sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            self._discard(sys.stdout)

    def write_chunk(self, text: str) -> None:
        """Writes a part of a line that continues; drops it in JSON mode."""
        if not self.is_json and text:
            self._is_mid_line = not text.endswith("\n")
            self._write(sys.stdout, text, end="")

    def end_line(self) -> None:
        """Ends the line that `write_chunk` began, if any."""
        if self._is_mid_line:
            self._is_mid_line = False
            self._write(sys.stdout, "")

    def write_note(self, text: str) -> None:
        """Writes one line to stderr; drops it in JSON mode."""
        if not self.is_json:
            self._write(sys.stderr, to_one_line(text))

    def write_error(self, error: Exception, *, again: str = "") -> None:
        """Writes an error in one line. `again` is the command that repeats the purchase, if it was one."""
        step = None if self.is_embedded else suggested_command(error, again)
        if self.is_json:
            self._write_error_object(error_to_json(error, step))
        else:
            self._write(sys.stderr, to_one_line(f"rivya: {error_message(error)}") + (f" -> {step}" if step else ""))

    def write_interrupt_summary(self, jobs: JobList) -> None:
        """Writes the open jobs, the purchases in doubt, and the commands that resume them."""
        if self.is_json:
            value = interrupt_summary_to_json(jobs, is_embedded=self.is_embedded)
            self._write_error_object({**value, "exit_code": int(ExitCode.INTERRUPTED)})
        else:
            self._write(sys.stderr, format_interrupt_summary(jobs, is_embedded=self.is_embedded))

    def _write_error_object(self, value: dict[str, Any]) -> None:
        self._write(sys.stderr, json.dumps({"error": value}, ensure_ascii=False))

    def _write(self, stream: TextIO, text: str, end: str = "\n") -> None:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        try:
            stream.write(text + end)
            stream.flush()
        except BrokenPipeError:  # as `| head` does; bought jobs are still waited for and saved
            self._discard(stream)

    def _discard(self, stream: TextIO) -> None:
        self.stdout_closed = self.stdout_closed or stream is sys.stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
