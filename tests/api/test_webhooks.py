"""Webhooks and the rules of policies over REST: kept, tested, forgotten; what cannot be is named with its field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from api.app import create_app
from footprint.admission import NewScan
from footprint.notify_rules import NotifyRules
from footprint.records import DomainName
from footprint.settings import Settings
from footprint.states import Status
from footprint.store import Store
from tests.conftest import free_port
from tests.footprint.test_differences import NAMED, POLICY, scanned
from tests.receivers import http_receiver

SIEM = {"name": "siem", "url": "https://hooks.example.com/pulsar"}
DEFAULTS = {
    "to": [],
    "on": {"names": True, "services": True, "findings": "medium", "failure": True, "nothing_looked_at": True},
}


@pytest.fixture
def allowing(opened: Store, settings: Settings, token: str) -> Iterator[TestClient]:
    """The same installation, whose webhooks may be on loopback."""
    networks = Settings(notify_allow="127.0.0.0/8").notify_allow  # type: ignore[arg-type]
    nobody = f"http://127.0.0.1:{free_port()}/api"
    with (
        temporary_settings({PREFECT_API_URL: nobody, PREFECT_CLIENT_MAX_RETRIES: 0}),
        TestClient(
            create_app(settings.model_copy(update={"notify_allow": networks})), base_url="http://127.0.0.1"
        ) as client,
    ):
        client.headers["Authorization"] = f"Token {token}"
        yield client


def test_a_webhooks_secret_is_shown_once(client: TestClient) -> None:
    made = client.post("/api/webhooks/", json=SIEM)
    secret = made.json().pop("secret")
    assert (made.status_code, len(secret)) == (201, 43)
    listed = client.get("/api/webhooks/")
    assert [(one["name"], one["url"], one["receiver"]) for one in listed.json()["results"]] == [
        ("siem", SIEM["url"], "signed-webhook/siem")
    ]
    assert secret not in listed.text
    again = client.post("/api/webhooks/", json=SIEM)
    assert (again.status_code, again.json()["error"]) == (409, "conflict")
    assert client.delete("/api/webhooks/siem/").status_code == 204
    assert client.delete("/api/webhooks/siem/").status_code == 404
    own = client.post("/api/webhooks/", json={**SIEM, "secret": "a-secret-of-ones-own"})
    assert own.json()["secret"] == "a-secret-of-ones-own"


@pytest.mark.parametrize(
    ("said", "field", "problem"),
    [
        ({"name": "Siem"}, "name", "of the form"),
        ({"name": "../x"}, "name", "of the form"),
        ({"url": "ftp://hooks.example.com/"}, "url", "an address such as https"),
        ({"url": "https://u:p@hooks.example.com/"}, "url", "without user"),
        ({"url": "http://hooks.example.com/"}, "url", "only https"),
        ({"url": "https://127.0.0.1/"}, "url", "special-purpose address (loopback)"),
        ({"url": "https://169.254.169.254/"}, "url", "special-purpose address (link-local)"),
        ({"url": "https://x.example.com/" + "x" * 2000}, "url", "at most 2000"),
        ({"secret": "short"}, "secret", "at least 16"),
        ({"secret": "with a space, however"}, "secret", "of the form"),
        ({"verify": False}, "body", "not known"),
    ],
)
def test_a_bad_webhook_is_refused_by_its_field(
    client: TestClient, said: dict[str, Any], field: str, problem: str
) -> None:
    answer = client.post("/api/webhooks/", json={**SIEM, **said})
    assert answer.status_code == 422, answer.text
    (fault,) = answer.json()["fields"]
    assert (fault["field"], problem in fault["problem"]) == (field, True), fault
    assert client.get("/api/webhooks/").json()["count"] == 0


def test_webhooks_need_the_token(anyone: TestClient) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", "siem/"), ("POST", "siem/test/")):
        assert anyone.request(method, f"/api/webhooks/{path}").status_code == 401


def test_a_webhook_is_tested(allowing: TestClient) -> None:
    with http_receiver(statuses=[200, 500]) as served:
        allowing.post("/api/webhooks/", json={"name": "here", "url": served.url}).raise_for_status()
        well = allowing.post("/api/webhooks/here/test/").json()
        assert (well["delivered"], well["error"]) == (True, None)
        assert served.contents == [{"version": 1, "id": well["event_id"], "type": "test"}]
        ill = allowing.post("/api/webhooks/here/test/").json()
        assert (ill["delivered"], ill["error"]) == (False, "127.0.0.1: answered 500")
    assert allowing.post("/api/webhooks/other/test/").status_code == 404


def test_a_policy_says_who_is_told_of_what(client: TestClient) -> None:
    mine = {"name": "mine", "modules": {"dns": {}}}
    assert client.post("/api/policies/", json=mine).json()["notify"] == DEFAULTS
    rules = {"to": ["slack-webhook/oncall", "signed-webhook/siem"], "on": {"findings": None, "names": False}}
    said = client.patch("/api/policies/mine/", json={"notify": rules}).json()["notify"]
    assert said == {"to": rules["to"], "on": {**DEFAULTS["on"], **rules["on"]}}  # type: ignore[dict-item]
    assert client.get("/api/policies/quick/").json()["notify"] == DEFAULTS


@pytest.mark.parametrize(
    ("notify", "field", "problem"),
    [
        ("oncall", "notify", "an object"),
        ({"to": "oncall"}, "notify.to", "a list"),
        ({"to": ["oncall"]}, "notify.to.0", "of the form"),
        ({"to": ["slack-webhook/On Call"]}, "notify.to.0", "of the form"),
        ({"to": ["a/b", "a/b"]}, "notify.to", "each receiver once"),
        ({"to": [f"a/b{number}" for number in range(17)]}, "notify.to", "at most 16"),
        ({"on": {"findings": "severe"}}, "notify.on.findings", "one of"),
        ({"on": {"names": "yes"}}, "notify.on.names", "true or false"),
        ({"on": {"colour": True}}, "notify.on", "not known"),
        ({"cc": []}, "notify", "not known"),
    ],
)
def test_a_bad_rule_is_refused_by_its_field(client: TestClient, notify: object, field: str, problem: str) -> None:
    answer = client.post("/api/policies/", json={"name": "mine", "modules": {"dns": {}}, "notify": notify})
    assert answer.status_code == 422, answer.text
    (fault,) = answer.json()["fields"]
    assert (fault["field"], problem in fault["problem"]) == (field, True), fault


def test_how_far_receivers_are_told_is_to_be_read(client: TestClient, opened: Store) -> None:
    policy = POLICY.model_copy(update={"notify": NotifyRules(to=("signed-webhook/siem",))})
    new = NewScan(DomainName("example.test"), policy, "", "api")
    scan = scanned(opened, NAMED, new=new, verdict=Status.FAILURE)
    (seen,) = client.get(f"/api/scans/{scan.id}/notifications/").json()["results"]
    assert (seen["receiver"], seen["type"], seen["delivered_at"]) == ("signed-webhook/siem", "scan.failed", None)
    causes = client.get(f"/api/scans/{scan.id}/explain/").json()["causes"]
    assert causes[-1]["code"] == "to_be_told"
    assert "signed-webhook/siem" in causes[-1]["detail"]
    assert client.get(f"/api/scans/{'0' * 8}-0000-0000-0000-{'0' * 12}/notifications/").status_code == 404
