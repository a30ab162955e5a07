"""Hundreds of prompts with a progress bar. After Ctrl-C it lists the jobs that are bought and go on at the service.

RIVYA_API_KEY=... python examples/progress.py < prompts.txt
RIVYA_API_KEY=... python examples/resume.py TASK_ID
"""

import sys

from rivya_async import GenerationRequest, Hooks, PollDetails
from rivya_async.blocking import BlockingSession
from rivya_async.progress import track


class OpenJobs(Hooks):
    """The ids of the jobs that were polled and have not ended."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    def on_poll(self, details: PollDetails) -> None:
        is_over = details.status in {"succeeded", "failed"}
        (self.ids.discard if is_over else self.ids.add)(details.task_id)


def main() -> int:
    requests = [GenerationRequest("z-image", prompt) for line in sys.stdin if (prompt := line.strip())]
    open_jobs = OpenJobs()
    with BlockingSession(hooks=[open_jobs]) as session:
        try:
            for outcome in track(session.map(requests, max_in_flight=50), total=len(requests)):
                if outcome.ok:
                    session.download(outcome.unwrap(), "pictures/")
        except KeyboardInterrupt:
            print(*sorted(open_jobs.ids), sep="\n")
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
