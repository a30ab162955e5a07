"""Schemathesis asks the sandbox whatever its document allows, and more: each answer is as documented."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

from rivya_async.sandbox.api import ROUTES
from tests.media_kit import media
from tests.sandbox.sandbox_client import running_sandbox

UNCHECKED = (
    "positive_data_acceptance",  # the whose file it is, what an upload holds, where a URL leads: no schema says that
    "use_after_free",  # a revoked webhook can still be read, by assumption
)

CONFIGURATION = """
[[operations]]
include-path = "/results/{{task_id}}/{{name}}"
parameters = {{ "path.task_id" = "{task_id}", "path.name" = "0.png" }}

[[operations]]
include-path = "/files/{{name}}"
parameters = {{ "path.name" = "{upload}" }}

[[operations]]
include-operation-id = "createGeneration"
phases.coverage.enabled = false
"""
"""The files that nothing in the document leads to. To go through each rule of 48 models takes half a minute: the tests
of the models hold them to the document."""


async def test_every_answer_is_as_the_document_says(tmp_path: Path) -> None:
    async with running_sandbox(speed=1e6) as client:
        task_id = await client.submit_task()
        client.clock.now += 3600
        file = await client.request("POST", "/api/v1/files", data={"file": io.BytesIO(media("png")), "kind": "image"})
        upload = file.json["url"].rpartition("/")[2]
        configuration = tmp_path / "schemathesis.toml"
        configuration.write_text(CONFIGURATION.format(task_id=task_id, upload=upload))
        client.sandbox.request_log.clear()

        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            *("--config-file", str(configuration), "run", f"{client.sandbox.base_url}/api/v1/openapi.json"),
            *("--header", f"Authorization: Bearer {client.sandbox.api_key}"),
            *("--checks", "all", "--exclude-checks", ",".join(UNCHECKED)),
            *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "5", "--generation-deterministic"),
            *("--continue-on-failure", "--no-color"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()

        assert process.returncode == 0, told.decode()
        carried_out = {request.route for request in client.sandbox.request_log if request.status == 200}
        assert carried_out == {route.name for route in ROUTES}
