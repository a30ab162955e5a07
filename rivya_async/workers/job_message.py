"""The content of a message: a job to buy or to wait for, under its idempotency key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self, TypeGuard

import attrs

from .._core.catalogue.validation import closest_matches, suggestion_text
from .._core.errors import ConfigurationError
from .._core.files.filename_template import FilenameTemplate
from .._core.generation_request import GenerationRequest
from .._core.http.serialization import encode_json
from .._core.idempotency import validate_key

MAX_DEPTH: Final = 50
"""Maximum levels of lists and objects in params."""

MAX_TASK_ID: Final = 200
MAX_PATH: Final = 4096
"""Maximum characters of a task id and of a path."""

GENERATE_TASK: Final = "rivya.generate"
WAIT_TASK: Final = "rivya.wait"

ARGUMENTS: Final[Mapping[str, Sequence[str]]] = {
    GENERATE_TASK: (
        *("model", "prompt", "params", "references", "client_request_id", "idempotency_key"),
        *("download_to", "name"),
    ),
    WAIT_TASK: ("task_id", "download_to", "name"),
}
"""The arguments of each task."""

POSITIONAL_ARGUMENTS: Final[Mapping[str, Sequence[str]]] = {
    GENERATE_TASK: ("model", "prompt"),
    WAIT_TASK: ("task_id",),
}
"""The arguments of each task that may be positional."""


@attrs.frozen(kw_only=True)
class JobMessage:
    """A job for a worker: a `request` to buy under `key`, or a `task_id` to wait for, whose `key` derives from it.

    With `download_to` its files are saved in that folder of the worker, with names by the template `name`.
    """

    key: str
    request: GenerationRequest | None = None
    task_id: str | None = None
    download_to: str | None = None
    name: str | None = None

    @classmethod
    def from_generate_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """Parses the arguments of `rivya.generate`. Raises `ConfigurationError` for invalid ones.

        References must be uploaded before: a path has no meaning on another machine.
        """
        _check_names(arguments, ARGUMENTS[GENERATE_TASK])
        request = GenerationRequest(
            arguments.get("model", ""),
            arguments.get("prompt"),
            params=arguments.get("params") or {},
            references=arguments.get("references") or (),
            client_request_id=arguments.get("client_request_id"),
        )
        if request.paths:
            raise ConfigurationError(
                f"{request.paths[0]} is a file of this machine, but workers may run on others: upload it with "
                "session.files.upload, and refer to the returned file"
            )
        if _is_deeper(request.params, MAX_DEPTH):
            raise ConfigurationError(f"params are nested more than {MAX_DEPTH} levels deep")
        encode_json(request.to_wire())
        key = validate_key(arguments.get("idempotency_key") or "")
        return cls(key=key, request=request, **_parse_download(arguments))

    @classmethod
    def from_wait_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """Parses the arguments of `rivya.wait`. Raises `ConfigurationError` for invalid ones."""
        _check_names(arguments, ARGUMENTS[WAIT_TASK])
        task_id = arguments.get("task_id")
        if not _is_text(task_id, MAX_TASK_ID):
            raise ConfigurationError(f"rivya.wait takes the task id of a bought job, not {task_id!r:.80}")
        download = _parse_download(arguments)
        key = f"wait:{task_id}"
        if download["download_to"] is not None:  # each destination has a key: one saved copy is not another
            destination = f"{download['download_to']}\0{download['name']}"
            key = f"save:{task_id}:{hashlib.sha256(destination.encode()).hexdigest()[:16]}"
        return cls(key=key, task_id=task_id, **download)

    def to_arguments(self) -> dict[str, Any]:
        """Returns the arguments of the task as JSON values; references are part of `params`."""
        job = (
            {"task_id": self.task_id}
            if self.request is None
            else {**self.request.to_wire(), "idempotency_key": self.key}
        )
        arguments = {**job, "download_to": self.download_to, "name": self.name}
        return {name: value for name, value in arguments.items() if value is not None}


MESSAGE_PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any]], JobMessage]]] = {
    GENERATE_TASK: JobMessage.from_generate_arguments,
    WAIT_TASK: JobMessage.from_wait_arguments,
}
"""The parser of each task's arguments."""


def bind_arguments(task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a task by name. Raises `ConfigurationError` for too many positional ones."""
    names = POSITIONAL_ARGUMENTS[task]
    if len(args) > len(names):
        raise ConfigurationError(f"{task} takes {' and '.join(names)} by position, all other arguments by name")
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _check_names(arguments: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise ConfigurationError(
            f"there is no argument {unknown[0]!r:.80}: {suggestion_text(closest_matches(unknown[0], known), known)}"
        )


def find_key(task: str, arguments: Mapping[str, Any]) -> str | None:
    """Returns the key of a job whose arguments are invalid, or unknown to this version; None without a valid one."""
    known = {name: value for name, value in arguments.items() if name in ARGUMENTS[task]}
    with suppress(ConfigurationError):
        return MESSAGE_PARSERS[task](known).key
    with suppress(ConfigurationError):
        return validate_key(arguments.get("idempotency_key") or "")
    return None


def _is_text(value: Any, max_length: int) -> TypeGuard[str]:
    return isinstance(value, str) and 1 <= len(value) <= max_length and value.isprintable()


def _is_deeper(value: Any, levels: int) -> bool:
    members = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return bool(members) and (not levels or any(_is_deeper(member, levels - 1) for member in members))


def _parse_download(arguments: Mapping[str, Any]) -> dict[str, Any]:
    folder, name = arguments.get("download_to"), arguments.get("name")
    if folder is not None and not _is_text(folder, MAX_PATH):
        raise ConfigurationError(f"download_to must be the path of a folder of the workers, not {folder!r:.80}")
    if name is not None:
        FilenameTemplate(name)
    return {"download_to": folder, "name": name}
