"""All that a command writes: results on stdout, everything else on stderr, as text or as JSON lines."""

from __future__ import annotations

import json
import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Final, TextIO

from .._core.settings import KEY_VARIABLE
from .exit_codes import ExitCode
from .failures import as_json, message_of, next_step
from .render import farewell, farewell_json, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from .jobs import JobList

MASK: Final = "rvya_sk_***"


class Output:
    """Where a command writes. In JSON mode stdout holds JSON lines, stderr lines of `{"error": ...}`, nothing else.

    `is_embedded`: the jobs live in a sandbox of this very process, so that nobody can come back to them.
    `reader_left`: nobody reads stdout any more, and all that is written from then on is dropped.
    API keys are masked in whatever is written, should a foreign message ever quote one.
    """

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self.is_embedded = False
        self.reader_left = False
        self._is_mid_line = False
        self._secrets: list[str] = []
        self.mask(os.environ.get(KEY_VARIABLE))
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")  # a terminal without our letters is no reason to fail

    @property
    def is_live(self) -> bool:
        """Whether someone looks at stderr, so that progress may move."""
        return not self.is_json and sys.stderr.isatty()

    def mask(self, secret: str | None) -> None:
        """Never write this."""
        if secret and secret.strip():
            self._secrets.append(secret.strip())

    def result(self, value: dict[str, Any], text: str | None = None) -> None:
        """A result: the value in JSON mode, else the text, if there is one."""
        if self.is_json:
            self._write(sys.stdout, json.dumps(value, ensure_ascii=False))
        elif text is not None:
            self._write(sys.stdout, text)

    def data(self, write: Callable[[TextIO], None]) -> None:
        """What other programs read, on stdout: UTF-8 with its own line ends, until nobody reads any more."""
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="replace", newline="")
        try:
            write(sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            self._reader_has_left(sys.stdout)

    def piece(self, text: str) -> None:
        """A part of a line that is still being said; dropped in JSON mode, which has results only."""
        if not self.is_json and text:
            self._is_mid_line = not text.endswith("\n")
            self._write(sys.stdout, text, end="")

    def end_pieces(self) -> None:
        """End the line, if one was begun."""
        if self._is_mid_line:
            self._is_mid_line = False
            self._write(sys.stdout, "")

    def note(self, text: str) -> None:
        """Something to know in passing; dropped in JSON mode."""
        if not self.is_json:
            self._write(sys.stderr, one_line(text))

    def failed(self, error: Exception, *, again: str = "") -> None:
        """What went wrong, in one line. `again` is the command that repeats the purchase, if it was one."""
        step = None if self.is_embedded else next_step(error, again)
        if self.is_json:
            self._write(sys.stderr, json.dumps({"error": as_json(error, step)}, ensure_ascii=False))
            return
        self._write(sys.stderr, one_line(f"rivya: {message_of(error)}") + (f" -> {step}" if step else ""))

    def interrupted(self, job_list: JobList) -> None:
        """The farewell after a signal: what is open, what is unknown, how to come back."""
        if self.is_json:
            error = {**farewell_json(job_list, is_embedded=self.is_embedded), "exit_code": int(ExitCode.INTERRUPTED)}
            self._write(sys.stderr, json.dumps({"error": error}, ensure_ascii=False))
        else:
            self._write(sys.stderr, "\n".join(farewell(job_list, is_embedded=self.is_embedded)))

    def _write(self, stream: TextIO, text: str, end: str = "\n") -> None:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        try:
            stream.write(text + end)
            stream.flush()
        except BrokenPipeError:  # as `| head` does; what is paid for is carried on and saved all the same
            self._reader_has_left(stream)

    def _reader_has_left(self, stream: TextIO) -> None:
        self.reader_left = self.reader_left or stream is sys.stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
