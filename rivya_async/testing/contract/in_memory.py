"""A service that is one function."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final

import attrs

from ..._core.errors import RivyaError
from ...session import RivyaSession
from ..fake_transport import API_KEY, FakeRequest, FakeTransport
from .service import CannotTell, Maker, Question, Reply, Service

PAUSE: Final = 0.01


def in_memory(fake: FakeTransport, *, pause: float = PAUSE) -> Maker:
    """Opens the service that the function of this `FakeTransport` is; what was asked is kept in its `requests`.

    `pause`: seconds between two looks at a job. A function sees no API keys: the checks of `contract.keys` raise
    `CannotTell`. What the function raises is a difference, with its traceback.

    >>> def service(request):
    ...     if request.path == "/api/v1/credits":
    ...         return {"current_credits": 7.5}
    ...     return FakeResponse.error(404, "not_found")
    >>> maker = contract.in_memory(FakeTransport(service))
    >>> asyncio.run(contract.balance.shape(maker))
    >>> asyncio.run(contract.balance.whole(maker))
    Traceback (most recent call last):
    ...
    AssertionError: contract section 9 (inferred): ...: current_credits is 7.5
    """
    return lambda: aclosing(Service(_Memory(fake), API_KEY, pause))


@attrs.frozen
class _Memory:
    fake: FakeTransport
    sees_keys: bool = False

    async def send(self, question: Question) -> Reply:
        body, fields = question.body or b"", {}
        if question.upload is not None:
            body, fields = question.upload.data, {**question.upload.fields, "file": question.upload.name}
        key = question.headers.get("Idempotency-Key")
        return await self._asked(
            FakeRequest(question.method, question.path, body, key, fields=fields, headers=question.headers)
        )

    async def fetch(self, url: str) -> Reply:
        return await self._asked(FakeRequest("GET", url))

    def session(self, **options: Any) -> RivyaSession:
        return self.fake.session(**options)

    async def _asked(self, request: FakeRequest) -> Reply:
        try:
            response = await self.fake.ask(request)
        except RivyaError as error:
            raise CannotTell(f"{request.method} {request.path}: {type(error).__name__}") from error
        except Exception as error:
            told = f"{request.method} {request.path}: expected an answer; the function raised {error!r}"
            raise AssertionError(told) from error
        return Reply(response.status, response.headers, response.body)
