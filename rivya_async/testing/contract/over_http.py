"""A service at an address: the real one, a sandbox, or a server of your own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
            service = Service(wire, api_key, pause)
            try:
                yield service
            finally:
                await service.aclose()

    return opened


@attrs.frozen
class _Http:
    base_url: str
    api_key: str = attrs.field(repr=False)
    http: aiohttp.ClientSession = attrs.field(repr=False)
    sees_keys: bool = True

    async def send(self, question: Question) -> Reply:
        own = {"Authorization": f"Bearer {question.key}"} if question.key else {}
        data = question.body if question.upload is None else _form(question.upload)
        return await self._asked(
            question.method, question.path, self.base_url, {**own, **question.headers}, data, allow_redirects=False
        )

    async def fetch(self, url: str) -> Reply:
        return await self._asked("GET", url, "", {}, None, allow_redirects=True)

    def session(self, **options: Any) -> RivyaSession:
        return RivyaSession(self.api_key, base_url=self.base_url, **options)

    async def _asked(
        self, method: str, path: str, origin: str, headers: dict[str, str], data: Any, *, allow_redirects: bool
    ) -> Reply:
        try:
            async with self.http.request(
                method, f"{origin}{path}", headers=headers, data=data, allow_redirects=allow_redirects
            ) as response:
                return Reply(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CannotTell(f"{method} {path}: {type(error).__name__}") from error


def _form(upload: Upload) -> aiohttp.FormData:
    whole = aiohttp.FormData()
    whole.add_field("file", upload.data, filename=upload.name, content_type="application/octet-stream")
    for field, value in upload.fields.items():
        whole.add_field(field, value)
    return whole
