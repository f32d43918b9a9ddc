"""What changed, over the API: a scan against another, an asset since a time, its lists as of a date."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from footprint.records import DomainName, Service
from footprint.store import Store
from footprint.store.scans import Begun
from tests.footprint.test_differences import (
    ADDRESS,
    HERE,
    KNOWN,
    LEAK,
    NAMED,
    NEW,
    PROBED,
    SITE,
    SWEPT,
    WEB,
    asked,
    scanned,
)

PORTS = [Service(ADDRESS, port) for port in range(1000, 1012)]


@pytest.fixture
def scans(opened: Store) -> list[Begun]:
    """Three scans: of the second one port and its finding were gone, in the third a version changed."""
    return [
        scanned(opened, NAMED, SWEPT, KNOWN, PROBED),
        scanned(opened, NAMED, asked("nmap", HERE, HERE, *PORTS[:1])),
        scanned(opened, NAMED, SWEPT, asked("nmap", WEB, replace(WEB, version="1.22.1")), PROBED),
    ]


def diff(client: TestClient, scan: Begun, **params: Any) -> Any:
    answer = client.get(f"/api/scans/{scan.id}/diff/", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_scan_is_compared_with_the_one_before(client: TestClient, scans: list[Begun]) -> None:
    said = diff(client, scans[1])
    assert said["scan"] == str(scans[1].id)
    assert (said["against"]["id"], said["against"]["policy"]) == (str(scans[0].id), "mine")
    assert said["counts"] == {
        "services": {"new": 1, "back": 0, "changed": 0, "gone": 1, "not_looked_at": 0},
        "findings": {"new": 0, "back": 0, "changed": 0, "gone": 1, "not_looked_at": 0},
    }
    new, gone, finding = said["results"]
    assert (new["change"], new["subject"], new["fields"]) == ("new", f"{ADDRESS}:1000/tcp", [])
    assert gone == {
        "change": "gone",
        "kind": "service",
        "subject": f"{ADDRESS}:443/tcp",
        "title": None,
        "severity": None,
        "fields": [],
        "reason": f"nmap at {ADDRESS}: answered",
    }
    assert (finding["title"], finding["severity"]) == (LEAK.title, "high")


def test_fields_are_told_from_what_to_what_against_a_scan_that_is_named(client: TestClient, scans: list[Begun]) -> None:
    said = diff(client, scans[2], against=str(scans[0].id))
    assert said["counts"] == {"services": {"new": 0, "back": 0, "changed": 1, "gone": 0, "not_looked_at": 0}}
    assert said["results"][0]["fields"] == [{"field": "version", "before": "1.18.0", "after": "1.22.1"}]
    assert {each["change"] for each in diff(client, scans[2])["results"]} == {"back", "gone"}


def test_differences_come_in_pages_and_by_change(client: TestClient, opened: Store) -> None:
    scanned(opened, NAMED, asked("nmap", HERE, HERE))
    scan = scanned(opened, NAMED, asked("nmap", HERE, HERE, *PORTS))
    first = diff(client, scan)
    assert (first["count"], len(first["results"]), first["counts"]["services"]["new"]) == (12, 10, 12)
    second = client.get(first["next"]).json()
    assert len(second["results"]) == 2
    assert diff(client, scan, change="gone")["results"] == []
    assert client.get(f"/api/scans/{scan.id}/diff/?page=3").status_code == 404


def test_what_cannot_be_compared_is_said_in_a_sentence(client: TestClient, opened: Store, scans: list[Begun]) -> None:
    other = scanned(opened, NAMED, new=replace(NEW, target=DomainName("other.test")))
    for scan, against, code, said in (
        (scans[0].id, None, 404, "no earlier scan to compare with"),
        (scans[0].id, scans[1].id, 409, "asked for before it"),
        (other.id, scans[0].id, 409, "different assets"),
        (scans[1].id, uuid4(), 404, "no scan of that id"),
        (scans[1].id, str(scans[0].id).upper(), 404, "nothing of that id"),
        (scans[1].id, "1", 404, "nothing of that id"),
        (uuid4(), None, 404, "no scan of that id"),
    ):
        answer = client.get(f"/api/scans/{scan}/diff/", params={"against": str(against)} if against else {})
        assert (answer.status_code, said in answer.json()["detail"]) == (code, True), answer.text
    assert client.get(f"/api/scans/{scans[1].id}/diff/?change=odd").status_code == 422


def test_the_changes_of_an_asset_are_told_since_a_time(client: TestClient, scans: list[Begun]) -> None:
    url = f"/api/assets/{scans[0].asset_id}/changes/"
    rows = client.get(url).json()["results"]
    assert [(row["change"], row["kind"]) for row in rows] == [
        ("back", "finding"),
        ("back", "service"),
        ("gone", "service"),
        ("gone", "finding"),
        ("gone", "service"),
        ("new", "service"),
    ]
    assert {row["scan"] for row in rows} == {str(scans[1].id), str(scans[2].id)}
    assert (rows[0]["severity"], rows[1]["fields"][0]["field"]) == ("high", "version")
    since = client.get(url, params={"since": rows[-1]["at"]}).json()
    assert since["count"] == 3
    assert client.get(url, params={"since": "2026-01-01"}).status_code == 422
    assert client.get(f"/api/assets/{uuid4()}/changes/").status_code == 404


def test_an_accepted_finding_stays_marked_until_it_comes_back(client: TestClient, opened: Store) -> None:
    around = (NAMED, SWEPT, KNOWN)
    scan = scanned(opened, *around, PROBED)
    url = f"/api/assets/{scan.asset_id}/findings/"
    fingerprint = client.get(url).json()["results"][0]["fingerprint"]
    assert client.patch(f"{url}{fingerprint}/", json={"status": "accepted"}).status_code == 204
    scanned(opened, *around, PROBED)
    assert client.get(url).json()["results"][0]["status"] == "accepted"
    scanned(opened, *around, asked("http_probe", DomainName(SITE)))
    back = scanned(opened, *around, PROBED)
    assert client.get(f"{url}?page_size=20").json()["results"][0]["status"] == "open"
    assert diff(client, back)["results"][0]["change"] == "back"


def test_the_lists_of_an_asset_are_read_as_of_a_date(client: TestClient, scans: list[Begun]) -> None:
    url = f"/api/assets/{scans[0].asset_id}"
    ended = [client.get(f"/api/scans/{scan.id}/").json()["finished_at"] for scan in scans]
    for noun, counts in (
        ("domains", [1, 1, 1]),
        ("hosts", [1, 1, 1]),
        ("services", [1, 1, 1]),
        ("findings", [1, 0, 1]),
    ):
        for at, count in zip(ended, counts, strict=True):
            assert client.get(f"{url}/{noun}/", params={"as_of": at}).json()["count"] == count, (noun, at)
        assert client.get(f"{url}/{noun}/", params={"as_of": "2026-01-01T00:00:00"}).status_code == 422
    ports = [client.get(f"{url}/services/", params={"as_of": at}).json()["results"][0]["port"] for at in ended]
    assert ports == [443, 1000, 443]
    assert client.get(f"{url}/services/").json()["count"] == 2
