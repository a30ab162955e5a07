"""Schemathesis sends valid and invalid requests to the sandbox: every response is as documented."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

from rivya_async.sandbox.api import ROUTES
from tests.media_kit import media
from tests.sandbox.sandbox_client import running_sandbox

UNCHECKED = (
    "positive_data_acceptance",  # a schema cannot state the content of an upload or the target of a URL
    "use_after_free",  # assumption: a revoked webhook can still be read
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
"""Paths of files, which no operation of the document returns. Coverage of `createGeneration` is off because every rule
of 51 models takes half a minute; `tests/models` compares these rules with the document."""


async def test_every_response_is_as_documented(tmp_path: Path) -> None:
    async with running_sandbox(speed=1e6) as on:
        task_id = await on.submit_task()
        on.clock.now += 3600
        file = await on.request("POST", "/api/v1/files", data={"file": io.BytesIO(media("png")), "kind": "image"})
        upload = file.json["url"].rpartition("/")[2]
        configuration = tmp_path / "schemathesis.toml"
        configuration.write_text(CONFIGURATION.format(task_id=task_id, upload=upload))
        on.sandbox.request_log.clear()

        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("schemathesis")),
            *("--config-file", str(configuration), "run", f"{on.sandbox.base_url}/api/v1/openapi.json"),
            *("--header", f"Authorization: Bearer {on.sandbox.api_key}"),
            *("--checks", "all", "--exclude-checks", ",".join(UNCHECKED)),
            *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "5", "--generation-deterministic"),
            *("--continue-on-failure", "--no-color"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()

        assert process.returncode == 0, output.decode()
        succeeded = {request.route for request in on.sandbox.request_log if request.status == 200}
        assert succeeded == {route.name for route in ROUTES}
