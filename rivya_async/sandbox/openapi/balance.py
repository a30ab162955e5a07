"""Credits in the document."""

from __future__ import annotations

from typing import Final

from .operation import Operation, answer
from .schema import COUNT, record, ref

SCHEMAS: Final = {"Credits": record(current_credits=COUNT)}

OPERATIONS: Final = {
    "GET /api/v1/credits": Operation(
        "getCredits", "What the account can spend.", answer("The balance.", ref("Credits"))
    ),
}
