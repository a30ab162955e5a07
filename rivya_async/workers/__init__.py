"""The SDK on Taskiq: from one process to many machines. Install `rivya-async[workers]`."""

from importlib.util import find_spec

if find_spec("taskiq") is None:
    raise ImportError("workers need Taskiq: pip install 'rivya-async[workers]'")

from .._core.public_module import set_public_module
from .._jobs.transitions import JobState
from .brokers import create_broker, create_store
from .memory_store import MemoryStore
from .redis_store import RedisStore
from .remote_client import RemoteJobClient
from .store import DeadLetter, JobRecord, WorkerStore
from .taskiq_receiver import DrainingReceiver
from .tasks import RivyaSessionDep
from .worker import RivyaWorker

__all__ = [
    "DeadLetter",
    "DrainingReceiver",
    "JobRecord",
    "JobState",
    "MemoryStore",
    "RedisStore",
    "RemoteJobClient",
    "RivyaSessionDep",
    "RivyaWorker",
    "WorkerStore",
    "create_broker",
    "create_store",
]

set_public_module(
    __name__,
    DeadLetter,
    DrainingReceiver,
    JobRecord,
    MemoryStore,
    RedisStore,
    RemoteJobClient,
    RivyaWorker,
    WorkerStore,
)
