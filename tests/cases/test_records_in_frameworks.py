"""N11: records are JSON values, and return types and fields in FastAPI and Pydantic."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import Body, FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.testclient import TestClient
from pydantic import BaseModel

from rivya_async import Generation, GenerationRequest, Model
from rivya_async.testing import FakeService, FakeTransport

app = FastAPI()


class Gallery(BaseModel):
    title: str
    jobs: list[Generation]


@app.post("/pictures")
async def create(request: Annotated[GenerationRequest, Body()]) -> Generation:
    async with FakeTransport(FakeService()).session() as session:
        return await session.generate(request)


@app.get("/bare")
async def bare():  # type: ignore[no-untyped-def] # an endpoint without a declared type
    return {"job": Generation("task_1", "queued", "z-image", extra={"new": 1})}


@app.get("/gallery")
async def gallery() -> Gallery:
    return Gallery(title="kites", jobs=[Generation("task_1", "queued", "z-image")])


@app.get("/models")
async def models() -> list[Model]:
    async with FakeTransport(FakeService()).session() as session:
        return await session.models.list()


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(app) as running:
        yield running


def test_endpoint_takes_a_request_and_returns_a_record(client: TestClient) -> None:
    response = client.post("/pictures", json={"model": "z-image", "prompt": "A red kite"})
    assert response.status_code == 200
    assert response.json()["status"] == "succeeded"
    assert response.json()["created_at"].endswith("Z")
    refused = client.post("/pictures", json={"model": "", "prompt": "A red kite"})
    assert refused.status_code == 422
    assert "must be the id of a model" in refused.text


def test_endpoint_without_a_type_returns_a_record(client: TestClient) -> None:
    job = client.get("/bare").json()["job"]
    assert (job["id"], job["created_at"], job["new"]) == ("task_1", None, 1)
    assert jsonable_encoder(Generation("task_1", "queued", "z-image"))["status"] == "queued"


def test_records_are_members_and_items(client: TestClient) -> None:
    assert client.get("/gallery").json()["jobs"][0]["status"] == "queued"
    assert {model["id"] for model in client.get("/models").json()} >= {"z-image"}


def test_openapi_document_names_records(client: TestClient) -> None:
    document: dict[str, Any] = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    post = document["paths"]["/pictures"]["post"]
    assert post["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Generation"
    }
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"].startswith("#/components/schemas/")
    assert schemas["Generation"]["required"] == ["id", "status"]
    assert schemas["Generation"]["properties"]["created_at"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    assert json.dumps(schemas["Gallery"]).count("#/components/schemas/Generation") == 1
    assert "references" in json.dumps(schemas)
