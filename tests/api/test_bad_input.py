"""Every bad request is answered clearly: never a 500, never with what was sent, and leaving nothing behind."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from footprint.store import Store
from footprint.store.tables import Asset, Scan

NOBODYS = UUID("8c0f2f4e-6d3b-4b5a-9a53-5f0c1d2e3a4b")
"""The id of nothing."""

GOOD = {"target": "127.0.0.1", "policy": "quick"}
ROUTES = ["scans", "assets", "policies", "modules"]


def _rows(store: Store) -> int:
    with store.read() as session:
        return sum(session.scalar(select(func.count()).select_from(table)) or 0 for table in (Scan, Asset))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "header", [None, "", "Token", "Token ", "Token wrong", "Bearer {token}", "{token}", "token {token}"]
)
def test_without_a_valid_token_nothing_is_answered(
    anyone: TestClient, token: str, route: str, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header.format(token=token)}
    answer = anyone.get(f"/api/{route}/", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Token"
    assert answer.json()["error"] == "unauthorized"


def test_every_route_but_health_and_the_description_needs_a_token(anyone: TestClient) -> None:
    paths = anyone.get("/openapi.json").json()["paths"]
    asked = 0
    for path, methods in paths.items():
        for method in methods:
            url = path.replace("{scan_id}", str(uuid4())).replace("{asset_id}", str(uuid4())).replace("{name}", "quick")
            status = anyone.request(method, url).status_code
            assert status == (200 if path == "/api/health/" else 401), path
            asked += 1
    assert asked >= 15


@pytest.mark.parametrize(
    "target",
    ["-iL/etc/passwd", "0177.0.0.1", "localhost", "http://a.example/", "a.example;id", "127.0.0.1/8", "", "a" * 1000],
)
def test_what_is_no_target_is_refused_without_repeating_it(client: TestClient, opened: Store, target: str) -> None:
    answer = client.post("/api/scans/", json={**GOOD, "target": target})
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_target")
    assert not target or target not in answer.text
    assert _rows(opened) == 0


@pytest.mark.parametrize(
    "target", ["10.0.0.1", "169.254.169.254", "224.0.0.1", "::1", "127.0.9.9", "www.never.example", "127.0.0.0/17"]
)
def test_what_may_not_be_touched_is_refused(client: TestClient, opened: Store, target: str) -> None:
    answer = client.post("/api/scans/", json={**GOOD, "target": target})
    assert (answer.status_code, answer.json()["error"]) == (422, "target_refused")
    assert _rows(opened) == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({**GOOD, "policy": "no such policy"}, 422),
        ({**GOOD, "extra<script>": 1}, 422),
        ({**GOOD, "target": 5}, 422),
        ({**GOOD, "target": None}, 422),
        ({**GOOD, "comment": ["x"]}, 422),
        ({**GOOD, "comment": "x" * 1001}, 422),
        ({**GOOD, "comment": "two\nlines"}, 422),
        ({**GOOD, "comment": "nul\x00"}, 422),
        ({**GOOD, "comment": "turned \u202e round"}, 422),
        ({**GOOD, "target": {"__prefect_kind": "jinja", "template": "{{ 1 }}"}}, 422),
        ([GOOD], 422),
        ("text", 422),
        (None, 422),
    ],
)
def test_bodies_of_the_wrong_shape(client: TestClient, opened: Store, body: object, status: int) -> None:
    answer = client.post("/api/scans/", json=body)
    assert answer.status_code == status
    assert set(answer.json()) <= {"error", "detail", "hint", "fields"}
    assert "script" not in answer.text
    assert _rows(opened) == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"target": "127.0.0.1", "target": "127.0.0.2"}',
        b'{"target": NaN}',
        b'{"target": Infinity}',
        b'{"target": 1e400}',
        b'{"target": "\\ud800"}',
        b'{"target": "\xff"}',
        b"[" * 50_000,
        b'{"target": ' + b"1" * 10_000 + b"}",
    ],
)
def test_what_is_not_strict_json(client: TestClient, raw: bytes) -> None:
    answer = client.post("/api/scans/", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_a_body_that_is_not_called_json(client: TestClient, kind: str) -> None:
    answer = client.post("/api/scans/", content=json.dumps(GOOD), headers={"Content-Type": kind})
    assert answer.status_code == 422


def test_bodies_and_addresses_that_are_too_long(client: TestClient) -> None:
    large = json.dumps({**GOOD, "comment": "x" * 70_000})
    assert client.post("/api/scans/", content=large, headers={"Content-Type": "application/json"}).status_code == 413
    pieces = (large[at : at + 1000].encode() for at in range(0, len(large), 1000))
    streamed = client.post("/api/scans/", content=pieces, headers={"Content-Type": "application/json"})
    assert streamed.status_code == 413
    assert client.get("/api/scans/", params={"target": "x" * 5000}).status_code == 414


def test_a_length_that_is_no_length(client: TestClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": "9" * 5000}
    assert client.post("/api/scans/", content=b"{}", headers=headers).status_code == 413


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256])
def test_keys_that_are_none(client: TestClient, key: str) -> None:
    assert client.post("/api/scans/", json=GOOD, headers={"Idempotency-Key": key.encode()}).status_code == 422


@pytest.mark.parametrize("noun", ["scans", "assets"])
@pytest.mark.parametrize("given", ["1", "x", "..", str(NOBODYS).upper(), NOBODYS.hex, f"{{{NOBODYS}}}", str(NOBODYS)])
def test_ids_that_are_none(client: TestClient, noun: str, given: str) -> None:
    answer = client.get(f"/api/{noun}/{given}/")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


@pytest.mark.parametrize("part", ["domains", "hosts", "services", "findings"])
@pytest.mark.parametrize("noun", ["scans", "assets"])
def test_parts_of_what_is_not_there(client: TestClient, noun: str, part: str) -> None:
    assert client.get(f"/api/{noun}/{uuid4()}/{part}/").status_code == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"page": "0"}, 422),
        ({"page": "-1"}, 422),
        ({"page": "x"}, 422),
        ({"page": "9" * 30}, 422),
        ({"page_size": "0"}, 422),
        ({"page_size": "101"}, 422),
        ({"status": "UNKNOWN"}, 422),
        ({"target": "\x00"}, 422),
        ({"page": "2"}, 404),
        ({"page_size": "100"}, 200),
        ({"status": "FAILURE"}, 200),
    ],
)
def test_pages_are_bounded(client: TestClient, query: dict[str, str], status: int) -> None:
    assert client.get("/api/scans/", params=query).status_code == status


def test_methods_that_a_route_does_not_have(client: TestClient) -> None:
    answer = client.delete("/api/modules/")
    assert (answer.status_code, answer.json()["error"]) == (405, "method_not_allowed")
