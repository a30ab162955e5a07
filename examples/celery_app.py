"""A Celery task. A task that is delivered again sends the same idempotency key, so it does not buy a second job.

RIVYA_API_KEY=... celery --app examples.celery_app worker
RIVYA_API_KEY=... python -c "from examples.celery_app import make_picture; make_picture.delay('A red kite')"
"""

import os
from typing import Any

from celery import Celery, Task

from rivya_async.blocking import BlockingSession

url = os.environ.get("CELERY_BROKER_URL", "redis://127.0.0.1:6379/0")
app = Celery("pictures", broker=url, backend=url)
session = BlockingSession()  # each child process of the worker opens its own after the fork


@app.task(bind=True, acks_late=True, autoretry_for=(OSError,), retry_backoff=True)  # type: ignore[untyped-decorator] # Celery has no types
def make_picture(self: "Task[Any, Any]", prompt: str) -> dict[str, Any]:
    return session.generate("z-image", prompt, idempotency_key=f"celery-{self.request.id}", timeout=600).to_dict()
