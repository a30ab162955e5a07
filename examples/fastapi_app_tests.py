"""Tests of `fastapi_app.py`, in memory: no key, no network, no waiting.

pytest examples/fastapi_app_tests.py
"""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from examples import fastapi_app
from rivya_async.testing import FakeService, FakeTransport


@pytest.fixture
def fake() -> FakeTransport:
    return FakeTransport(FakeService())


@pytest.fixture
def client(fake: FakeTransport, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(fastapi_app, "RivyaSession", fake.session)
    with TestClient(fastapi_app.app) as running:  # `with` runs the lifespan, which opens the session
        yield running


def test_picture_is_made(client: TestClient, fake: FakeTransport) -> None:
    response = client.post("/pictures", json={"prompt": "A red kite"})
    assert response.status_code == 200
    assert response.json()["id"].startswith("task_")
    assert [request.method for request in fake.requests].count("POST") == 1


def test_failed_job_is_a_bad_gateway(client: TestClient) -> None:
    assert client.post("/pictures", json={"prompt": "[fail]"}).status_code == 502
