"""Previews over HTTP: what a scan would do, refused as the scan would be, and nothing of it kept."""

from __future__ import annotations

import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from footprint.policy import PRESETS
from tests.api.test_policies import MINE

HEAVY = {"modules": {"zmap": {"engine": "masscan"}, "nmap_discovery": {}, "nmap": {}}, "ports": "all"}


def _preview(client: TestClient, target: str, policy: object) -> Any:
    answer = client.post("/api/policies/preview/", json={"target": target, "policy": policy})
    answer.raise_for_status()
    return answer.json()


def test_a_policy_is_previewed_by_its_name(client: TestClient) -> None:
    said = client.post("/api/policies/network_sweep/preview/", json={"target": "127.0.9.0/28"}).json()
    assert (said["target"], said["policy"], said["addresses"]) == ("127.0.9.0/28", "network_sweep", 15)
    assert said["left_out"] == ["127.0.9.9: excluded"]
    assert [step["module"] for step in said["steps"]] == list(PRESETS["network_sweep"].modules)
    (discovery,) = [step for step in said["steps"] if step["module"] == "nmap_discovery"]
    assert (discovery["when"], discovery["units"], discovery["sends"]) == ("at_once", 1, "packets")
    assert discovery["runs"][0]["command"].startswith("nmap -T4 -n --privileged -sn")
    assert discovery["runs"][0]["command"].endswith("-iL targets --excludefile exclude")


def test_ones_own_policy_and_one_that_comes_along_say_the_same(client: TestClient) -> None:
    client.post("/api/policies/", json=MINE).raise_for_status()
    named = client.post("/api/policies/mine/preview/", json={"target": "127.0.0.1"}).json()
    assert named == _preview(client, "127.0.0.1", "mine")
    inline = _preview(client, "127.0.0.1", {key: value for key, value in MINE.items() if key != "name"})
    assert inline == named | {"policy": "inline"}


def test_nothing_is_kept(client: TestClient) -> None:
    _preview(client, "127.0.0.1", "quick")
    assert client.get("/api/scans/").json()["count"] == 0
    assert client.get("/api/assets/").json()["count"] == 0
    assert client.get("/api/policies/").json()["count"] == len(PRESETS)


@pytest.mark.parametrize(
    "body",
    [
        {"target": "127.0.9.9", "policy": "quick"},
        {"target": "10.0.0.1", "policy": "quick"},
        {"target": "never.example", "policy": "quick"},
        {"target": "127.0.0.0/16", "policy": "quick"},
        {"target": "-oX/tmp/x", "policy": "quick"},
        {"target": "127.0.0.1", "policy": "nope"},
        {"target": "127.0.0.1", "policy": {"modules": {"nmap": {"timing": 9}}}},
        {"target": "127.0.0.1", "policy": {"modules": {}}},
        {"target": "127.0.0.1", "policy": {**MINE, "name": "quick"}},
        {"target": 1},
        {"policy": "quick"},
        {"target": "127.0.0.1", "more": 1},
    ],
)
def test_what_is_no_scan_is_no_preview_with_the_same_words(client: TestClient, body: dict[str, Any]) -> None:
    refused, asked = client.post("/api/policies/preview/", json=body), client.post("/api/scans/", json=body)
    assert refused.status_code == 422
    assert (refused.status_code, refused.json()) == (asked.status_code, asked.json())


@pytest.mark.parametrize("name", ["nope", "Bad", "inline"])
def test_a_policy_that_is_not_there_is_not_found(client: TestClient, name: str) -> None:
    answer = client.post(f"/api/policies/{name}/preview/", json={"target": "127.0.0.1"})
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


def test_it_needs_the_token(anyone: TestClient) -> None:
    anyone.headers.pop("Authorization", None)
    assert anyone.post("/api/policies/quick/preview/", json={"target": "127.0.0.1"}).status_code == 401


def test_a_large_network_with_all_ports_is_answered_at_once(client: TestClient) -> None:
    _preview(client, "127.0.0.1", HEAVY)
    began = time.process_time()
    said = _preview(client, "127.0.0.0/20", HEAVY)
    assert time.process_time() - began < 1
    (discovery,) = [step for step in said["steps"] if step["module"] == "nmap_discovery"]
    (hosts, _) = next(step for step in said["steps"] if step["module"] == "nmap")["needs"]
    assert (discovery["units"], len(discovery["runs"])) == (64, 3)
    assert (hosts["at_most"], hosts["least"], hosts["most"]) == (4095, 65535, 131070)


def test_the_answer_is_described(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    for path in ("/api/policies/{name}/preview/", "/api/policies/preview/"):
        content = described["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Preview"}
    shape = described["components"]["schemas"]["Preview"]
    assert set(shape["properties"]) == set(_preview(client, "127.0.0.1", "quick"))
    assert set(shape["required"]) == set(shape["properties"])


def test_what_an_asset_says_of_its_scope_holds(client: TestClient) -> None:
    scope = {"include": ["example.net"], "exclude": ["127.0.8.1", "pay.example.com"]}
    asset = {"name": "Ours", "roots": ["127.0.8.0/28", "example.com"], "scope": scope}
    client.post("/api/assets/", json=asset).raise_for_status()
    said = _preview(client, "127.0.8.0/28", "network_sweep")
    assert (said["addresses"], said["left_out"]) == (15, ["127.0.8.1: excluded"])
    assert "pay.example.com and what is below: excluded" in _preview(client, "example.com", "quick")["left_out"]
    refused = client.post("/api/policies/quick/preview/", json={"target": "127.0.8.1"})
    assert (refused.status_code, refused.json()["error"]) == (422, "target_refused")
