"""A check: one statement of the API contract, and a function that raises AssertionError where a service differs."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from types import NoneType
from typing import Any, Final, Literal

import attrs

from .service import Response, Service, ServiceFactory

Confidence = Literal["documented", "inferred", "assumed"]
"""Source of a statement: a public page, a conclusion from public pages, or an assumption."""

CheckFunction = Callable[[Service], Awaitable[None]]
CheckDecorator = Callable[[CheckFunction], "Check"]

STRING: Final = (str,)
NUMBER: Final = (int, float)
INTEGER: Final = (int,)
BOOLEAN: Final = (bool,)
ARRAY: Final = (list,)
OBJECT: Final = (dict,)
NULLABLE_STRING: Final = (str, NoneType)
NULLABLE_NUMBER: Final = (int, float, NoneType)
NULLABLE_OBJECT: Final = (dict, NoneType)

MAX_QUOTED_CHARS: Final = 300
"""Characters of a response that an assertion message quotes."""

SECRET_PATTERN: Final = re.compile(r"((?:whsec|rvya_sk|dur)_)[\w.+/=-]+|(?<=token\": \")[^\"]+")


@attrs.frozen
class Check:
    """One statement of the contract: its section, its confidence, and the purchases that it makes at most.

    `max_priced_images` are images of a model whose price depends on a param.
    """

    function: CheckFunction = attrs.field(repr=False)
    group: str
    section: str
    confidence: Confidence
    max_images: int
    max_chat_turns: int
    max_priced_images: int = 0

    @property
    def name(self) -> str:
        """Qualified name such as "webhooks.created_endpoint"."""
        return f"{self.group}.{self.function.__name__}"

    @property
    def statement(self) -> str:
        """First line of the function's docstring."""
        return (self.function.__doc__ or self.name).splitlines()[0]

    @property
    def may_spend(self) -> bool:
        """True if the check can cost credits, also at a service that accepts more than the contract says."""
        return self.max_images + self.max_chat_turns + self.max_priced_images > 0

    async def __call__(self, factory: ServiceFactory) -> None:
        """Opens a service and runs the check. Raises AssertionError or `Inconclusive`."""
        async with factory() as service:
            await self.run(service)

    async def run(self, service: Service) -> None:
        """Runs the check on an open service. Checks of the same service share their purchases."""
        try:
            await self.function(service)
        except AssertionError as error:
            raise AssertionError(f"contract section {self.section} ({self.confidence}): {error}") from error.__cause__
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            details = f"unexpected response structure: {type(error).__name__}: {format_value(str(error))}"
            raise AssertionError(f"contract section {self.section} ({self.confidence}): {details}") from error


class CheckGroup(list[Check]):
    """The checks of one resource, in definition order."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def documented(self, section: str, *, max_images: int = 0, max_chat_turns: int = 0) -> CheckDecorator:
        """Registers a check of a documented statement."""
        return self._register(section, "documented", max_images, max_chat_turns)

    def inferred(self, section: str, *, max_images: int = 0, max_chat_turns: int = 0) -> CheckDecorator:
        """Registers a check of a statement that follows from the documentation."""
        return self._register(section, "inferred", max_images, max_chat_turns)

    def assumed(
        self, section: str, *, max_images: int = 0, max_chat_turns: int = 0, max_priced_images: int = 0
    ) -> CheckDecorator:
        """Registers a check of an assumption."""
        return self._register(section, "assumed", max_images, max_chat_turns, max_priced_images)

    def _register(self, section: str, confidence: Confidence, *purchases: int) -> CheckDecorator:
        def register(function: CheckFunction) -> Check:
            check = Check(function, self.name, section, confidence, *purchases)
            self.append(check)
            return check

        return register


def expect(condition: object, expected: str, actual: object) -> None:
    """Raises AssertionError with both values if the condition is false."""
    if not condition:
        raise AssertionError(f"expected {expected}; got {format_value(actual)}")


def expect_fields(actual: object, fields: Mapping[str, tuple[type, ...]]) -> None:
    """Raises AssertionError unless `actual` is an object with these fields, each of one of its types."""
    if not isinstance(actual, dict):
        message = f"expected an object with {', '.join(fields)}; got {format_value(actual)}"
        raise AssertionError(message)
    wrong = [
        f"{name} {'is missing' if name not in actual else f'is {format_value(actual[name])}'}"
        for name, types in fields.items()
        if name not in actual or type(actual[name]) not in types
    ]
    if wrong:
        raise AssertionError(f"expected {', '.join(fields)}; got {', '.join(sorted(actual))}: {'; '.join(wrong)}")


def expect_list(actual: Any, fields: Mapping[str, tuple[type, ...]]) -> list[Any]:
    """Returns the items of an API list. Raises AssertionError if it is none or its first item lacks a field."""
    expect_fields(actual, {"object": STRING, "data": ARRAY})
    expect(actual["object"] == "list", 'the object "list"', actual["object"])
    items: list[Any] = actual["data"]
    if items:
        expect_fields(items[0], fields)
    return items


def expect_error(response: Response, status: int, code: str) -> None:
    """Raises AssertionError unless the response is an error envelope with this status and code."""
    actual = f"{response.status} {response.raw[:200].decode(errors='replace')}"
    expect(response.status == status and response.code == code, f"{status} {code}", actual)


def expect_success(response: Response, expected: str) -> None:
    """Raises AssertionError unless the status is 2xx."""
    expect(200 <= response.status < 300, expected, f"{response.status} {response.code}")


def format_value(actual: object) -> str:
    """Formats a response for a message: shortened and without secrets."""
    text = SECRET_PATTERN.sub(lambda found: f"{found[1] or ''}...", json.dumps(actual, default=str, ensure_ascii=False))
    return text if len(text) <= MAX_QUOTED_CHARS else f"{text[:MAX_QUOTED_CHARS]}..."
