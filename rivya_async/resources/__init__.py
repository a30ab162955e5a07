"""The resources of the API. A resource builds operations and passes them to the engine."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

R = TypeVar("R")


class Resource(Generic[R]):
    """A resource as an attribute of a class.

    An instance stores its own in its `__dict__`. Read on the class, the attribute is the class of the resource, so that
    `unittest.mock.create_autospec` mocks its methods.
    """

    def __init__(self, kind: type[R]) -> None:
        self.kind = kind

    def __get__(self, instance: object | None, owner: type) -> type[R]:
        if instance is not None:  # its `__dict__` is searched first
            raise AttributeError(f"{type(instance).__name__!r} object was not initialised")
        return self.kind


def resource(kind: type[R]) -> R:
    """Returns a `Resource` of this class. Its type is that of the object that replaces it in an instance."""
    return cast("R", Resource(kind))
