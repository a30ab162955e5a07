"""The manual's table of routes is complete: calls send the request, commands parse, tests exist."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

from rivya_async import RivyaSession
from rivya_async.sandbox import Sandbox
from tests.cli.cli_kit import parse
from tests.media_kit import media

ROOT = Path(__file__).parents[2]
ROWS = [
    re.findall(r"`([^`]*)`", line)
    for line in (ROOT / "rivya_async/resources/README.md").read_text().partition("## Every route\n")[2].splitlines()
    if line.startswith("| `")
]

CONTRACT = """
GET /models
GET /openapi.json
POST /generations
GET /generations/{taskId}
POST /files
GET /files/{fileId}
GET /credits
POST /chat/completions
POST /chat/completions/stream
GET /chat/sessions
GET /chat/sessions/{sessionId}
GET /webhooks
POST /webhooks
GET /webhooks/{endpointId}
PATCH /webhooks/{endpointId}
DELETE /webhooks/{endpointId}
POST /webhooks/{endpointId}/rotate-secret
POST /webhooks/{endpointId}/test
GET /webhooks/{endpointId}/deliveries
GET /webhook-events
"""
"""Every documented route (contract section 1)."""


def anonymize(route: str) -> str:
    return re.sub(r"{\w+}", "{}", route)


def test_every_route_has_a_row() -> None:
    assert [row[0] for row in ROWS] == CONTRACT.split("\n")[1:-1]
    assert all(len(row) == 4 for row in ROWS)


async def test_calls_send_the_request_of_their_row() -> None:
    async with Sandbox(speed=1e5) as sandbox, RivyaSession(sandbox.api_key, base_url=sandbox.base_url) as session:
        job = await session.generate("z-image", "A red kite")
        file = await session.files.upload(media("png"))
        endpoint = await session.webhooks.create("Prod", "https://hooks.example.org/rivya", ["generation.failed"])
        turn = await session.chat.completions.create("gpt-5-2-chat", "Hello")
        arguments: Mapping[str, tuple[Any, ...]] = {
            "generations.create": ("z-image", "A red kite"),
            "generations.retrieve": (job.id,),
            "files.upload": (media("png"),),
            "files.retrieve": (file.id,),
            "chat.completions.create": ("gpt-5-2-chat", "Hello"),
            "chat.completions.stream": ("gpt-5-2-chat", "Hello"),
            "chat.sessions.retrieve": (turn.session_id,),
            "webhooks.create": ("Prod", "https://hooks.example.org/rivya", ["generation.failed"]),
            **{
                f"webhooks.{verb}": (endpoint.id,)
                for verb in ("retrieve", "rotate_secret", "test", "deliveries", "delete")
            },
            "webhooks.update": (endpoint.id,),
        }
        for route, call, *_ in sorted(ROWS, key=lambda row: row[0].startswith("DELETE")):  # deletes run last
            name = call.removesuffix("()")
            more = {"name": "New"} if name == "webhooks.update" else {}
            sandbox.request_log.clear()
            called = attrgetter(name)(session)(*arguments.get(name, ()), **more)
            if name.endswith(".stream"):
                async with called as stream:
                    assert "".join([delta async for delta in stream])
            else:
                await called
            method, _, path = route.partition(" ")
            routes = {anonymize(request.route or "") for request in sandbox.request_log}
            assert f"{method} /api/v1{anonymize(path)}" in routes, name


def test_commands_parse() -> None:
    for _, _, command, _ in ROWS:
        parse(*shlex.split(command))


def test_tests_exist() -> None:
    for *_, proof in ROWS:
        path, _, name = proof.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)}, (
            proof
        )
