"""A service at an address: the real one, a sandbox, or a server of your own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, Final

import aiohttp
import attrs

from ...session import RivyaSession
from .service import CannotTell, Maker, Question, Reply, Service, Upload

REQUEST_TIMEOUT: Final = 60.0
PAUSE: Final = 3.0


def over_http(base_url: str, api_key: str, *, pause: float = PAUSE) -> Maker:
    """Opens the service at this address, such as "https://rivya.ai" or that of a `Sandbox`.

    `pause`: seconds between two looks at a job. Checks that `spend` buy there.

    >>> async def main():
    ...     async with Sandbox(speed=1e5) as sandbox:
    ...         await contract.balance.whole(contract.over_http(sandbox.base_url, sandbox.api_key))
    >>> asyncio.run(main())
    """

    @asynccontextmanager
    async def opened() -> AsyncIterator[Service]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(REQUEST_TIMEOUT)) as http:
            wire = _Http(base_url.rstrip("/").removesuffix("/api/v1"), api_key, http)
            async with aclosing(Service(wire, api_key, pause)) as service:
                yield service

    return opened


@attrs.frozen
class _Http:
    base_url: str
    api_key: str = attrs.field(repr=False)
    http: aiohttp.ClientSession = attrs.field(repr=False)
    sees_keys: bool = True

    async def send(self, question: Question) -> Reply:
        data = question.body if question.upload is None else _form(question.upload)
        asked = self.http.request(
            question.method,
            f"{self.base_url}{question.path}",
            headers={**question.headers, **({"Authorization": f"Bearer {question.key}"} if question.key else {})},
            data=data,
            allow_redirects=False,
        )
        return await _reply(f"{question.method} {question.path}", asked)

    async def fetch(self, url: str) -> Reply:
        return await _reply(f"GET {url}", self.http.get(url))

    def session(self, **options: Any) -> RivyaSession:
        return RivyaSession(self.api_key, base_url=self.base_url, **options)


async def _reply(what: str, asked: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> Reply:
    try:
        async with asked as response:
            return Reply(response.status, response.headers, await response.read())
    except (aiohttp.ClientError, TimeoutError) as error:
        failure = type(error).__name__
    raise CannotTell(f"{what}: {failure}")  # out here: aiohttp's exceptions and frames hold the key


def _form(upload: Upload) -> aiohttp.FormData:
    whole = aiohttp.FormData()
    whole.add_field("file", upload.data, filename=upload.name, content_type="application/octet-stream")
    for field, value in upload.fields.items():
        whole.add_field(field, value)
    return whole
