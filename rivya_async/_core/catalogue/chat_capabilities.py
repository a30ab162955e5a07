"""What a chat model can do beside talking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from .. import assumptions


@attrs.frozen
class ChatCapabilities:
    """What a chat model can do, as far as the catalogue says [5]: None is what it leaves unsaid.

    `web_search`, `images` (as attachments) and `thoughts` are claims; `reasoning_efforts` are the values that the model
    takes for `reasoning_effort`. The names in the catalogue are an assumption (`from_catalogue`).

    >>> ChatCapabilities.from_catalogue({"web_search": True}).images is None
    True
    """

    web_search: bool | None = None
    images: bool | None = None
    reasoning_efforts: tuple[str, ...] | None = None
    thoughts: bool | None = None

    @classmethod
    def from_catalogue(cls, stated: Mapping[str, Any] | None) -> ChatCapabilities:
        """Read `chat_capabilities`; a member of another shape counts as unsaid."""
        told = stated or {}
        efforts = told.get(assumptions.CHAT_EFFORTS)
        return cls(
            web_search=_read_capability(told.get(assumptions.CHAT_WEB_SEARCH)),
            images=_read_capability(told.get(assumptions.CHAT_IMAGES)),
            reasoning_efforts=tuple(effort for effort in efforts if isinstance(effort, str))
            if isinstance(efforts, list | tuple)
            else None,
            thoughts=_read_capability(told.get(assumptions.CHAT_THOUGHTS)),
        )


def _read_capability(value: object) -> bool | None:
    return value if isinstance(value, bool) else None
