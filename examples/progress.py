"""Hundreds of prompts with a progress bar. After Ctrl-C it lists the paid jobs whose pictures are not saved yet.

RIVYA_API_KEY=... python examples/progress.py < prompts.txt > unfinished.txt
RIVYA_API_KEY=... python examples/resume.py $(cat unfinished.txt)
"""

import sys

from rivya_async import GenerationRequest
from rivya_async.blocking import BlockingSession
from rivya_async.progress import ProgressBar


def main() -> int:
    requests = [GenerationRequest("z-image", prompt) for line in sys.stdin if (prompt := line.strip())]
    with BlockingSession() as session:
        try:
            with ProgressBar("pictures") as bar:
                for outcome in session.map(requests, max_in_flight=50, to="pictures/", on_progress=bar):
                    if not outcome.ok:
                        print(outcome.request.prompt, outcome.error, sep=": ", file=sys.stderr)
        except KeyboardInterrupt:
            print(*(job.task_id for job in session.undelivered_jobs), sep="\n")
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
