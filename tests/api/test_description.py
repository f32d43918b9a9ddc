"""What the API says of itself is true."""

from __future__ import annotations

from fastapi.testclient import TestClient

from api.schemas import SCAN_EXAMPLE, ScanOut, ScanRequest


def test_the_examples_are_of_the_shape_they_show() -> None:
    ScanOut.model_validate(SCAN_EXAMPLE)
    for example in ScanRequest.model_json_schema()["examples"]:
        ScanRequest.model_validate(example)


def test_every_route_says_what_it_does_and_what_it_may_answer(anyone: TestClient) -> None:
    paths = anyone.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for said in methods.values():
            assert said["description"], path
            if path != "/api/health/":
                assert {"401", "422", "503"} <= set(said["responses"]), path
                assert said["security"] == [{"APIKeyHeader": []}], path
