"""While Prefect is away: a request is refused whole, and everything that is known can still be read."""

from __future__ import annotations

import time
from uuid import uuid4

from fastapi.testclient import TestClient
from sqlalchemy import func, select

from footprint.admission import admit
from footprint.records import Service
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.scans import begin, insert_scan
from footprint.store.tables import Scan
from footprint.store.units import Settlement, Unit, begin_unit, plan_unit, settle_unit
from footprint.verdict import UnitStatus


def test_a_request_is_answered_503_and_leaves_nothing_half_made(client: TestClient, opened: Store) -> None:
    for key in ({}, {"Idempotency-Key": "again"}, {"Idempotency-Key": "again"}):
        answer = client.post("/api/scans/", json={"target": "127.0.0.1"}, headers=key)
        assert (answer.status_code, answer.json()["error"]) == (503, "prefect_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    with opened.read() as session:
        assert session.scalar(select(func.count()).select_from(Scan)) == 0


def test_what_is_known_is_read_without_waiting(client: TestClient, opened: Store, settings: Settings) -> None:
    with opened.write() as session:
        asked = admit(settings, target="127.0.0.1", policy="quick", comment="kept", origin="api")
        scan = begin(session, insert_scan(session, asked)[0].id, uuid4())
        unit = plan_unit(session, scan.id, scan.attempt, Unit("nmap", 1, 0, ()))
        begin_unit(session, scan.id, scan.attempt, "nmap", 1)
        found = (Service("127.0.0.1", 22, product="OpenSSH"),)
        settle_unit(session, scan.id, scan.attempt, unit, Settlement(UnitStatus.DONE, records=found))
    began = time.monotonic()
    shown = client.get(f"/api/scans/{scan.id}/").json()
    services = client.get(f"/api/scans/{scan.id}/services/").json()
    assert time.monotonic() - began < 2
    assert (shown["status"], shown["comment"], shown["counts"]["services"]) == ("STARTED", "kept", 1)
    assert [(service["port"], service["product"]) for service in services["results"]] == [(22, "OpenSSH")]
    assert client.get("/api/scans/").json()["count"] == 1
    asset = client.get("/api/assets/").json()["results"][0]
    assert asset["roots"] == [{"kind": "host", "value": "127.0.0.1"}]
    assert client.get(f"/api/assets/{asset['id']}/services/").json()["count"] == 1


def test_health_names_what_is_away(client: TestClient) -> None:
    until = time.monotonic() + 10
    while (health := client.get("/api/health/").json())["parts"][2]["detail"] == "not asked yet":
        assert time.monotonic() < until
        time.sleep(0.1)
    states = {part["name"]: part["status"] for part in health["parts"]}
    assert health["status"] == "degraded"
    away = {"prefect": "fail", "prefect_auth": "warn", "pool": "warn", "workers": "warn", "schedules": "warn"}
    well = (
        "api",
        "store",
        "migrations",
        "clock",
        "disk",
        "stuck_scans",
        "leftovers",
        "notifications",
        "backup",
        "cleanup",
        "quarantine",
    )
    own = dict.fromkeys(well, "ok")
    assert states == own | away | {"feeds": "warn"}
    assert all(part["remedy"] for part in health["parts"] if part["status"] == "fail")


def test_the_page_of_the_api_needs_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs")
    assert "http" not in page.text.replace("http-equiv", "")
    for line in page.text.split('"'):
        if line.startswith("/docs/assets/"):
            assert client.get(line).status_code == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert client.get("/openapi.json").json()["openapi"].startswith("3.1")
    # Swagger UI 4 answers 3.1 with an error page; what renders it in 5 is called so.
    assert "OAS31" in client.get("/docs/assets/swagger-ui-bundle.js").text
