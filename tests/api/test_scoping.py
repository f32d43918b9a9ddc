"""Assets, their scope and their authorisations over the API, and what scans left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from sqlalchemy import func, select

from api.app import create_app
from footprint.admission import admit
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.assets import scope_for
from footprint.store.left_out import keep_left_out
from footprint.store.scans import Begun, begin, insert_scan
from footprint.store.tables import Asset, Scan
from tests.conftest import free_port

SCOPE = {"include": ["127.0.99.0/24", "example.net"], "exclude": ["127.0.88.9", "pay.example.com"]}
CORP = {"name": "Example Corp", "roots": ["example.com", "127.0.88.0/24"], "scope": SCOPE}
QUICK = {"target": "127.0.88.1", "policy": "quick"}
GIVEN = {
    "covers": "127.0.88.0/25",
    "valid_from": "2026-01-01T00:00:00+01:00",
    "valid_until": "2026-07-01T00:00:00Z",
    "granted_by": "Jo Doe, CISO",
    "reference": "order 4711",
    "comment": "",
}


@pytest.fixture
def corp(client: TestClient) -> str:
    """The address of an asset."""
    made = client.post("/api/assets/", json=CORP)
    assert made.status_code == 201
    return f"/api/assets/{made.json()['id']}/"


@pytest.fixture
def strict(opened: Store, settings: Settings, token: str) -> Iterator[TestClient]:
    """The same installation, where active scans need an authorisation."""
    asking = settings.model_copy(update={"require_authorization": True})
    nobody = f"http://127.0.0.1:{free_port()}/api"
    with (
        temporary_settings({PREFECT_API_URL: nobody, PREFECT_CLIENT_MAX_RETRIES: 0}),
        TestClient(create_app(asking), base_url="http://127.0.0.1") as client,
    ):
        client.headers["Authorization"] = f"Token {token}"
        yield client


def _around_now(**changed: object) -> dict[str, object]:
    present = datetime.now(UTC)
    times = {"valid_from": present - timedelta(hours=1), "valid_until": present + timedelta(hours=1)}
    return {**GIVEN, **{name: time.isoformat() for name, time in times.items()}, **changed}


def _begun(opened: Store, settings: Settings, target: str) -> Begun:
    with opened.write() as session:
        found = partial(scope_for, session)
        asked = admit(settings, target=target, policy="quick", comment="", origin="api", scoped=found)
        return begin(session, insert_scan(session, asked)[0].id, uuid4())


def _assets(store: Store) -> int:
    with store.read() as session:
        return session.scalar(select(func.count()).select_from(Asset)) or 0


def test_an_asset_is_described_before_anything_of_it_is_scanned(client: TestClient) -> None:
    made = client.post("/api/assets/", json=CORP)
    shown = made.json()
    assert (made.status_code, made.headers["Location"]) == (201, f"http://127.0.0.1/api/assets/{shown['id']}/")
    assert client.get(made.headers["Location"]).json() == shown
    assert shown["roots"] == [{"kind": "domain", "value": "example.com"}, {"kind": "network", "value": "127.0.88.0/24"}]
    assert (shown["counts"]["hosts"], shown["first_seen"]) == (0, None)
    assert client.get(f"/api/assets/{shown['id']}/scope/").json() == SCOPE
    assert client.get("/api/assets/").json()["count"] == 1


def test_an_asset_is_renamed_and_given_other_roots(client: TestClient, corp: str) -> None:
    assert client.patch(corp, json={"name": "Example AG"}).json()["name"] == "Example AG"
    changed = client.patch(corp, json={"roots": ["EXAMPLE.org.", "127.0.88.5/32"]}).json()
    assert changed["roots"] == [{"kind": "domain", "value": "example.org"}, {"kind": "host", "value": "127.0.88.5"}]
    assert (changed["name"], client.get(corp).json()) == ("Example AG", changed)
    assert client.get(f"{corp}scope/").json() == SCOPE


@pytest.mark.parametrize(
    "body",
    [CORP, CORP | {"name": "Other"}, {"name": "Other", "roots": ["127.0.88.0/24"]}, CORP | {"name": "a.example"}],
)
def test_names_and_roots_that_are_anothers_are_a_conflict(
    client: TestClient, opened: Store, corp: str, body: dict[str, object]
) -> None:
    answer = client.post("/api/assets/", json=body)
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert _assets(opened) == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": ""}, "name"),
        ({"name": " Corp"}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": None}, "name"),
        ({"roots": []}, "roots"),
        ({"roots": "example.com"}, "roots"),
        ({"roots": ["example.com", "s3cret/8"]}, "roots.1"),
        ({"roots": ["127.0.0.1/8"]}, "roots.0"),
        ({"roots": ["0177.0.0.1"]}, "roots.0"),
        ({"roots": [f"h{number}.example" for number in range(101)]}, "roots"),
        ({"scope": {"include": ["internal"]}}, "scope.include.0"),
        ({"scope": {"exclude": ["-oX/s3cret"]}}, "scope.exclude.0"),
        ({"scope": {"exclude": ["a" * 1025]}}, "scope.exclude.0"),
        ({"scope": {"special_purpose": ["10.0.0.0/8"]}}, "scope"),
        ({"scope": None}, "scope"),
        ({"s3cret": 1}, "body"),
    ],
)
def test_an_asset_of_the_wrong_shape_is_refused_with_the_field(
    client: TestClient, opened: Store, changed: dict[str, object], said: str
) -> None:
    answer = client.post("/api/assets/", json=CORP | changed)
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_request")
    assert said in {fault["field"] for fault in answer.json()["fields"]}
    assert "s3cret" not in answer.text
    assert _assets(opened) == 0


def test_a_scope_is_put_whole_in_one_spelling(client: TestClient, corp: str) -> None:
    put = client.put(f"{corp}scope/", json={"exclude": ["PAY.Example.com.", "127.0.88.1/32", "corp"]})
    assert (put.status_code, put.json()) == (
        200,
        {"include": [], "exclude": ["pay.example.com", "127.0.88.1", "corp"]},
    )
    assert client.get(f"{corp}scope/").json() == put.json()
    wrong = client.put(f"{corp}scope/", json={"include": ["example.net", 7]})
    assert (wrong.status_code, wrong.json()["fields"]) == (422, [{"field": "include.1", "problem": "text"}])
    assert client.get(f"{corp}scope/").json() == put.json()


def test_what_an_asset_excludes_cannot_be_asked_for(client: TestClient, opened: Store, corp: str) -> None:
    for target in ("127.0.88.9", "www.pay.example.com"):
        answer = client.post("/api/scans/", json=QUICK | {"target": target})
        assert (answer.status_code, answer.json()["error"]) == (422, "target_refused")
        assert "of its asset" in answer.json()["detail"]
    assert client.post("/api/scans/", json=QUICK).json()["error"] == "prefect_unavailable"
    client.put(f"{corp}scope/", json={})
    assert client.post("/api/scans/", json=QUICK | {"target": "127.0.88.9"}).json()["error"] == "prefect_unavailable"


def test_a_scan_shows_the_scope_that_it_was_asked_for_with(
    client: TestClient, opened: Store, settings: Settings, corp: str
) -> None:
    scan = _begun(opened, settings, "127.0.88.0/24")
    client.put(f"{corp}scope/", json={})
    assert client.get(f"/api/scans/{scan.id}/scope/").json() == {"roots": CORP["roots"], **SCOPE}
    assert client.get(f"/api/scans/{scan.id}/").json()["asset"] == corp.split("/")[-2]
    assert client.get(f"/api/scans/{uuid4()}/scope/").status_code == 404


def test_what_a_scan_left_out_is_read_a_page_at_a_time(client: TestClient, opened: Store, settings: Settings) -> None:
    scan = _begun(opened, settings, "127.0.88.0/24")
    with opened.write() as session:
        keep_left_out(session, scan.id, {f"127.0.77.{last}": "outside of the scope" for last in range(3)}, besides=4)
    page = client.get(f"/api/scans/{scan.id}/left-out/", params={"page_size": 2}).json()
    assert page["results"] == [
        {"subject": f"127.0.77.{last}", "rule": "outside of the scope", "module": None} for last in range(2)
    ]
    assert (page["count"], page["not_listed"], page["previous"]) == (3, 4, None)
    last = client.get(page["next"]).json()
    assert (len(last["results"]), last["next"], last["not_listed"]) == (1, None, 4)
    assert client.get(f"/api/scans/{scan.id}/left-out/", params={"page": 9}).status_code == 404
    assert client.get(f"/api/scans/{uuid4()}/left-out/").status_code == 404


def test_an_authorisation_is_written_down_listed_and_taken_back(client: TestClient, corp: str) -> None:
    url = f"{corp}authorizations/"
    made = client.post(url, json=GIVEN)
    assert made.status_code == 201
    assert made.json().items() >= (GIVEN | {"valid_from": "2025-12-31T23:00:00Z"}).items()
    assert client.get(url).json()["results"] == [made.json()]
    one = f"{url}{made.json()['id']}/"
    assert [client.delete(one).status_code for _ in range(2)] == [204, 404]
    assert client.get(url).json()["count"] == 0
    assert client.delete(f"{url}0/").status_code == 422
    nobodys = f"/api/assets/{uuid4()}/authorizations/"
    assert [client.get(nobodys).status_code, client.post(nobodys, json=GIVEN).status_code] == [404, 404]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"covers": "s3cret/8"}, "covers"),
        ({"covers": ""}, "covers"),
        ({"valid_from": "2026-01-01T00:00:00"}, "valid_from"),
        ({"valid_from": 1767222000}, "valid_from"),
        ({"valid_from": None}, "valid_from"),
        ({"valid_until": "2026-01-01T00:00:00+01:00"}, "valid_until"),
        ({"valid_until": "s3cret"}, "valid_until"),
        ({"valid_from": "0001-01-01T00:00:00+14:00"}, "valid_from"),
        ({"valid_until": "9999-12-31T23:59:59-14:00"}, "valid_until"),
        ({"granted_by": ""}, "granted_by"),
        ({"granted_by": "x" * 256}, "granted_by"),
        ({"reference": "two\nlines"}, "reference"),
        ({"reference": 4711}, "reference"),
        ({"comment": "x" * 1001}, "comment"),
        ({"s3cret": 1}, "body"),
    ],
)
def test_an_authorisation_of_the_wrong_shape_is_refused_with_the_field(
    client: TestClient, corp: str, changed: dict[str, object], said: str
) -> None:
    answer = client.post(f"{corp}authorizations/", json=GIVEN | changed)
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_request")
    assert said in {fault["field"] for fault in answer.json()["fields"]}
    assert "s3cret" not in answer.text
    assert client.get(f"{corp}authorizations/").json()["count"] == 0


def test_an_active_scan_is_refused_until_somebody_authorises_it(
    client: TestClient, strict: TestClient, opened: Store, corp: str
) -> None:
    refused = strict.post("/api/scans/", json=QUICK)
    assert (refused.status_code, refused.json()["error"]) == (403, "not_authorized")
    assert re.search(r"these modules are active: .*\bnmap\b", refused.json()["detail"])
    assert "authorizations/" in refused.json()["hint"]
    assert strict.post("/api/scans/", json=QUICK | {"policy": "passive"}).json()["error"] == "prefect_unavailable"
    assert client.post("/api/scans/", json=QUICK).json()["error"] == "prefect_unavailable"

    strict.post(f"{corp}authorizations/", json=_around_now())
    assert strict.post("/api/scans/", json=QUICK).json()["error"] == "prefect_unavailable"
    for target in ("127.0.88.200", "127.0.88.0/24", "127.0.5.5"):
        assert strict.post("/api/scans/", json=QUICK | {"target": target}).status_code == 403
    with opened.read() as session:
        assert session.scalar(select(func.count()).select_from(Scan)) == 0
    assert _assets(opened) == 1


def test_a_scan_that_was_made_is_found_by_its_key_when_its_authorisation_is_gone(
    strict: TestClient, opened: Store, settings: Settings, corp: str
) -> None:
    with opened.write() as session:
        asked = admit(settings, **QUICK, comment="", origin="api", idempotency_key="monthly")
        scan = begin(session, insert_scan(session, asked)[0].id, uuid4())
    answer = strict.post("/api/scans/", json=QUICK, headers={"Idempotency-Key": "monthly"})
    assert (answer.status_code, answer.json()["id"]) == (201, str(scan.id))


def test_the_examples_can_be_sent(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    (asset,) = schemas["AssetRequest"]["examples"]
    url = client.post("/api/assets/", json=asset).headers["Location"]
    (scope,) = schemas["ScopeBody"]["examples"]
    assert client.put(f"{url}scope/", json=scope).json() == scope
    (given,) = schemas["AuthorizationRequest"]["examples"]
    assert client.post(f"{url}authorizations/", json=given).status_code == 201
