"""From one process to many machines: the SDK on Taskiq. Install `rivya-async[workers]`."""

from importlib.util import find_spec

if find_spec("taskiq") is None:
    raise ImportError("workers stand on Taskiq: pip install 'rivya-async[workers]'")

from .._jobs.transitions import JobState
from .brokers import broker_at, store_at
from .fleet import Fleet
from .memory_store import MemoryStore
from .receiver import Receiver
from .record import JobRecord
from .redis_store import RedisStore
from .store import DeadLetter, Store
from .tasks import RivyaSessionDep
from .worker import RivyaWorker

__all__ = [
    "DeadLetter",
    "Fleet",
    "JobRecord",
    "JobState",
    "MemoryStore",
    "Receiver",
    "RedisStore",
    "RivyaSessionDep",
    "RivyaWorker",
    "Store",
    "broker_at",
    "store_at",
]
