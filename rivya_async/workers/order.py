"""What travels: one job to buy, or one to wait for, under the key that it is known by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self

import attrs

from .._core.catalogue.validation import closest_matches, suggestion_text
from .._core.errors import ConfigurationError
from .._core.files.filename_template import FilenameTemplate
from .._core.generation_request import GenerationRequest
from .._core.idempotency import validate_key

POSITIONAL: Final[Mapping[str, Sequence[str]]] = {"rivya.generate": ("model", "prompt"), "rivya.wait": ("task_id",)}
"""The arguments that may come without their names."""

GENERATE: Final = "rivya.generate"
WAIT: Final = "rivya.wait"
"""The names of the tasks."""

BUYING: Final = [
    "model",
    "prompt",
    "params",
    "references",
    "client_request_id",
    "idempotency_key",
    "download_to",
    "name",
]
WAITING: Final = ["task_id", "download_to", "name"]
"""The arguments of each."""

WAIT_KEY: Final = "wait:"
SAVE_KEY: Final = "save:"
"""Begin the key of an order to wait, and of one that saves too, which buy nothing; the task id follows."""


@attrs.frozen(kw_only=True)
class Order:
    """A job for a worker: `request` to buy under `key`, or `task_id` to wait for, whose `key` follows from it.

    With `download_to` its files are saved in that folder of the worker, under names by the template `name`.
    """

    key: str
    request: GenerationRequest | None = None
    task_id: str | None = None
    download_to: str | None = None
    name: str | None = None

    @classmethod
    def to_buy(cls, arguments: Mapping[str, Any]) -> Self:
        """The order in the arguments of `rivya.generate`; `ConfigurationError` for what cannot be one.

        References are uploaded before they are ordered: a path means nothing on another machine.
        """
        _check_names(arguments, BUYING)
        key = arguments.get("idempotency_key")
        request = GenerationRequest(
            arguments.get("model", ""),
            arguments.get("prompt"),
            params=arguments.get("params") or {},
            references=arguments.get("references") or (),
            client_request_id=arguments.get("client_request_id"),
        )
        if request.paths:
            raise ConfigurationError(
                f"{request.paths[0]} is a file of this machine, and workers may run on others: upload it with "
                "session.files.upload, and refer to what that returns"
            )
        return cls(key=validate_key(key or ""), request=request, **_download(arguments))

    @classmethod
    def to_wait(cls, arguments: Mapping[str, Any]) -> Self:
        """The order in the arguments of `rivya.wait`."""
        _check_names(arguments, WAITING)
        task_id = arguments.get("task_id")
        if not isinstance(task_id, str) or not task_id:
            raise ConfigurationError(f"rivya.wait takes the task id of a bought job, not {task_id!r:.80}")
        download = _download(arguments)
        key = f"{WAIT_KEY}{task_id}" if download["download_to"] is None else _save_key(task_id, download)
        return cls(key=key, task_id=task_id, **download)

    def arguments(self) -> dict[str, Any]:
        """The arguments of its task, as JSON can hold them: references are folded into `params`."""
        download = {"download_to": self.download_to, "name": self.name}
        if self.request is None:
            told = {"task_id": self.task_id, **download}
        else:
            told = {**self.request.to_wire(), "idempotency_key": self.key, **download}
        return {name: value for name, value in told.items() if value is not None}


def named(task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a task by their names."""
    names = POSITIONAL[task]
    if len(args) > len(names):
        raise ConfigurationError(f"{task} takes {' and '.join(names)} by place, everything else by name")
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _check_names(arguments: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise ConfigurationError(
            f"there is no argument {unknown[0]!r:.80}: {suggestion_text(closest_matches(unknown[0], known), known)}"
        )


def _save_key(task_id: str, download: Mapping[str, Any]) -> str:
    """One per place: saved in one folder is not saved in another."""
    place = hashlib.sha256(f"{download['download_to']}\0{download['name']}".encode()).hexdigest()
    return f"{SAVE_KEY}{task_id}:{place[:16]}"


def _download(arguments: Mapping[str, Any]) -> dict[str, Any]:
    folder, name = arguments.get("download_to"), arguments.get("name")
    if folder is not None and (not isinstance(folder, str) or not folder):
        raise ConfigurationError(f"download_to must be the path of a folder of the workers, not {folder!r:.80}")
    if name is not None:
        FilenameTemplate(name)
    return {"download_to": folder, "name": name}


ORDERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Order]]] = {GENERATE: Order.to_buy, WAIT: Order.to_wait}
"""How the arguments of each task are read."""
