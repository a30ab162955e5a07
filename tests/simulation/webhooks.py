"""The webhooks of the service: lost, late, doubled and reordered ones."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from typing import Any

from multidict import CIMultiDict

from rivya_async._core.http.messages import Response
from rivya_async._core.http.operations import read_generation
from rivya_async.sandbox.service_state import Task

from .network import Network
from .simulator import Process


class Webhooks:
    """The deliveries of the service: the end of each task, to the receivers of all processes."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._simulator = network.simulator
        self._numbers = itertools.count()
        self._rng = random.Random(f"{network.simulator.seed}/webhooks")
        self.receivers: dict[Process, Callable[[Any], object]] = {}
        network.service.on_create.append(self._on_create)

    def _on_create(self, task: Task) -> None:
        fault = self._network.plan.of_webhook(next(self._numbers))
        kind, value = ("", 0.0) if fault is None else (fault.kind, fault.value)
        if fault is not None:
            self._network.note(fault)
        delay = {"webhook late": value * 60.0, "webhook at once": 0.0}.get(kind, self._network.latency())
        if kind == "webhook of an older state":
            self._deliver_at(task, task.created_at, delay + value * 20.0, task.encode("queued"))
        if kind == "webhook without links":
            record = json.loads(self._network.service.read(task, task.ends_at))
            self._deliver_at(task, task.ends_at, delay, json.dumps({**record, "result": None}).encode())
        elif kind != "webhook lost":
            for copy in range(2 if kind == "webhook doubled" else 1):
                self._deliver_at(task, task.ends_at, delay + copy * value * 10.0, None)

    def _deliver_at(self, task: Task, ended_at: float, delay: float, body: bytes | None) -> None:
        """Delivers the record once the service's clock has reached the end, and `delay` seconds have passed."""

        def deliver() -> None:
            late_by = ended_at - self._network.service.now()
            if late_by > 0:  # the clock of the service was set back
                self._simulator.schedule(self._simulator.now + late_by + delay, deliver)
                return
            record = body or self._network.service.read(task, task.ends_at)
            generation = read_generation(Response(200, CIMultiDict(), record))
            self._simulator.record("webhook", task.id, generation.status)
            self._network.monitor.on_webhook(generation)
            for process, receive in list(self.receivers.items()):
                if process.is_alive:
                    process.loop.call_soon(receive, generation)

        due = self._simulator.now + max(0.0, ended_at - self._network.service.now()) + delay
        self._simulator.schedule(due, deliver)
