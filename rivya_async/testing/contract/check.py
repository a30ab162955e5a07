"""A check: one statement of the contract, and a function that raises AssertionError where a service differs."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from types import NoneType
from typing import Any, Final, Literal

import attrs

from .service import Maker, Service

Mark = Literal["documented", "inferred", "assumed"]
"""How sure we are: a public page says so, it follows from what pages say, or it is our choice."""

Function = Callable[[Service], Awaitable[None]]

TEXT: Final = (str,)
NUMBER: Final = (int, float)
WHOLE: Final = (int,)
FLAG: Final = (bool,)
LIST: Final = (list,)
OBJECT: Final = (dict,)
MAYBE_TEXT: Final = (str, NoneType)
MAYBE_NUMBER: Final = (int, float, NoneType)
MAYBE_OBJECT: Final = (dict, NoneType)

LONGEST: Final = 300
"""Characters of an answer that a complaint quotes."""

SECRETS: Final = re.compile(r"((?:whsec|rvya_sk|dur)_)[\w.+/=-]+|(?<=token\": \")[^\"]+")


@attrs.frozen
class Check:
    """One statement: where the contract makes it, how sure we are, what it buys at most. Called with a maker.

    >>> check = contract.generations.an_unknown_job
    >>> print(check.name, check.section, check.mark, check.statement)
    generations.an_unknown_job 7 documented A job that does not exist is 404 not_found.
    >>> everything_is_fine = FakeTransport(lambda request: {})
    >>> asyncio.run(check(contract.in_memory(everything_is_fine)))
    Traceback (most recent call last):
    ...
    AssertionError: contract section 7 (documented): expected 404 not_found; came "200 {}"
    """

    function: Function = attrs.field(repr=False)
    section: str
    mark: Mark
    images: int
    turns: int

    @property
    def name(self) -> str:
        """Such as "webhooks.created"."""
        return f"{self.function.__module__.rpartition('.')[2]}.{self.function.__name__}"

    __name__ = name  # what pytest calls a parameter

    @property
    def statement(self) -> str:
        """What is claimed."""
        return (self.function.__doc__ or self.name).splitlines()[0]

    @property
    def spends(self) -> bool:
        """Whether it may cost credits, of a service as we know it or of a laxer one."""
        return self.images + self.turns > 0

    async def __call__(self, maker: Maker) -> None:
        """Open a service and hold it to the statement.

        AssertionError where it differs, `CannotTell` where it did not let itself be asked.
        """
        async with maker() as service:
            await self.hold(service)

    async def hold(self, service: Service) -> None:
        """As a call, of a service that is open: checks that hold the same one share what they buy, one job at most."""
        try:
            await self.function(service)
        except AssertionError as error:
            raise AssertionError(f"contract section {self.section} ({self.mark}): {error}") from error.__cause__
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            told = f"an answer of another shape: {type(error).__name__}: {quoted(str(error))}"
            raise AssertionError(f"contract section {self.section} ({self.mark}): {told}") from error


class Checks(Collection[Check]):
    """The checks of one noun, in the order in which they are written."""

    def __init__(self) -> None:
        self._all: list[Check] = []

    def __iter__(self) -> Iterator[Check]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, check: object) -> bool:
        return check in self._all

    def documented(self, section: str, *, images: int = 0, turns: int = 0) -> Callable[[Function], Check]:
        """A public page says so."""
        return self._adder(section, "documented", images, turns)

    def inferred(self, section: str, *, images: int = 0, turns: int = 0) -> Callable[[Function], Check]:
        """It follows from what the pages say."""
        return self._adder(section, "inferred", images, turns)

    def assumed(self, section: str, *, images: int = 0, turns: int = 0) -> Callable[[Function], Check]:
        """We chose it, because no page says anything."""
        return self._adder(section, "assumed", images, turns)

    def _adder(self, section: str, mark: Mark, images: int, turns: int) -> Callable[[Function], Check]:
        def add(function: Function) -> Check:
            check = Check(function, section, mark, images, turns)
            self._all.append(check)
            return check

        return add


def expect(holds: object, expected: str, came: object) -> None:
    """AssertionError that says both, unless it holds."""
    if not holds:
        raise AssertionError(f"expected {expected}; came {quoted(came)}")


def expect_members(came: object, members: Mapping[str, tuple[type, ...]]) -> None:
    """AssertionError unless this is an object with these members, each of one of these types."""
    if not isinstance(came, dict):
        complaint = f"expected an object with {', '.join(members)}; came {quoted(came)}"
        raise AssertionError(complaint)  # noqa: TRY004 - it is what came that is wrong
    wrong = [
        f"{name} {'is missing' if name not in came else f'is {quoted(came[name])}'}"
        for name, types in members.items()
        if name not in came or type(came[name]) not in types
    ]
    if wrong:
        raise AssertionError(f"expected {', '.join(members)}; came {', '.join(sorted(came))}: {'; '.join(wrong)}")


def expect_list(came: Any, members: Mapping[str, tuple[type, ...]]) -> list[Any]:
    """The items of a list of the API; AssertionError unless it is one, and its first item has these members."""
    expect_members(came, {"object": TEXT, "data": LIST})
    expect(came["object"] == "list", 'the object "list"', came["object"])
    items: list[Any] = came["data"]
    if items:
        expect_members(items[0], members)
    return items


def quoted(came: object) -> str:
    """An answer as a complaint quotes it: short, and without secrets."""
    text = SECRETS.sub(lambda found: f"{found[1] or ''}...", json.dumps(came, default=str, ensure_ascii=False))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
