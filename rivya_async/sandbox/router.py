"""Which operation a method and a path mean. Pure."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from .api_error import ApiError
from .responses import ApiResponse

_NOTHING: Mapping[str, str] = MappingProxyType({})


@attrs.frozen
class Route:
    """One operation. `name` is method and path, such as "GET /api/v1/generations/{task_id}"; `scope` None is public."""

    name: str
    scope: str | None
    operation: Callable[..., Awaitable[ApiResponse]] = attrs.field(repr=False)

    @property
    def method(self) -> str:
        """Such as GET or POST."""
        return self.name.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path with its arguments in braces."""
        return self.name.partition(" ")[2]


class Router:
    """All routes, ready to be looked up: plain paths in a dictionary, paths with arguments by expression."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._plain = {(route.method, route.path): route for route in self.routes if "{" not in route.path}
        self._patterns = [(_expression(route.path), route) for route in self.routes if "{" in route.path]

    def find(self, method: str, path: str) -> tuple[Route | None, Mapping[str, str]]:
        """The route and its arguments; None and nothing if there is no such operation."""
        plain = self._plain.get((method, path))
        if plain is not None:
            return plain, _NOTHING
        for expression, route in self._patterns:
            found = expression.fullmatch(path)
            if found and route.method == method:
                return route, found.groupdict()
        return None, _NOTHING

    def complaint(self, path: str) -> ApiError:
        """Why there was no route for this path: it is unknown, or the method is wrong."""
        allowed = {route.method for route in self.routes if _expression(route.path).fullmatch(path)}
        if not allowed:
            return ApiError("not_found", "There is no such path in this API.")
        allow = {"Allow": ", ".join(sorted(allowed))}
        return ApiError("method_not_allowed", f"This path takes {allow['Allow']}.", headers=allow)


def _expression(path: str) -> re.Pattern[Any]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))
