"""Routes, and the lookup of the route of a method and a path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from .responses import ApiError

_NO_PARAMS: Mapping[str, str] = MappingProxyType({})


@attrs.frozen
class Route:
    """One operation.

    - `name`: method and path, such as "GET /api/v1/generations/{task_id}".
    - `scope`: the scope that the API key needs; None needs no key.
    - `handler`: the attribute path of the handler in `Api`, such as "generations.get".
    """

    name: str
    scope: str | None
    handler: str

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.name.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path with its parameters in braces."""
        return self.name.partition(" ")[2]


class Router:
    """All routes: plain paths in a dictionary, for speed, and paths with parameters as regular expressions."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._patterns = [(_compile_path(route.path), route) for route in routes]
        self._plain = {(route.method, route.path): route for _, route in self._patterns if "{" not in route.path}

    def resolve(self, method: str, path: str) -> tuple[Route | None, Mapping[str, str]]:
        """Returns the route and its path parameters; None and no parameters without a route."""
        plain = self._plain.get((method, path))
        if plain is not None:
            return plain, _NO_PARAMS
        for pattern, route in self._patterns:
            if route.method == method and (match := pattern.fullmatch(path)):
                return route, match.groupdict()
        return None, _NO_PARAMS

    def unresolved_error(self, path: str) -> ApiError:
        """Returns the error for a path without a route: it is unknown, or has other methods."""
        methods = ", ".join(sorted({route.method for pattern, route in self._patterns if pattern.fullmatch(path)}))
        if not methods:
            return ApiError("not_found", "There is no such path in this API.")
        return ApiError("method_not_allowed", f"This path accepts {methods}.", headers={"Allow": methods})


def _compile_path(path: str) -> re.Pattern[Any]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))
