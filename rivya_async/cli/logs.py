"""Log records on stderr: text lines, or JSON objects with `--json`."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from .._core.terminal_text import strip_control_characters

LOG_FORMAT: Final = "%(asctime)s %(process)d %(levelname)s %(message)s"

STANDARD_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes of every log record. All others come from the code that logs, and belong into the JSON object."""


def create_handler(*, is_json: bool) -> logging.Handler:
    """Returns a handler that writes to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if is_json else LineFormatter(LOG_FORMAT))
    return handler


def enable_logging(verbosity: int, *, is_json: bool) -> None:
    """Shows the log of this library: from INFO on for `-v`, from DEBUG on for `-vv`, none for 0.

    Without `-v` commands report open jobs and errors themselves.
    """
    logger = logging.getLogger("rivya_async")
    logger.handlers = [create_handler(is_json=is_json) if verbosity else logging.NullHandler()]
    logger.setLevel(logging.INFO if verbosity < 2 else logging.DEBUG)  # noqa: PLR2004 - `-vv`
    logger.propagate = False


def configure_worker_logging(*, is_json: bool, verbosity: int = 0) -> None:
    """Logs from `INFO` on, with `-vv` from `DEBUG` on; Taskiq from `WARNING` on."""
    logging.basicConfig(level=logging.INFO, handlers=[create_handler(is_json=is_json)], force=True)
    if verbosity:
        enable_logging(verbosity, is_json=is_json)
    logging.getLogger("taskiq").setLevel(logging.WARNING)
    # The worker logs an outage itself: this library writes a traceback for each heartbeat that fails.
    logging.getLogger("taskiq_redis_streams").setLevel(logging.ERROR)


class LineFormatter(logging.Formatter):
    """Formatter of one line per record, without control characters; a traceback follows in lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name in logging
        """Returns the line. Newlines in the message become blanks: a message must not forge another line."""
        return " ".join(strip_control_characters(super().formatMessage(record)).splitlines())

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name in logging
        """Returns the traceback in indented lines, so that no message in it forges a line of the log."""
        lines = super().formatException(ei).splitlines()
        return "\n".join(f"    {strip_control_characters(line)}" for line in lines)


class JsonFormatter(logging.Formatter):
    """Formatter of one JSON object per line: `time`, `level`, `logger`, `process`, `message`, and extra attributes."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        value = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **{name: each for name, each in vars(record).items() if name not in STANDARD_ATTRIBUTES},
        }
        if record.exc_info:
            value["traceback"] = self.formatException(record.exc_info)
        return json.dumps(value, ensure_ascii=False, default=str)
