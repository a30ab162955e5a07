"""What workers log: a line for people, or an object per line for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""The members of every record; what is there besides, somebody has put in to be told."""

LINE: Final = "%(asctime)s %(process)d %(levelname)s %(message)s"


def configure(*, is_json: bool) -> None:
    """Log to stderr from `INFO` on; Taskiq from `WARNING` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if is_json else logging.Formatter(LINE))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("taskiq").setLevel(logging.WARNING)
    quiet()


def quiet() -> None:
    """Let the broker's library not tell, with a traceback, of each sign of life that Redis did not take: we do."""
    logging.getLogger("taskiq_redis_streams").setLevel(logging.ERROR)


class JsonLines(logging.Formatter):
    """One JSON object per line: `time`, `level`, `logger`, `process`, `message`, and what belongs to the event."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in PLAIN},
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)
