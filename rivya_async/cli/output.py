"""Output of a command: results on stdout, everything else on stderr, as text or as JSON lines."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import tempfile
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Final, TextIO, TypeVar

from .._core.config import API_KEY_VARIABLE
from .._core.errors import RivyaError
from .._core.terminal_text import escape_control_characters, strip_control_characters, to_one_line
from .errors import error_message, error_to_json, exit_code_for, suggested_command
from .exit_codes import ExitCode
from .render import format_interrupt_summary, format_lost_output, interrupt_summary_to_json, lost_output_to_json
from .streams import write_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence

    from .jobs import JobList

T = TypeVar("T")

MASK: Final = "rvya_sk_***"

UNLIMITED_WIDTH: Final = 1_000_000
"""Columns of a table that goes to a file or a pipe: its lines are never wrapped."""


class Output:
    """Writer of a command's output. In JSON mode stdout holds JSON lines, stderr lines of `{"error": ...}`.

    `is_embedded`: the jobs live in a sandbox of this process, so that no later command can resume them.
    A failure to write never raises: `streams` records it, and `end` reports it. Secrets and control characters are
    removed from everything that is written, also from messages of the service.
    """

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self.is_embedded = False
        self._is_mid_line = False
        self._secrets: list[str] = []
        self.mask_secret(os.environ.get(API_KEY_VARIABLE))

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
            self._write(sys.stdout, self._to_json(sys.stdout, value))
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
        text = "\n".join(line.rstrip() for line in captured.get().splitlines())
        self._write(sys.stdout, text, is_clean=True)  # cells are clean, and a terminal gets colours

    def write_document(self, write: Callable[[TextIO], None]) -> None:
        """Lets `write` write to stdout for other programs: in UTF-8, with its own line ends, cleaned for a terminal."""
        if sys.stdout.isatty():
            document = io.StringIO()
            write(document)
            self._write(sys.stdout, document.getvalue(), end="")
            return
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="replace", newline="", line_buffering=False)
        write(sys.stdout)
        sys.stdout.flush()

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
        text = to_one_line(f"rivya: {error_message(error)}") + (f" -> {step}" if step else "")
        self._write_error(error_to_json(error, step), text, is_essential=step is not None)

    async def write_results(self, calls: Iterable[Coroutine[Any, Any, T]], write: Callable[[T], None]) -> int:
        """Writes the results of independent calls in their order. Returns the exit code of the first failed one."""
        code = ExitCode.OK
        for result in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(result, RivyaError):
                self.write_error(result)
                code = code or exit_code_for(result)
            elif isinstance(result, BaseException):
                raise result
            else:
                write(result)
        return code

    def write_interrupt_summary(self, jobs: JobList) -> None:
        """Writes the open jobs, the purchases in doubt, and the commands that resume them."""
        value = {**interrupt_summary_to_json(jobs, is_embedded=self.is_embedded), "exit_code": ExitCode.INTERRUPTED}
        text = format_interrupt_summary(jobs, is_embedded=self.is_embedded)
        self._write_error(value, text, is_essential=bool(value["open"] or value["unknown"] or jobs.again))

    def end(self, code: int, jobs: JobList) -> int:
        """Returns the exit code of the command. Names its jobs on stderr if stdout has lost their results."""
        error = write_failure(sys.stdout)
        if error is None:
            return code
        is_closed = isinstance(error, BrokenPipeError)
        value = {
            **lost_output_to_json(jobs, error),
            "exit_code": ExitCode.BROKEN_PIPE if is_closed else ExitCode.OUTPUT,
        }
        has_jobs = "jobs" in value and not self.is_embedded
        if has_jobs or not is_closed:
            self._write_error(value, format_lost_output(jobs, error), is_essential=has_jobs)
        return code or value["exit_code"]

    def _write_error(self, value: dict[str, Any], text: str, *, is_essential: bool) -> None:
        """Writes to stderr. An essential text, which names purchases, goes to stdout or a file if stderr fails."""
        for stream in (sys.stderr, sys.stdout) if is_essential else (sys.stderr,):
            self._write(stream, self._to_json(stream, {"error": value}) if self.is_json else text)
            if write_failure(stream) is None:
                return
        if is_essential:
            self._save(json.dumps({"error": value}) if self.is_json else strip_control_characters(text))

    def _save(self, text: str) -> None:
        """Appends to a file in the working directory, or else in the directory of temporary files."""
        for folder in (os.curdir, tempfile.gettempdir()):
            try:
                path = os.path.join(folder, f"rivya-{os.getpid()}.log")  # noqa: PTH118 - no other path is needed here
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
                    file.write(self._mask(text) + "\n")
                return
            except OSError:  # the next folder may be writable
                continue

    def _to_json(self, stream: TextIO, value: Any) -> str:
        is_unicode = (stream.encoding or "utf-8").lower().startswith("utf")
        return escape_control_characters(json.dumps(value, ensure_ascii=not is_unicode))

    def _mask(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def _write(self, stream: TextIO, text: str, end: str = "\n", *, is_clean: bool = False) -> None:
        """Writes to a standard stream: the one place that does. Control characters are removed."""
        text = self._mask(text)
        stream.write((text if is_clean else strip_control_characters(text)) + end)
        stream.flush()
