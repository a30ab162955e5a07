"""The parent of worker processes for a test: `python worker_child.py JSON`."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from rivya_async import PollPolicy, RateLimit, RetryPolicy, Timeouts
from rivya_async.workers.supervisor import WorkerSupervisor

POLL = PollPolicy(first=0.2, base=0.3, floor=0.1, cap=1.0, adaptive=False)
RETRY = RetryPolicy(max_attempts=20, base=0.02, cap=0.2)
FAST_RECLAIM = {"consumer_heartbeat_interval": 250, "consumer_heartbeat_ttl": 1500, "reclaim_interval": 250}


def configure_logging() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(process)d %(levelname)s %(message)s")


def main(settings: dict[str, Any]) -> int:
    rate = settings.get("rate_limit")
    supervisor = WorkerSupervisor(
        url=settings["redis"],
        processes=settings["processes"],
        rate_limit=None if rate is None else RateLimit(rate),
        session_options={
            "api_key": settings["key"],
            "base_url": settings["base_url"],
            "poll": POLL,
            "retry": RETRY,
            "timeouts": Timeouts(connect=5.0, read=5.0, total=10.0),
        },
        broker_options=FAST_RECLAIM,
        download_root=Path("/"),
        on_process_start=configure_logging,
    )
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
